"""What became of rankings, and the samples that flip under most engines: tables of the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.index import Index, cell_parts
from calaudit.report.tables import Column, View, build_table
from calaudit.report.wording import amount, difference, in_sentence, unit_name
from calaudit.results.comparison import ALL
from calaudit.results.drops import Exemplars
from calaudit.results.rankings import (
    Flow,
    MovedItem,
    RankingFlow,
    RankingLoss,
    RankingSlice,
)
from calaudit.runtime.words import visible

FEW = 3
"""Items and samples that are named without being asked for more."""


def ranking_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Per cut: where exposure went under each calibration set's worst engine, and why quality fell.

    Of several methods, the engine that keeps the fewest places is told.
    """
    records = index.report.ranking_flow
    for output, k in dict.fromkeys((one.output, one.k) for one in records):
        chosen = [one for one in records if (one.output, one.k) == (output, k)]
        shown = _worst(index, chosen, view)
        if shown:
            yield build_table(_title(shown[0][0]), _columns(index, shown), width=width)
            yield from _moved(index, shown)


def exemplar_lines(index: Index, view: View) -> Iterator[Text]:
    """The samples that flip under most engines, a line per metric."""
    found = [one for one in index.report.exemplars if one.flipping]
    for one in found:
        yield _exemplars(index, one, view)
    if found:
        yield Text()


def _worst(
    index: Index, records: Sequence[RankingFlow], view: View
) -> list[tuple[RankingFlow, RankingSlice]]:
    """One engine of each calibration set, over everything."""
    found: dict[str, tuple[RankingFlow, RankingSlice]] = {}
    for record in records:
        part = next((each for each in record.slices if each.slice == ALL), None)
        if part is None or part.flow is None:
            continue
        calibset, method = cell_parts(index.cells[record.cell], index.report)
        key = f"{calibset}\0{method}" if view.by_method else calibset
        if key not in found or part.flow.kept < _flow(found[key]).kept:
            found[key] = record, part
    ordered = sorted(found.values(), key=lambda each: _flow(each).kept)
    return ordered if view.limit is None else ordered[: view.limit]


def _flow(shown: tuple[RankingFlow, RankingSlice]) -> Flow:
    flow = shown[1].flow
    assert flow is not None  # _worst leaves out those without
    return flow


def _title(record: RankingFlow) -> str:
    tail = "" if record.tail_items is None else f", {record.tail_items:,} in the tail"
    return (
        f"Places of the top {record.k} that moved, in points, under each set's worst engine as "
        f"measured; {record.catalogue:,} items{tail}"
    )


def _columns(index: Index, shown: Sequence[tuple[RankingFlow, RankingSlice]]) -> list[Column]:
    parts = [cell_parts(index.cells[record.cell], index.report) for record, _ in shown]

    def places(*names: str) -> list[Text]:
        return [Text(_share(_flow(each), *names)) for each in shown]

    columns = [
        Column("calibrated on", [Text(visible(calibset)) for calibset, _ in parts], 24),
        Column("method", [Text(visible(method)) for _, method in parts], 16, optional=1),
        Column("kept", places("kept")),
        Column("head → tail", places("head_to_tail")),
        Column("tail → head", places("tail_to_head")),
        Column("tied at the cut", [Text(_ties(part)) for _, part in shown], optional=2),
    ]
    loss = _told(index, shown[0][1])
    if loss is None:
        return columns
    metric = index.metrics[loss.metric]
    losses = [next((x for x in part.losses if x.metric == loss.metric), loss) for _, part in shown]
    heading = f"{in_sentence(metric)} lost"
    unit = unit_name(metric)
    columns.append(
        Column(
            f"{heading}{f', {unit}' if unit and unit != 'points' else ''}: other items",
            [Text(difference(metric, each.across_cut)) for each in losses],
        )
    )
    columns += [
        Column("their order", [Text(difference(metric, each.reordering)) for each in losses]),
        Column("ties", [Text(difference(metric, each.ties)) for each in losses]),
    ]
    return columns


def _told(index: Index, part: RankingSlice) -> RankingLoss | None:
    """The first metric that splits: the gated one, if one is."""
    split = [loss for loss in part.losses if loss.across_cut is not None]
    gated = {result.metric for result in index.gated}
    return next((loss for loss in split if loss.metric in gated), split[0] if split else None)


def _share(flow: Flow, *names: str) -> str:
    if not flow.places:
        return "–"
    return f"{100 * sum(getattr(flow, name) for name in names) / flow.places:.1f}"


def _ties(part: RankingSlice) -> str:
    return "–" if part.candidate_ties is None else f"{100 * part.candidate_ties:.1f}"


def _moved(index: Index, shown: Sequence[tuple[RankingFlow, RankingSlice]]) -> Iterator[Text]:
    """The items that the first engine shows less and more, in a line."""
    record = shown[0][0]
    calibset, _ = cell_parts(index.cells[record.cell], index.report)
    told = [
        f"{word} {_items(moved)}"
        for word, moved in (("lost most:", record.lost), ("gained most:", record.gained))
        if moved
    ]
    if told:
        yield Text(f"Lists that show an item, under {visible(calibset)}: {'; '.join(told)}", "dim")
    yield Text()


def _items(moved: Sequence[MovedItem]) -> str:
    return ", ".join(
        f"{visible(one.item)} {one.reference:,.0f} → {one.candidate:,.0f}" for one in moved[:FEW]
    )


def _exemplars(index: Index, found: Exemplars, view: View) -> Text:
    shown = found.shown[: FEW if view.limit is not None else None]
    rest = found.flipping - len(shown)
    more = f" and {rest:,} more in the report" if rest > 0 else ""
    units = f"{found.unit}s" if found.unit == "sample" else "queries"
    units = found.unit if found.flipping == 1 else units
    metric = index.metrics[found.metric]
    verb, worse, better = "change", "worse", "better"
    if metric.kind == "binary":
        verb, worse, better = "flip", "lost", "gained"
    names = ", ".join(
        f"{visible(one.id)} ({one.lost} {worse}, {one.gained} {better})" for one in shown
    )
    verb = f"{verb}s" if found.flipping == 1 else verb
    engines = "the engine" if found.engines == 1 else f"most of {found.engines} engines"
    title = in_sentence(metric)
    least = f" by more than {amount(metric, found.least)}" if found.least else ""
    return Text(
        f"By {title}, {found.flipping:,} {units} {verb}{least} under {engines}: {names}{more}"
    )
