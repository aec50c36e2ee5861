"""Score: what every unit got from FP32 and from each cell.

What became of rankings, which units flip under most engines, and notices about outputs that aren't
numbers and from kinds of task.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.scoring import perfect, scores_of
from calaudit.metrics.set_statistics import Grouping
from calaudit.metrics.unit_scores import Scores, SetScores, concatenate
from calaudit.results.drops import Exemplars
from calaudit.results.rankings import RankingFlow, RankingLoss, RankingSlice
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.progress import counter
from calaudit.runtime.words import plural
from calaudit.statistics.baselines import Constancy, Rival
from calaudit.statistics.exemplars import find_exemplars
from calaudit.statistics.ranking_change import RankingChange, losses_of
from calaudit.steps.pieces import Pieces
from calaudit.steps.sanity import rivals_in
from calaudit.steps.scores_reduction import ScoresReduction
from calaudit.steps.unit_facts import UnitFacts, facts_of, join_facts
from calaudit.tasks.base import EvalSet
from calaudit.tasks.names import Names, remembered
from calaudit.tasks.placed import placed

CellScores = Mapping[Metric, Scores]

_SHOWN = 3


def _flow(
    cell: str,
    eval_set: EvalSet,
    change: RankingChange,
    losses: Sequence[tuple[RankingLoss, ...]],
    items: Names | None,
) -> RankingFlow:
    truth, names = change.truth, eval_set.slices.names
    lost, gained = change.moved(np.arange(len(truth), dtype=np.int64), names=items)
    return RankingFlow(
        cell=cell,
        output=eval_set.output,
        k=change.k,
        catalogue=truth.n_items,
        tail_items=None if truth.tail is None else int(truth.tail.sum()),
        slices=tuple(
            _slice(change, name, eval_set.slices.rows(name), own)
            for name, own in zip(names, losses, strict=True)
        ),
        lost=lost,
        gained=gained,
    )


def _slice(
    change: RankingChange, name: str, rows: Rows, losses: tuple[RankingLoss, ...]
) -> RankingSlice:
    return RankingSlice(
        slice=name,
        n=len(rows),
        reference_ties=change.tied_share("fp32", rows),
        candidate_ties=change.tied_share("engine", rows),
        flow=change.flow(rows),
        losses=losses,
    )


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """One evaluation set's scores."""

    eval_set: EvalSet
    reference: CellScores
    """FP32's."""
    cells: Mapping[str, CellScores]
    """Cell id → its scores."""
    rankings: tuple[RankingFlow, ...] = ()
    """Of a ranking: what each cell made of FP32's."""
    notices: tuple[Notice, ...] = ()
    """Units whose outputs aren't numbers, under FP32 and under the engines."""
    probabilities: bool = False
    """Whether a classifier's outputs are probabilities, so that metrics of logits read them so."""
    rivals: tuple[Rival, ...] = ()
    """Whom FP32 should be better than."""
    constant: bool = False
    """Whether FP32's output doesn't vary with the input."""
    constant_cells: tuple[str, ...] = ()
    """Cells of which that is so, though not of FP32."""
    identical: frozenset[str] = frozenset()
    """Cells whose outputs are FP32's, to the bit."""
    answer: NDArray[np.int64] | None = None
    """(n,) the class that FP32 answers, -1 where none; None where it isn't asked for classes."""
    floating: bool = False
    """Whether the output is one of floats, so that equal outputs are no chance."""


def score_eval_sets(
    eval_sets: Iterable[EvalSet], reference: Predictions, cells: Mapping[str, Predictions]
) -> list[Scored]:
    """Score every evaluation set, piece by piece: no engine's outputs are in memory whole.

    Parameters
    ----------
    eval_sets : iterable of EvalSet
    reference : Predictions
        FP32's.
    cells : mapping
        Cell id → its engine's predictions over the same rows.
    """
    return [_scored(eval_set, reference, cells) for eval_set in eval_sets]


def rankings_of(scored: Sequence[Scored]) -> list[RankingFlow]:
    """What every cell made of FP32's rankings, in the order of the evaluation sets."""
    return [record for one in scored for record in one.rankings]


def task_notices(scored: Iterable[Scored]) -> Iterator[Notice]:
    """What kinds of task have to say of their metrics."""
    for one in scored:
        yield from one.eval_set.task.notices(one.eval_set, probabilities=one.probabilities)


def notices_of(scored: Sequence[Scored]) -> list[Notice]:
    """What there is to say of outputs that aren't numbers; once, if several tasks read them."""
    return list(dict.fromkeys(notice for one in scored for notice in one.notices))


def try_metrics(eval_sets: Iterable[EvalSet], reference: Predictions) -> None:
    """Compute metrics of others from FP32's outputs: what fails does so before engines are built.

    Raises
    ------
    SettingsError
        A metric's function, functional or influence failed, or gave something else than it should.
    """
    for eval_set in eval_sets:
        others = [metric for metric in eval_set.metrics if not definition_of(metric).is_ours]
        if not others:
            continue
        with placed(target=eval_set.target, where=eval_set.where):
            cases = [case for _, case in Pieces(eval_set, reference).bases()]
            for metric in others:
                scores = concatenate([scores_of(metric, case) for case in cases])
                if isinstance(scores, SetScores):
                    everyone = np.arange(len(scores), dtype=np.int64)
                    scores.statistics.without_groups(Grouping(everyone, everyone % 2, 2))
                    scores.statistics.most(everyone)(len(scores))


