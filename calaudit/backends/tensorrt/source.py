"""What a calibration starts from: a calibration set cut into batches, or an earlier one's cache.

A cache that TensorRT can read bypasses the data without a word, so what a cache depends on stands
in its file's name, which is the cell's, and its header is checked before it is offered.
"""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.formats.calibset import Calibset
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.formats.trt_header import CacheHeader, TrtVersion, header_for
from calaudit.runtime.errors import BackendError, FileFormatError, Notice, Problem, near
from calaudit.runtime.words import counted

_AGAIN: Final = "Draw the set again with inputs of the model's type, or export the model for these."


class BatchReader:
    """Reads a calibration set batch by batch.

    Parameters
    ----------
    calibset : Calibset
        Holds all inputs of the network.
    dtypes : mapping
        Network input → element type that TensorRT reads from a calibration buffer: float32 for
        FP32 and FP16 inputs, the input's own type for integers and booleans.
    batching : Batching

    Raises
    ------
    BackendError
        The set lacks an input, or dropping leaves no batch.
    """

    def __init__(
        self, calibset: Calibset, dtypes: Mapping[str, np.dtype[Any]], batching: Batching
    ) -> None:
        _check_inputs(calibset, dtypes)
        self._calibset = calibset
        self._dtypes = dict(dtypes)
        self.batching = batching
        self.batches = batching.cut(len(calibset))
        """Positions in the set, each (size,) int64; the order within a batch has no meaning."""
        if not self.batches:
            raise BackendError(
                f"{counted(len(calibset), 'sample')} can't fill one batch of {batching.size}",
                where=calibset.path,
                next_step="Fill the last batch instead of dropping it, or make batches smaller.",
            )

    @property
    def n_batches(self) -> int:
        """Batches there are."""
        return len(self.batches)

    @property
    def size(self) -> int:
        """Samples per batch."""
        return self.batching.size

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one batch, by input."""
        inputs = self._calibset.inputs
        return {name: (self.batching.size, *inputs[name].shape) for name in self._dtypes}

    @property
    def dtypes(self) -> Mapping[str, np.dtype[Any]]:
        """Element type of a batch, by input."""
        return self._dtypes

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What calibration sees differently from the set."""
        n, size = len(self._calibset), self.batching.size
        over = len(self.batches) * size - n
        where = str(self._calibset.path)
        if over > 0:
            text = (
                f"TensorRT's last batch of {size} is filled with "
                f"{counted(over, 'sample')} once more"
            )
            return (Notice("calibration_filled", f"{text}, of {n}", where),)
        if over < 0:
            text = f"{-over} of {n} samples don't fill a batch of {size}: TensorRT doesn't see them"
            return (Notice("calibration_dropped", text, where),)
        return ()

    def read(self) -> Generator[dict[str, NDArray[Any]], None, None]:
        """All batches in order: input → (size, …) in the wanted type.

        Raises
        ------
        BackendError
            Values that the wanted type can't hold, with the samples' ids.
        FileFormatError, PoolError
            The set is damaged, or holds NaN or infinity.
        """
        sorted_batches = [np.unique(batch, return_inverse=True) for batch in self.batches]
        pieces = self._calibset.pieces(once for once, _ in sorted_batches)
        for (once, back), values in zip(sorted_batches, pieces, strict=True):
            ids = self._calibset.ids[once]
            yield {name: self._cast(name, values[name], ids)[back.ravel()] for name in self._dtypes}

    def _cast(self, name: str, values: NDArray[Any], ids: NDArray[np.str_]) -> NDArray[Any]:
        wanted = self._dtypes[name]
        if np.can_cast(values.dtype, wanted, "safe"):
            return values.astype(wanted, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = values.astype(wanted)
        if values.dtype.kind == "f" and wanted.kind == "f":
            lost = ~np.isfinite(cast)
        else:
            lost = cast != values
        bad = lost.reshape(len(values), -1).any(axis=1)
        if bad.any():
            shown = ", ".join(ids[bad][:3])
            raise BackendError(
                f"{wanted} can't hold {name} of {counted(int(bad.sum()), 'sample')} in a "
                f"batch: {shown}",
                where=self._calibset.path,
                next_step=_AGAIN,
            )
        return cast


def _check_inputs(calibset: Calibset, names: Mapping[str, Any]) -> None:
    missing = [
        Problem(
            f"the network's input {name} isn't in the calibration set",
            str(calibset.path),
            near(name, calibset.inputs),
        )
        for name in names
        if name not in calibset.inputs
    ]
    if missing:
        raise BackendError.of(missing)


def read_stored(
    path: Path | None, algorithm: str, version: TrtVersion
) -> tuple[bytes | None, tuple[Notice, ...]]:
    """A stored cache to offer to TensorRT, or None, and why a file that is there isn't offered."""
    if path is None or not path.exists():
        return None, ()
    wanted = header_for(version, algorithm)
    try:
        cache = open_trt_cache(path)
    except FileFormatError as error:
        reason = error.problems[0].message
    else:
        reason = _unfit(cache.header, wanted, len(cache.problems))
        if not reason:
            return path.read_bytes(), ()
    text = f"the stored calibration cache {reason}: TensorRT calibrates again"
    return None, (Notice("calibration_cache_unfit", text, str(path)),)


def _unfit(header: CacheHeader | None, wanted: CacheHeader, n_unreadable: int) -> str:
    if header != wanted:
        return f"begins with {header or 'no header'} instead of {wanted}"
    return f"has {n_unreadable} unreadable lines" if n_unreadable else ""
