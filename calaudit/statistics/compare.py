"""Every engine against FP32 on every slice, by one metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores, SetScores
from calaudit.results.comparison import Flips, Gate
from calaudit.runtime.errors import SettingsError, near
from calaudit.statistics.criteria import Comparison, MinSupport, Tolerance
from calaudit.statistics.estimate import Levels
from calaudit.statistics.measure import Measured, Method, measure, measure_sums
from calaudit.statistics.power import ANY_SIZE, smallest_provable_drop, units_to_prove
from calaudit.statistics.sums import Sums
from calaudit.statistics.tally import Slices, describe_units, names_of
from calaudit.statistics.verdict import judge

_ROUNDING = 1e-6

Gates = float | Tolerance | Mapping[str, float | Tolerance] | None
"""Largest drop allowed: on every slice, by slice, or none. A number is absolute."""


def compare_cells(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    max_drop: Gates = None,
    min_support: MinSupport | None = None,
    clusters: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Compare and judge: `compare`, then `judge`, all gated comparisons being one family."""
    found = compare(
        metric,
        reference,
        candidates,
        slices,
        max_drop=max_drop,
        clusters=clusters,
        weights=weights,
        seed=seed,
        level=level,
        alpha=alpha,
    )
    return judge(found, min_support=min_support)


