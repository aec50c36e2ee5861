"""Predicted harm in rows and sentences: the least possible, the best and the worst engine's."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index
from calaudit.report.tables import Column, View, build_table, more
from calaudit.report.wording import engine_name, in_sentence
from calaudit.results.harm import FEWEST_CELLS, CellHarm, HarmRank, HarmRecord
from calaudit.runtime.words import counted, visible

HEADINGS: Final = (
    "slice", "tuning rows", "least", "best engine", "harm", "worst engine", "harm", "clipping",
    "most at",
)  # fmt: skip
LEGEND: Final = (
    "predicted harm: squared error of quantizing over signal power, summed over taps, on tuning "
    "rows; least: by ranges for this slice alone; clipping: share of the worst engine's harm"
)
_FEW: Final = 5
"""Slices that are shown without being asked for more."""
_OPTIONAL: Final = {"tuning rows": 1, "most at": 2, "clipping": 3}
_CLOSE: Final = 0.8
"""A rank correlation from which predictions rank engines much as a measurement does."""


@dataclass(frozen=True, slots=True)
class HarmRow:
    """One slice."""

    slice: str
    n: int
    """Tuning rows."""
    least: float
    best: str
    """Id of the cell with the least predicted harm, of those without an exemption."""
    best_harm: float
    worst: str
    worst_harm: float
    clipping: float
    """Part of the worst cell's harm that is clipping."""
    tap: str
    """Where the worst cell's harm is largest; empty where there is none."""

    @property
    def entries(self) -> tuple[str, ...]:
        """Texts under `HEADINGS`."""
        return (
            visible(self.slice),
            f"{self.n:,}",
            number(self.least),
            visible(self.best),
            number(self.best_harm),
            visible(self.worst),
            number(self.worst_harm),
            f"{100 * self.clipping:.0f} %",
            visible(self.tap),
        )


def number(value: float) -> str:
    """A harm, in two significant digits."""
    return f"{value:.2g}"


def harm_rows(index: Index, names: Collection[str]) -> list[HarmRow]:
    """Slices of these names, those first that an engine's ranges harm most beyond the least."""
    record = index.report.harm
    if record is None or not record.cells:
        return []
    whole = whole_cells(index, record)
    if not whole:
        return []
    places = [place for place, each in enumerate(record.slices) if each.slice in names]
    rows = [_row(record, whole, place) for place in places]
    return sorted(rows, key=lambda row: row.least - row.worst_harm)


def whole_cells(index: Index, record: HarmRecord) -> list[CellHarm]:
    """Engines that the least and the bound hold for: with an exemption, fewer ranges do harm."""
    return [cell for cell in record.cells if index.cells[cell.cell].exemption is None]


def _row(record: HarmRecord, whole: Collection[CellHarm], place: int) -> HarmRow:
    held = record.slices[place]
    totals = {cell.cell: cell.total[place] for cell in record.cells}
    best = min((cell.cell for cell in whole), key=totals.__getitem__)
    worst = max(totals, key=totals.__getitem__)
    cell = next(each for each in record.cells if each.cell == worst)
    taps = {tap.tap: tap.clipping[place] + tap.resolution[place] for tap in cell.taps}
    return HarmRow(
        held.slice,
        held.n,
        held.least,
        best,
        totals[best],
        worst,
        totals[worst],
        cell.clipping[place] / totals[worst] if totals[worst] > 0 else 0.0,
        max(taps, key=taps.__getitem__) if taps else "",
    )


def harm_sentences(index: Index) -> Iterator[str]:
    """What no ranges can do better than, and how far the predictions rank these engines."""
    record = index.report.harm
    if record is None or not record.cells:
        return
    whole = whole_cells(index, record)
    if record.bound is not None and whole:
        worst = {cell.cell: max(cell.total, default=0.0) for cell in whole}
        best = min(worst, key=worst.__getitem__)
        exempted = len(whole) < len(record.cells)
        yield (
            "Over all slices, no ranges take the worst one's predicted harm below "
            f"{number(record.bound)}; of {'the' if exempted else 'these'} engines "
            f"{'without an exemption ' if exempted else ''}{engine_name(index, best)} comes "
            f"nearest, with {number(worst[best])}."
        )
        if exempted:
            yield (
                "Exemptions leave fewer ranges to do harm, so neither this bound nor “least” holds "
                "for engines with one, and none of them is named as the best."
            )
    shown = _shown_ranks(index, record)
    if not shown:
        yield _untold(record)
        return
    ways: dict[str, list[str]] = {}
    for rank in shown:
        ways.setdefault(_how(rank), []).append(_measured(index, rank))
    what = "; ".join(f"{how} as {' and '.join(each)}" for how, each in ways.items())
    yield f"Within slices, predicted harm ranks the {shown[0].cells} engines {what}."
    if any(rank.weak for rank in shown):
        yield (
            "Where it ranks them hardly, it tells nothing of which engine is better: only running "
            "them does."
        )


def _shown_ranks(index: Index, record: HarmRecord) -> list[HarmRank]:
    told = [rank for rank in record.ranks if rank.correlation is not None]
    gated = {result.metric for result in index.gated}
    return [r for r in told if r.metric is None or r.metric in gated] or told[:1]


def tells_weak_ranks(index: Index) -> bool:
    """Whether `harm_sentences` say of every weak rank what the warning ``harm_weak`` says."""
    record = index.report.harm
    if record is None or not record.cells:
        return False
    gated = {result.metric for result in index.report.results if result.gate is not None}
    weak = [r for r in record.ranks if r.weak and (r.metric is None or r.metric in gated)]
    shown = _shown_ranks(index, record)
    return all(rank in shown for rank in weak)


def _untold(record: HarmRecord) -> str:
    cells = max((rank.cells for rank in record.ranks), default=0)
    if cells < FEWEST_CELLS:
        return (
            f"Whether predicted harm ranks engines of this model can't be told from "
            f"{counted(cells, 'engine')}: it takes {FEWEST_CELLS}."
        )
    return "Whether predicted harm ranks these engines can't be told: none differs from another."


def _how(rank: HarmRank) -> str:
    if rank.weak:
        return "hardly"
    return "much" if (rank.correlation or 0.0) >= _CLOSE else "roughly"


def _measured(index: Index, rank: HarmRank) -> str:
    """``"the error of their outputs (rank correlation 0.90, p = 0.001)"``."""
    what = "the error of their outputs"
    if rank.metric is not None:
        what = f"drops of {in_sentence(index.metrics[rank.metric])}"
    chance = "" if rank.p_value is None else f", p = {rank.p_value:.2g}"
    return f"{what} (rank correlation {rank.correlation:.2f}{chance})"


def harm_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Predicted harm of the best and worst engine to the slices that ranges harm most."""
    names = {each.name for each in index.matching_slices(view.slices)}
    rows = harm_rows(index, names)
    shown = rows if view.limit is None else rows[: min(view.limit, _FEW)]
    if not shown:
        return
    entries = [[Text(entry) for entry in row.entries] for row in shown]
    texts = {"slice": 34, "best engine": 30, "worst engine": 30, "most at": 48}
    columns = [
        Column(heading, column, texts.get(heading), optional=_OPTIONAL.get(heading, 0))
        for heading, column in zip(HEADINGS, zip(*entries, strict=True), strict=True)
    ]
    yield build_table("Predicted harm, by histograms of the tuning rows", columns, width=width)
    yield Text(LEGEND, "dim")
    yield from more(len(rows) - len(shown), "slice")
    yield from map(Text, harm_sentences(index))
    yield Text()
