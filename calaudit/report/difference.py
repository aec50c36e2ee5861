"""Two reports side by side, in words and columns."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.bench.change import bench_changes
from calaudit.report.tables import Column, build_table
from calaudit.report.wording import MINUS, MISSING
from calaudit.results.difference import Change, ReportDifference, ReportName
from calaudit.runtime.words import counted, visible

_LONGEST = 60
"""Characters of a setting that are shown."""


def difference_tables(
    found: ReportDifference, *, limit: int | None, width: int
) -> Iterator[RenderableType]:
    """What to print: both reports, what was set, came and went, then changes, worse ones first.

    Parameters
    ----------
    found : ReportDifference
    limit : int or None
        Rows per table; None: all.
    width : int
        Columns.
    """
    yield Text(f"A: {_told(found.a)}")
    yield Text(f"B: {_told(found.b)}")
    yield Text()
    yield from _set(found, limit, width)
    for each in found.only:
        for which, names in (("A", each.a), ("B", each.b)):
            if names:
                yield Text(f"Only in {which}, {each.kind}: {_listed(names, limit)}")
    if found.rebuilt:
        yield Text(f"Engines of both whose graphs differ: {_listed(found.rebuilt, limit)}")
    if found.settings or found.only or found.rebuilt:
        yield Text()
    for finding, title in (("worse", "B loses more"), ("better", "B loses less")):
        rows = sorted((c for c in found.changes if c.finding == finding), key=_rank)
        yield from _table(f"{title}, beyond noise", found, rows, limit, width)
    turned = [c for c in found.changes if not c.finding and c.verdict_a != c.verdict_b]
    turned.sort(key=lambda one: not one.decides)
    title = "Other verdict, though the change may be noise"
    yield from _table(title, found, turned, limit, width)
    yield from bench_changes(found.bench, limit=limit, width=width)
    yield Text(summary(found))


def summary(found: ReportDifference) -> str:
    """How many comparisons changed beyond noise, and what that rests on."""
    n = len(found.changes)
    if not n:
        return "Nothing is in both reports: no engine, slice and metric of A is in B."
    worse, better = (
        sum(each.finding == which for each in found.changes) for which in ("worse", "better")
    )
    unknown = sum(each.p_value is None for each in found.changes)
    paired = sum(each.how == "paired" for each in found.changes)
    text = (
        f"Of {counted(n, 'comparison')} in both, B loses more in {worse:,} and less in {better:,}, "
        "beyond noise (p < 0.05, corrected for multiple comparisons)"
    )
    if unknown:
        text += f"; of {unknown:,} nothing bounds the change"
    decisive = [each for each in found.changes if each.decides]
    lost = sum(each.finding == "worse" for each in decisive)
    text += (
        f". Of these, {counted(len(decisive), 'gated comparison')} of candidates "
        f"{'decides' if len(decisive) == 1 else 'decide'}: B loses more in {lost:,}"
        if decisive
        else ". No gate holds any of a candidate, so nothing decides"
    )
    basis = f"{paired:,} paired, unit by unit" if paired else ""
    rest = n - paired
    if rest:
        why = f": {found.unpaired}" if found.unpaired else ""
        basis += f"{', ' if basis else ''}{rest:,} by the reports' intervals{why}"
    return f"{text}. {basis[:1].upper()}{basis[1:]}."


def _told(one: ReportName) -> str:
    made = f"{one.created[:16].replace('T', ' ')} UTC by calaudit {one.calaudit_version}"
    return f"{visible(one.audit)}, {made}: {one.verdict}"


def _set(found: ReportDifference, limit: int | None, width: int) -> Iterator[RenderableType]:
    shown = found.settings[:limit]
    if not shown:
        return
    columns = [
        Column("setting", [Text(visible(each.key)) for each in shown], 40),
        Column("A", [Text(_short(each.a)) for each in shown], _LONGEST),
        Column("B", [Text(_short(each.b)) for each in shown], _LONGEST),
    ]
    yield build_table("Settings, inputs and environment that differ", columns, width=width)
    yield from _rest(len(found.settings) - len(shown), "setting")


def _table(
    title: str, found: ReportDifference, rows: Sequence[Change], limit: int | None, width: int
) -> Iterator[RenderableType]:
    shown = rows[:limit]
    if not shown:
        return

    def texts(write: Callable[[Change], str]) -> list[Text]:
        return [Text(write(each)) for each in shown]

    columns = [
        Column("engine", texts(_engine), 30),
        Column("slice", texts(lambda c: visible(c.slice)), 30),
        Column("metric", texts(lambda c: visible(c.metric)), 20),
        Column("drop A", texts(lambda c: _amount(found, c, c.drop_a))),
        Column("drop B", texts(lambda c: _amount(found, c, c.drop_b))),
        Column("change", texts(lambda c: _amount(found, c, c.change))),
        Column("95 % CI", texts(lambda c: _interval(found, c)), optional=2),
        Column("verdict", texts(_verdicts), 28),
        *([Column("broken A, B", texts(_broken))] if any(map(_breaks, shown)) else []),
        Column("by", texts(lambda c: c.how), 9, optional=1),
    ]
    yield build_table(title, columns, width=width)
    yield from _rest(len(rows) - len(shown), "comparison")


def _rest(n: int, what: str) -> Iterator[Text]:
    if n:
        yield Text(f"… and {counted(n, f'more {what}')} (--all)", "dim")
    yield Text()


def _breaks(one: Change) -> bool:
    return one.broken_a + one.broken_b > 0


def _broken(one: Change) -> str:
    return f"{one.broken_a:,}, {one.broken_b:,}"


def _engine(one: Change) -> str:
    return f"{visible(one.cell)} (control)" if one.role == "control" else visible(one.cell)


def _verdicts(one: Change) -> str:
    """In brackets where a control's, as in reports."""
    if not one.gated:
        return "not gated"
    told = one.verdict_b or ""
    if one.verdict_a != one.verdict_b:
        told = f"{one.verdict_a or 'no gate'} → {one.verdict_b or 'no gate'}"
    return f"({told})" if told and one.role == "control" else told


def _interval(found: ReportDifference, one: Change) -> str:
    return f"{_amount(found, one, one.low)} to {_amount(found, one, one.high)}"


def _amount(found: ReportDifference, one: Change, value: float | None) -> str:
    """In points for a fraction, else in the metric's own unit."""
    if value is None:
        return MISSING
    text = f"{100 * value:.1f}" if found.units.get(one.metric) == "fraction" else f"{value:.3g}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", MINUS, 1)


def _rank(one: Change) -> tuple[bool, float]:
    """What decides first, then the largest change."""
    return not one.decides, 0.0 if one.change is None else -abs(one.change)


def _short(value: str | None) -> str:
    text = MISSING if value is None else visible(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _listed(names: Sequence[str], limit: int | None) -> str:
    shown = [visible(each) for each in names[:limit]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f", and {rest:,} more" if rest else "")
