"""What the ranges of an audit's engines are predicted to do to each slice, for its report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.calibration.harm import Harm, HarmCurves, harm_curves, least_harm
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.minimax import MOST_TOGETHER, minimax_ranges
from calaudit.calibration.observation import Observation
from calaudit.formats.predictions import Predictions
from calaudit.graph.file_ranges import FileRange
from calaudit.results.comparison import Verdict
from calaudit.results.harm import (
    MOST_TAPS,
    CellHarm,
    HarmRank,
    HarmRecord,
    SliceHarm,
    TapHarm,
)
from calaudit.results.values import filled
from calaudit.runtime.errors import Notice
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.rank_prediction import rank_agreement
from calaudit.steps.agreement import squared_differences
from calaudit.tasks.reduction import Scoring

Floats = NDArray[np.float64]

_DIGITS: Final = 4
"""Significant ones that a report keeps."""


def predicted_harm(
    audit: Audit,
    seen: Observation,
    scales: Mapping[str, Mapping[str, float]],
    *,
    reference: Predictions,
    cells: Mapping[str, Predictions],
    comparisons: Sequence[Comparison],
) -> HarmRecord:
    """Predict every Q/DQ engine's harm, and rank the engines by it and by what was measured.

    Parameters
    ----------
    audit : Audit
    seen : Observation
        Of the slices of the tuning rows.
    scales : mapping
        Cell → tap → scale, of INT8 engines.
    reference : Predictions
        FP32's.
    cells : mapping
        Cell → its predictions.
    comparisons : sequence of Comparison
        Of all cells.
    """
    path = audit.plan.slice_ranges
    names = tuple(name for name in audit.slices.names if name in seen.groups)
    members = seen.members[[seen.groups.index(name) for name in names]]
    own = {cell.id for cell in audit.plan.cells if cell.given == "qdq" or cell.foreign}
    tables = {
        cell: table
        for cell, table in scales.items()
        if cell in own and any(tap in table for tap in seen.histograms.taps)
    }
    histograms = _quantized(seen.histograms, tables)
    harms = _harms(histograms, tables, names, members)
    for cell in audit.plan.cells:
        if cell.foreign is not None and cell.id in harms:
            harms[cell.id] = _by_steps(harms[cell.id], audit.foreign[cell.foreign].ranges)
    errors = {cell: _output_errors(audit, names, cells[cell], reference) for cell in tables}
    records = tuple(_record(cell, harms[cell], tables[cell], errors[cell]) for cell in tables)
    whole = [each for each in records if harms[each.cell].taps == histograms.taps]
    every: HarmCurves | None = None
    if len(names) <= MOST_TOGETHER:  # of more, the harm at all amaxes is gigabytes
        every = harm_curves(histograms, groups=names, members=members)
        reached = every.least(beside=harms.values())
    else:
        reached = least_harm(histograms, members=members, beside=harms.values())
    least = _least(reached, whole)
    counts = audit.pool_slices.take(audit.tuning.observed).counts()
    mine = [
        cell.id
        for cell in audit.plan.cells
        if cell.id in tables and cell.backend == audit.config.audit.backend and not cell.foreign
    ]
    total = _table([harms[cell].sums() for cell in mine], len(names))
    measured: dict[str | None, Floats] = {None: _table([errors[c] for c in mine], len(names))}
    measured.update(_drops(audit, names, mine, comparisons))
    return HarmRecord(
        tune=audit.tuning.predicate,
        rows=len(audit.tuning.rows),
        observed=len(audit.tuning.observed),
        taps=len(histograms.taps),
        slices=tuple(
            SliceHarm(name, counts[name], value) for name, value in zip(names, least, strict=True)
        ),
        bound=_bound(histograms, names, members, whole, every),
        cells=records,
        ranks=tuple(
            filled(HarmRank, rank_agreement(total, values, seed=audit.seed), metric=metric)
            for metric, values in measured.items()
        ),
        file=None if path is None else path.relative_to(audit.folder).as_posix(),
    )


def _quantized(histograms: Histograms, tables: Mapping[str, Mapping[str, float]]) -> Histograms:
    """Without the taps that every engine leaves in float; all where there is no engine."""
    held = [
        place
        for place, tap in enumerate(histograms.taps)
        if not tables or any(tap in table for table in tables.values())
    ]
    if len(held) == len(histograms.taps):
        return histograms
    return Histograms(
        tuple(histograms.taps[place] for place in held),
        histograms.counts[held],
        histograms.n_zero[held],
        histograms.amax[held],
    )


def _harms(
    histograms: Histograms,
    tables: Mapping[str, Mapping[str, float]],
    names: tuple[str, ...],
    members: NDArray[np.bool_] | Floats,
) -> dict[str, Harm]:
    """Each cell's harm, all by one pass over the histograms. Taps that stay in float do none."""
    taps = histograms.taps
    held = np.array([[tap in table for table in tables.values()] for tap in taps], bool)
    amax = np.array([[N_STEPS * table.get(tap, 1.0) for table in tables.values()] for tap in taps])
    if not tables:
        return {}
    curves = harm_curves(histograms, amax, groups=names, members=members)
    found = {}
    for place, cell in enumerate(tables):
        whole = curves.at(np.full(len(taps), place))
        kept = held[:, place]
        found[cell] = Harm(
            tuple(tap for tap, is_held in zip(taps, kept, strict=True) if is_held),
            names,
            whole.clipping[kept],
            whole.resolution[kept],
            whole.power[kept],
        )
    return found


