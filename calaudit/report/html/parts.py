"""Parts of the page that are tables: attribution and rankings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from calaudit.report.groups import engine_groups
from calaudit.report.index import Index, cell_parts
from calaudit.report.wording import MISSING, difference, percent, score, unit_name
from calaudit.results.comparison import ALL
from calaudit.results.drops import Attribution
from calaudit.results.rankings import Flow, MovedItem, RankingFlow, RankingLoss, RankingSlice
from calaudit.runtime.words import visible

SHOWN_SENTENCES, SHOWN_ROWS = 5, 25

Texts = Mapping[str, str]


class AttributionRow(NamedTuple):
    """One harmed slice under one recipe and method."""

    slice: str
    metric: str
    recipe: str
    method: str
    draws: int
    drop: str
    unit: str
    price: str
    addition: str
    luck: str
    finding: str


@dataclass(frozen=True, slots=True)
class AttributionPart:
    """The page's section on attribution, as its template takes it."""

    sentences: Sequence[tuple[str, bool]]
    """Candidates' first; each with whether it is of a control."""
    rows: Sequence[AttributionRow]
    left: int
    """Rows that aren't shown."""
    level: str
    legend: str
    standouts: Sequence[str]


def make_attribution(index: Index) -> AttributionPart | None:
    """The section on attribution; None where no slice is harmed and none stands out."""
    harmed = harmed_slices(index, set(index.slices))
    standouts = [gap_sentence(index, one) for one in clear_gaps(index, set(index.slices))]
    standouts += filter(None, [screening_sentence(index, list(index.report.screening))])
    if not harmed and not standouts:
        return None
    rows = fold_methods(harmed)
    first = sorted(harmed, key=lambda one: _of_control(index, one))
    told = zip(attribution_sentences(index, first), fold_methods(first), strict=True)
    sentences = [(sentence, _of_control(index, one)) for sentence, (one, _) in told]
    return AttributionPart(
        sentences[:SHOWN_SENTENCES],
        [_attribution_row(index, one, methods) for one, methods in rows[:SHOWN_ROWS]],
        max(0, len(rows) - SHOWN_ROWS),
        percent(harmed[0].level) if harmed else "",
        attribution_legend(index, harmed),
        standouts,
    )


def _of_control(index: Index, one: Attribution) -> bool:
    """Whether every engine of this recipe and method is a control."""
    own = [
        cell.id
        for cell in index.report.cells
        if cell.way == one.method
        and one.recipe in {index.recipes.get(cell.calibset or ""), cell.given_ranges}
    ]
    return bool(own) and all(cell in index.controls for cell in own)


def _attribution_row(index: Index, one: Attribution, methods: Sequence[str]) -> AttributionRow:
    metric = index.metrics[one.metric]
    return AttributionRow(
        slice=visible(one.slice),
        metric=visible(metric.title),
        recipe=visible(one.recipe),
        method=", ".join(attributed_method(index, method) for method in methods),
        draws=one.draws,
        drop=difference(metric, one.drop),
        unit=unit_name(metric),
        price=part_text(metric, one.price),
        addition=part_text(metric, one.addition),
        luck=part_text(metric, one.luck),
        finding=finding_text(one),
    )


@dataclass(frozen=True, slots=True)
class Rankings:
    """All ranking tasks of a report."""

    engines: tuple[str, ...]
    cuts: tuple[str, ...]
    """Output and cut: ``"embedding, top 10"``."""
    slices: tuple[str, ...]
    rows: tuple[Texts, ...]
    """Overall, one per engine and cut."""
    losses: tuple[Texts, ...]
    moved: tuple[Mapping[str, Any], ...]
    flows: tuple[Mapping[str, Any], ...]
    """For the chart."""
    groups: tuple[tuple[str, tuple[int, ...]], ...]
    """Labels, and the places of their engines among `engines`."""

    @property
    def folds(self) -> bool:
        """Whether any group has several engines."""
        return len(self.groups) < len(self.engines)


