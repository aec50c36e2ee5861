"""Whether FP32 is better than a baseline that ignores the input, and means the classes as labelled.

An engine can't lose what FP32 doesn't have. So before drops are read, FP32 is held against rivals
that know the targets' distribution and nothing of a sample: one that deals FP32's own answers out
at random, one that always gives the commonest class, one that gives the mean, one that ranks at
random.

The order of classes is tried too. Names that are sorted otherwise than the model was trained with
leave a model that works and seems not to: it is right wherever both orders agree.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, stdtrit

from calaudit.metrics.base import Metric
from calaudit.metrics.case import flat

Floats = NDArray[np.float64]
LEVEL = 0.999
"""One-sided level at which FP32 must be better: of a thousand broken pipelines one passes."""

_PIECE = 1024
"""Units that are looked at together: what varies is seen in the first of them."""

ORDER_LEVEL = 1e-6
"""One-sided level of the sign test on the samples that are right in one order alone."""
LEAST_GAIN = 0.1
"""Share of the samples by which another order must be better, beyond what chance gives it."""
MOST_CLASSES = 2048
"""Classes among labels and answers up to which orders are looked for."""


@dataclass(frozen=True, eq=False, slots=True)
class Rival:
    """A baseline that ignores the input, and what FP32 has over it."""

    name: str
    """Completes "FP32 is not significantly better than …"."""
    gains: tuple[Floats, ...]
    """Each (n,): FP32's score minus the rival's by one measure, NaN for units without. FP32 is
    better if it is by any of them."""
    knows_nothing: bool
    """Whether who isn't better knows nothing of the inputs: then no drop means anything."""

    def beaten(self, clusters: NDArray[np.int64] | None) -> bool:
        """Whether FP32 is shown to be better.

        Parameters
        ----------
        clusters : int64 (n,), optional
            Units that hang together.
        """
        return any(is_positive(gain, clusters) for gain in self.gains)


def is_positive(gain: Floats, clusters: NDArray[np.int64] | None) -> bool:
    """Whether a mean is above 0 at `LEVEL`, by Student's t over clusters or units."""
    kept = np.flatnonzero(~np.isnan(gain))
    if not len(kept):
        return False
    values = gain[kept]
    mean = float(values.mean())
    code = kept if clusters is None else clusters[kept]
    _, code = np.unique(code, return_inverse=True)
    sums, sizes = np.bincount(code, values), np.bincount(code)
    n = len(sums)
    if n < 2:
        return False
    spread = float(((sums - mean * sizes) ** 2).sum()) * n / (n - 1)
    return bool(mean > float(stdtrit(n - 1, LEVEL)) * np.sqrt(spread) / len(values))


def is_quality(metric: Metric) -> bool:
    """Whether a metric says how good answers are: who knows nothing has nothing to lose by it."""
    return metric.quality and not metric.is_agreement


class Constancy:
    """Whether an output (n, …) is the same for every unit, up to rounding, looked at in pieces."""

    def __init__(self) -> None:
        self._first: Any = None
        self._n = 0
        self._varies = False

    @property
    def constant(self) -> bool:
        """Whether all units so far, at least two, have the same output."""
        return self._n > 1 and not self._varies

    def look(self, outputs: NDArray[Any]) -> None:
        """Look at further units; of numbers, those that aren't finite are passed over."""
        rows = flat(outputs) if outputs.ndim > 1 else outputs[:, None]
        for start in range(0, len(rows), _PIECE):
            if self._varies:
                return
            piece = rows[start : start + _PIECE]
            if rows.dtype.kind in "fiub":
                piece = piece[np.isfinite(piece).all(axis=1)].astype(np.float64)
            if len(piece) and self._first is None:
                self._first = piece[0]
            self._n += len(piece)
            self._varies = self._n > 0 and self._differ(piece)

    def _differ(self, piece: NDArray[Any]) -> bool:
        if piece.dtype.kind != "f":
            return not bool((piece == self._first).all())
        most = 1e-6 * np.abs(self._first).max(initial=0)
        return bool((np.abs(piece - self._first) > most).any())


def is_constant(outputs: NDArray[Any]) -> bool:
    """Whether an output (n, …) is the same for every unit, up to rounding."""
    found = Constancy()
    found.look(outputs)
    return found.constant


@dataclass(frozen=True, slots=True)
class ClassOrder:
    """Another order of the classes, in which FP32 is right more often beyond doubt."""

    meant: tuple[tuple[int, int], ...]
    """(Output, class it stands for), where that isn't its own: the ones seen most often first."""
    right: float
    """Share of `n` samples for which FP32 is right as the classes are."""
    right_so: float
    """In the other order."""
    n: int
    """Samples on which both were counted; the order was chosen on others."""


def find_class_order(
    label: NDArray[np.int64], answer: NDArray[np.int64], clusters: NDArray[np.int64] | None = None
) -> ClassOrder | None:
    """Look for an order of the classes that is better than the one the labels are in.

    The order that makes most answers right is chosen on one half of the samples, and tested on the
    other: the largest of many is flattered where it was chosen. Answers that know nothing may be
    right more often in another order, by how common classes are: what dealing them out would
    gain doesn't count.

    Parameters
    ----------
    label, answer : int64 (n,)
        True class and FP32's.
    clusters : int64 (n,), optional
        Samples that hang together; they stay in one half.

    Returns
    -------
    ClassOrder or None
        None where no other order is better beyond doubt, or there are too many classes to look.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    classes, codes = np.unique(np.concatenate([label, answer]), return_inverse=True)
    true, given = codes[: len(label)], codes[len(label) :]
    if not 2 <= len(classes) <= MOST_CLASSES:
        return None
    chosen = _half(np.arange(len(label)) if clusters is None else clusters)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (given[chosen], true[chosen]), 1)
    # of orders that are as good, the one that moves least
    weights = counts * (len(classes) + 1) + np.eye(len(classes), dtype=np.int64)
    meant = linear_sum_assignment(weights, maximize=True)[1]
    tested = ~chosen
    true, given = true[tested], given[tested]
    own = None if clusters is None else clusters[tested]
    now, so = given == true, meant[given] == true
    if not _is_better(now, so, _dealt(true, given), _dealt(true, meant[given]), own):
        return None
    seen = counts[np.arange(len(classes)), meant]
    moved = [at for at in np.argsort(-seen, kind="stable") if meant[at] != at and seen[at]]
    return ClassOrder(
        tuple((int(classes[at]), int(classes[meant[at]])) for at in moved),
        float(now.mean()),
        float(so.mean()),
        int(tested.sum()),
    )


def _half(units: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether a sample is in the first half; all samples of one unit are in the same."""
    names, code = np.unique(units, return_inverse=True)
    first = np.zeros(len(names), np.bool_)
    first[np.random.default_rng(0).permutation(len(names))[: len(names) // 2]] = True
    return np.asarray(first[code])


def _dealt(true: NDArray[np.intp], given: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,) how often a sample's class would be answered if the answers were dealt out."""
    counts = np.bincount(given, minlength=int(true.max(initial=-1)) + 1)
    return np.asarray(counts[true] / max(len(given), 1))


def _is_better(
    now: NDArray[np.bool_],
    so: NDArray[np.bool_],
    dealt: NDArray[np.float64],
    dealt_so: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
) -> bool:
    lost, won = int((now & ~so).sum()), int((so & ~now).sum())
    if bdtrc(won - 1, won + lost, 0.5) >= ORDER_LEVEL:
        return False
    gain = (so - dealt_so) - (now - dealt)
    return bool(gain.mean() >= LEAST_GAIN) and is_positive(gain, clusters)
