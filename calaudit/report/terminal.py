"""The report on a terminal, and the same picture as SVG."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.text import Text

from calaudit.formats.writing import write_text
from calaudit.report.bench.tables import bench_table
from calaudit.report.comparison_tables import (
    drop_matrices,
    metric_matrices,
    metric_tables,
    worst_table,
)
from calaudit.report.detail_tables import (
    attribution_table,
    engine_tables,
    exemplar_lines,
    ranking_tables,
    standout_lines,
    target_table,
)
from calaudit.report.explanations import TITLE, explanation_lines, told
from calaudit.report.foreign import foreign_sentences
from calaudit.report.forms import Evidence, Form
from calaudit.report.harm import harm_table
from calaudit.report.headline import control_sentences, headline
from calaudit.report.index import Index
from calaudit.report.precision import overall_verdict_text
from calaudit.report.recommendation import (
    TITLE as RECOMMENDATION,
)
from calaudit.report.recommendation import (
    columns_of,
    legend_of,
    option_rows,
    recommendation_lines,
)
from calaudit.report.shipping import shipping_sentence
from calaudit.report.tables import STYLE, Column, View, build_table, more
from calaudit.report.wording import score
from calaudit.results.audited import SliceRecord
from calaudit.results.comparison import ALL
from calaudit.results.report import Report, unjudged
from calaudit.runtime.words import counted, counted_units, visible

Parts = Callable[[int], Iterable[RenderableType]]
"""Columns → what is printed, one after another."""

LOG_WIDTH = 120
"""Columns where the output is no terminal and ``COLUMNS`` isn't set."""

SHOWN_WARNINGS = 5
_LONGEST = 48
"""Characters of a text of the recommendation, before it is broken or cut."""


def print_report(
    report: Report,
    *,
    view: View | None = None,
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print the report as tables: colours on a terminal only, and not under ``NO_COLOR``.

    Parameters
    ----------
    report : Report
    view : View, optional
        What to show; the 15 worst comparisons by default.
    file : text stream, optional
        Standard output by default.
    width : int, optional
        Columns; the terminal's own by default.

    Raises
    ------
    SliceError
        The view's pattern matches no slice.
    """
    print_parts(lambda wide: _parts(Index(report), view or View(), wide), file=file, width=width)


def print_parts(make: Parts, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print what `make` gives for a number of columns, as :func:`print_report` prints a report."""
    stream = file or sys.stdout
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    if console.is_terminal and not console.no_color:
        _show(console, make)
        return
    fallback = console.width if stream.isatty() or os.environ.get("COLUMNS") else LOG_WIDTH
    text = _plain(make, width or fallback)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def render_report(report: Report, *, view: View | None = None, width: int = LOG_WIDTH) -> str:
    """The report as plain text, `width` columns wide."""
    return _plain(lambda wide: _parts(Index(report), view or View(), wide), width)


def _plain(make: Parts, width: int) -> str:
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        highlight=False,
        emoji=False,
        markup=False,
        color_system=None,
        force_terminal=False,
    )
    _show(console, make)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def write_svg(report: Report, path: Path, *, view: View | None = None) -> None:
    """Write the terminal's picture as an SVG file that loads nothing from elsewhere.

    Raises
    ------
    OutputError
        The file can't be written.
    SliceError
        The view's pattern matches no slice.
    """
    write_text(path, render_svg(report, view=view))


def render_svg(report: Report, *, view: View | None = None) -> str:
    """The terminal's picture as SVG. Raises `SliceError` as :func:`print_report`."""
    console = Console(
        file=io.StringIO(),
        width=LOG_WIDTH,
        record=True,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        emoji=False,
        markup=False,
    )
    _show(console, lambda wide: _parts(Index(report), view or View(), wide))
    offline = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    title = f"calaudit: {visible(report.audit.name)}"
    return console.export_svg(title=title, code_format=offline)


def _show(console: Console, make: Parts) -> None:
    for part in make(console.width):
        console.print(part)


