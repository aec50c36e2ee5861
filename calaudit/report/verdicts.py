"""The verdict of the whole, and the exit status that stands for it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from calaudit.errors import Notice
from calaudit.report.compared import ComparedRangesRecord
from calaudit.report.faults import AttributionRecord, GapRecord, ScreenedRecord
from calaudit.report.rankings import ExemplarsRecord, RankingRecord
from calaudit.report.records import (
    AgreementRecord,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    MetricRecord,
    ReferenceRecord,
    Report,
    ResultRecord,
    SliceRecord,
    Verdict,
)
from calaudit.version import __version__

EXIT_STATUS: Mapping[Verdict, int] = {"PASS": 0, "REGRESSED": 1, "INCONCLUSIVE": 3}
"""Exit status per verdict; 2 is kept for bad input and configuration."""


def overall_verdict(results: Iterable[ResultRecord], cells: Iterable[CellRecord] = ()) -> Verdict:
    """The verdict of the whole audit.

    REGRESSED if any gated result regressed; else INCONCLUSIVE if any gated result is, or has no
    verdict, or if a cell failed, since what wasn't judged can't pass; else PASS. Results without
    a gate inform and don't count.
    """
    verdicts = {result.verdict for result in results if result.gate is not None}
    if "REGRESSED" in verdicts:
        return "REGRESSED"
    failed = any(cell.status == "failed" for cell in cells)
    return "INCONCLUSIVE" if failed or verdicts - {"PASS"} else "PASS"


def exit_status(report: Report) -> int:
    """0 every gate passed, 1 something regressed, 3 nothing regressed but some is inconclusive."""
    return EXIT_STATUS[report.verdict]


def assemble(
    *,
    audit: AuditRecord,
    metrics: Iterable[MetricRecord],
    reference: ReferenceRecord,
    calibsets: Iterable[CalibsetRecord],
    cells: Iterable[CellRecord],
    slices: Iterable[SliceRecord],
    results: Iterable[ResultRecord],
    warnings: Iterable[Notice] = (),
    ranking_flow: Iterable[RankingRecord] = (),
    exemplars: Iterable[ExemplarsRecord] = (),
    attribution: Iterable[AttributionRecord] = (),
    gaps: Iterable[GapRecord] = (),
    screening: Iterable[ScreenedRecord] = (),
    agreement: Iterable[AgreementRecord] = (),
    compared_ranges: Iterable[ComparedRangesRecord] = (),
    timings: Mapping[str, float] | None = None,
    created: datetime | None = None,
) -> Report:
    """Put a report together: results in a fixed order, warnings once each, the verdict drawn.

    Without any gate there is the warning ``no_gates``; each failed cell adds the warning
    ``cell_failed``.

    Parameters
    ----------
    audit, metrics, reference, calibsets, cells, slices
        In the order the report keeps; the first metric is the headline.
    results : iterable of ResultRecord
        In any order.
    warnings : iterable of Notice
        In any order; repeated ones count once.
    ranking_flow, exemplars, attribution, gaps, screening, agreement, compared_ranges
        In the order the report keeps.
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

    def position(result: ResultRecord) -> tuple[int, ...]:
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
        attribution=tuple(attribution),
        gaps=tuple(gaps),
        screening=tuple(screening),
        agreement=tuple(agreement),
        compared_ranges=tuple(compared_ranges),
    )


def _own_warnings(results: Iterable[ResultRecord], cells: Iterable[CellRecord]) -> Iterable[Notice]:
    results, cells = tuple(results), tuple(cells)
    any_judged = bool(results) or not cells
    if any_judged and all(result.gate is None for result in results):
        yield Notice("no_gates", "no result has a gate, so nothing could regress", "audit")
    for cell in cells:
        if cell.status == "failed":
            yield Notice("cell_failed", cell.reason or "it wasn't judged", f"cell {cell.id}")


def _settled(warnings: Iterable[Notice]) -> tuple[Notice, ...]:
    return tuple(sorted(warnings, key=lambda each: (each.code, each.where or "", each.message)))
