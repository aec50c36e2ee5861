"""Judge: scores of every cell against FP32's, slice by slice, and whose fault a drop is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calaudit.evaluate import (
    Attribution,
    Comparison,
    Gap,
    Metric,
    MinSupport,
    Origin,
    attribute,
    compare,
    judge,
    worst_gaps,
)
from calaudit.evaluate.partition import Rows
from calaudit.progress import progress
from calaudit.steps.clusters import Clusters
from calaudit.steps.floors import hold_to_floors
from calaudit.steps.gates import Floors, Gates
from calaudit.steps.sanity import Doubt, doubts_of
from calaudit.steps.score import Scored


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
    doubts: list[Doubt] = field(default_factory=list)
    """Exams at which FP32 isn't shown to be better than who never looks at the input."""

    @property
    def tolerated(self) -> dict[tuple[str, str], float]:
        """(metric, slice) → largest drop allowed, in the metric's unit."""
        return {
            (one.metric.name, one.slice): one.max_drop
            for one in self.comparisons
            if one.max_drop is not None
        }


def judge_cells(scored: Sequence[Scored], terms: Terms) -> Judgement:
    """Compare every cell with FP32 by every metric on every slice, with verdicts.

    Parameters
    ----------
    scored : sequence of Scored
        Scores of every exam, from :func:`calaudit.steps.score.score_exams`.
    terms : Terms
    """
    whole = Judgement([], [], [], doubts_of(scored, terms.clusters))
    hopeless = frozenset[str]().union(*(d.metrics for d in whole.doubts if d.knows_nothing))
    for number, one in enumerate(scored):
        metrics = one.exam.metrics
        for place, metric in enumerate(
            progress(metrics, total=len(metrics), what="statistics", unit="metric")
        ):
            found = _judge(one, metric, terms, headline=number == place == 0)
            whole.comparisons.extend(hold_to_floors(found.comparisons, terms.floors, hopeless))
            whole.attributions.extend(found.attributions)
            whole.gaps.extend(found.gaps)
    return whole


@dataclass(frozen=True, slots=True)
class _Part:
    """Slices whose units hang together in one way."""

    slices: dict[str, Rows]
    clusters: Any
    """(n,) cluster of each unit; None: they are independent."""


def _judge(scored: Scored, metric: Metric, terms: Terms, *, headline: bool) -> Judgement:
    slices = scored.exam.slices
    gates = {
        name: tolerance
        for (gated, name), tolerance in terms.gates.items()
        if gated == metric.name and name in slices.names
    }
    reference = scored.reference[metric]
    cells = {cell: scores[metric] for cell, scores in scored.cells.items()}
    parts = _parts(scored, terms.clusters)
    compared: list[Comparison] = []
    for part in parts:
        compared += compare(
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
    judged = judge(compared, min_support=support)
    chosen = [one for one in judged if one.max_drop is not None]
    if headline and not terms.gates:
        chosen = judged
    attributions: list[Attribution] = []
    gaps: list[Gap] = []
    for part in parts:
        how: dict[str, Any] = {
            "clusters": part.clusters,
            "seed": terms.seed,
            "level": terms.level,
        }
        own = [one for one in chosen if one.slice in part.slices]
        drawn = {name: scores for name, scores in cells.items() if name in terms.origins}
        if own and drawn:
            attributions += attribute(
                metric,
                reference,
                drawn,
                {name: part.slices[name] for name in dict.fromkeys(one.slice for one in own)},
                origins=terms.origins,
                comparisons=own,
                **how,
            )
        if part is parts[0] and (headline or gates):
            gaps += worst_gaps(metric, reference, cells, part.slices, **how)
    return Judgement(judged, attributions, gaps)


def _parts(scored: Scored, clusters: Clusters | None) -> list[_Part]:
    slices = scored.exam.slices
    rows = {name: slices.rows(name) for name in slices.names}
    if clusters is None:
        return [_Part(rows, None)]
    code = clusters.of(scored.exam)
    together = {name: own for name, own in rows.items() if name not in clusters.alone}
    alone = {name: own for name, own in rows.items() if name in clusters.alone}
    return [_Part(together, code), *([_Part(alone, None)] if alone else [])]
