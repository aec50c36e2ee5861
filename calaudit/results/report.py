"""All that an audit found, as one frozen value; its verdict, and the exit status for that.

Every value is plain: text, integers, floats, ``None``. A number that isn't finite is ``None``, so
that JSON never holds NaN; numpy scalars become Python's. Orders are meaningful and kept:
`Report.metrics` starts with the headline metric, slices with the slice of everything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from calaudit.results.audited import (
    Agreement,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    ComparedRanges,
    MetricRecord,
    ReferenceRecord,
    SliceRecord,
)
from calaudit.results.bench import BenchRecord
from calaudit.results.comparison import Result, Verdict
from calaudit.results.drops import Attribution, Exemplars, Gap, Screened
from calaudit.results.explanation import Explanation
from calaudit.results.harm import HarmRecord
from calaudit.results.pictures import Pictures
from calaudit.results.rankings import RankingFlow
from calaudit.results.recommendation import Recommendation
from calaudit.results.values import Name, Size
from calaudit.runtime.errors import Notice
from calaudit.version import __version__

EXIT_STATUS: Mapping[Verdict, int] = {
    Verdict.PASS: 0,
    Verdict.REGRESSED: 1,
    Verdict.INCONCLUSIVE: 3,
}
"""Exit status per verdict; 2 is kept for bad input and configuration."""

_GRAVE = (
    ("predicted",),
    ("reference_", "mean_units", "std_units", "probabilities", "random_ops"),
    ("no_gates", "nothing_judged", "gate_"),
    ("calibset_",),
    ("precision_", "nothing_quantized", "weakly_typed"),
    ("cell_failed", "units_"),
)
"""How codes begin that are told before others, the gravest first: engines that are predictions,
what makes all other numbers doubtful, gates, leaks, precision, what is missing."""
_SINGLE = ("_tap", "_taps", "_channel")
"""How codes end of what is known of one tensor: there may be hundreds, and they are told last."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that an audit found. Make one with :func:`calaudit.results.report.assemble`."""

    calaudit_version: Name
    """The release that wrote it."""
    created: str
    """ISO 8601, UTC."""
    verdict: Verdict
    """Of the whole audit: candidates decide."""
    audit: AuditRecord
    """The audit's settings, inputs and environment."""
    metrics: tuple[MetricRecord, ...]
    """The first is the headline metric."""
    reference: ReferenceRecord
    """The FP32 engine."""
    calibsets: tuple[CalibsetRecord, ...]
    """One for each calibration set."""
    cells: tuple[CellRecord, ...]
    """One for each engine."""
    slices: tuple[SliceRecord, ...]
    """The slice of everything comes first."""
    results: tuple[Result, ...]
    """In the order of their cell, slice and metric."""
    ranking_flow: tuple[RankingFlow, ...] = ()
    """Of ranking tasks: losses by cause and exposure that moved, per cell and cut."""
    exemplars: tuple[Exemplars, ...] = ()
    """Samples that flip under most engines, per metric."""
    pictures: tuple[Pictures, ...] = ()
    """Samples that lost most, with what is true of them and what engines say, per metric."""
    attribution: tuple[Attribution, ...] = ()
    """Drops split into the best set's drop, the excess of this set, and between-draw variation."""
    gaps: tuple[Gap, ...] = ()
    """The worst slice of each cell against everyone else."""
    screening: tuple[Screened, ...] = ()
    """Results without a gate that lose significantly, the most significant loss first."""
    agreement: tuple[Agreement, ...] = ()
    """Of engines run on two targets: how near their outputs are, per output."""
    compared_ranges: tuple[ComparedRanges, ...] = ()
    """Where a backend's own ranges differ from calaudit's of the same sets."""
    harm: HarmRecord | None = None
    """What the ranges of each engine are predicted to do to each slice; None where no engine is
    INT8."""
    explanations: tuple[Explanation, ...] = ()
    """What is behind the drops of harmed slices, as experiments on the tuning rows found it; empty
    where nobody asked."""
    recommendation: Recommendation | None = None
    """What to ship, where that was asked."""
    bench: BenchRecord | None = None
    """What the engines cost: memory, latency, throughput; None where nobody asked."""
    warnings: tuple[Notice, ...] = ()
    """What didn't stop the audit but belongs to it, by importance: predictions and what is wrong
    with FP32 itself come first, what is known of single taps last."""
    timings: Mapping[str, Size] = field(default_factory=dict)
    """Stage → seconds of wall time. With `created`, all that differs between equal runs."""

    def _repr_html_(self) -> str:
        """What notebooks show: verdict, findings, heat map."""
        from calaudit.report.html.page import notebook_html

        return notebook_html(self)


def overall_verdict(results: Iterable[Result], cells: Iterable[CellRecord] = ()) -> Verdict:
    """The verdict of the whole audit.

    It looks at candidates alone. REGRESSED if any gated result regressed; else INCONCLUSIVE if any
    gated result is, or has no verdict, if a cell failed, or if nothing was judged by a gate at
    all, since what wasn't judged can't pass; else PASS. Results without a gate, and those of
    controls, inform and don't count.
    """
    cells = tuple(cells)
    verdicts = {result.verdict for result in _deciding(results, cells)}
    if Verdict.REGRESSED in verdicts:
        return Verdict.REGRESSED
    failed = any(cell.status == "failed" for cell in cells if cell.role == "candidate")
    return Verdict.PASS if verdicts == {Verdict.PASS} and not failed else Verdict.INCONCLUSIVE


