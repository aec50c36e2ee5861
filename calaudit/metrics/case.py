"""What metrics are given: one engine's answers, with what they are judged against.

One rule of every metric says which units can be judged: a unit counts only if each of its outputs
that the metric reads is finite, or is the same infinity under FP32 too, which masks items and
classes so. Units that FP32 leaves unanswered are left out; those that it answers and the engine
doesn't, the engine has broken.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.shown import Shown, rankable, show
from calaudit.metrics.truth import Labels, Relevance, Texts, Truth, Values, check_labels
from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.runtime.lent import lent
from calaudit.runtime.words import counted

T = TypeVar("T", bound=Truth)
Kept = TypeVar("Kept")

PIECE_BYTES: Final = 16 << 20
"""Outputs of units that are looked at together: metrics make a few times as much of them."""


def unanswered(
    outputs: NDArray[Any],
    reference: NDArray[Any] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Units whose outputs hold NaN, or an infinity that FP32's don't, (n,).

    Parameters
    ----------
    outputs : ndarray, shape (n, …)
        Numbers; texts or other objects, None where there is none; or records of several numbers.
    reference : ndarray, optional
        What FP32 gave, of the same shape; FP32's own outputs are held against themselves. Without,
        infinities are left to `infinities`.
    ignored : ndarray of bool, optional
        Outputs that aren't read, of the same shape.
    """
    if outputs.dtype.kind == "O":
        return np.array([each is None for each in outputs], dtype=bool)
    if outputs.dtype.names is not None:
        named = (outputs[name] for name in outputs.dtype.names)
        wrong = [np.isnan(each) for each in named if each.dtype.kind == "f"]
        return np.asarray(np.any(wrong, axis=0), dtype=bool)
    if _all_finite(outputs):
        return np.zeros(len(outputs), dtype=bool)
    wrong = np.isnan(outputs)
    if reference is not None:
        wrong |= np.isinf(outputs) & (outputs != reference)
    if ignored is not None:
        wrong &= ~ignored
    return np.asarray(wrong.reshape(len(outputs), -1).any(axis=1))


