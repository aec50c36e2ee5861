"""What the terminal's tables share: the view, their look, how they fit a width."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from calaudit.report.index import Index
from calaudit.report.precision import SHORT, SHORT_LEGEND, caveat
from calaudit.report.remarks import star
from calaudit.report.wording import MISSING, between, difference
from calaudit.results.audited import MetricRecord, SliceRecord
from calaudit.results.comparison import Result

STYLE = {"REGRESSED": "bold red", "INCONCLUSIVE": "yellow", "PASS": "green"}
MARK = {"REGRESSED": "✗", "INCONCLUSIVE": "?", "PASS": "✓"}
LEGEND = "✗ regressed, ? inconclusive, ✓ passed, no mark: not gated"
CONTROLS = "in brackets: a control, not gated"

_HEADING_WIDTH = 16
"""Columns that a heading may take before it folds."""

_LEAST = 4
"""Width that a folding column keeps even where the table becomes too wide."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a report to show."""

    slices: str | None = None
    """Pattern of slice names, or a part of them; None: all."""
    limit: int | None = 15
    """Rows per table; None: all."""
    by_method: bool = False
    """One matrix per method, with intervals, instead of one over the methods."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, with all its entries."""

    heading: str
    entries: Sequence[Text]
    folds_at: int | None = None
    """Width beyond which its texts fold; None: numbers, which never do."""
    squeezes_to: int = 10
    """Width that a folding column may be squeezed to before another column is left out."""
    optional: int = 0
    """Order in which columns are left out where the width is short; 0: never."""

    @property
    def natural(self) -> int:
        """Columns that heading and entries take unfolded."""
        heading = min(cell_len(self.heading), _HEADING_WIDTH)
        return max([heading, *(each.cell_len for each in self.entries)])

    @property
    def needed(self) -> int:
        """Columns below which it gets hard to read."""
        if self.folds_at is None:
            return self.natural
        return min(self.natural, self.folds_at, max(self.squeezes_to, self._longest_word()))

    def _longest_word(self) -> int:
        words = (word for each in self.entries for word in each.plain.split())
        return min(16, max((cell_len(word) for word in words), default=0))


def build_table(title: str, columns: Sequence[Column], *, width: int) -> Table:
    """A table of `columns`, without those optional ones that don't fit into `width`."""
    columns = list(columns)
    while _width(columns) > width and any(each.optional for each in columns):
        columns.remove(min((c for c in columns if c.optional), key=lambda c: c.optional))
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column, taken in zip(columns, _shares(columns, width), strict=True):
        justify: Literal["left", "right"] = "right" if column.folds_at is None else "left"
        table.add_column(Text(column.heading), justify=justify, overflow="fold", width=taken)
    for row in zip(*(column.entries for column in columns), strict=True):
        table.add_row(*row)
    return table


def has_column(table: Table, heading: str) -> bool:
    """Whether a table kept a column, optional or not."""
    return any(str(column.header) == heading for column in table.columns)


def build_tables(
    title: str, fixed: Sequence[Column], numbers: Sequence[Column], *, width: int
) -> Iterator[Table]:
    """As many tables as `numbers` need to fit into `width`, each with the `fixed` columns.

    Each without the rows that have no number in it.
    """
    start = 0
    for end in range(1, len(numbers) + 1):
        last = end == len(numbers)
        if last or _width([*fixed, *numbers[start : end + 1]]) > width:
            columns = _without_empty_rows(fixed, numbers[start:end])
            if columns[0].entries:
                yield build_table(title, columns, width=width)
            start = end


def _without_empty_rows(fixed: Sequence[Column], numbers: Sequence[Column]) -> list[Column]:
    """Columns without the rows that have no number in any of `numbers`."""
    rows = zip(*(each.entries for each in numbers), strict=True)
    kept = [at for at, row in enumerate(rows) if any(entry.plain != MISSING for entry in row)]
    return [replace(each, entries=[each.entries[at] for at in kept]) for each in (*fixed, *numbers)]


def _shares(columns: Sequence[Column], width: int) -> list[int]:
    """Widths that fill `width` at most: folding columns grow into what is left, or give way."""
    shares = [each.needed for each in columns]
    wanted = [
        each.natural if each.folds_at is None else min(each.natural, each.folds_at)
        for each in columns
    ]
    folding = [i for i, each in enumerate(columns) if each.folds_at is not None]
    spare = width - _width(columns)
    while spare > 0 and any(shares[i] < wanted[i] for i in folding):
        most = max(folding, key=lambda i: wanted[i] - shares[i])
        shares[most] += 1
        spare -= 1
    while spare < 0 and any(shares[i] > _LEAST for i in folding):
        widest = max(folding, key=lambda i: shares[i])
        shares[widest] -= 1
        spare += 1
    return shares


def _width(columns: Sequence[Column]) -> int:
    return 2 + sum(each.needed + 2 for each in columns)


def verdict_style(index: Index, result: Result) -> str:
    """Colour of a result that decides; none for one that only informs."""
    return STYLE[result.verdict] if result.verdict and index.decides(result) else ""


def verdict_mark(index: Index, result: Result) -> str:
    """The verdict as one character, in brackets where it decides nothing; empty without a gate."""
    if not result.verdict or result.gate is None:
        return ""
    mark = MARK[result.verdict] + (SHORT if caveat(index.cells[result.cell]) else "")
    return mark if index.decides(result) else f"({mark})"


def legend(index: Index) -> str:
    """What the marks mean."""
    told = [LEGEND]
    told += [SHORT_LEGEND] if any(map(caveat, index.report.cells)) else []
    told += [CONTROLS] if index.controls else []
    return "; ".join(told)


def marked_drop(
    index: Index, metric: MetricRecord, result: Result, *, interval: bool = False
) -> Text:
    """A drop, its interval if wanted, and the mark of its verdict."""
    text = difference(metric, result.drop)
    if interval and result.low is not None:
        text += f" [{between(metric, result.low, result.high)}]{star(result)}"
    return Text(f"{text}{verdict_mark(index, result)}", verdict_style(index, result))


def support(n: str, record: SliceRecord) -> str:
    """A sample count, marked where the slice lacks its minimum support."""
    return n if record.support_ok else f"{n} thin"


def candidate_heading(index: Index) -> str:
    """What stands beside FP32: ``"INT8"``, or ``"engine"`` for several precisions."""
    precisions = {cell.precision for cell in index.report.cells}
    known = len(precisions) == 1 and "unknown" not in precisions
    return precisions.pop().upper() if known else "engine"


def source_heading(index: Index) -> str:
    """What names of sets stand below, and of engines that somebody else made, where there are."""
    foreign = any(cell.foreign is not None for cell in index.report.cells)
    return "set or engine" if foreign else "calibrated on"


def more(rest: int, what: str) -> Iterator[Text]:
    """A note on rows that aren't shown, and a blank line after it."""
    if rest > 0:
        plural = "" if rest == 1 else "s"
        yield Text(f"… and {rest:,} more {what}{plural} (calaudit report show --all)", "dim")
        yield Text()
