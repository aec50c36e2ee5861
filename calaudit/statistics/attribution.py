"""Attribution of a drop: to INT8, to this calibration set, or to between-draw variation.

price
    What every calibration set that was tried costs: the smallest drop that any recipe reaches.
addition
    What this recipe loses beyond that, set against set on the same samples.
luck
    How far draws of this recipe differ: the standard deviation of the drop between them, without
    what the finite number of samples adds to it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores, SetScores
from calaudit.results.comparison import Verdict
from calaudit.results.drops import Attribution, BestElsewhere, Finding, Part
from calaudit.results.values import filled
from calaudit.runtime.compiled import map_on_cores
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.jackknife import SetDrops
from calaudit.statistics.joint import Drops, drops_of_sums, joint_drops
from calaudit.statistics.measure import sets_of, sums_by_slice
from calaudit.statistics.recipe_parts import (
    RecipeParts,
    Recipes,
    measure_recipes,
    p_of_price,
    price_of,
    split,
)
from calaudit.statistics.tally import Slices, Units, describe_units, names_of, rows_of
from calaudit.statistics.verdict import holm

Floats = NDArray[np.float64]

_AT_ONCE = 256
"""Drops whose replicates are made together."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a cell's ranges come from."""

    recipe: str
    """Name of the recipe, or of a set that was given."""
    method: str
    draw: int = 1
    """Number of the draw of this recipe, from 1; 0 for a set that was given."""
    settled: bool = False
    """Whether every draw of the recipe is the same set, so that there is no between-draw
    variation."""

    @property
    def varies(self) -> bool:
        """Whether another draw could be another set."""
        return self.draw > 0 and not self.settled


