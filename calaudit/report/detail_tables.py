"""The terminal's tables beside the comparisons.

Attribution, slices that stand out, rankings and samples, engines side by side.
"""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from calaudit.report.findings import (
    attributed_method,
    attribution_legend,
    attribution_sentences,
    clear_gaps,
    finding_text,
    fold_methods,
    gap_sentence,
    harmed_slices,
    part_text,
    screening_sentence,
)
from calaudit.report.handover import cache_hint, handed_file
from calaudit.report.index import Index, cell_parts
from calaudit.report.pictured import picture_sentences
from calaudit.report.precision import NAMED, standings
from calaudit.report.tables import Column, View, build_table, has_column, more
from calaudit.report.targets import HEADINGS, TEXTS, likeness, target_rows
from calaudit.report.wording import (
    MISSING,
    amount,
    difference,
    engine_name,
    in_sentence,
    percent,
    unit_name,
)
from calaudit.results.comparison import ALL
from calaudit.results.drops import Attribution, Exemplars
from calaudit.results.rankings import Flow, MovedItem, RankingFlow, RankingLoss, RankingSlice
from calaudit.results.report import Report
from calaudit.runtime.words import plural, visible

_REFERENCE = "the FP32 reference"

FEW = 3
"""Items and samples that are named without being asked for more."""


def engine_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """What two targets, and two estimators of ranges, make of the same engines and sets."""
    yield from _agreement(index.report, view, width)
    yield from _precision(index, view)
    yield from _ranges(index.report, view, width)
    yield from _files(index, view, width)


def target_table(index: Index, width: int) -> Iterator[RenderableType]:
    """What the targets of an audit that has several are, and how their engines fared."""
    rows = [row.entries for row in target_rows(index)]
    if not rows:
        return
    named = dict(zip(TEXTS, (24, 44, 44), strict=True))
    columns = [
        Column(heading, [Text(entry) for entry in entries], named.get(heading))
        for heading, *entries in zip(HEADINGS, *rows, strict=True)
    ]
    yield build_table("Targets", columns, width=width)
    yield Text()


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
            [Text(likeness(one) or MISSING) for one in rows],
        ),
        Column(
            "same verdicts",
            [Text(f"{one.verdicts_equal} of {one.verdicts}" if one.verdicts else MISSING)
             for one in rows],
        ),
    ]  # fmt: skip
    yield build_table("The same engines on two targets", columns, width=width)
    yield from more(len(report.agreement) - len(rows), "pair")
    yield Text()


def _precision(index: Index, view: View) -> Iterator[RenderableType]:
    """What runs in INT8 or FP16, once for engines of which the same is known."""
    found = list(standings(index))
    few = None if view.limit is None else NAMED
    for each in found:
        alike = len(found) == 1 and len(each.cells) > 1
        who = f"all {len(each.cells)} engines" if alike else ", ".join(each.engines(few))
        yield Text(f"{each.told}: {who}")
        yield from (Text(f"  {line}", "dim") for line in each.lines(few))
    if found:
        yield Text()


