"""Whose fault a drop is: INT8's, this calibration set's, or the luck of its draw.

price
    What every calibration set costs: the smallest drop that any recipe reaches.
addition
    What this recipe loses beyond that, set against set on the same samples.
luck
    How far draws of one recipe differ: the standard deviation of the drop between them, without
    what the finite number of samples adds to it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.comparison import Comparison, Verdict
from calaudit.evaluate.measure import sets_of, sums_by_slice
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.partition import Slices, names_of, rows_of
from calaudit.evaluate.scores import Scores, SetScores
from calaudit.evaluate.statistics.clusters import effective_blocks
from calaudit.evaluate.statistics.corrections import holm
from calaudit.evaluate.statistics.jackknife import SetDrops
from calaudit.evaluate.statistics.joint import Drops, drops_of_sums, joint_drops
from calaudit.evaluate.statistics.parts import Part, Parts, RecipeParts, split
from calaudit.evaluate.tally import Units, describe_units


class Finding(StrEnum):
    """What to do about a slice that is harmed."""

    NO_SET_FIXES = "no-set-fixes"
    """Every set loses more than the gate allows: calibrating otherwise won't help."""
    THIS_SET = "this-set"
    """Another recipe loses less: this set does it."""
    REDRAW = "redraw"
    """Neither is proven: draws differ by as much, or there are too few samples."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a cell's ranges come from."""

    recipe: str
    """Name of the recipe, or of a set that was given."""
    method: str
    draw: int = 1
    """Number of the draw of this recipe, from 1; 0 for a set that was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One recipe's drop on one slice, by one metric and method, in its three parts."""

    slice: str
    metric: Metric
    method: str
    recipe: str
    draws: int
    """Draws of this recipe."""
    drop: float
    """Mean over its draws."""
    spread: float
    """Largest minus smallest drop of its draws; 0 for a single one."""
    best: str
    """The recipe that loses least here."""
    price: Part
    """What every set costs."""
    addition: Part
    """What this recipe loses beyond the best one; at least 0."""
    luck: Part | None
    """Standard deviation between draws of one recipe, over all recipes that were drawn more than
    once; None if none was."""
    level: float
    max_drop: float | None
    """The slice's gate."""
    finding: Finding | None
    """None: the slice isn't harmed."""


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
    """Split the drops of every slice into price, addition and luck.

    Methods are looked at one by one: sets are compared under the same one. A method with a single
    recipe tells nothing about sets and is left out.

    Parameters
    ----------
    metric, reference, candidates, slices, clusters, weights, seed, level
        As for `calaudit.evaluate.compare`.
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
    which all sets share, and for the luck of the draw where it was measured; otherwise they speak
    of these very sets. Findings are tests at half of 1 − `level`, with Holm's correction over the
    slices that are looked at: an interval may lie above 0 where the finding is still ``redraw``.
    """
    known = {(one.slice, one.cell): one for one in comparisons}
    wanted = {one.slice for one in comparisons}
    cells = list(candidates)
    tail = (1.0 - level) / 2.0
    units = describe_units(len(reference), clusters, weights)
    scores = list(candidates.values())
    found: list[_Split] = []
    for name, drops, freedom in _drops(
        reference, scores, slices, wanted, units=units, tail=tail, key=f"{seed}"
    ):
        for method, members in _by_method(cells, origins).items():
            recipes = [origins[cells[index]].recipe for index in members]
            if len(set(recipes)) < 2:
                continue
            parts = split(
                drops.take(np.array(members)),
                recipes,
                key=f"{seed}",
                tail=tail,
                freedom=freedom,
                settled={o.recipe for o in origins.values() if o.draw == 0},
            )
            for each in parts.recipes:
                own = [
                    known[name, cells[index]]
                    for index, recipe in zip(members, recipes, strict=True)
                    if recipe == each.recipe and (name, cells[index]) in known
                ]
                found.append(_Split(name, method, parts, each, own))
    adjusted = _adjusted(found)
    return [
        _attribution(one, metric, level, tail, p_values)
        for one, p_values in zip(found, adjusted, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Split:
    """One recipe's parts on one slice, before it is said what they amount to."""

    slice: str
    method: str
    parts: Parts
    own: RecipeParts
    draws: list[Comparison]
    """The comparisons of its draws."""


def _adjusted(found: Sequence[_Split]) -> list[tuple[float, float]]:
    """P-values of price and addition after Holm over the slices of each method and recipe."""
    families: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(found):
        families.setdefault((one.method, one.own.recipe), []).append(index)
    adjusted = [(1.0, 1.0)] * len(found)
    for members in families.values():
        price = holm([found[index].parts.p_value for index in members])
        addition = holm([found[index].own.p_value for index in members])
        for index, *both in zip(members, price.tolist(), addition.tolist(), strict=True):
            adjusted[index] = both[0], both[1]
    return adjusted


def _attribution(
    one: _Split, metric: Metric, level: float, tail: float, p_values: tuple[float, float]
) -> Attribution:
    gates = [each.max_drop for each in one.draws if each.max_drop is not None]
    gate = max(gates) if gates else None
    price, addition = one.parts.price, one.own.addition
    finding = None
    if any(map(_harmed, one.draws)):
        finding = Finding.REDRAW
        # The price alone breaks the gate; without one, it outweighs what the set adds.
        enough = price.value >= (addition.value if gate is None else gate)
        if p_values[0] < tail and enough:
            finding = Finding.NO_SET_FIXES
        elif p_values[1] < tail:
            finding = Finding.THIS_SET
    return Attribution(
        slice=one.slice,
        metric=metric,
        method=one.method,
        recipe=one.own.recipe,
        draws=one.own.draws,
        drop=one.own.drop,
        spread=one.own.spread,
        best=one.parts.best,
        price=price,
        addition=addition,
        luck=one.parts.luck,
        level=level,
        max_drop=gate,
        finding=finding,
    )


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
    for sums in sums_by_slice(reference, candidates, slices, units):
        for place, name in enumerate(sums.slices):
            if name not in wanted or not (sums.weight[:, place] > 0).all():
                continue
            total = sums.total[:, place]
            size = np.broadcast_to(sums.size[:, place], total.shape)
            freedom = np.inf
            if units.clustered:
                freedom = float(effective_blocks(size).min()) - 1.0
            if freedom >= 1.0:
                span = reference.metric.span
                yield name, drops_of_sums(total, size, span=span, alpha=tail, key=key), freedom
