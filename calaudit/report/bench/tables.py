"""The terminal's form of a bench: the table of each target, the sentence, what goes with it."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.bench.measured import Bench, bench_of
from calaudit.report.bench.remarks import bench_legend, bench_remarks
from calaudit.report.bench.rows import BenchRow, TargetRows, bench_rows
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.bench.wording import TIMES
from calaudit.report.index import Index
from calaudit.report.tables import MARK, STYLE, Column, View, build_tables, more
from calaudit.report.wording import MISSING

TITLE: Final = "What engines gain, and what they lose"
PARETO: Final = "◆"
"""Marks engines of the Pareto set."""


def bench_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """The part on a bench; nothing where the report has none."""
    bench = bench_of(index)
    if bench is None:
        return
    every = view.limit is None
    for each in bench_rows(bench):
        rows = each.shown(every=every)
        shown = rows[: view.limit]
        title = f"{TITLE}, on {each.target}" if len(bench.targets) > 1 else TITLE
        yield from build_tables(
            title, [_engines(shown)], list(_columns(bench, each, shown)), width=width
        )
        yield from more(len(rows) - len(shown), "engine")
    yield Text(f"{bench_legend(bench)}; {PARETO} Pareto set", "dim")
    yield from (Text(f"• {line}", "dim") for line in bench_remarks(bench))
    yield from (Text(line, "bold") for line in bench_sentences(bench))
    yield Text()


def _engines(rows: Sequence[BenchRow]) -> Column:
    names = [Text(f"{row.name}{f' {PARETO}' if row.pareto else ''}") for row in rows]
    return Column("engine", names, 36)


def _columns(bench: Bench, target: TargetRows, rows: Sequence[BenchRow]) -> Iterator[Column]:
    def texts(entries: Sequence[str]) -> list[Text]:
        return [Text(entry) for entry in entries]

    metrics = bench.index.report.metrics
    yield Column("file", texts([row.file for row in rows]))
    yield Column("memory", texts([row.memory for row in rows]))
    for place, batch in enumerate(bench.batches):
        entries = [row.latencies[place] for row in rows]
        joined = [MISSING if e[0] == MISSING else " / ".join(e) for e in entries]
        yield Column(f"ms, batch {batch:,}", texts(joined))
    yield Column("samples/s", texts([row.per_second for row in rows]))
    if target.baseline:
        yield Column(f"{TIMES} {target.baseline}", texts([row.speed for row in rows]))
    if metrics:
        title = metrics[0].title
        yield Column(title, texts([row.quality for row in rows]))
        yield Column("drop", texts([row.drop for row in rows]))
        yield Column("worst slice", texts([row.worst for row in rows]), 36)
        yield Column("verdict", [_verdict(row) for row in rows], 20)


def _verdict(row: BenchRow) -> Text:
    mark = MARK.get(row.verdict, "")
    text = f"{mark} {row.told}".strip() or MISSING
    if row.control:
        return Text(f"({text})")
    return Text(text, STYLE.get(row.verdict, ""))