def _ranges(report: Report, view: View, width: int) -> Iterator[RenderableType]:
    rows = report.compared_ranges[: view.limit]
    if not rows:
        return
    columns = [
        Column("The backend's own ranges", [Text(visible(one.cell)) for one in rows], 40),
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
    yield build_table("The backend's own ranges and calaudit's, in amax", columns, width=width)
    yield from more(len(report.compared_ranges) - len(rows), "pair")
    yield Text()


def _files(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Which file each candidate is: what is handed over. Controls never are."""
    cells = index.report.cells
    kept = [cell for cell in cells if handed_file(cell) and cell.id not in index.controls]
    rows = kept[: view.limit]
    if not rows:
        return
    columns = [
        Column("engine", [Text(visible(cell.id)) for cell in rows], 40),
        Column("file", [Text(visible(handed_file(cell))) for cell in rows], 80, squeezes_to=80),
    ]
    if any(cell.file for cell in rows):
        tables = [Text(visible(cell.scales or MISSING)) for cell in rows]
        columns.append(Column("scale table", tables, 80, optional=1, squeezes_to=80))
    yield build_table("Files, beside report.json", columns, width=width)
    yield from more(len(kept) - len(rows), "engine")
    hint = cache_hint(index, kept)
    if hint:
        yield Text(hint, "dim")
    yield Text()


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"


def ranking_tables(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Per cut: where exposure went under each calibration set's worst engine, and why quality fell.

    Of several methods, the engine that keeps the fewest places is told.
    """
    records = index.report.ranking_flow
    for output, k in dict.fromkeys((one.output, one.k) for one in records):
        chosen = [one for one in records if (one.output, one.k) == (output, k)]
        shown = _worst(index, chosen, view)
        if shown:
            yield build_table(_title(shown[0][0]), _ranking_columns(index, shown), width=width)
            yield from _moved(index, shown)


def exemplar_lines(index: Index, view: View) -> Iterator[Text]:
    """The samples that flip under most engines, and those that lost most: a line per metric."""
    found = [_exemplars(index, one, view) for one in index.report.exemplars if one.flipping]
    found += map(Text, picture_sentences(index))
    yield from found
    if found:
        yield Text()


def _worst(
    index: Index, records: Sequence[RankingFlow], view: View
) -> list[tuple[RankingFlow, RankingSlice]]:
    """One engine of each calibration set, overall."""
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
        f"Top-{record.k} positions that changed, in points, under each set's worst engine as "
        f"measured; {record.catalogue:,} items{tail}"
    )


def _ranking_columns(
    index: Index, shown: Sequence[tuple[RankingFlow, RankingSlice]]
) -> list[Column]:
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
    told = [
        f"{word} {_items(moved)}"
        for word, moved in (("lost most:", record.lost), ("gained most:", record.gained))
        if moved
    ]
    if told:
        yield Text(
            f"Lists that show an item, under {engine_name(index, record.cell)}: {'; '.join(told)}",
            "dim",
        )
    yield Text()


def _items(moved: Sequence[MovedItem]) -> str:
    return ", ".join(
        f"{visible(one.item)} {one.reference:,.0f} → {one.candidate:,.0f}" for one in moved[:FEW]
    )


def _exemplars(index: Index, found: Exemplars, view: View) -> Text:
    shown = found.shown[: FEW if view.limit is not None else None]
    rest = found.flipping - len(shown)
    more = f" and {rest:,} more in the report" if rest > 0 else ""
    units = found.unit if found.flipping == 1 else plural(found.unit)
    metric = index.metrics[found.metric]
    verb, worse, better = "change", "worse", "better"
    if metric.kind == "binary":
        verb, worse, better = "flip", "lost", "gained"
    names = ", ".join(
        f"{visible(one.id)} ({one.lost} {worse}, {one.gained} {better})" for one in shown
    )
    verb = f"{verb}s" if found.flipping == 1 else verb
    few = {1: "the engine", 2: "both engines"}
    engines = few.get(found.engines, f"most of {found.engines} engines")
    title = in_sentence(metric)
    least = f" by more than {amount(metric, found.least)}" if found.least else ""
    return Text(
        f"By {title}, {found.flipping:,} {units} {verb}{least} under {engines}: {names}{more}"
    )


def attribution_table(index: Index, view: View, width: int) -> Iterator[RenderableType]:
    """Harmed slices: drops in three parts, the largest first."""
    harmed = harmed_slices(index, {each.name for each in index.matching_slices(view.slices)})
    if not harmed:
        return
    every = fold_methods(harmed)
    shown = every[: view.limit]
    table = build_table(
        f"Attribution{_attribution_note(index, harmed)}",
        _attribution_columns(index, shown),
        width=width,
    )
    yield table
    shown_draws = has_column(table, "draw SD")
    told = [one for one, _ in shown]
    yield Text(attribution_legend(index, told, draws=shown_draws), "dim")
    yield from more(len(every) - len(shown), "harmed slice")
    yield from map(Text, attribution_sentences(index, harmed)[:3])
    yield Text()


def _attribution_columns(
    index: Index, folded: Sequence[tuple[Attribution, tuple[str, ...]]]
) -> list[Column]:
    rows = [one for one, _ in folded]
    methods = [", ".join(attributed_method(index, method) for method in each) for _, each in folded]
    metrics = [index.metrics[one.metric] for one in rows]
    pairs = list(zip(metrics, rows, strict=True))
    columns = [Column("slice", [Text(visible(one.slice)) for one in rows], 34, 16)]
    if len({one.metric for one in rows}) > 1:
        columns.append(Column("metric", [Text(visible(m.title)) for m in metrics], 20))
    return [
        *columns,
        Column("calibrated on", [Text(visible(one.recipe)) for one in rows], 24),
        Column("method", [Text(each) for each in methods], 16),
        Column("draws", [Text(str(one.draws)) for one in rows], optional=1),
        Column("drop", [Text(difference(m, one.drop)) for m, one in pairs]),
        Column("best set", [Text(part_text(m, one.price)) for m, one in pairs]),
        Column("excess", [Text(part_text(m, one.addition)) for m, one in pairs]),
        Column("draw SD", [Text(part_text(m, one.luck)) for m, one in pairs], optional=2),
        Column("finding", [Text(finding_text(one)) for one in rows], 32, 16),
    ]


def _attribution_note(index: Index, rows: Sequence[Attribution]) -> str:
    units = {unit_name(index.metrics[one.metric]) for one in rows}
    unit = f", in {units.pop()}" if len(units) == 1 and all(units) else ""
    return f"{unit}, {percent(rows[0].level)} intervals"


def standout_lines(index: Index, view: View) -> Iterator[Text]:
    """Sentences on the worst slices' gaps, and on results without a gate that lose."""
    names = {each.name for each in index.matching_slices(view.slices)}
    told = [gap_sentence(index, one) for one in clear_gaps(index, names)]
    screened = [one for one in index.report.screening if one.slice in names]
    told += [sentence for sentence in [screening_sentence(index, screened)] if sentence]
    yield from map(Text, told)
    if told:
        yield Text()
