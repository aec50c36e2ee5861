"""Judge: scores of every cell against FP32's, slice by slice, and attribute drops to causes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores
from calaudit.results.drops import Attribution, Gap
from calaudit.runtime.progress import progress
from calaudit.statistics.attribution import Origin, SplitDrop, record_attributions, split_drops
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison, MinSupport
from calaudit.statistics.tally import Rows
from calaudit.statistics.verdict import judge
from calaudit.statistics.worst_slice import joint_lows, worst_gaps
from calaudit.steps.clusters import Clusters, clusters_of
from calaudit.steps.gates import Floors, Gates, hold_to_floors
from calaudit.steps.sanity import BaselineFailure, baseline_failures
from calaudit.steps.score import Scored

CONTROLS = "controls"
"""Family of the comparisons of controls, which decide nothing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an audit judges."""

    gates: Gates
    """From :func:`resolve_gates`."""
    floors: Floors = field(default_factory=dict)
    """From :func:`resolve_floors`."""
    level: float = 0.95
    """Two-sided level of the intervals."""
    seed: int = 0
    """Of the replicates."""
    clusters: Clusters | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Cell → where its ranges come from; without, drops aren't attributed."""
    controls: frozenset[str] = frozenset()
    """Cells that are measured like the others, but decide nothing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an audit's scores amount to."""

    comparisons: list[Comparison]
    attributions: list[Attribution]
    """Of the gated slices; without any gate, of the headline metric on every slice."""
    gaps: list[Gap]
    """Of the gated metrics and the headline metric."""
    not_better: list[BaselineFailure] = field(default_factory=list)
    """Evaluation sets at which FP32 is not significantly better than a baseline that ignores the
    input."""

    @property
    def tolerated(self) -> dict[tuple[str, str], float]:
        """(metric, slice) → largest drop allowed, in the metric's unit."""
        return {
            (one.metric, one.slice): one.max_drop
            for one in self.comparisons
            if one.max_drop is not None
        }


