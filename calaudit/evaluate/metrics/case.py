"""A case: one engine's outputs with what they are judged against."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError, SettingsError
from calaudit.evaluate.metrics.shown import Shown, rankable, show
from calaudit.evaluate.truth import Labels, Relevance, Texts, Truth, Values, check_labels


@dataclass(frozen=True, eq=False)
class Case:
    """Outputs of one engine; what is costly and shared between metrics is kept."""

    outputs: NDArray[Any]
    """(n, …) what the engine gave for each unit."""
    truth: Truth | None
    reference_outputs: NDArray[Any] | None
    """(n, …) what FP32 gave for the same units."""
    _shown: dict[int, Shown] = field(default_factory=dict)
    _reference_shown: dict[int, Shown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, other in (("truth", self.truth), ("FP32", self.reference_outputs)):
            if other is not None and len(other) != len(self.outputs):
                raise PoolError(
                    f"the engine gave outputs for {len(self.outputs)} units, "
                    f"{what} has {len(other)}"
                )

    def logits(self) -> NDArray[Any]:
        """(n, classes) outputs as floats of at least 32 bits."""
        return _two_axes(self.outputs, "classes")

    def label(self) -> NDArray[np.int64]:
        """(n,) the true classes, checked against the outputs' width."""
        if not isinstance(self.truth, Labels):
            raise SettingsError(
                "this metric needs labels",
                next_step="Name the pool's label target, or choose a metric without labels.",
            )
        check_labels(self.truth.label, self.logits().shape[1])
        return self.truth.label

    def relevance(self) -> Relevance:
        """The relevance, checked against the outputs' width."""
        if not isinstance(self.truth, Relevance):
            raise SettingsError(
                "this metric needs relevance",
                next_step="Use a ranking pool (targets/relevance), or a classification metric.",
            )
        scores = _two_axes(self.outputs, "items")
        if scores.shape[1] != self.truth.n_items:
            raise PoolError(
                f"the model scores {scores.shape[1]} items, the catalogue has {self.truth.n_items}"
            )
        return self.truth

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, d) the true values and the outputs, of one shape."""
        if not isinstance(self.truth, Values):
            raise SettingsError(
                "this metric needs values to predict",
                next_step="Use a regression task, which names the pool's target.",
            )
        true, given = flat(self.truth.value), flat(self.outputs).astype(np.float64)
        if given.shape != true.shape:
            raise PoolError(
                f"the model gave outputs of shape {self.outputs.shape}, "
                f"the target has {self.truth.value.shape}"
            )
        return true, given

    def texts(self) -> tuple[NDArray[np.str_], NDArray[Any]]:
        """(n,) the true texts, and the engine's: text, or None where it gave none."""
        if not isinstance(self.truth, Texts):
            raise SettingsError(
                "this metric needs texts",
                next_step="Use a sequence task, which names the pool's text target.",
            )
        return self.truth.text, self.outputs

    def reference(self) -> NDArray[Any]:
        """What FP32 gave, of the outputs' shape."""
        if self.reference_outputs is None:
            raise SettingsError("this metric needs what FP32 gave for the same samples")
        if self.reference_outputs.shape != self.outputs.shape:
            raise PoolError(
                f"the engine's outputs have shape {self.outputs.shape}, "
                f"FP32's {self.reference_outputs.shape}"
            )
        return self.reference_outputs

    def exclude(self) -> NDArray[np.bool_] | None:
        """(queries, items) what is never shown."""
        return self.truth.exclude if isinstance(self.truth, Relevance) else None

    def ranked(self) -> NDArray[Any]:
        """(queries, items) scores to rank by: −inf for the excluded, and only for them."""
        return rankable(_two_axes(self.outputs, "items"), self.exclude())

    def reference_ranked(self) -> NDArray[Any]:
        """FP32's scores to rank by, as `ranked`."""
        return rankable(_two_axes(self.reference(), "items"), self.exclude())

    def with_outputs(self, outputs: NDArray[Any]) -> "Case":
        """The same case for another engine; what is known of FP32 is shared."""
        return replace(self, outputs=outputs, _shown={})

    def with_shown(self, k: int, shown: Shown) -> "Case":
        """The same case, but for who is in the top `k`."""
        return replace(self, _shown={k: shown})

    def shown(self, k: int) -> Shown:
        """Who is in the top `k` of the outputs."""
        if k not in self._shown:
            self._shown[k] = show(_two_axes(self.outputs, "items"), self.exclude(), k)
        return self._shown[k]

    def reference_shown(self, k: int) -> Shown:
        """Who is in FP32's top `k`."""
        if k not in self._reference_shown:
            reference = _two_axes(self.reference(), "items")
            self._reference_shown[k] = show(reference, self.exclude(), k)
        return self._reference_shown[k]


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """(n, d) all that belongs to each of n units; n may be 0."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def as_floats(scores: NDArray[Any]) -> NDArray[Any]:
    """Scores as floats that keep every difference between them: float32 or float64.

    Whole numbers become float64. Where some are beyond 2**53, so that this would make ties, they
    are given by their rank among all of them: what is left of such scores is their order.
    """
    if scores.dtype.kind == "f":
        narrow = scores.dtype.itemsize < np.dtype(np.float32).itemsize
        return scores.astype(np.float32) if narrow else scores
    exact = scores.size == 0 or (scores.max() <= _EXACT and scores.min() >= -_EXACT)
    if scores.dtype.itemsize < np.dtype(np.int64).itemsize or exact:
        return scores.astype(np.float64)
    rank = np.unique(scores, return_inverse=True)[1]
    return rank.reshape(scores.shape).astype(np.float64)


_EXACT = 2**53
"""Up to here every whole number is exact as float64."""


def _two_axes(outputs: NDArray[Any], axis: str) -> NDArray[Any]:
    if outputs.ndim != 2:
        raise SettingsError(
            f"the output has shape {outputs.shape}, expected (n, {axis})",
            next_step="Choose another output of the model for this metric.",
        )
    return as_floats(outputs)
