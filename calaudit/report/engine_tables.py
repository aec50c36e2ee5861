"""Engines side by side: the same ones on two backends, and TensorRT's own ranges beside ours."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index
from calaudit.report.tables import Column, View, build_table, more
from calaudit.report.wording import MISSING
from calaudit.results.report import Report
from calaudit.runtime.words import counted, visible

_REFERENCE = "the FP32 reference"


def engine_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """What two backends, and two estimators of ranges, make of the same engines and sets."""
    yield from _agreement(index.report, view, width)
    yield from _precision(index.report)
    yield from _ranges(index.report, view, width)
    yield from _files(index, view, width)


def _agreement(report: Report, view: View, width: int) -> Iterator[RenderableType]:
    rows = report.agreement[: view.limit]
    if not rows:
        return
    columns = [
        Column("engine", [Text(visible(one.cell)) for one in rows], 40),
        Column("beside", [Text(visible(one.other or _REFERENCE)) for one in rows], 40),
        Column("output", [Text(visible(one.output)) for one in rows], 20, optional=1),
        Column("max difference", [Text(_number(one.max_abs_diff)) for one in rows]),
        Column(
            "same top",
            [Text(f"{one.same_top:.5f} of {one.k}" if one.same_top is not None else MISSING)
             for one in rows],
        ),
        Column(
            "same verdicts",
            [Text(f"{one.verdicts_equal} of {one.verdicts}" if one.verdicts else MISSING)
             for one in rows],
        ),
    ]  # fmt: skip
    yield build_table("The same engines on two backends", columns, width=width)
    yield from more(len(report.agreement) - len(rows), "pair")
    yield Text()


def _precision(report: Report) -> Iterator[RenderableType]:
    """How many products run as their graph asks, where somebody said."""
    proved = [cell.engine for cell in report.cells if cell.engine and cell.engine.proof]
    if not proved:
        return
    asked = sum(sum(engine.asked_ops.values()) for engine in proved)
    short = sum(len(engine.not_as_asked) for engine in proved)
    sources = " and ".join(sorted({str(engine.proof) for engine in proved}))
    yield Text(
        f"Of {counted(asked, 'product')} asked to run in INT8 or FP16 in "
        f"{counted(len(proved), 'engine')}, "
        f"{asked - short:,} do, by the {sources}."
    )
    yield Text()


def _ranges(report: Report, view: View, width: int) -> Iterator[RenderableType]:
    rows = report.compared_ranges[: view.limit]
    if not rows:
        return
    columns = [
        Column("TensorRT's own ranges", [Text(visible(one.cell)) for one in rows], 40),
        Column("beside", [Text(visible(one.other)) for one in rows], 40),
        Column("taps", [Text(str(one.taps)) for one in rows]),
        Column("differ", [Text(str(one.differing)) for one in rows]),
        Column(
            "most",
            [
                Text("; ".join(
                    f"{visible(tap.tap)} {_number(tap.tensorrt)} for {_number(tap.calaudit)}"
                    for tap in one.shown[:2]
                ))
                for one in rows
            ],
            40,
        ),
    ]  # fmt: skip
    yield build_table("TensorRT's ranges and calaudit's, in amax", columns, width=width)
    yield from more(len(report.compared_ranges) - len(rows), "pair")
    yield Text()


def _files(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Which file each candidate is: what is handed over. Controls never are."""
    cells = index.report.cells
    kept = [cell for cell in cells if cell.file and cell.id not in index.controls]
    rows = kept[: view.limit]
    if not rows:
        return
    columns = [
        Column("engine", [Text(visible(cell.id)) for cell in rows], 40),
        Column("file", [Text(visible(cell.file or "")) for cell in rows], 80, squeezes_to=80),
        Column("scale table", [Text(visible(cell.scales or MISSING)) for cell in rows], 80,
               optional=1, squeezes_to=80),
    ]  # fmt: skip
    yield build_table("Files, beside report.json", columns, width=width)
    yield from more(len(kept) - len(rows), "engine")
    yield Text()


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"
