"""How a calibration set is cut into batches, for calibrations whose result depends on them.

TensorRT's entropy calibration is such a one: its histogram takes its width from the first batch.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError

SampleOrder = Literal["mixed", "stored"]
LastBatch = Literal["fill", "drop"]

DEFAULT_SIZE: Final = 64
_DONE: Final[dict[LastBatch, str]] = {"fill": "filled", "drop": "dropped"}


@dataclass(frozen=True, slots=True)
class Batching:
    """How a calibration set is cut.

    Raises
    ------
    SettingsError
        The size isn't positive, or the order is unknown.
    """

    size: int = DEFAULT_SIZE
    """Samples per batch, as far as a set holds so many."""
    last: LastBatch = "fill"
    """The last batch, when the samples don't go around: filled with samples of the set, which then
    count twice, or dropped."""
    order: SampleOrder = "mixed"
    """Mixed: each batch takes samples from the whole set, in even steps. Stored: as they lie in
    the file, by pool row."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SettingsError(
                f"calibration batches of {self.size}", next_step="Give at least 1 sample per batch."
            )
        if self.order not in {"mixed", "stored"}:
            raise SettingsError(
                f"samples can't be calibrated in the order {self.order!r}",
                next_step="Give mixed or stored.",
            )
        if self.last not in _DONE:
            raise SettingsError(
                f"the last batch can't be {self.last!r}", next_step="Give fill or drop."
            )

    def __str__(self) -> str:
        return f"batches of {self.size}, {self.order} order, last one {_DONE[self.last]}"

    @property
    def options(self) -> dict[str, float | str]:
        """As reports and scale tables record it."""
        return {"calibration_batch": self.size, "calibration_order": self.order}

    def fitted(self, n: int, *, one_by_one: bool = False) -> "Batching":
        """What is left of it for `n` samples.

        Parameters
        ----------
        n : int
            Samples of the set: a batch holds no more.
        one_by_one : bool
            The model takes one sample at a time, so that batches are of 1.
        """
        return replace(self, size=1 if one_by_one else max(min(self.size, n), 1))

    def cut(self, n: int) -> tuple[NDArray[np.int64], ...]:
        """Positions in a set of `n` samples of each batch, each (size,); none where all drop.

        The order within a batch has no meaning.
        """
        n_batches = n // self.size if self.last == "drop" else -(-n // self.size)
        if not n_batches:
            return ()
        order = np.arange(n)
        if self.order == "mixed":
            order = np.concatenate([order[start::n_batches] for start in range(n_batches)])
        return tuple(np.split(np.resize(order, n_batches * self.size), n_batches))