def _parts(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    index.matching_slices(view.slices)
    yield from _header(index)
    yield Text()
    yield from target_table(index, width)
    yield from worst_table(index, view, width)
    yield from drop_matrices(index, view, width)
    yield from metric_matrices(index, view, width)
    yield from metric_tables(index, view, width)
    yield from ranking_tables(index, view, width)
    yield from exemplar_lines(index, view)
    yield from attribution_table(index, view, width)
    yield from standout_lines(index, view)
    yield from _explanations(index, view)
    yield from harm_table(index, view, width)
    yield from engine_tables(index, view, width)
    yield from bench_table(index, view, width)
    yield from _recommendation(index, view, width)
    yield from _warnings(index.report)
    yield from map(Text, control_sentences(index))
    yield from map(Text, foreign_sentences(index))
    yield _verdict(index)
    yield Text(headline(index.report))
    if index.report.recommendation is None:
        yield Text(shipping_sentence(index), "bold")


def _header(index: Index) -> Iterator[Text]:
    report = index.report
    audit = report.audit
    yield Text.assemble(("Audit ", "dim"), (visible(audit.name), "bold"), *_facts(index))
    everything = index.slices.get(ALL)
    size = "" if everything is None else f": {_size(everything)} evaluated"
    yield Text.assemble(
        ("Model ", "dim"),
        visible(audit.model.name),
        ("   Pool ", "dim"),
        f"{visible(audit.pool.name)}{size}",
    )
    gated = {r.metric for r in index.gated}
    values = {
        r.metric: r.reference for r in report.results if r.slice == ALL and r.reference is not None
    }
    shown = [
        f"{visible(metric.title)} {score(metric, values[metric.name])}"
        for i, metric in enumerate(report.metrics)
        if metric.name in values and (i == 0 or metric.name in gated)
    ]
    if shown:
        yield Text.assemble(("FP32  ", "dim"), ", ".join(shown))


def _size(everything: SliceRecord) -> str:
    return counted_units(everything.n, visible(everything.unit))


def _facts(index: Index) -> Iterator[tuple[str, str]]:
    report = index.report
    sets = len(report.calibsets)
    controls = sum(each.role == "control" for each in report.calibsets)
    aside = (
        f" ({controls} of them {'a control' if controls == 1 else 'controls'})" if controls else ""
    )
    yield (f"   {index.judged} from {sets} calibration set{'' if sets == 1 else 's'}{aside}", "")
    yield (f", {counted(len(report.slices), 'slice')}, seed {report.audit.seed}", "")


def _explanations(index: Index, view: View) -> Iterator[Text]:
    found, rest = told(index.report)
    if not found:
        return
    yield Text(TITLE, "bold")
    for one in found[: view.limit]:
        first, *others = explanation_lines(index, one)
        yield Text(f"• {first}")
        yield from (Text(f"  {line}", "dim") for line in others)
    yield from (Text(line, "dim") for line in rest)
    yield from more(len(found) - len(found[: view.limit]), "explanation")
    yield Text()


def _recommendation(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    told = index.report.recommendation
    if told is None:
        return
    rows = list(option_rows(index, told))[: view.limit]
    columns = [
        Column(
            heading, [Text(each) for each in entries], _LONGEST if place in {0, 1, 3, 5} else None
        )
        for place, (heading, entries) in enumerate(columns_of(rows))
    ]
    yield build_table(RECOMMENDATION, columns, width=width)
    if legend := legend_of(told):
        yield Text(f"{legend}\n", "dim")
    first, *others = recommendation_lines(index, told)
    yield Text(first, "bold")
    yield from (Text(f"  {line}") for line in others)
    yield Text()


def _warnings(report: Report) -> Iterator[Text]:
    for notice in report.warnings[:SHOWN_WARNINGS]:
        where = "" if notice.where is None else f"{visible(notice.where)}: "
        yield Text.assemble(("Warning ", "yellow"), f"{where}{visible(notice.message)}")
    rest = len(report.warnings) - SHOWN_WARNINGS
    if rest > 0:
        yield Text(f"… and {rest} more warning{'' if rest == 1 else 's'} in the report")
    if report.warnings:
        yield Text()


def _verdict(index: Index) -> Text:
    counts = {
        verdict: sum(r.verdict == verdict for r in index.gated)
        for verdict in ("REGRESSED", "INCONCLUSIVE", "PASS")
    }
    told = ", ".join(
        f"{count} {word}"
        for (_, count), word in zip(
            counts.items(), ("regressed", "inconclusive", "passed"), strict=True
        )
    )
    plural = "" if len(index.gated) == 1 else "s"
    of = " of candidates" if index.controls else ""
    detail = f"{len(index.gated)} gated comparison{plural}{of}: {told}"
    places = len({r.slice for r in index.below_floor})
    if places:
        detail += f"; FP32 itself misses min_reference on {places} slice{'s' * (places != 1)}"
    if index.hopeless is not None:
        detail += "; FP32 itself is no better than chance"
    detail = unjudged(index.report.results, index.report.cells) or detail
    verdict = index.report.verdict
    words = overall_verdict_text(index)
    return Text.assemble("Verdict: ", (words, STYLE[verdict]), f"  ({detail})")


def _write_text(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(render_report(report), encoding="utf-8")


def _write_svg(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(render_svg(report), encoding="utf-8")


TEXT = Form("report.txt", _write_text, in_all=False)
SVG = Form("report.svg", _write_svg, in_all=False)
