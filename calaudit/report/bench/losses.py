"""What an engine loses on its worst slice, with an interval that holds though it is the worst."""

import math
from dataclasses import dataclass

from calaudit.report.index import Index
from calaudit.report.wording import clearest_loss, unit_name
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import Result, Verdict
from calaudit.runtime.words import visible


@dataclass(frozen=True, slots=True)
class WorstLoss:
    """The largest drop of one engine over slices, in gates."""

    result: Result | None
    """The slice's whose loss an interval vouches for most, of those that regressed where some did;
    None for FP32 itself."""
    value: float
    """Its drop."""
    low: float | None
    """Some slice loses at least as much: the largest lower end that holds for all slices at once.
    None where none is known."""
    high: float | None
    """No slice loses more: the largest upper end. It holds without correction, since it is above
    the one of the slice that loses most. None where nothing bounds the drop somewhere."""
    bound: Result | None
    """The slice's that `high` is of, or where nothing bounds the drop."""
    n: int
    """Results that it is the worst of."""

    @property
    def sure(self) -> bool:
        """Whether some slice loses, by an interval or by the test that judged it."""
        regressed = self.result is not None and self.result.verdict == Verdict.REGRESSED
        return regressed or (self.low is not None and self.low > 0)


NOTHING_LOST = WorstLoss(None, 0.0, 0.0, 0.0, None, 0)
"""Of the FP32 reference, by definition."""


def told_results(index: Index, cell: str) -> list[Result]:
    """Results that a cell's loss is taken from.

    Those with a gate; without any gate in the report those of the headline metric, on slices that
    have their minimum support.
    """
    own = [result for result in index.report.results if result.cell == cell]
    if any(result.gate is not None for result in index.report.results):
        return [result for result in own if result.gate is not None]
    headline = index.report.metrics[0].name if index.report.metrics else None
    return [r for r in own if r.metric == headline and index.slices[r.slice].support_ok]


def worst_loss(index: Index, cell: str | None) -> WorstLoss | None:
    """The worst loss of an engine; None where nothing of it was measured.

    Parameters
    ----------
    index : Index
    cell : str or None
        Its id; None for the FP32 reference.
    """
    if cell is None:
        return NOTHING_LOST
    measured = [r for r in told_results(index, cell) if r.drop is not None or r.n_broken]
    if not measured:
        return None
    regressed = [r for r in measured if r.verdict == Verdict.REGRESSED]
    clearest = clearest_loss(index, regressed or measured)
    lows = [index.per_gate(r, r.joint_low) for r in measured if r.joint_low is not None]
    bound = max(measured, key=lambda r: _upper(index, r))
    high = _upper(index, bound)
    return WorstLoss(
        clearest,
        index.per_gate(clearest, clearest.drop),
        max(lows, default=None),
        None if math.isinf(high) else high,
        bound,
        len(measured),
    )


def _upper(index: Index, result: Result) -> float:
    """Upper end of a drop, in gates; infinite where it is unknown, or outputs aren't finite."""
    if result.high is None or result.n_broken:
        return math.inf
    return index.per_gate(result, result.high)


@dataclass(frozen=True, slots=True)
class LossScale:
    """What losses are shown in: one metric's unit, or gates where several differ."""

    title: str
    """Of an axis."""
    factor: float
    """What one gate is in it."""
    gate: float | None
    """The gate; None without one."""
    metric: MetricRecord | None
    """Whose unit it is; None for gates."""


def loss_scale(index: Index) -> LossScale:
    """In one metric's unit where one gate holds all slices, or none does; else in gates."""
    gates = {(r.metric, r.max_drop) for r in index.report.results if r.max_drop is not None}
    if len(gates) > 1:
        return LossScale("drop on the worst slice, in gates", 1.0, 1.0, None)
    if not gates and not index.report.metrics:
        return LossScale("drop on the worst slice", 1.0, None, None)
    name, gate = gates.pop() if gates else (index.report.metrics[0].name, None)
    metric = index.metrics[name]
    unit = unit_name(metric)
    title = f"drop of {visible(metric.title)} on the worst slice{f', {unit}' if unit else ''}"
    if not gate:  # a gate of 0 is no measure of drops, as `Index.per_gate` has it
        return LossScale(title, 1.0, gate, metric)
    shown = gate * (100.0 if metric.unit == "fraction" else 1.0)
    return LossScale(title, shown, shown, metric)
