"""What is behind drops: predicted harm as taps × slices, explanations and their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from calaudit.report.explanations import explanation_lines
from calaudit.report.groups import engine_groups
from calaudit.report.harm import harm_sentences, number
from calaudit.report.index import Index, cell_parts
from calaudit.report.wording import MISSING, between, difference, in_sentence, unit_name
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL
from calaudit.results.drops import Part
from calaudit.results.explanation import Cause, Explanation, OpTrial, Suspect
from calaudit.results.harm import CellHarm, HarmRecord, TapHarm
from calaudit.results.values import finite
from calaudit.runtime.words import counted, visible

SHOWN_TABLES, SHOWN_SLICES, SHOWN_TAPS = 12, 8, 10
"""Engines, slices and taps of the map of harm: those with the most."""
TAPS_BESIDE_CURVE = 6
SHADES = (0.02, 0.08, 0.2, 0.4, 0.7)
"""Harm of a tap, over the largest in its table, at which it gets the next shade."""


@dataclass(frozen=True, slots=True)
class HarmEntry:
    """Predicted harm of one tap to one slice."""

    text: str
    """Percent of the engine's harm to this slice."""
    told: str
    """All of it in words."""
    shade: str
    """CSS class: the hue says whether clipping or resolution does more of it."""


@dataclass(frozen=True, slots=True)
class HarmTable:
    """One engine: slices × taps."""

    label: str
    taps: tuple[tuple[str, str], ...]
    """Names, and each one's amax."""
    rows: tuple[tuple[str, str, str, tuple[HarmEntry, ...]], ...]
    """Slice, harm of all taps, least possible (of an engine without an exemption), and an entry per
    tap."""
    left: int
    """Slices that aren't shown."""


@dataclass(frozen=True, slots=True)
class ExplainedDrop:
    """One explanation, as texts and as what its chart needs."""

    title: str
    cause: str
    """In a few words."""
    control: bool
    """Whether the engine is a control."""
    sentence: str
    lines: tuple[str, ...]
    """What belongs to the sentence."""
    unit: str
    metric: str
    gate: float | None
    curve: tuple[dict[str, Any], ...]
    """k, what was added, and the drop left with its ends, in `unit`."""
    suspects: tuple[tuple[str, ...], ...]
    trials: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Causes:
    """The page's part on causes."""

    tables: tuple[HarmTable, ...]
    sentences: tuple[str, ...]
    explained: tuple[ExplainedDrop, ...]

    @property
    def curves(self) -> list[dict[str, Any]]:
        """The explanations with a curve to draw, as JSON values for the scripts."""
        return [
            {
                "title": each.title,
                "unit": each.unit,
                "metric": each.metric,
                "gate": each.gate,
                "points": list(each.curve),
            }
            for each in self.explained
            if len(each.curve) > 1
        ]


def make_causes(index: Index) -> Causes | None:
    """The part on causes; None for a report that has nothing of it."""
    record, explained = index.report.harm, index.report.explanations
    curved = any(len(each.curve) > 1 for each in explained)
    n_taps = TAPS_BESIDE_CURVE if curved else SHOWN_TAPS
    tables = () if record is None else tuple(_tables(index, record, n_taps))
    if not tables and not explained:
        return None
    return Causes(
        tables,
        tuple(harm_sentences(index)),
        tuple(_explained(index, each) for each in explained),
    )


def _tables(index: Index, record: HarmRecord, n_taps: int) -> list[HarmTable]:
    """Of each group of engines the one whose ranges harm some slice most, the worst first."""
    known = {cell.cell: cell for cell in record.cells if cell.taps}
    worst = [
        max(own, key=_most)
        for group in engine_groups(index)
        if (own := [known[cell.id] for cell in group.cells if cell.id in known])
    ]
    shown = sorted(worst, key=lambda cell: -_most(cell))[:SHOWN_TABLES]
    return [_table(index, record, cell, n_taps) for cell in shown]


def _most(cell: CellHarm) -> float:
    return max(cell.total, default=0.0)


def _table(index: Index, record: HarmRecord, cell: CellHarm, n_taps: int) -> HarmTable:
    taps, totals = cell.taps[:n_taps], cell.total
    bounded = index.cells[cell.cell].exemption is None
    least = [each.least if bounded else 0.0 for each in record.slices]
    order = sorted(range(len(least)), key=lambda i: least[i] - totals[i])
    shown = order[:SHOWN_SLICES]
    top = max((_harm(tap, i) for tap in taps for i in shown), default=0.0)
    calibset, method = cell_parts(index.cells[cell.cell], index.report)
    return HarmTable(
        f"{visible(calibset)}, {visible(method)}",
        tuple((visible(tap.tap), f"{tap.amax:.3g}") for tap in taps),
        tuple(
            (
                visible(record.slices[i].slice),
                number(totals[i]),
                number(least[i]) if bounded else MISSING,
                tuple(_entry(tap, i, totals[i], top) for tap in taps),
            )
            for i in shown
        ),
        len(order) - len(shown),
    )