def compare(
    metric: Metric,
    reference: Scores,
    candidates: Mapping[str, Scores],
    slices: Slices,
    *,
    max_drop: Gates = None,
    clusters: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Drops with their intervals and tests, not judged yet.

    Parameters
    ----------
    metric : Metric
    reference : Scores
        FP32's, over n units; for an agreement metric see `calaudit.metrics.scoring.perfect`.
    candidates : mapping
        Cell → the engine's scores of the same units, in the same order.
    slices : SliceSet or mapping
        Over the units; a mapping gives the positions of each slice's units, each once. Slices may
        overlap.
    max_drop : float, Tolerance or mapping, optional
        Gate of every slice, or of the slices it names.
    clusters : array of integers (n,), optional
        Units of equal number belong together: one speaker's, one user's, one image at several
        noise levels. Without, units are taken as independent.
    weights : array (n,), optional
        How much each unit counts; not for set metrics.
    seed : int
        Of the replicates. A result depends on the seed, not on which other slices and cells are
        compared.
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
        Scores of different lengths or kinds, a gate for a slice that isn't there, clusters or
        weights that don't fit.
    """
    gates = _gates(max_drop, names_of(slices))
    for cell, scores in candidates.items():
        if len(scores) != len(reference) or type(scores) is not type(reference):
            raise SettingsError(
                f"cell {cell} has {len(scores)} units of {metric}, FP32 has {len(reference)}"
            )
    if isinstance(reference, SetScores) and weights is not None:
        raise SettingsError(f"units of {metric} can't be weighted: it is a function of whole sets")
    units = describe_units(len(reference), clusters, weights)
    method = Method(Levels(level, alpha), seed)
    parts = measure(
        reference,
        list(candidates.values()),
        slices,
        units,
        margins=lambda name, before: _margins(metric, gates[name], before),
        method=method,
    )
    return _comparisons(metric, list(candidates), list(parts), gates, method.levels)


def compare_sums(
    metric: Metric,
    cells: Sequence[str],
    parts: Sequence[Sums],
    *,
    max_drop: Gates = None,
    seed: int = 0,
    level: float = 0.95,
    alpha: float = 0.05,
) -> list[Comparison]:
    """`compare` from sums that were added up elsewhere, batch by batch.

    Parameters
    ----------
    metric : Metric
    cells : sequence of str
        In the order of the sums.
    parts : sequence of Sums
        Each over slices of its own.
    max_drop, seed, level, alpha
        As for `compare`.
    """
    gates = _gates(max_drop, [name for sums in parts for name in sums.slices])
    method = Method(Levels(level, alpha), seed)
    measured = [
        measure_sums(
            metric, sums, lambda name, before: _margins(metric, gates[name], before), method
        )
        for sums in parts
    ]
    return _comparisons(metric, cells, measured, gates, method.levels)


def _comparisons(
    metric: Metric,
    cells: Sequence[str],
    parts: Sequence[Measured],
    gates: Mapping[str, Tolerance | None],
    levels: Levels,
) -> list[Comparison]:
    return [
        _comparison((cell, metric), measured, (index, place), gates[name], levels)
        for index, cell in enumerate(cells)
        for measured in parts
        for place, name in enumerate(measured.slices)
    ]


def _comparison(
    of: tuple[str, Metric],
    measured: Measured,
    at: tuple[int, int],
    gate: Tolerance | None,
    levels: Levels,
) -> Comparison:
    cell, metric = of
    estimate, flips = measured.estimate, measured.flips
    low, high, one_sided_low, one_sided_high = map(
        _finite, estimate.ends[(slice(None), *at)].tolist()
    )
    reference = _finite(measured.before[at])
    untested = metric.is_agreement and gate is None
    clusters = measured.n_clusters
    return Comparison(
        cell=cell,
        slice=measured.slices[at[1]],
        metric=metric.name,
        by=metric,
        n=int(measured.n[at]),
        n_left_out=int(measured.n_left_out[at[1]]),
        n_broken=int(measured.n_broken[at]),
        reference=reference,
        candidate=_finite(measured.after[at]),
        drop=_finite(estimate.drop[at]),
        low=low,
        high=high,
        level=levels.level,
        interval=estimate.interval[at],
        one_sided_low=one_sided_low,
        one_sided_high=one_sided_high,
        alpha=levels.alpha,
        flips=None if flips is None else Flips(int(flips[0][at]), int(flips[1][at])),
        p_value=None if untested else _finite(estimate.p_value[at]),
        margin=0.0 if gate is None else float(_margins(metric, gate, measured.before[at])),
        n_changed=int(estimate.n_changed[at]),
        n_clusters=None if clusters is None else int(clusters[at[1]]),
        design_effect=_finite(estimate.design_effect[at]),
        gate=None if gate is None else _gate(gate, measured.before[at]),
        standard_error=_finite(estimate.error[at]),
        plain_high=_finite(estimate.plain[at]),
        **_provable(metric, measured, at, gate, levels.alpha),
    )


def _provable(
    metric: Metric,
    measured: Measured,
    at: tuple[int, int],
    gate: Tolerance | None,
    alpha: float,
) -> dict[str, Any]:
    """What as many units could prove, if not one changed."""
    n, independent = int(measured.n[at]), _finite(measured.estimate.independent[at])
    if not n or not independent:
        return {}
    per_unit, influence = n / independent, measured.influence
    # A cluster may change as a whole.
    reach = None if influence is None else lambda m: influence(m * per_unit) * per_unit
    smallest = smallest_provable_drop(
        metric, independent, alpha=alpha, min_support=ANY_SIZE, influence=reach
    )
    enough = None
    if gate is not None and smallest is not None:
        allowed = gate.of(measured.before[at])
        enough = units_to_prove(metric, allowed, alpha=alpha, influence=reach)
    return {
        "n_effective": independent,
        "smallest_provable_drop": smallest,
        "n_to_prove": None if enough is None else math.ceil(enough * per_unit - _ROUNDING),
    }


def _gate(gate: Tolerance, reference: float) -> Gate:
    return Gate(gate.of(reference), gate.relative_at(reference))


def _margins(metric: Metric, gate: Tolerance | None, before: Any) -> NDArray[np.float64]:
    """What the test holds the drop against: 0, but the gate for agreement metrics."""
    flat = np.asarray(before, dtype=np.float64)
    if gate is None or not metric.is_agreement:
        return np.zeros_like(flat)
    return np.array([gate.of(value) for value in flat.ravel().tolist()]).reshape(flat.shape)


def _finite(value: float) -> float | None:
    return float(value) + 0.0 if math.isfinite(value) else None  # + 0.0: no -0.0 in reports


def _gates(max_drop: Gates, names: Sequence[str]) -> dict[str, Tolerance | None]:
    if max_drop is None or isinstance(max_drop, int | float | Tolerance):
        return dict.fromkeys(names, _tolerance(max_drop))
    strangers = sorted(set(max_drop) - set(names))
    if strangers:
        raise SettingsError(
            f"a gate names {strangers[0]!r}, which is no slice",
            next_step=near(strangers[0], names),
        )
    return {name: _tolerance(max_drop.get(name)) for name in names}


def _tolerance(gate: float | Tolerance | None) -> Tolerance | None:
    return Tolerance(gate) if isinstance(gate, int | float) else gate
