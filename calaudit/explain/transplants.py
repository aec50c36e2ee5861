"""Transplants: a cell's engine with another choice of ranges at ever more taps.

Cheapest first: all suspects at once, which says whether ranges can help at all; then the first 1,
2, 4, … of them, until as much is taken back as by all. Then each of these is given its own range
again, to see whether it is needed; and at last all taps but the guilty ones are changed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from calaudit.calibration.scales import scale_of
from calaudit.explain.engines import Experiments, Variant
from calaudit.explain.judging import ENOUGH, Judge, is_there, value
from calaudit.explain.suspects import Ranges
from calaudit.results.drops import Part
from calaudit.results.explanation import CurvePoint, Suspect

MOST_NAMED: Final = 8
"""Taps of which each is tried for being needed."""


@dataclass(frozen=True, slots=True)
class Patient:
    """A cell's engine, and the ranges that it may be given."""

    ranges: Ranges
    """Of the cell, tap → amax."""
    float_ops: frozenset[str]
    experiments: Experiments

    @property
    def engine(self) -> Variant:
        """As it is."""
        return self.given({}, ())

    def given(self, donor: Ranges, taps: Collection[str]) -> Variant:
        """With the donor's ranges at some taps."""
        amax = {tap: donor[tap] if tap in taps else own for tap, own in self.ranges.items()}
        return self.experiments.ranged(_scales(amax), self.float_ops)

    def with_float(self, op: str) -> Variant:
        """With one more product in float."""
        return self.experiments.ranged(_scales(self.ranges), self.float_ops | {op})

    def alone(self, op: str) -> Variant:
        """FP32 but for one product."""
        return self.experiments.alone(op, _scales(self.ranges))


def _scales(amax: Ranges) -> Mapping[str, float]:
    return {tap: scale_of(each) for tap, each in amax.items()}


@dataclass(slots=True)
class Transplanted:
    """What one donor's ranges did."""

    whole: Part
    """The drop left with the donor's ranges at all suspects."""
    removed: Part
    """What that takes back."""
    points: dict[int, Part] = field(default_factory=dict)
    """Number of suspects changed → the drop left."""
    taps: tuple[str, ...] = ()
    """The fewest of the curve that take back most of the drop, or of what all of them do, without
    those that aren't needed; empty where all together take nothing back beyond chance."""
    taken: Part | None = None
    """What these take back."""
    left: Part | None = None
    """The drop that they leave."""
    others: Part | None = None
    """The drop left where all other taps have the donor's ranges."""


def most_judged(n_suspects: int) -> int:
    """The most engines that `transplant` judges."""
    # the cell's own, those that were needed, and all others
    return len(_steps(n_suspects)) + min(n_suspects, MOST_NAMED) + 4


def transplant(
    judge: Judge, patient: Patient, donor: Ranges, suspects: Sequence[Suspect], single: int
) -> Transplanted:
    """Find the fewest suspects whose ranges take back what all of the donor's do.

    Parameters
    ----------
    judge : Judge
    patient : Patient
    donor : mapping
        Tap → amax, of every tap of the patient.
    suspects : sequence of Suspect
        In the order in which they are tried; not empty.
    single : int
        Of more taps than these it isn't told which are needed: the curve's point stands.
    """
    order = [each.tap for each in suspects]
    cell, whole = patient.engine, patient.given(donor, order)
    found = Transplanted(judge.left(whole), judge.removed(whole, cell))
    found.points = {0: judge.left(cell), len(order): found.whole}
    if not is_there(found.removed):
        return found
    drop, most = value(found.points[0]), value(found.removed)
    due = max(ENOUGH * most, min(most, ENOUGH * drop))

    def enough(taps: Collection[str]) -> bool:
        taken = judge.removed(patient.given(donor, taps), cell)
        return is_there(taken) and value(taken) >= due

    for k in _steps(len(order)):
        found.points[k] = judge.left(patient.given(donor, order[:k]))
        if enough(order[:k]):
            needed = _needed(order[:k], enough)
            found.taps = needed if len(needed) <= single else tuple(order[:k])
            break
    chosen = patient.given(donor, found.taps)
    found.taken, found.left = judge.removed(chosen, cell), judge.left(chosen)
    rest = [tap for tap in patient.ranges if tap not in found.taps]
    if rest:
        found.others = judge.left(patient.given(donor, rest))
    return found


def _needed(taps: Sequence[str], enough: Callable[[Collection[str]], bool]) -> tuple[str, ...]:
    """Those without which the others don't suffice; all where these alone don't suffice."""
    if not 1 < len(taps) <= MOST_NAMED:
        return tuple(taps)
    kept = tuple(tap for tap in taps if not enough([each for each in taps if each != tap]))
    return kept if kept and enough(kept) else tuple(taps)


def _steps(n: int) -> list[int]:
    """1, 2, 4, … and n."""
    steps = [1]
    while steps[-1] * 2 < n:
        steps.append(steps[-1] * 2)
    return sorted({*steps, n})


def curve_of(found: Transplanted, suspects: Sequence[Suspect]) -> tuple[CurvePoint, ...]:
    """The points that were judged, by number of taps."""
    order = [each.tap for each in suspects]
    points, before = [], 0
    for k in sorted(found.points):
        points.append(CurvePoint(k, tuple(order[before:k]), found.points[k]))
        before = k
    return tuple(points)
