"""What became of rankings, as values for report.html."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from calaudit.report.index import Index, cell_parts
from calaudit.report.wording import MISSING, difference, score, unit_name
from calaudit.results.comparison import ALL
from calaudit.results.rankings import (
    Flow,
    MovedItem,
    RankingFlow,
    RankingLoss,
    RankingSlice,
)
from calaudit.runtime.words import visible

Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rankings:
    """All ranking tasks of a report."""

    engines: tuple[str, ...]
    cuts: tuple[str, ...]
    """Output and cut: ``"embedding, top 10"``."""
    slices: tuple[str, ...]
    rows: tuple[Texts, ...]
    """Over everything, one per engine and cut."""
    losses: tuple[Texts, ...]
    moved: tuple[Mapping[str, Any], ...]
    flows: tuple[Mapping[str, Any], ...]
    """For the chart."""


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
        rows=tuple(_row(index, each, part) for each, part in whole),
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
    )


def rankings_document(rankings: Rankings) -> dict[str, Any]:
    """What the script draws."""
    return {"engines": list(rankings.engines), "flows": [dict(each) for each in rankings.flows]}


def _engine(index: Index, cell: str) -> str:
    return ", ".join(visible(part) for part in cell_parts(index.cells[cell], index.report))


def _cut(output: str, k: int) -> str:
    return f"{visible(output)}, top {k:,}"


def _row(index: Index, ranking: RankingFlow, part: RankingSlice) -> Texts:
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