def attribute(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    origins: Mapping[str, Origin],
    comparisons: Sequence[Comparison],
    clusters: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> list[Attribution]:
    """Split the drops of every slice into best set, excess and between-draw SD, with findings.

    Methods are looked at one by one: sets are compared under the same one. A method with a single
    recipe tells nothing about sets and is left out.

    Parameters
    ----------
    metric, reference, candidates, slices, clusters, weights, seed, level
        As for `calaudit.statistics.compare`.
    origins : mapping
        Cell → where its ranges come from.
    comparisons : sequence of Comparison
        This metric's, judged. They say which slices are looked at, their gates, and which are
        harmed: with a gate those that are REGRESSED, without it those that pass the screening.

    Returns
    -------
    list of Attribution
        By slice, method and recipe, in the order given.

    Notes
    -----
    Intervals of `price` and `addition` account for the choice of the best set, for the samples,
    which all sets share, and for between-draw variation where it was measured; otherwise they speak
    of these very sets. Findings are tests at half of 1 − `level` with Holm's correction over
    everything that is looked at, so that the chance of any false one is at most that for each kind
    of finding: an interval may lie above 0 where the finding is still ``redraw``.
    """
    return record_attributions(
        split_drops(
            metric,
            reference,
            candidates,
            slices,
            origins=origins,
            comparisons=comparisons,
            clusters=clusters,
            weights=weights,
            seed=seed,
            level=level,
        )
    )


@dataclass(frozen=True, slots=True)
class SplitDrop:
    """One recipe's parts on one slice, before it is said what they amount to."""

    slice: str
    metric: Metric
    method: str
    best: str
    price: Part
    p_price: float
    own: RecipeParts
    elsewhere: BestElsewhere | None
    draws: list[Comparison]
    """The comparisons of its draws."""
    level: float


def split_drops(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    origins: Mapping[str, Origin],
    comparisons: Sequence[Comparison],
    clusters: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> list[SplitDrop]:
    """The parts of every drop; see `attribute`."""
    cells = list(candidates)
    by_method = _by_method(cells, origins)
    if all(len({origins[cells[i]].recipe for i in own}) < 2 for own in by_method.values()):
        return []  # nothing to compare a recipe with
    known = {(one.slice, one.cell): one for one in comparisons}
    wanted = {one.slice for one in comparisons}
    tail = (1.0 - level) / 2.0
    units = describe_units(len(reference), clusters, weights)
    settled = {origin.recipe for origin in origins.values() if not origin.varies}

    def parts(of_slice: tuple[str, Drops, float]) -> list[SplitDrop]:
        name, drops, freedom = of_slice
        found: list[SplitDrop] = []
        methods = {
            method: measure_recipes(
                drops.take(np.array(members)),
                [origins[cells[index]].recipe for index in members],
                key=f"{seed}\0{method}",
                settled=settled,
            )
            for method, members in by_method.items()
        }
        how: dict[str, Any] = {"key": f"{seed}", "tail": tail, "freedom": freedom}
        for method, recipes in methods.items():
            if len(recipes.names) < 2:
                continue
            best, _, price = price_of([recipes], **how)
            draws = {
                recipe: [
                    known[name, cell]
                    for cell, origin in origins.items()
                    if (origin.recipe, origin.method) == (recipe, method) and (name, cell) in known
                ]
                for recipe in recipes.names
            }
            gates = [c.max_drop for each in draws.values() for c in each if c.max_drop is not None]
            p_price = p_of_price(recipes, max(gates, default=0.0), key=f"{seed}", freedom=freedom)
            elsewhere = _elsewhere(methods, method, how)
            found += [
                SplitDrop(
                    name, metric, method, best, price, p_price, own, elsewhere,
                    draws[own.recipe], level,
                )
                for own in split(recipes, **how)
            ]  # fmt: skip
        return found

    every = _drops(
        reference, list(candidates.values()), slices, wanted, units=units, tail=tail, key=f"{seed}"
    )
    return [one for found in map_on_cores(parts, every) for one in found]


def record_attributions(found: Sequence[SplitDrop]) -> list[Attribution]:
    """What is certain about harmed slices: give everything that is looked at, of all metrics."""
    # every recipe of a slice and method has the same price
    prices = {(one.metric.name, one.method, one.slice): one.p_price for one in found}
    adjusted = dict(zip(prices, holm(list(prices.values())).tolist(), strict=True))
    additions = holm([one.own.p_value for one in found]).tolist()
    return [
        _attribution(one, adjusted[one.metric.name, one.method, one.slice], p_addition)
        for one, p_addition in zip(found, additions, strict=True)
    ]


def _elsewhere(
    methods: Mapping[str, Recipes], method: str, how: Mapping[str, Any]
) -> BestElsewhere | None:
    others = {name: recipes for name, recipes in methods.items() if name != method}
    if not others:
        return None
    recipe, place, price = price_of(list(others.values()), **how)
    return BestElsewhere(list(others)[place], recipe, price)


def _attribution(one: SplitDrop, p_price: float, p_addition: float) -> Attribution:
    gates = [each.max_drop for each in one.draws if each.max_drop is not None]
    gate = max(gates) if gates else None
    return filled(
        Attribution,
        one.own,
        slice=one.slice,
        metric=one.metric.name,
        method=one.method,
        best=one.best,
        price=one.price,
        elsewhere=one.elsewhere,
        level=one.level,
        p_price=p_price,
        p_addition=p_addition,
        findings=_findings(one, gate or 0.0, p_price, p_addition),
    )


def _findings(
    one: SplitDrop, gate: float, p_price: float, p_addition: float
) -> tuple[Finding, ...]:
    if not any(map(_harmed, one.draws)):
        return ()
    tail = (1.0 - one.level) / 2.0
    fixes = p_price < tail and one.price.low is not None and one.price.low >= gate
    differs = p_addition < tail
    told = one.own.settled or one.own.luck is not None
    found = [Finding.NO_SET_FIXES] if fixes else []
    if differs and told:
        found.append(Finding.THIS_SET)
    elif differs or not found:
        found.append(Finding.REDRAW)
    return tuple(found)


def _harmed(one: Comparison) -> bool:
    if one.max_drop is not None:
        return one.verdict is Verdict.REGRESSED
    return one.p_adjusted is not None and one.p_adjusted < one.alpha


def _by_method(cells: Sequence[str], origins: Mapping[str, Origin]) -> dict[str, list[int]]:
    methods: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        methods.setdefault(origins[cell].method, []).append(index)
    return methods


def _drops(
    reference: Scores,
    candidates: Sequence[Scores],
    slices: Slices,
    wanted: Collection[str],
    *,
    units: Units,
    tail: float,
    key: str,
) -> Iterator[tuple[str, Drops, float]]:
    """Slices with units, every cell's drop there, and degrees of freedom."""
    if isinstance(reference, SetScores):
        sets = sets_of(reference, candidates)
        answered = np.logical_and.reduce([each.present for each in (reference, *sets)])
        of_sets = SetDrops(reference, sets, units.cluster if units.clustered else None)
        for name in names_of(slices):
            rows = rows_of(slices, name)
            rows = rows[answered[rows]]
            groups = of_sets.groups(rows)
            if name in wanted and len(rows) and groups.enough:
                value, influence = of_sets.influence(rows, groups)
                if not (np.isfinite(value).all() and np.isfinite(influence).all()):
                    continue  # the metric isn't defined here, or hangs on one group
                none = np.zeros_like(value)
                drops = joint_drops(value, influence, none, key)
                yield name, drops, len(groups.size) - 1.0
        return
    how: dict[str, Any] = {"span": reference.metric.span, "alpha": tail, "key": key}
    step = max(1, _AT_ONCE // max(len(candidates), 1))
    for sums in sums_by_slice(reference, candidates, slices, units):
        size = np.broadcast_to(sums.size, sums.total.shape)
        freedom = np.full(len(sums.slices), np.inf)
        if units.clustered:
            freedom = effective_blocks(sums.size).min(axis=0) - 1.0
        asked = np.array([name in wanted for name in sums.slices], dtype=bool)
        places = np.flatnonzero(asked & (sums.weight > 0).all(axis=0) & (freedom >= 1.0))
        for start in range(0, len(places), step):
            piece = places[start : start + step]
            # slices side by side: replicates of one alone cost as much as those of hundreds
            sides = (_side_by_side(each, piece) for each in (sums.total, size))
            drops = drops_of_sums(*sides, **how)
            for number, place in enumerate(piece.tolist()):
                own = np.arange(len(candidates)) + number * len(candidates)
                yield sums.slices[place], drops.take(own), float(freedom[place])


def _side_by_side(sums: Floats, places: NDArray[np.int64]) -> Floats:
    """(cells, slices, blocks) → (slices · cells, blocks) of the slices at `places`."""
    return np.concatenate([sums[:, place] for place in places.tolist()])