def _by_steps(harm: Harm, ranges: Mapping[str, FileRange]) -> Harm:
    """Harm of a file's own steps, given that of the symmetric ranges that cover its ranges.

    Rounding's squared error goes with the square of the step.
    """
    ratios = [ranges[tap].finer for tap in harm.taps]
    return replace(harm, resolution=harm.resolution * np.square(ratios)[:, None])


def _least(reached: Floats, whole: Sequence[CellHarm]) -> tuple[float, ...]:
    """Of each slice; as rounded, no more than that of an engine with ranges of all taps."""
    found = np.array([_short(reached), *(each.total for each in whole)])
    least: list[float] = found.min(axis=0).tolist()
    return tuple(least)


def _bound(
    histograms: Histograms,
    names: tuple[str, ...],
    members: NDArray[np.bool_] | Floats,
    whole: Sequence[CellHarm],
    every: HarmCurves | None,
) -> float | None:
    """For all slices at once; no more than that of an engine, whose ranges lie between amaxes."""
    if not histograms.taps:
        return None
    free = minimax_ranges(histograms, groups=names, members=members, coarse=every)
    return min([*_short([free.found.bound]), *(max(each.total) for each in whole)])


def _output_errors(
    audit: Audit, names: Sequence[str], cell: Predictions, reference: Predictions
) -> Floats:
    """(S,) squared difference of the first task's output over its sum of squares; NaN: none.

    For a task that reads several outputs the mean over all that are kept.
    """
    differences = _differences(audit, cell, reference)
    found = np.full((max(len(differences), 1), len(names)), np.nan)
    for errors, (lost, power) in zip(found, differences, strict=False):
        total = audit.slices.sums(power, names)
        np.divide(audit.slices.sums(lost, names), total, out=errors, where=total > 0)
    kept = found[~np.isnan(found).all(axis=1)]
    whole: Floats = kept.mean(axis=0) if len(kept) else found[0]
    return whole


def _differences(
    audit: Audit, cell: Predictions, reference: Predictions
) -> list[tuple[Floats, Floats]]:
    """As `squared_differences`, of each output; none where outputs aren't kept."""
    scores = audit.eval_sets[0].reduction
    if isinstance(scores, Scoring) and scores.scores_of(cell):
        return [scores.squared_differences(cell)]
    kept = [name for name in cell.output_names if name in reference.output_names]
    own = audit.eval_sets[0].outputs
    read = kept if len(own) > 1 else [name for name in kept if name in own]
    return [squared_differences(name, cell, reference, audit.evaluated) for name in read]


def _record(cell: str, harm: Harm, table: Mapping[str, float], errors: Floats) -> CellHarm:
    worst = harm.total.max(axis=1)
    listed = np.argsort(-worst, kind="stable")[:MOST_TAPS]
    return CellHarm(
        cell=cell,
        clipping=_short(harm.clipping.sum(axis=0)),
        resolution=_short(harm.resolution.sum(axis=0)),
        output_error=tuple(
            None if np.isnan(error) else _short([error])[0] for error in errors.tolist()
        ),
        taps=tuple(
            TapHarm(
                harm.taps[tap],
                N_STEPS * table[harm.taps[tap]],
                _short(harm.clipping[tap]),
                _short(harm.resolution[tap]),
            )
            for tap in listed
        ),
    )


def _short(values: Iterable[float]) -> tuple[float, ...]:
    """Numbers with as many digits as they are worth."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)


def _table(columns: Sequence[Floats], n_slices: int) -> Floats:
    """(S, C), also where there are no cells."""
    return np.array(columns, np.float64).reshape(len(columns), n_slices).T


def _drops(
    audit: Audit, names: Sequence[str], cells: Sequence[str], comparisons: Sequence[Comparison]
) -> dict[str, Floats]:
    """Metric → the drop of each cell on each slice (S, C); NaN where there is none."""
    metrics = [metric.name for eval_set in audit.eval_sets for metric in eval_set.metrics]
    found = {metric: np.full((len(names), len(cells)), np.nan) for metric in metrics}
    row = {name: place for place, name in enumerate(names)}
    column = {cell: place for place, cell in enumerate(cells)}
    for one in comparisons:
        if one.slice in row and one.cell in column and one.drop is not None:
            found[one.metric][row[one.slice], column[one.cell]] = one.drop
    return found


def harm_notices(record: HarmRecord, comparisons: Sequence[Comparison]) -> Iterator[Notice]:
    """``harm_weak``: predictions that don't rank the audit's own engines as it measured them.

    By the outputs' error, and by the drops of gated metrics. Where none has regressed that is said
    too, since small drops can't be ranked by anything.
    """
    gated = {one.metric for one in comparisons if one.verdict is not None}
    regressed = {one.metric for one in comparisons if one.verdict == Verdict.REGRESSED}
    weak = []
    for rank in record.ranks:
        if not rank.weak or (rank.metric is not None and rank.metric not in gated):
            continue
        what = "the error of their outputs" if rank.metric is None else f"drops of {rank.metric}"
        few = (
            "" if rank.metric is None or rank.metric in regressed else ", no regression among them"
        )
        weak.append(f"{what} ({rank.correlation:.2f}, p = {rank.p_value:.2g}{few})")
    if weak:
        message = (
            "hardly ranks these engines within slices as they were measured: rank correlation with "
            f"{' and '.join(weak)}. Don't choose ranges by it without running engines"
        )
        yield Notice("harm_weak", message, "predicted harm")