def judge_cells(scored: Sequence[Scored], terms: Terms) -> Judgement:
    """Compare every cell with FP32 by every metric on every slice, with verdicts.

    Parameters
    ----------
    scored : sequence of Scored
        Scores of every evaluation set, from :func:`calaudit.steps.score.score_eval_sets`.
    terms : Terms
    """
    not_better = baseline_failures(scored, terms.clusters)
    hopeless = frozenset[str]().union(*(d.metrics for d in not_better if d.knows_nothing))
    compared: list[_Compared] = []
    for number, one in enumerate(scored):
        metrics = one.eval_set.metrics
        for place, metric in enumerate(
            progress(metrics, total=len(metrics), what="statistics", unit="metric")
        ):
            compared.append(_compare(one, metric, terms, headline=number == place == 0))
    compared = _judged(compared, terms)
    lows = _joint_lows(compared, terms)
    return Judgement(
        [
            _bounded(found, lows)
            for one in compared
            for found in hold_to_floors(one.comparisons, terms.floors, hopeless)
        ],
        record_attributions([split for one in compared for split in _split(one, terms)]),
        [gap for one in compared for gap in _gaps(one, compared, terms)],
        not_better,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Slices whose units hang together in one way."""

    slices: dict[str, Rows]
    clusters: Any
    """(n,) cluster of each unit; None: they are independent."""


@dataclass(frozen=True, slots=True)
class _Compared:
    """One metric's comparisons, and what they were made from."""

    metric: Metric
    reference: Scores
    cells: Mapping[str, Scores]
    parts: list[Part]
    comparisons: list[Comparison]
    support: Mapping[str, MinSupport]
    """Of each slice."""
    counted: frozenset[str]
    """Slices that claims are made about: the gated ones; without any gate, for the headline metric
    all."""
    headline: bool


def _compare(scored: Scored, metric: Metric, terms: Terms, *, headline: bool) -> _Compared:
    slices = scored.eval_set.slices
    gates = {
        name: tolerance
        for (gated, name), tolerance in terms.gates.items()
        if gated == metric.name and name in slices.names
    }
    reference = scored.reference[metric]
    cells = {cell: scores[metric] for cell, scores in scored.cells.items()}
    parts = parts_of(scored, terms.clusters)
    found: list[Comparison] = []
    for part in parts:
        found += compare(
            metric,
            reference,
            cells,
            part.slices,
            max_drop={name: gates[name] for name in part.slices if name in gates},
            clusters=part.clusters,
            seed=terms.seed,
            level=terms.level,
        )
    support = {name: MinSupport().at_least(slices.min_support(name)) for name in slices.names}
    every = slices.names if headline and not terms.gates else gates
    return _Compared(metric, reference, cells, parts, found, support, frozenset(every), headline)


def _judged(compared: Sequence[_Compared], terms: Terms) -> list[_Compared]:
    """With verdicts, judged all at once: what decides the exit status is one family."""
    together = [(one, found) for one in compared for found in one.comparisons]
    judged = iter(
        judge(
            [found for _, found in together],
            min_support=[one.support[found.slice] for one, found in together],
            families=dict.fromkeys(terms.controls, CONTROLS),
        )
    )
    return [
        replace(one, comparisons=list(islice(judged, len(one.comparisons)))) for one in compared
    ]


def _joint_lows(compared: Sequence[_Compared], terms: Terms) -> dict[tuple[str, str, str], float]:
    """(Cell, slice, metric) → lower bound; all candidates' hold at once, and all controls' do."""
    tail = (1.0 - terms.level) / 2.0
    found: dict[tuple[str, str, str], float] = {}
    for control in (False, True):
        members = [
            {name: s for name, s in one.cells.items() if (name in terms.controls) == control}
            for one in compared
        ]
        sizes = [
            len(cells) * len(one.counted) for cells, one in zip(members, compared, strict=True)
        ]
        for cells, one in zip(members, compared, strict=True):
            for part in one.parts:
                slices = {name: rows for name, rows in part.slices.items() if name in one.counted}
                if not slices or not cells:
                    continue
                lows = joint_lows(
                    one.reference,
                    cells,
                    slices,
                    # the chance to err is shared out by the number of comparisons
                    tail=tail * len(cells) * len(slices) / sum(sizes),
                    clusters=part.clusters,
                    seed=terms.seed,
                )
                found |= {(cell, name, one.metric.name): low for (cell, name), low in lows.items()}
    return found


def _bounded(one: Comparison, lows: Mapping[tuple[str, str, str], float]) -> Comparison:
    """With its bound for all at once; none where even the comparison's own isn't known."""
    joint = lows.get((one.cell, one.slice, one.metric))
    if joint is None or one.low is None:
        return one
    return replace(one, joint_low=min(joint, one.low))


def _split(one: _Compared, terms: Terms) -> list[SplitDrop]:
    found: list[SplitDrop] = []
    drawn = {name: scores for name, scores in one.cells.items() if name in terms.origins}
    for part in one.parts:
        own = [each for each in one.comparisons if each.slice in part.slices]
        own = [each for each in own if each.slice in one.counted]
        if own and drawn:
            found += split_drops(
                one.metric,
                one.reference,
                drawn,
                {name: part.slices[name] for name in dict.fromkeys(each.slice for each in own)},
                origins=terms.origins,
                comparisons=own,
                clusters=part.clusters,
                seed=terms.seed,
                level=terms.level,
            )
    return found


def _gaps(one: _Compared, compared: Sequence[_Compared], terms: Terms) -> list[Gap]:
    if not one.headline and not one.counted:
        return []
    part = one.parts[0]
    return worst_gaps(
        one.metric,
        one.reference,
        one.cells,
        part.slices,
        clusters=part.clusters,
        seed=terms.seed,
        level=terms.level,
        metrics=sum(each.headline or bool(each.counted) for each in compared),
    )


def parts_of(scored: Scored, clusters: Clusters | None) -> list[Part]:
    """The slices of an evaluation set, apart by whether their units come in clusters."""
    slices = scored.eval_set.slices
    rows = {name: slices.rows(name) for name in slices.names}
    code = clusters_of(clusters, scored.eval_set)
    if clusters is None:
        return [Part(rows, code)]
    together = {name: own for name, own in rows.items() if name not in clusters.alone}
    alone = {name: own for name, own in rows.items() if name in clusters.alone}
    apart = clusters_of(clusters, scored.eval_set, alone=True)
    return [Part(together, code), *([Part(alone, apart)] if alone else [])]
