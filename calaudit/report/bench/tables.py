"""The terminal's form of a bench: the table of each target, the sentence, what goes with it."""

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.bench.gains import RULE
from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_legend, bench_remarks
from calaudit.report.bench.rows import (
    PARETO,
    PER_SECOND,
    TAKEN,
    TITLE,
    BenchRow,
    bench_entries,
    bench_headings,
    bench_rows,
)
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.index import Index
from calaudit.report.tables import STYLE, Column, View, build_tables, more

_FOLDING: Final = {"engine": 36, "worst slice": 36, "verdict": 20}
"""Columns of text, and where they fold."""
_LEAST: Final = {"worst slice": 24}
"""Widths below which one goes into another table."""


def bench_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """The part on a bench; nothing where the report has none."""
    bench = bench_of(index)
    if bench is None:
        return
    for each in bench_rows(bench):
        rows = each.shown(every=view.limit is None)
        shown = rows[: view.limit]
        headings = bench_headings(bench, each)
        entries = zip(*(bench_entries(bench, each, row) for row in shown), strict=True)
        columns = [
            Column(
                heading,
                [Text(entry) for entry in column],
                _FOLDING.get(heading),
                squeezes_to=_LEAST.get(heading, 10),
            )
            for heading, column in zip(headings, entries, strict=True)
        ]
        for entry, row in zip(columns[-1].entries, shown, strict=True):
            entry.style = _style(row)
        where = f", on {each.target}" if len(bench.targets) > 1 else ""
        cost = headings.index(PER_SECOND) + 1
        for title, part in ((TAKEN, columns[1:cost]), (TITLE, columns[cost:])):
            parts = build_tables(f"{title}{where}", columns[:1], part, width=width)
            for place, table in enumerate(parts):
                if place:
                    table.title = Text(f"{title}{where} (continued)", "bold")
                yield table
        yield from more(len(rows) - len(shown), "engine")
    yield Text(f"{bench_legend(bench)}. {PARETO} Pareto set. {RULE}", "dim")
    yield from (Text(f"• {line}", "dim") for line in bench_remarks(bench))
    yield from (Text(line, "bold") for line in bench_sentences(bench))
    yield Text()


def _style(row: BenchRow) -> str:
    return "" if row.control else STYLE.get(row.verdict, "")