def _harm(tap: TapHarm, place: int) -> float:
    return tap.clipping[place] + tap.resolution[place]


def _entry(tap: TapHarm, place: int, total: float, top: float) -> HarmEntry:
    harm = _harm(tap, place)
    clipping, resolution = tap.clipping[place], tap.resolution[place]
    share = 100 * harm / total if total > 0 else 0.0
    step = sum(harm >= edge * top for edge in SHADES) if top > 0 else 0
    hue = "loss" if clipping > resolution else "gain"
    return HarmEntry(
        f"{share:.0f}" if share >= 1 else "·",
        f"{visible(tap.tap)}: harm {number(harm)}, of it {number(clipping)} clipping and "
        f"{number(resolution)} resolution",
        f"{hue}{step}" if step else "",
    )


def _explained(index: Index, one: Explanation) -> ExplainedDrop:
    metric = index.metrics[one.metric]
    sentence, *lines = explanation_lines(index, one)
    calibset, method = cell_parts(index.cells[one.cell], index.report)
    scale = 100.0 if metric.unit == "fraction" else 1.0
    points = [_point(metric, each.k, each.added, each.left, scale) for each in one.curve]
    return ExplainedDrop(
        f"{_place(one.slice)} under {visible(calibset)}, {visible(method)}: {in_sentence(metric)}",
        _cause(one),
        one.cell in index.controls,
        visible(sentence),
        tuple(map(visible, lines)),
        unit_name(metric),
        visible(metric.title),
        None if one.max_drop is None else finite(scale * one.max_drop),
        tuple(points),
        tuple(_suspect(each) for each in one.suspects),
        tuple(_trial(metric, each) for each in one.trials),
    )


_CAUSES: Final[Mapping[Cause, str]] = {
    Cause.NOTHING_FOUND: "nothing found that takes it back",
    Cause.NOT_ON_TUNING_ROWS: "not there on the tuning samples",
    Cause.TOO_FEW_ROWS: "too few tuning samples to tell",
    Cause.NOT_TRIED: "no experiment was run",
}


def _cause(one: Explanation) -> str:
    """``the range of hidden``, ``in part: 3 ranges``, ``the op head in INT8``."""
    if one.cause in _CAUSES:
        return _CAUSES[one.cause]
    if one.cause is Cause.WHOLE:
        return f"nothing single, {counted(len(one.taps), 'range')} together"
    ops = one.cause in {Cause.OPS, Cause.OPS_IN_PART}
    names = one.ops if ops else one.taps
    if len(names) == 1:
        what = f"the {'op' if ops else 'range of'} {visible(names[0])}{' in INT8' if ops else ''}"
    else:
        what = f"{counted(len(names), 'op' if ops else 'range')}{' in INT8' if ops else ''}"
    in_part = one.cause in {Cause.OPS_IN_PART, Cause.RANGES_IN_PART}
    return f"in part {what}" if in_part else what


def _place(name: str) -> str:
    return "overall" if name == ALL else visible(name)


def _point(
    metric: MetricRecord, k: int, added: Sequence[str], left: Part, scale: float
) -> dict[str, Any]:
    def scaled(value: float | None) -> float | None:
        return None if value is None else finite(float(f"{scale * value:.5g}"))

    return {
        "k": k,
        "added": ", ".join(map(visible, added)),
        "left": scaled(left.value),
        "low": scaled(left.low),
        "high": scaled(left.high),
        "text": _part(metric, left),
    }


def _part(metric: MetricRecord, part: Part | None) -> str:
    if part is None:
        return MISSING
    return f"{difference(metric, part.value)} ({between(metric, part.low, part.high)})"


def _suspect(one: Suspect) -> tuple[str, ...]:
    return (
        visible(one.tap),
        f"{one.amax:.4g}",
        f"{one.donor:.4g}",
        f"{100 * one.share:.0f} %",
        f"{100 * one.clipped:.2g} %",
        f"{one.steps}",
        MISSING if one.sensitivity is None else f"{one.sensitivity:.2g}",
    )


def _trial(metric: MetricRecord, one: OpTrial) -> tuple[str, ...]:
    return (
        visible(one.op),
        visible(one.op_type),
        _part(metric, one.left),
        _part(metric, one.alone),
    )
