"""An A/B replay on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.ab.rows import (
    LATENCY_HEAD,
    ResultRow,
    drop_head,
    failure_rows,
    latency_rows,
    result_rows,
    shown_results,
)
from calaudit.report.ab.sentences import alike, facts, headline, latency_legend, results_legend
from calaudit.report.tables import STYLE, Column, build_table
from calaudit.report.terminal import print_parts
from calaudit.results.ab import AbRecord
from calaudit.runtime.words import visible

SHOWN = 15
_WARNINGS = 8


def print_ab(
    record: AbRecord,
    *,
    limit: int | None = SHOWN,
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print what a replay found: verdict, latencies, results.

    Parameters
    ----------
    record : AbRecord
    limit : int, optional
        Rows of results; None: all.
    file, width
        As `calaudit.report.terminal.print_report` takes them.
    """
    print_parts(lambda wide: _parts(record, limit, wide), file=file, width=width)


def _parts(record: AbRecord, limit: int | None, width: int) -> Iterator[RenderableType]:
    partial = "" if record.complete else " (ended early)"
    yield Text.assemble(
        (f"{record.verdict}{partial}", STYLE[record.verdict]), "  ", headline(record)
    )
    yield Text()
    for line in facts(record):
        yield Text(line)
    yield Text()
    yield build_table("Latency, from when requests should have left", _latency(record), width=width)
    unknown = latency_legend(record)
    if unknown:
        yield Text(unknown, "dim")
    failed = failure_rows(record)
    if failed:
        heads = ("arm", "without a usable answer", "requests", "since request")
        columns = [
            Column(head, [Text(row[place]) for row in failed], folds_at=60 if place < 2 else None)
            for place, head in enumerate(heads)
        ]
        yield build_table("Failures", columns, width=width)
    rows = result_rows(record)
    shown = shown_results(rows, limit)
    if shown:
        columns = _results(shown, drop_head(record))
        yield build_table("Treatment against control", columns, width=width)
        for line in results_legend(record):
            yield Text(line, "dim")
    if len(rows) > len(shown):
        yield Text(f"… and {len(rows) - len(shown):,} more results in ab.json and ab.html", "dim")
    yield Text()
    for line in alike(record):
        yield Text(f"{line[:1].upper()}{line[1:]}")
    for notice in record.warnings[:_WARNINGS]:
        yield Text(f"note: {visible(str(notice))}")
    if len(record.warnings) > _WARNINGS:
        yield Text(f"… and {len(record.warnings) - _WARNINGS} more notes in ab.json", "dim")


def _latency(record: AbRecord) -> list[Column]:
    rows = latency_rows(record)
    return [
        Column(
            head,
            [Text(row[place]) for row in rows],
            folds_at=None if place else 40,
            optional={6: 2, 7: 1}.get(place, 0),
        )
        for place, head in enumerate(LATENCY_HEAD)
    ]


def _results(rows: Sequence[ResultRow], drop: str) -> list[Column]:
    units = sorted({row.unit for row in rows if row.unit})
    unit = f" ({units[0]})" if len(units) == 1 else ""

    def texts(name: str) -> list[Text]:
        return [Text(getattr(row, name)) for row in rows]

    styles = [STYLE[row.result.verdict] if row.result.verdict else "dim" for row in rows]
    return [
        Column("slice", [Text(visible(row.result.slice)) for row in rows], 34, 12),
        Column("metric", [Text(visible(row.metric.title)) for row in rows], 22),
        Column("requests", texts("n"), optional=3),
        Column("users", texts("users"), optional=2),
        Column("control", texts("control"), optional=5),
        Column("treatment", texts("treatment"), optional=6),
        Column(f"{drop}{unit}", texts("drop")),
        Column("interval", texts("interval")),
        Column("p", texts("p_value")),
        Column("watched", texts("watched"), optional=7),
        Column("decided at", texts("decided"), optional=4),
        Column("finds", texts("detectable"), optional=1),
        Column(
            "verdict",
            [Text(row.verdict, style) for row, style in zip(rows, styles, strict=True)],
            20,
        ),
    ]