def infinities(
    outputs: NDArray[Any], ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.uint64] | None:
    """A number for each unit that tells which of its outputs are infinite, and how, (n,).

    0: none is. Units whose numbers differ don't have the same infinities. None: no unit has any.
    """
    if outputs.dtype.kind == "O" or _all_finite(outputs):
        return None
    signs = np.where(np.isinf(outputs), np.sign(np.nan_to_num(outputs)), 0.0)
    if ignored is not None:
        signs[ignored] = 0.0
    flat = signs.reshape(len(outputs), -1).astype(np.int64).astype(np.uint64)
    # Odd multiples of the golden ratio of 2⁶⁴, added up modulo 2⁶⁴ (D. Knuth, TAOCP 3, §6.4).
    places = np.arange(flat.shape[1], dtype=np.uint64)
    factor = (places * np.uint64(2) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    factor = (factor ^ (factor >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (flat * factor).sum(axis=1, dtype=np.uint64)
    return np.asarray(found) if found.any() else None


def _all_finite(outputs: NDArray[Any]) -> bool:
    return outputs.dtype.kind not in "fc" or bool(np.isfinite(outputs).all())


@dataclass(frozen=True, eq=False)
class Case:
    """Outputs of one engine; what is costly and shared between metrics is kept."""

    outputs: NDArray[Any]
    """(n, …) what the engine gave for each unit."""
    truth: Truth | None
    reference_outputs: NDArray[Any] | None
    """(n, …) what FP32 gave for the same units."""
    probabilities: bool = False
    """Whether the outputs are known to be probabilities, where metrics expect logits."""
    ids: Callable[[NDArray[np.int64]], Sequence[str]] | None = None
    """Names of units by their positions, for messages."""
    broken: NDArray[np.bool_] | None = None
    """(n,) units of which more is known than the outputs tell: they can't be judged."""
    _kept: dict[str, Any] = field(default_factory=dict)
    _shown: dict[int, Shown] = field(default_factory=dict)
    _of_outputs: dict[str, Any] = field(default_factory=dict)
    """Whatever is in the top k."""
    _of_reference: dict[str, Any] = field(default_factory=dict)
    """Of the truth and of FP32's outputs: whatever the engine gave."""

    def __post_init__(self) -> None:
        for what, other in (("truth", self.truth), ("FP32", self.reference_outputs)):
            if other is not None and len(other) != len(self.outputs):
                raise PoolError(
                    f"the engine gave outputs for {counted(len(self.outputs), 'unit')}, "
                    f"{what} has {len(other)}"
                )

    def __len__(self) -> int:
        return len(self.outputs)

    def take(self, units: NDArray[np.int64]) -> "Case":
        """The units at some positions, ascending."""
        names, theirs = self.ids, self.reference_outputs
        outputs = self.outputs[units]
        if theirs is not None:
            theirs = outputs if theirs is self.outputs else theirs[units]
        return Case(
            outputs,
            None if self.truth is None else self.truth.take(units),
            theirs,
            probabilities=self.probabilities,
            ids=None if names is None else lambda positions: names(units[positions]),
        )

    def pieces(self) -> Iterator["Case"]:
        """The case in pieces of few enough outputs, in order; whole where they are few."""
        one = self.outputs.dtype.itemsize * math.prod(self.outputs.shape[1:])
        spans = list(spans_of(len(self), one))
        if len(spans) < 2 and isinstance(self.outputs, np.ndarray):
            yield self
        else:
            for units in spans:
                yield self.take(units)

    @property
    def unanswered(self) -> NDArray[np.bool_]:
        """(n,) units whose outputs can't be judged: the engine's, or FP32's."""
        return _once(self._of_outputs, "unanswered", self._find_unanswered)

    def _find_unanswered(self) -> NDArray[np.bool_]:
        if self.reference_outputs is None:
            return unanswered(self.outputs, None, self._ignored)
        if self.outputs is self.reference():
            found = self._reference_unanswered
        else:
            found = unanswered(self.outputs, self.reference(), self._ignored)
            found |= self._reference_unanswered
        return found if self.broken is None else found | self.broken

    @property
    def infinite(self) -> NDArray[np.uint64] | None:
        """(n,) which outputs are infinite, where nobody said what FP32 gave; None: none is."""
        if self.reference_outputs is not None:
            return None
        return _once(self._of_outputs, "infinite", lambda: infinities(self.outputs, self._ignored))

    @property
    def _reference_unanswered(self) -> NDArray[np.bool_]:
        theirs = self.reference()
        return _once(
            self._of_reference, "unanswered", lambda: unanswered(theirs, theirs, self._ignored)
        )

    @property
    def _ignored(self) -> NDArray[np.bool_] | None:
        """Scores of excluded items, which nothing reads."""
        exclude = self.exclude()
        return None if exclude is None or exclude.shape != self.outputs.shape else exclude

    @property
    def answers(self) -> NDArray[Any]:
        """(n, …) the outputs, 0 for units that are unanswered."""
        return _once(self._of_outputs, "answers", lambda: _zeroed(self.outputs, self.unanswered))

    @property
    def reference_answers(self) -> NDArray[Any]:
        """(n, …) FP32's outputs, 0 for units that it leaves unanswered."""
        theirs = self.reference()
        return _once(
            self._of_reference, "answers", lambda: _zeroed(theirs, self._reference_unanswered)
        )

    def logits(self) -> NDArray[Any]:
        """(n, classes) answers, in the precision in which they were given."""
        return _two_axes(self.answers, "classes")

    def reference_logits(self) -> NDArray[Any]:
        """(n, classes) FP32's answers."""
        return _two_axes(self.reference_answers, "classes")

    def truth_of(self, kind: type[T]) -> T:
        """The truth, which must be of that class. Raises `SettingsError`."""
        if not isinstance(self.truth, kind):
            raise SettingsError(f"this metric needs {kind.what}", next_step=kind.where_from)
        return self.truth

    def label(self) -> NDArray[np.int64]:
        """(n,) the true classes, checked against the outputs' width."""
        truth = self.truth_of(Labels)
        check_labels(truth.label, self.logits().shape[1], ids=self.ids)
        return truth.label

    def relevance(self) -> Relevance:
        """The relevance, checked against the outputs' width."""
        truth = self.truth_of(Relevance)
        scores = _two_axes(self.answers, "items")
        if scores.shape[1] != truth.n_items:
            raise PoolError(
                f"the model scores {scores.shape[1]} items, the catalogue has {truth.n_items}"
            )
        return truth

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, d) the true values and the outputs, of one shape."""
        truth = self.truth_of(Values)
        true, given = flat(truth.value), flat(self.answers).astype(np.float64)
        if given.shape != true.shape:
            raise PoolError(
                f"the model gave outputs of shape {self.outputs.shape}, "
                f"the target has {truth.value.shape}"
            )
        return true, given

    def texts(self) -> tuple[NDArray[np.str_], NDArray[Any]]:
        """(n,) the true texts, and the engine's: text, or None where it gave none."""
        truth = self.truth_of(Texts)
        return truth.text, self.outputs

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
        return rankable(_two_axes(self.answers, "items"), self.exclude())

    def reference_ranked(self) -> NDArray[Any]:
        """FP32's scores to rank by, as `ranked`."""
        answers = self.reference_answers
        return _once(
            self._of_reference,
            "ranked",
            lambda: lent(rankable(_two_axes(answers, "items"), self.exclude())),
        )

    def with_outputs(self, outputs: NDArray[Any]) -> "Case":
        """The same case for another engine; what is known of truth and FP32 is shared."""
        return replace(self, outputs=outputs, _shown={}, _kept={}, _of_outputs={})

    def of_reference(self) -> "Case":
        """FP32's own case; what is known of truth and FP32 is shared."""
        return replace(self.with_outputs(self.reference()), broken=None)

    def with_shown(self, k: int, shown: Shown) -> "Case":
        """The same case, but for who is in the top `k`."""
        return replace(self, _shown={k: shown}, _kept={})

    def with_lists(self, broken: NDArray[np.bool_], shown: Mapping[int, Shown]) -> "Case":
        """The case of an engine of which the lists are known, and who has none.

        Parameters
        ----------
        broken : ndarray of bool, shape (n,)
            Units that can't be judged.
        shown : mapping
            Cut → who is in the top k.
        """
        return replace(self, broken=broken, _shown=dict(shown), _kept={}, _of_outputs={})

    def kept(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` gives, made once for all metrics that ask for it by the same name."""
        return _once(self._kept, name, make)

    def kept_of_truth(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` gives of the truth alone, made once for all engines; see `kept`."""
        return _once(self._of_reference, f"truth: {name}", make)

    def shown(self, k: int) -> Shown:
        """Who is in the top `k` of the outputs."""
        if self.outputs is self.reference_outputs and self.broken is None and not self._shown:
            return self.reference_shown(k)
        if k not in self._shown:
            self._shown[k] = lent(show(_two_axes(self.answers, "items"), self.exclude(), k))
        return self._shown[k]

    def reference_shown(self, k: int) -> Shown:
        """Who is in FP32's top `k`."""

        def make() -> Shown:
            reference = _two_axes(self.reference_answers, "items")
            found: Shown = lent(show(reference, self.exclude(), k))
            return found

        return _once(self._of_reference, f"top {k}", make)


def _once(known: dict[str, Any], name: str, make: Callable[[], Kept]) -> Kept:
    if name not in known:
        known[name] = make()
    found: Kept = known[name]
    return found


def spans_of(n: int, unit_bytes: int) -> Iterator[NDArray[np.int64]]:
    """Positions of n units, as many at a time as `PIECE_BYTES` hold of them."""
    size = max(1, PIECE_BYTES // max(1, unit_bytes))
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """(n, d) all that belongs to each of n units; n may be 0."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _two_axes(outputs: NDArray[Any], axis: str) -> NDArray[Any]:
    if outputs.ndim != 2:
        raise SettingsError(
            f"the output has shape {outputs.shape}, expected (n, {axis})",
            next_step="Choose another output of the model for this metric.",
        )
    return outputs


def _zeroed(outputs: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[Any]:
    if not rows.any() or outputs.dtype.kind == "O":
        return outputs
    zeroed = outputs.copy()
    zeroed[rows] = 0
    return zeroed
