"""Candidates on tuning rows: run, scored on every slice that counts, and judged one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calaudit.audit.eval_sets import task_names
from calaudit.audit.prepare import Audit
from calaudit.calibration.scales import scale_of
from calaudit.explain.engines import Experiments, Variant, experiments_backend
from calaudit.explain.kept import kept_of_experiments
from calaudit.explain.runs import Runs
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.recommend.options import Candidate
from calaudit.runtime.pool import Rows
from calaudit.runtime.progress import progress
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.choice import Standing, standing
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison, MinSupport
from calaudit.statistics.verdict import judge
from calaudit.steps.clusters import Clusters, clusters_of, read_clusters
from calaudit.steps.score import Scored, score_eval_sets
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import read_eval_sets, rows_to_predict


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The tuning rows, and what runs engines on them."""

    audit: Audit
    rows: Rows
    """Those that engines are judged on, ascending."""
    predicted: Rows
    """These, and what else the tasks need."""
    eval_sets: tuple[EvalSet, ...]
    clusters: Clusters | None
    experiments: Experiments
    runs: Runs

    def standings(self, candidates: Sequence[Candidate]) -> list[Standing]:
        """How each did; answers of engines that were run before are kept.

        Raises
        ------
        BackendError
            An engine can't be made, or failed.
        """
        fp32 = self.answers(self.experiments.fp32())
        answers = {}
        for place, each in enumerate(
            progress(candidates, total=len(candidates), what="tuning rows", unit="engine")
        ):
            answers[str(place)] = self.answers(self.engine(each))
        found = self._comparisons(score_eval_sets(self.eval_sets, fp32, answers))
        return [
            standing(found.get(str(place), []), price=each.price)
            for place, each in enumerate(candidates)
        ]

    def engine(self, candidate: Candidate) -> Variant:
        """The engine of a candidate: Q/DQ with its ranges."""
        scales = {tap: scale_of(amax) for tap, amax in candidate.ranges.items()}
        return self.experiments.ranged(scales, frozenset(candidate.float_ops))

    def answers(self, variant: Variant, rows: Rows | None = None) -> Predictions:
        """What an engine says of the tuning rows, or of some of them."""
        wanted = self.predicted if rows is None else rows
        return self.runs.answers(variant.name, wanted, variant.load, variant.more)

    def _comparisons(self, scored: Sequence[Scored]) -> dict[str, list[Comparison]]:
        """Cell → its comparisons, judged by themselves: each candidate is a family of its own."""
        found: dict[str, list[Comparison]] = {}
        support: dict[str, MinSupport] = {}
        gates = self.audit.gates
        for number, one in enumerate(scored):
            slices = one.eval_set.slices
            support |= {
                name: MinSupport().at_least(slices.min_support(name)) for name in slices.names
            }
            for place, metric in enumerate(one.eval_set.metrics):
                names = [name for name in slices.names if (metric.name, name) in gates]
                if not gates and number == place == 0:
                    names = list(slices.names)
                for comparison in self._compare(one, metric, names):
                    found.setdefault(comparison.cell, []).append(comparison)
        return {
            cell: judge(own, min_support=[support[each.slice] for each in own])
            for cell, own in found.items()
        }

    def _compare(self, scored: Scored, metric: Metric, names: Sequence[str]) -> list[Comparison]:
        slices, clusters = scored.eval_set.slices, self.clusters
        alone = frozenset(names) if clusters is None else clusters.alone
        found: list[Comparison] = []
        for apart in (False, True):
            rows = {name: slices.rows(name) for name in names if (name in alone) == apart}
            rows = {name: own for name, own in rows.items() if len(own)}
            if not rows:
                continue
            gates = {
                name: self.audit.gates[metric.name, name]
                for name in rows
                if (metric.name, name) in self.audit.gates
            }
            found += compare(
                metric,
                scored.reference[metric],
                {cell: scores[metric] for cell, scores in scored.cells.items()},
                rows,
                max_drop=gates,
                clusters=clusters_of(clusters, scored.eval_set, alone=apart),
                seed=self.audit.seed,
                level=self.audit.config.audit.level,
            )
        return found


def trials(audit: Audit, rows: Rows, folder: Path) -> Trials:
    """Read what the tasks need of the tuning rows.

    Parameters
    ----------
    audit : Audit
    rows : int64 (n,)
        Ascending.
    folder : Path
        Where answers are kept; its owner deletes it.

    Raises
    ------
    CalauditError
        Targets that the tuning rows don't have.
    """
    config = audit.config
    slices = audit.pool_slices.take(rows)
    eval_sets = _eval_sets(audit, rows, slices)
    cell = next(each for each in audit.plan.cells if each.method is not None)
    return Trials(
        audit=audit,
        rows=rows,
        predicted=rows_to_predict(config.tasks, audit.pool, rows),
        eval_sets=eval_sets,
        clusters=read_clusters(
            config.audit.cluster_columns,
            audit.pool,
            rows,
            dimensions=config.dimensions,
            slices=[slices, *(each.slices for each in eval_sets)],
            where=f"{config.path}: audit.cluster_by",
        ),
        experiments=Experiments(audit, experiments_backend(audit, cell)),
        runs=Runs(audit.pool, folder, config.audit.batch_size, kept_of_experiments(audit)),
    )


def _eval_sets(audit: Audit, rows: Rows, slices: SliceSet) -> tuple[EvalSet, ...]:
    config = audit.config
    found: list[EvalSet] = []
    gated = {metric for metric, _ in audit.gates}
    headline = audit.eval_sets[0].metrics[0]
    names = task_names(config)
    for number, task in enumerate(config.tasks):
        for one in read_eval_sets(
            task,
            audit.pool,
            rows,
            slices,
            [output.name for output in audit.model.outputs],
            where=f"{config.path}: tasks[{number}]",
            folder=config.base,
            object_slices=audit.object_slices,
            shapes={output.name: output.shape for output in audit.model.outputs},
            name=names[number],
        ):
            counted = tuple(each for each in one.metrics if each.name in gated)
            if not gated and one.metrics[0] == headline:
                counted = one.metrics[:1]
            if counted:
                found.append(replace(one, metrics=counted))
    return tuple(found)
