"""Every engine against FP32 on every slice, by one metric."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SettingsError
from calaudit.evaluate.comparison import Comparison, Flips, MinSupport
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.scores import Scores, SetScores, UnitScores
from calaudit.evaluate.statistics.binary import compare_binary
from calaudit.evaluate.statistics.interval import Estimate, Levels
from calaudit.evaluate.statistics.jackknife import changed_units, compare_sets
from calaudit.evaluate.statistics.mean import compare_means
from calaudit.evaluate.verdict import judge

Rows = NDArray[np.int64]
Gates = float | Mapping[str, float] | None
"""Largest drop allowed: on every slice, by slice, or none."""


def compare_cells(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Mapping[str, Rows],
    *,
    max_drop: Gates = None,
    min_support: MinSupport | None = None,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Compare and judge: `compare`, then `judge`, whose families are one cell's slices each."""
    found = compare(
        metric,
        reference,
        candidates,
        slices,
        max_drop=max_drop,
        seed=seed,
        level=level,
        alpha=alpha,
    )
    return judge(found, min_support=min_support)


def compare(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Mapping[str, Rows],
    *,
    max_drop: Gates = None,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Drops with their intervals and tests, not judged yet.

    Parameters
    ----------
    metric : Metric
    reference : Scores
        FP32's, over n units; for an agreement metric see `calaudit.evaluate.perfect`.
    candidates : mapping
        Cell → the engine's scores of the same units, in the same order.
    slices : mapping
        Slice's name → its units, as positions in the scores. Slices may overlap.
    max_drop : float or mapping, optional
        Gate of every slice, or of the slices it names.
    seed : int
        Of the bootstrap. A result depends on the seed, the metric and the slice, not on which
        other slices and cells are compared.
    level : float
        Two-sided coverage of `low` … `high`.
    alpha : float
        One-sided error of the bounds that gates are held against.

    Returns
    -------
    list of Comparison
        By cell, then by slice, in the order given.

    Raises
    ------
    SettingsError
        Scores of different lengths or kinds, or a gate for a slice that isn't there.
    """
    gates = _gates(max_drop, slices)
    for cell, scores in candidates.items():
        if len(scores) != len(reference) or type(scores) is not type(reference):
            raise SettingsError(
                f"cell {cell} has {len(scores)} units of {metric}, FP32 has {len(reference)}"
            )
    levels = Levels(level, alpha)
    by_slice = _comparer(metric, reference, candidates, levels, seed)
    found = {name: by_slice(name, rows, gates[name]) for name, rows in slices.items()}
    return [found[name][cell] for cell in range(len(candidates)) for name in slices]


_OnSlice = Callable[[str, Rows, float | None], list[Comparison]]


def _comparer(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    levels: Levels,
    seed: int,
) -> _OnSlice:
    """The function that compares all cells on one slice, with what slices share prepared."""
    cells = list(candidates)
    if isinstance(reference, SetScores):
        sets = [scores for scores in candidates.values() if isinstance(scores, SetScores)]
        return _sets(metric, reference, dict(zip(cells, sets, strict=True)), levels)
    values = [scores.values for scores in candidates.values() if isinstance(scores, UnitScores)]
    stacked = np.array(values).reshape(len(cells), len(reference))
    if metric.kind == "binary":
        return _binary(metric, reference.values, cells, stacked, levels)
    return _means(metric, reference.values, cells, stacked, levels, seed)


def _binary(
    metric: Metric,
    reference: NDArray[np.bool_],
    cells: list[str],
    candidates: NDArray[np.bool_],
    levels: Levels,
) -> _OnSlice:
    good, good_now = reference == metric.higher_is_better, candidates == metric.higher_is_better
    lost, gained = good & ~good_now, ~good & good_now

    def on_slice(name: str, rows: Rows, gate: float | None) -> list[Comparison]:
        n = len(rows)
        margin = _margin(metric, gate)
        b, c = lost[:, rows].sum(axis=1), gained[:, rows].sum(axis=1)
        estimate = compare_binary(b, c, n, levels, margin) if n else None
        before = float(reference[rows].mean()) if n else np.nan
        after = candidates[:, rows].mean(axis=1) if n else np.full(len(cells), np.nan)
        return [
            _comparison(
                (cell, name, metric),
                gate,
                levels,
                estimate,
                index,
                n=n,
                left_out=0,
                values=(before, after[index]),
                flips=Flips(int(b[index]), int(c[index])),
            )
            for index, cell in enumerate(cells)
        ]

    return on_slice


def _means(
    metric: Metric,
    reference: NDArray[np.float64],
    cells: list[str],
    candidates: NDArray[np.float64],
    levels: Levels,
    seed: int,
) -> _OnSlice:
    sign = 1.0 if metric.higher_is_better else -1.0
    present = ~np.isnan(reference)

    def on_slice(name: str, rows: Rows, gate: float | None) -> list[Comparison]:
        kept = rows[present[rows]]
        before, after = reference[kept], candidates[:, kept]
        broken = np.isnan(after).sum(axis=1)
        margin = _margin(metric, gate)
        estimate = None
        if len(kept):
            key = f"{seed}\0{metric.name}\0{name}"
            estimate = compare_means(
                sign * (before - after),
                kept,
                key=key,
                span=metric.span,
                levels=levels,
                margin=margin,
            )
        return [
            _comparison(
                (cell, name, metric),
                gate,
                levels,
                estimate,
                index,
                n=len(kept) - int(broken[index]),
                left_out=len(rows) - len(kept),
                values=_paired_means(before, after[index]),
                broken=int(broken[index]),
            )
            for index, cell in enumerate(cells)
        ]

    return on_slice


def _sets(
    metric: Metric,
    reference: SetScores,
    candidates: Mapping[str, SetScores],
    levels: Levels,
) -> _OnSlice:
    changed = np.array([changed_units(reference, scores) for scores in candidates.values()])
    changed = changed.reshape(len(candidates), len(reference))

    def on_slice(name: str, rows: Rows, gate: float | None) -> list[Comparison]:
        n = len(rows)
        estimate = None
        if n:
            n_changed = changed[:, rows].sum(axis=1)
            estimate = compare_sets(
                reference, list(candidates.values()), rows, n_changed=n_changed, levels=levels
            )
        before = reference.value(rows)
        return [
            _comparison(
                (cell, name, metric),
                gate,
                levels,
                estimate,
                index,
                n=n,
                left_out=0,
                values=(before, scores.value(rows)),
            )
            for index, (cell, scores) in enumerate(candidates.items())
        ]

    return on_slice


def _comparison(
    of: tuple[str, str, Metric],
    gate: float | None,
    levels: Levels,
    estimate: Estimate | None,
    index: int,
    *,
    n: int,
    left_out: int,
    values: tuple[float, float],
    broken: int = 0,
    flips: Flips | None = None,
) -> Comparison:
    cell, slice_name, metric = of

    def at(column: str) -> float | None:
        return None if estimate is None else _finite(getattr(estimate, column)[index])

    margin = _margin(metric, gate)
    untested = metric.is_agreement and gate is None
    return Comparison(
        cell=cell,
        slice=slice_name,
        metric=metric,
        n=n,
        n_left_out=left_out,
        n_broken=broken,
        reference=_finite(values[0]),
        candidate=_finite(values[1]),
        drop=at("drop"),
        low=at("low"),
        high=at("high"),
        level=levels.level,
        interval=None if estimate is None else estimate.interval[index],
        one_sided_low=at("one_sided_low"),
        one_sided_high=at("one_sided_high"),
        alpha=levels.alpha,
        flips=flips,
        p_value=None if untested else at("p_value"),
        margin=margin,
        n_changed=0 if estimate is None else int(estimate.n_changed[index]),
        max_drop=gate,
    )


def _paired_means(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """Both means over the units that have both scores, so that they differ by the drop."""
    both = ~np.isnan(after)
    if not both.any():
        return float("nan"), float("nan")
    return float(before[both].mean()), float(after[both].mean())


def _margin(metric: Metric, gate: float | None) -> float:
    return gate if metric.is_agreement and gate is not None else 0.0


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _gates(max_drop: Gates, slices: Mapping[str, Rows]) -> dict[str, float | None]:
    if max_drop is None or isinstance(max_drop, int | float):
        gates: dict[str, float | None] = dict.fromkeys(slices, max_drop)
    else:
        strangers = [name for name in max_drop if name not in slices]
        if strangers:
            raise SettingsError(
                f"a gate names {strangers[0]!r}, which is no slice",
                next_step="Name one of the audit's slices.",
            )
        gates = {name: max_drop.get(name) for name in slices}
    for name, gate in gates.items():
        if gate is not None and not 0 < gate < np.inf:
            raise SettingsError(
                f"max_drop of {name} is {gate}",
                next_step="Give the drop that is tolerable, above 0.",
            )
    return gates
