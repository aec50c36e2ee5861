"""What the evaluated rows say: the winner's gain over the plain set, and what its verdict lacks."""

from collections.abc import Iterator, Sequence

from calaudit.audit.prepare import Audit
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.metrics.unit_scores import Scores
from calaudit.recommend.choosing import Chosen
from calaudit.results.comparison import ALL, Result, Verdict
from calaudit.results.drops import Part
from calaudit.results.recommendation import Gain, Shortage
from calaudit.results.report import Report
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison
from calaudit.steps.clusters import clusters_of
from calaudit.steps.score import Scored, score_eval_sets


def gains(audit: Audit, report: Report, chosen: Chosen, winner: str, plain: str) -> list[Gain]:
    """What the winner saves overall, and where the plain set lost most on the tuning rows.

    Both places are fixed before an evaluated row is looked at, so that nothing flatters.

    Parameters
    ----------
    audit : Audit
        Of the evaluated rows; its artefacts are made.
    report : Report
        Its report.
    chosen : Chosen
    winner, plain : str
        Ids of their cells.
    """
    judged = {cell.id for cell in report.cells if cell.status == "judged"}
    if winner == plain or not {winner, plain} <= judged:
        return []
    cells = {cell.id: cell for cell in audit.plan.cells}
    scored = score_eval_sets(
        audit.eval_sets,
        Predictions(audit.plan.reference.predictions),
        {name: Predictions(cells[name].predictions) for name in (plain, winner)},
    )
    drops = {(r.cell, r.slice, r.metric): r.drop for r in report.results}
    found = []
    for metric, name in dict.fromkeys(_places(audit, chosen)):
        one = next((each for each in scored if _of(each, metric) is not None), None)
        by = None if one is None else _of(one, metric)
        if one is None or by is None or name not in one.eval_set.slices.names:
            continue
        comparison = _paired(audit, one, by, name, (plain, winner))
        if comparison is None or comparison.drop is None:
            continue
        found.append(
            Gain(
                slice=name,
                metric=metric,
                plain=drops.get((plain, name, metric)),
                winner=drops.get((winner, name, metric)),
                gain=Part(comparison.drop, comparison.low, comparison.high),
                level=comparison.level,
            )
        )
    return found


def _places(audit: Audit, chosen: Chosen) -> Iterator[tuple[str, str]]:
    worst = chosen.standing(chosen.plain).worst
    if worst is not None:
        yield worst.metric, worst.slice
        yield worst.metric, ALL
    else:
        yield audit.eval_sets[0].metrics[0].name, ALL


def _of(scored: Scored, metric: str) -> Metric | None:
    return next((each for each in scored.eval_set.metrics if each.name == metric), None)


def _paired(
    audit: Audit, scored: Scored, metric: Metric, name: str, cells: tuple[str, str]
) -> Comparison | None:
    """How much more the plain set's engine loses than the winner, on the same units.

    Of likeness to FP32 the winner's is taken for the reference, as of any quality.
    """
    slices, clusters = scored.eval_set.slices, audit.clusters
    rows = slices.rows(name)
    plain, winner = cells
    before: Scores = scored.cells[winner][metric]
    after: Scores = scored.cells[plain][metric]
    alone = clusters is not None and name in clusters.alone
    together = clusters_of(clusters, scored.eval_set, alone=alone)
    found: Sequence[Comparison] = compare(
        metric,
        before,
        {plain: after},
        {name: rows},
        clusters=together,
        seed=audit.seed,
        level=audit.config.audit.level,
    )
    return next(iter(found), None)


def shortages(report: Report, winner: str) -> list[Shortage]:
    """Gated slices of which the winner's verdict is inconclusive, those that lack most first."""
    lacking = [
        result
        for result in report.results
        if result.cell == winner and result.verdict == Verdict.INCONCLUSIVE
    ]

    def lack(result: Result) -> float:
        return (result.n_needed or 0) / max(result.n, 1)

    return [
        Shortage(each.slice, each.metric, each.n, each.n_needed, each.reason)
        for each in sorted(lacking, key=lack, reverse=True)
    ]


def verdict_of(report: Report, winner: str) -> Verdict:
    """Of the winner's gates alone: as the report's, where it is the only candidate."""
    verdicts = {
        result.verdict
        for result in report.results
        if result.cell == winner and result.gate is not None
    }
    if Verdict.REGRESSED in verdicts:
        return Verdict.REGRESSED
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE
