"""Which samples are worth a picture: of each gated slice, the one that lost most."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import (
    RatioScores,
    SetScores,
    UnitScores,
    answered,
    of_units,
)
from calaudit.runtime.words import plural
from calaudit.statistics.criteria import Comparison
from calaudit.steps.score import Scored
from calaudit.tasks.depiction import Losses

LossesOf = Callable[[str], Losses | None]
"""Cell → what its kind of task says that every unit lost."""

_RANK = {"REGRESSED": 0, "INCONCLUSIVE": 1}


@dataclass(frozen=True, slots=True)
class Chosen:
    """One unit to show; of objects, the sample that they are in."""

    unit: int
    slice: str
    cell: str
    by: str
    """What its own score is; empty: the metric itself."""
    reference: float
    """Its own score under FP32."""
    lost: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Units to show by one metric."""

    metric: Metric
    judged: int
    """Pairs of slice and recipe that are gated; all pairs where nothing is."""
    units: tuple[Chosen, ...]


def choose_units(
    scored: Scored,
    metric: Metric,
    comparisons: Iterable[Comparison],
    *,
    recipes: Mapping[str, str],
    controls: frozenset[str],
    losses_of: LossesOf,
    most: int,
) -> Choice | None:
    """Of each slice and recipe that is gated, the unit that lost most; the most harmed ones first.

    Parameters
    ----------
    scored : Scored
    metric : Metric
        One of the evaluation set's, not one of likeness to FP32.
    comparisons : iterable of Comparison
        All of the audit's.
    recipes : mapping
        Cell → what it shares with the other draws and methods of one recipe, of which the worst
        is shown.
    controls : set of str
        Cells that come after the others.
    losses_of : callable
        Asked for metrics of whole sets.
    most : int
        Units to choose at most. Every slice has its turn before a second recipe of one; a unit that
        was lost by an engine in one slice isn't shown for another of its slices as well.

    Returns
    -------
    Choice or None
        None where nothing is gated by the metric though something is by others, or where nobody
        knows what a unit lost.
    """
    comparisons = list(comparisons)
    gated = any(each.gate is not None for each in comparisons)
    told = [
        each
        for each in comparisons
        if each.by == metric and each.cell in scored.cells and (each.gate is not None or not gated)
    ]
    worst = _worst(told, recipes, controls)
    if not worst:
        return None
    kept: dict[str, Losses | None] = {}
    typical = _typical(scored, metric)
    units: list[Chosen] = []
    for each in worst:
        if len(units) == most:
            break
        if each.cell not in kept:
            kept[each.cell] = _losses(scored, metric, each.cell, losses_of)
        found = kept[each.cell]
        if found is None:
            return None
        unit = _unit(scored, each, found, typical, units)
        if unit is not None:
            units.append(unit)
    return Choice(metric, len(worst), tuple(units))


def _worst(
    comparisons: Sequence[Comparison], recipes: Mapping[str, str], controls: frozenset[str]
) -> list[Comparison]:
    """The worst cell of each slice and recipe, in the order in which they are shown."""

    def severity(each: Comparison) -> tuple[int, bool, bool, float]:
        lost = -(each.drop or 0.0)
        return _RANK.get(each.verdict or "", 2), each.cell in controls, not each.n_broken, lost

    found: dict[tuple[str, str], Comparison] = {}
    for each in sorted(comparisons, key=severity):
        found.setdefault((each.slice, recipes.get(each.cell, each.cell)), each)
    turns: dict[str, int] = {}
    ordered = []
    for each in sorted(found.values(), key=severity):
        turns[each.slice] = turns.get(each.slice, 0) + 1
        ordered.append((turns[each.slice], *severity(each), each))
    return [each[-1] for each in sorted(ordered, key=lambda one: one[:-1])]


def _unit(
    scored: Scored,
    compared: Comparison,
    losses: Losses,
    typical: NDArray[np.float64],
    before: Sequence[Chosen],
) -> Chosen | None:
    """The unit of a slice that lost most; None where none did, or it is shown for another slice."""
    eval_set, place = scored.eval_set, scored.eval_set.row_of_unit
    rows = eval_set.slices.rows(compared.slice)
    reference, lost, by = losses.reference[rows], losses.lost[rows], losses.by
    weight = typical[rows]
    if place is not None:  # objects: those of one sample together
        rows, at = np.unique(place[rows], return_inverse=True)
        reference, lost, weight = (
            np.bincount(at, np.nan_to_num(each), len(rows)).astype(np.float64)
            for each in (reference, lost, weight)
        )
        by = f"{plural(eval_set.unit)} found"
    fell = np.flatnonzero(lost > 0)  # NaN isn't
    if not len(fell):
        return None
    seen = np.isin(rows[fell], [each.unit for each in before])
    at_most = fell[np.lexsort((rows[fell], -weight[fell], seen, -lost[fell]))[0]]
    unit = int(rows[at_most])
    if any(each.unit == unit and each.cell == compared.cell for each in before):
        return None
    numbers = float(reference[at_most]), float(lost[at_most])
    return Chosen(unit, compared.slice, compared.cell, by, *numbers)


def _losses(scored: Scored, metric: Metric, cell: str, losses_of: LossesOf) -> Losses | None:
    """What every unit lost; None: nobody knows."""
    reference, candidate = scored.reference[metric], scored.cells[cell][metric]
    if isinstance(reference, SetScores):
        return losses_of(cell)
    candidate = answered(reference, candidate)
    assert isinstance(candidate, UnitScores | RatioScores)
    before, after = of_units(reference), of_units(candidate)
    lost = (before - after) if metric.higher_is_better else (after - before)
    # a unit that the engine leaves without a finite answer has lost all there was
    broken = np.isnan(after) & ~np.isnan(before)
    return Losses("", before, np.where(broken, np.inf, lost))


def _typical(scored: Scored, metric: Metric) -> NDArray[np.float64]:
    """(n,) mean over the cells of what each unit lost, which decides between equals."""
    reference = scored.reference[metric]
    total = np.zeros(len(scored.eval_set.truth))
    if isinstance(reference, SetScores):
        return total
    sign = 1.0 if metric.higher_is_better else -1.0
    before = of_units(reference)
    for scores in scored.cells.values():
        candidate = answered(reference, scores[metric])
        assert isinstance(candidate, UnitScores | RatioScores)
        total += np.nan_to_num(sign * (before - of_units(candidate)))
    return total / max(1, len(scored.cells))