def _deciding(results: Iterable[Result], cells: Iterable[CellRecord]) -> tuple[Result, ...]:
    """Results whose gates decide."""
    controls = {cell.id for cell in cells if cell.role == "control"}
    return tuple(r for r in results if r.gate is not None and r.cell not in controls)


def unjudged(results: Iterable[Result], cells: Iterable[CellRecord]) -> str | None:
    """Why no gate applied, and what to do; None where one did."""
    results, cells = tuple(results), tuple(cells)
    if _deciding(results, cells):
        return None
    candidates = [cell for cell in cells if cell.role == "candidate"]
    if not cells:
        return "no engine was made, so nothing could pass or regress"
    if not candidates:
        return (
            "every calibration set is a control, so no candidate was evaluated: add one "
            'without role = "control"'
        )
    if all(cell.status != "judged" for cell in candidates):
        return f"no {'engine' if candidates == list(cells) else 'candidate'} could be evaluated"
    return "nothing is gated, so nothing could pass or regress: add [[gates]] to the audit file"


def exit_status(report: Report) -> int:
    """0 the candidates keep every gate, 1 one regressed, 3 neither is certain."""
    return EXIT_STATUS[report.verdict]


def assemble(
    *,
    audit: AuditRecord,
    metrics: Iterable[MetricRecord],
    reference: ReferenceRecord,
    calibsets: Iterable[CalibsetRecord],
    cells: Iterable[CellRecord],
    slices: Iterable[SliceRecord],
    results: Iterable[Result],
    warnings: Iterable[Notice] = (),
    ranking_flow: Iterable[RankingFlow] = (),
    exemplars: Iterable[Exemplars] = (),
    pictures: Iterable[Pictures] = (),
    attribution: Iterable[Attribution] = (),
    gaps: Iterable[Gap] = (),
    screening: Iterable[Screened] = (),
    agreement: Iterable[Agreement] = (),
    compared_ranges: Iterable[ComparedRanges] = (),
    harm: HarmRecord | None = None,
    timings: Mapping[str, float] | None = None,
    created: datetime | None = None,
) -> Report:
    """Put a report together: results in a fixed order, warnings once each, the verdict drawn.

    A report without a gated candidate is inconclusive, with the warning ``no_gates`` or
    ``nothing_judged``; each failed cell adds the warning ``cell_failed``.

    Parameters
    ----------
    audit, metrics, reference, calibsets, cells, slices
        In the order the report keeps; the first metric is the headline.
    results : iterable of Result
        In any order.
    warnings : iterable of Notice
        In any order; repeated ones count once.
    ranking_flow, exemplars, pictures, attribution, gaps, screening, agreement, compared_ranges
        In the order the report keeps.
    harm : HarmRecord, optional
    timings : mapping of str to float, optional
        Stage → seconds.
    created : datetime, optional
        Aware; now by default.
    """
    metrics, cells, slices = tuple(metrics), tuple(cells), tuple(slices)
    place = {
        "cell": {cell.id: i for i, cell in enumerate(cells)},
        "slice": {each.name: i for i, each in enumerate(slices)},
        "metric": {metric.name: i for i, metric in enumerate(metrics)},
    }

    def position(result: Result) -> tuple[int, ...]:
        named = (result.cell, result.slice, result.metric)
        return tuple(
            known.get(name, len(known)) for known, name in zip(place.values(), named, strict=True)
        )

    ordered = tuple(sorted(results, key=position))
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    return Report(
        audit=audit,
        metrics=metrics,
        reference=reference,
        calibsets=tuple(calibsets),
        cells=cells,
        slices=slices,
        results=ordered,
        verdict=overall_verdict(ordered, cells),
        warnings=_settled({*warnings, *_own_warnings(ordered, cells)}),
        calaudit_version=__version__,
        created=moment.isoformat(timespec="seconds"),
        timings=dict(timings or {}),
        ranking_flow=tuple(ranking_flow),
        exemplars=tuple(exemplars),
        pictures=tuple(pictures),
        attribution=tuple(attribution),
        gaps=tuple(gaps),
        screening=tuple(screening),
        agreement=tuple(agreement),
        compared_ranges=tuple(compared_ranges),
        harm=harm,
    )


def _own_warnings(results: Iterable[Result], cells: Iterable[CellRecord]) -> Iterable[Notice]:
    results, cells = tuple(results), tuple(cells)
    reason = unjudged(results, cells)
    # where every engine failed, their own warnings say so
    if reason is not None and (results or not cells):
        gated = any(result.gate is not None for result in results)
        yield Notice("nothing_judged" if gated else "no_gates", reason, "audit")
    for cell in cells:
        if cell.status == "failed":
            yield Notice("cell_failed", cell.reason or "it wasn't evaluated", f"cell {cell.id}")


def _importance(code: str) -> int:
    """What is told first has the lowest."""
    if code.endswith(_SINGLE):
        return len(_GRAVE) + 1
    return next((i for i, starts in enumerate(_GRAVE) if code.startswith(starts)), len(_GRAVE))


def _settled(warnings: Iterable[Notice]) -> tuple[Notice, ...]:
    return tuple(
        sorted(
            warnings,
            key=lambda each: (
                _importance(each.code),
                each.code,
                each.where or "",
                each.message,
            ),
        )
    )
