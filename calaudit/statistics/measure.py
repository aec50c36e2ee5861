"""All cells on all slices, measured: one way for each kind of metric."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores, UnitScores, answered
from calaudit.statistics.bootstrap import REPLICATES
from calaudit.statistics.clusters import design_of
from calaudit.statistics.estimate import Estimate, Levels, fill, no_estimate
from calaudit.statistics.jackknife import SetDrops
from calaudit.statistics.mean import compare_means
from calaudit.statistics.paired_proportions import compare_binary, compare_clustered
from calaudit.statistics.sums import Sums
from calaudit.statistics.tally import Slices, Units, names_of, rows_of, sums_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Margins = Callable[[str, Floats], Floats]
"""Slice's name, the metric under FP32 for each cell → the margins of the tests, (cells,)."""


@dataclass(frozen=True, slots=True)
class Method:
    """How certainty is computed."""

    levels: Levels
    seed: int = 0
    replicates: int = REPLICATES


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """Every cell on some slices; arrays are (cells, slices)."""

    slices: tuple[str, ...]
    n: Ints
    """Units with a score under FP32 and under the engine."""
    n_left_out: Ints
    """(slices,) units without a score under FP32."""
    n_broken: Ints
    n_clusters: Ints | None
    """(slices,) clusters, as far as they are told apart; None: units are independent."""
    before: Floats
    """The metric under FP32 over these units; NaN where it isn't defined."""
    after: Floats
    """The metric under the engine."""
    estimate: Estimate
    flips: tuple[Ints, Ints] | None = None
    """Units lost and gained, of a binary metric."""
    influence: Callable[[float], float] | None = None
    """Of a set metric, on the one slice: n → the most that one of n such units can move it."""


def measure(
    reference: Scores,
    candidates: Sequence[Scores],
    slices: Slices,
    units: Units,
    *,
    margins: Margins,
    method: Method,
) -> Iterator[Measured]:
    """Measure all slices, some at a time, in their order."""
    if isinstance(reference, SetScores):
        sets = sets_of(reference, candidates)
        yield from _measure_sets(reference, sets, slices, units, margins=margins, method=method)
        return
    for sums in sums_by_slice(reference, candidates, slices, units):
        yield measure_sums(reference.metric, sums, margins, method)


def sets_of(reference: SetScores, candidates: Sequence[Scores]) -> list[SetScores]:
    """The engines' scores of a set metric, of the units that they answered."""
    held = [answered(reference, each) for each in candidates]
    return [each for each in held if isinstance(each, SetScores)]


def sums_by_slice(
    reference: Scores, candidates: Sequence[Scores], slices: Slices, units: Units
) -> Iterator[Sums]:
    """Sums over all slices, some at a time, in their order; not for set metrics."""
    assert not isinstance(reference, SetScores)
    additive = [each for each in candidates if isinstance(each, UnitScores | RatioScores)]
    yield from sums_of(reference, additive, slices, units)


def measure_sums(metric: Metric, sums: Sums, margins: Margins, method: Method) -> Measured:
    """What sums say of every cell on their slices."""
    before = sums.reference
    margin = np.empty_like(before)
    for place, name in enumerate(sums.slices):
        margin[:, place] = margins(name, before[:, place])
    levels = method.levels
    counted = metric.kind == "binary" and not sums.weighted
    if counted and not sums.clustered:
        estimate = compare_binary(sums.lost, sums.gained, sums.n_both, levels, margin)
    elif counted:
        blocks = sums.total, sums.size
        design = design_of(sums.total, sums.size, sums.n_changed)
        estimate = compare_clustered(sums.lost, sums.gained, blocks, design, levels, margin=margin)
    else:
        estimate = compare_means(
            sums,
            span=metric.span,
            levels=levels,
            margin=margin,
            seed=method.seed,
            replicates=method.replicates,
            gains=not metric.is_agreement,
        )
    estimate.independent[:] = sums.independent
    return Measured(
        slices=sums.slices,
        n=sums.n_both,
        n_left_out=sums.n_left_out,
        n_broken=sums.n_broken,
        n_clusters=sums.n_blocks if sums.clustered else None,
        before=before,
        after=sums.candidate(metric.higher_is_better),
        estimate=estimate,
        flips=(sums.lost, sums.gained) if metric.kind == "binary" else None,
    )


def _measure_sets(
    reference: SetScores,
    candidates: Sequence[SetScores],
    slices: Slices,
    units: Units,
    *,
    margins: Margins,
    method: Method,
) -> Iterator[Measured]:
    cluster = units.cluster if units.clustered else None
    together = SetDrops(reference, candidates, cluster)
    alone: dict[int, SetDrops] = {}
    shape = (len(candidates), 1)
    present = [each.present for each in (reference, *candidates)]
    for name in names_of(slices):
        rows = rows_of(slices, name)
        kept = rows[present[0][rows]]
        estimate = no_estimate(shape)
        before, after = np.full(shape, np.nan), np.full(shape, np.nan)
        n = np.array([np.count_nonzero(each[kept]) for each in present[1:]], np.int64).reshape(
            shape
        )
        key = f"{method.seed}\0{reference.metric.name}\0{name}"
        sound = n[:, 0] == len(kept)
        if sound.any() and len(kept):
            values = together.values(kept)
            before[:, 0], after[:, 0] = values[0], values[1:]
            found = together.compare(
                kept, method.levels, key=key, margin=margins(name, before[:, 0])
            )
            fill(estimate, (slice(None), 0), found)
        for cell in np.flatnonzero(~sound).tolist():
            both = kept[present[1 + cell][kept]]
            before[cell], after[cell] = reference.value(both), candidates[cell].value(both)
            fill(estimate, ([cell], 0), no_estimate((1,)))
            if len(both):
                if cell not in alone:
                    alone[cell] = SetDrops(reference, [candidates[cell]], cluster)
                margin = margins(name, before[cell])
                own = alone[cell].compare(both, method.levels, key=key, margin=margin)
                fill(estimate, ([cell], 0), own)
        yield Measured(
            slices=(name,),
            n=n,
            n_left_out=np.array([len(rows) - len(kept)]),
            n_broken=len(kept) - n,
            n_clusters=None if cluster is None else np.array([len(np.unique(cluster[kept]))]),
            before=before,
            after=after,
            estimate=estimate,
            influence=together.most(kept) if len(kept) else None,
        )
