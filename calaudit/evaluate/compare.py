"""Every engine against FP32 on every slice, by one metric."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SettingsError
from calaudit.evaluate.comparison import Comparison, Flips, MinSupport
from calaudit.evaluate.measure import Measured, measure_by
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.scores import Scores
from calaudit.evaluate.statistics.interval import Levels
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
    measure = measure_by(metric, reference, list(candidates.values()), levels, seed)
    measured = {
        name: measure(name, rows, _margin(metric, gates[name])) for name, rows in slices.items()
    }
    return [
        _comparison((cell, name, metric), measured[name], index, gates[name], levels)
        for index, cell in enumerate(candidates)
        for name in slices
    ]


def _comparison(
    of: tuple[str, str, Metric],
    measured: Measured,
    index: int,
    gate: float | None,
    levels: Levels,
) -> Comparison:
    cell, slice_name, metric = of
    estimate = measured.estimate
    low, high, one_sided_low, one_sided_high = map(_finite, estimate.ends[:, index])
    flips = measured.flips
    untested = metric.is_agreement and gate is None
    return Comparison(
        cell=cell,
        slice=slice_name,
        metric=metric,
        n=int(measured.n[index]),
        n_left_out=measured.n_left_out,
        n_broken=int(measured.n_broken[index]),
        reference=_finite(measured.before[index]),
        candidate=_finite(measured.after[index]),
        drop=_finite(estimate.drop[index]),
        low=low,
        high=high,
        level=levels.level,
        interval=estimate.interval[index],
        one_sided_low=one_sided_low,
        one_sided_high=one_sided_high,
        alpha=levels.alpha,
        flips=None if flips is None else Flips(int(flips[0][index]), int(flips[1][index])),
        p_value=None if untested else _finite(estimate.p_value[index]),
        margin=_margin(metric, gate),
        n_changed=int(estimate.n_changed[index]),
        max_drop=gate,
    )


def _margin(metric: Metric, gate: float | None) -> float:
    return gate if metric.is_agreement and gate is not None else 0.0


def _finite(value: float) -> float | None:
    return float(value) + 0.0 if np.isfinite(value) else None  # + 0.0: no -0.0 in reports


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