@dataclass(slots=True, eq=False)
class _Engine:
    """What is known of one engine so far."""

    parts: list[UnitFacts] = field(default_factory=list)
    constancy: Constancy = field(default_factory=Constancy)

    def look(self, case: Case, metrics: Sequence[Metric], *, rankings: bool) -> None:
        """Take the next units."""
        self.parts.append(facts_of(case, metrics, rankings=rankings))
        self.constancy.look(case.outputs)

    def remember(
        self, kept: ScoresReduction, given: Predictions, units: Rows, base: Case, fp32: UnitFacts
    ) -> None:
        """Take the next units, which were scored while the engine ran."""
        self.parts.append(kept.facts(given, units, base, fp32))
        self.constancy.look(kept.sketch(given, units))

    def joined(self, truth: object) -> UnitFacts:
        """Of all units; the parts are let go, so that no engine's are there twice for long."""
        whole = join_facts(self.parts, truth)
        self.parts.clear()
        return whole


def _scored(eval_set: EvalSet, reference: Predictions, cells: Mapping[str, Predictions]) -> Scored:
    pieces = Pieces(eval_set, reference)
    fp32, engines = _Engine(), {cell: _Engine() for cell in cells}
    looks = len(pieces.spans) * len(cells)
    floating = False
    with counter(looks, what="scores", unit="cell") as done:
        for units, base in pieces.bases():
            floating = base.outputs.dtype.kind == "f"
            with placed(target=eval_set.target, where=eval_set.where):
                fp32.look(base, eval_set.metrics, rankings=False)
            for cell, predictions in cells.items():
                kept = eval_set.reduction
                with placed(target=eval_set.target, where=eval_set.where):
                    if isinstance(kept, ScoresReduction) and kept.scores_of(predictions):
                        engines[cell].remember(kept, predictions, units, base, fp32.parts[-1])
                    else:
                        case = base.with_outputs(eval_set.answers(predictions, reference, units))
                        engines[cell].look(case, eval_set.metrics, rankings=True)
                done.advance(1)
    own = fp32.joined(eval_set.truth)
    facts = {cell: engine.joined(eval_set.truth) for cell, engine in engines.items()}
    constant = fp32.constancy.constant
    return Scored(
        eval_set,
        {m: perfect(m, s) if m.is_agreement else s for m, s in own.scores.items()},
        {cell: each.scores for cell, each in facts.items()},
        tuple(_rankings(eval_set, facts)),
        tuple(_not_finite(eval_set, own, facts)),
        pieces.probabilities,
        rivals=rivals_in(eval_set, pieces.whole, constant=constant),
        constant=constant,
        constant_cells=tuple(
            cell for cell, each in engines.items() if not constant and each.constancy.constant
        ),
        identical=frozenset(cell for cell, each in facts.items() if each.identical),
        answer=own.answer,
        floating=floating,
    )


def _rankings(eval_set: EvalSet, facts: Mapping[str, UnitFacts]) -> Iterator[RankingFlow]:
    """Losses by cause, ties and exposure that moved: one for each cell and cut."""
    items = None if eval_set.items is None else remembered(eval_set.items)
    slices = [eval_set.slices.rows(name) for name in eval_set.slices.names]
    by_cut = zip(*(each.changes for each in facts.values()), strict=True)
    losses = [losses_of(changes, eval_set.metrics, slices) for changes in by_cut]
    for at, (cell, each) in enumerate(facts.items()):
        for change, of_cells in zip(each.changes, losses, strict=True):
            yield _flow(cell, eval_set, change, of_cells[at], items)


def _not_finite(
    eval_set: EvalSet, fp32: UnitFacts, facts: Mapping[str, UnitFacts]
) -> Iterator[Notice]:
    """Units whose outputs can't be judged, of FP32 and of each cell where FP32's can."""
    if fp32.unanswered.any():
        named = _named(eval_set, fp32.unanswered)
        message = f"FP32's output {eval_set.output} isn't finite for {named}; left out"
        yield Notice("reference_not_finite", message)
    for cell, each in facts.items():
        broken = each.unanswered & ~fp32.unanswered
        if broken.any():
            message = f"its output {eval_set.output} isn't finite where FP32's is, for"
            yield Notice(
                "output_not_finite", f"{message} {_named(eval_set, broken)}", f"cell {cell}"
            )


def _named(eval_set: EvalSet, units: NDArray[np.bool_]) -> str:
    """How many units, of how many, and the ids of the first."""
    rows = np.flatnonzero(units)
    more = ", …" if len(rows) > _SHOWN else ""
    ids = ", ".join(eval_set.ids(rows[:_SHOWN]))
    return f"{len(rows):,} of {len(units):,} {plural(eval_set.unit)}: {ids}{more}"


def list_exemplars(
    scored: Iterable[Scored], gates: Mapping[tuple[str, str], float], *, most: int = 10
) -> list[Exemplars]:
    """Units that flip under more than half of the engines.

    By each task's first metric and those that are gated; metrics of whole sets and of likeness to
    FP32 are passed over: the ones score no unit, by the others any change would count.

    Parameters
    ----------
    scored : iterable of Scored
    gates : mapping
        (metric, slice) → largest drop allowed. A score that isn't right or wrong flips where it
        changes by more than its metric's strictest gate.
    most : int
        Units to list per metric.
    """
    found = []
    for one in scored:
        for number, metric in enumerate(one.eval_set.metrics):
            strictest = [drop for (gated, _), drop in gates.items() if gated == metric.name]
            if metric.is_agreement or (number and not strictest):
                continue
            least = 0.0 if metric.kind == "binary" else min(strictest, default=0.0)
            exemplars = find_exemplars(
                metric,
                one.reference[metric],
                [scores[metric] for scores in one.cells.values()],
                ids=one.eval_set.ids,
                slices=one.eval_set.slices,
                unit=one.eval_set.unit,
                least=least,
                most=most,
            )
            if exemplars is not None:
                found.append(exemplars)
    return found
