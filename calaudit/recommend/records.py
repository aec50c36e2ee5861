"""From what was chosen and proven to the report's record."""

from calaudit.audit.prepare import Audit
from calaudit.recommend.choosing import Chosen, Considered
from calaudit.recommend.proof import gains, shortages, verdict_of
from calaudit.recommend.sentences import outcome_of, sentence
from calaudit.recommend.written import Written
from calaudit.results.recommendation import (
    Limit,
    Option,
    RangeBound,
    Recommendation,
    Remedy,
)
from calaudit.results.report import Report

_LEAST = 0.005
"""Weight of a slice that is told of."""


def recommendation(
    audit: Audit, report: Report, chosen: Chosen, written: Written, base: frozenset[str]
) -> Recommendation:
    """What to ship.

    Parameters
    ----------
    audit : Audit
        That of the evaluated rows, its artefacts made.
    report : Report
        Its report.
    chosen : Chosen
    written : Written
        Its file.
    base : frozenset of str
        Products that every engine leaves in float.
    """
    winner, plain = (written.cells[each.name] for each in (chosen.winner, chosen.plain))
    verdict = verdict_of(report, winner)
    gained = gains(audit, report, chosen, winner, plain)
    plains = None if winner == plain else verdict_of(report, plain)
    outcome = outcome_of(verdict, plains, gained)
    short = shortages(report, winner)
    return Recommendation(
        outcome=outcome,
        verdict=verdict,
        sentence=sentence(
            chosen,
            report,
            outcome=outcome,
            plain=plains,
            winner=winner,
            gains=gained,
            collect=short,
            base=base,
        ),
        winner=winner,
        remedy=chosen.winner.remedy,
        plain=plain,
        rivals=tuple(
            cell
            for each in chosen.rivals
            if (cell := written.cells[each.name]) not in {winner, plain}
        ),
        tune=audit.tuning.predicate,
        n_tuning=chosen.n_rows,
        options=tuple(_option(each, written, base) for each in chosen.considered),
        gains=tuple(gained),
        bound=_bound(chosen),
        collect=tuple(short),
        float_macs=_float_macs(report, winner),
        untried=chosen.untried,
    )


def _option(each: Considered, written: Written, base: frozenset[str]) -> Option:
    one, how = each.candidate, each.standing
    worst = None if how is None else how.worst
    return Option(
        name=one.name,
        remedy=one.remedy,
        cell=written.cells.get(one.name),
        predicted=one.predicted,
        slice=None if worst is None else worst.slice,
        metric=None if worst is None else worst.metric,
        drop=None if worst is None else worst.drop,
        used=None if how is None else how.used,
        holds=how.holds if how is not None and how.gated else None,
        file=written.files.get(one.name),
        float_ops=tuple(op for op in one.float_ops if op not in base),
    )


def _bound(chosen: Chosen) -> RangeBound:
    free = chosen.free
    sets = [
        each.candidate
        for each in chosen.considered
        if each.candidate.remedy in {Remedy.PLAIN_SET, Remedy.OTHER_SET}
    ]
    best = min(sets, key=lambda each: each.predicted, default=None)
    limits = sorted(
        zip(free.groups, free.found.weights.tolist(), strict=True), key=lambda each: -each[1]
    )
    return RangeBound(
        # sets' ranges lie between the amaxes that the bound holds for
        bound=min([free.found.bound, *(each.predicted for each in sets), chosen.plain.predicted]),
        reached=free.found.worst,
        gap=free.found.gap,
        best_set=None if best is None else best.name,
        best_set_harm=None if best is None else best.predicted,
        plain_harm=chosen.plain.predicted,
        limits=tuple(Limit(name, weight) for name, weight in limits if weight >= _LEAST),
        amaxes=free.n_amax,
    )


def _float_macs(report: Report, winner: str) -> float | None:
    engine = next(cell.engine for cell in report.cells if cell.id == winner)
    share = None if engine is None else engine.int8_share
    return None if share is None else 1.0 - share