def make_rankings(index: Index) -> Rankings | None:
    """The report's rankings; None if it has none."""
    found = index.report.ranking_flow
    if not found:
        return None
    cells = list(dict.fromkeys(each.cell for each in found))
    cuts = list(dict.fromkeys((each.output, each.k) for each in found))
    names = list(dict.fromkeys(part.slice for each in found for part in each.slices))
    names.sort(key=lambda name: name != ALL)
    whole = [(each, part) for each in found for part in each.slices if part.slice == ALL]
    return Rankings(
        engines=tuple(_engine(index, cell) for cell in cells),
        cuts=tuple(_cut(*cut) for cut in cuts),
        slices=tuple(map(visible, names)),
        rows=tuple(_ranking_row(index, each, part) for each, part in whole),
        losses=tuple(
            _loss(index, each, loss)
            for each, part in whole
            for loss in part.losses
            if loss.drop is not None
        ),
        moved=tuple(
            {
                "engine": _engine(index, each.cell),
                "cut": _cut(each.output, each.k),
                "sides": [
                    {"title": title, "rows": [_item(item) for item in items]}
                    for title, items in (("Lost", each.lost), ("Gained", each.gained))
                ],
            }
            for each in found
            if each.lost or each.gained
        ),
        flows=tuple(
            _flow(
                part.flow,
                engine=cells.index(each.cell),
                cut=cuts.index((each.output, each.k)),
                slice=names.index(part.slice),
            )
            for each in found
            for part in each.slices
            if part.flow is not None
        ),
        groups=tuple(
            (visible(group.label), own)
            for group in engine_groups(index)
            if (own := tuple(cells.index(c.id) for c in group.cells if c.id in cells))
        ),
    )


def rankings_document(rankings: Rankings) -> dict[str, Any]:
    """What the script draws."""
    return {
        "engines": list(rankings.engines),
        "groups": [[label, list(own)] for label, own in rankings.groups],
        "flows": [dict(each) for each in rankings.flows],
    }


def _engine(index: Index, cell: str) -> str:
    return ", ".join(visible(part) for part in cell_parts(index.cells[cell], index.report))


def _cut(output: str, k: int) -> str:
    return f"{visible(output)}, top {k:,}"


def _ranking_row(index: Index, ranking: RankingFlow, part: RankingSlice) -> Texts:
    flow = part.flow
    places = {
        name: MISSING if flow is None else _share(getattr(flow, name), flow.places)
        for name in ("kept", "head_to_tail", "tail_to_head")
    }
    return {
        "engine": _engine(index, ranking.cell),
        "cut": _cut(ranking.output, ranking.k),
        "n": f"{part.n:,}",
        "reference_ties": _share(part.reference_ties, 1),
        "candidate_ties": _share(part.candidate_ties, 1),
        **places,
    }


def _loss(index: Index, ranking: RankingFlow, loss: RankingLoss) -> Texts:
    metric = index.metrics[loss.metric]
    unit = unit_name(metric)
    parts = {
        name: difference(metric, getattr(loss, name))
        for name in ("drop", "across_cut", "reordering", "ties")
    }
    bounded = loss.worst is not None and loss.best is not None
    bounds = f"{score(metric, loss.worst)} to {score(metric, loss.best)}" if bounded else ""
    title = f"{visible(metric.title)}{f', {unit}' if unit else ''}"
    return {"engine": _engine(index, ranking.cell), "metric": title, "bounds": bounds, **parts}


def _item(item: MovedItem) -> Texts:
    return {
        "name": visible(item.item),
        "reference": f"{item.reference:,.4g}",
        "candidate": f"{item.candidate:,.4g}",
        "popularity": MISSING if item.popularity is None else f"{item.popularity:,.4g}",
        "part": {True: "tail", False: "head", None: ""}[item.tail],
    }


def _flow(flow: Flow, **place: int) -> Mapping[str, Any]:
    moved = (flow.head_to_head, flow.head_to_tail, flow.tail_to_head, flow.tail_to_tail)
    return {
        **place,
        "shares": _shares(moved, flow.places),
        "texts": [_share(each, flow.places) for each in moved],
    }


def _shares(values: Iterable[float], whole: float) -> list[float]:
    shares = [value / whole if whole else 0.0 for value in values]
    return [float(f"{share:.5g}") if math.isfinite(share) else 0.0 for share in shares]


def _share(value: float | None, whole: float) -> str:
    if value is None or not whole:
        return MISSING
    return f"{100 * value / whole:.1f} %"
