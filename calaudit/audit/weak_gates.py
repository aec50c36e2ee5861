"""Gates that can't be passed with as many units as a slice holds, known before any engine runs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calaudit.audit.prepare import Audit
from calaudit.audit.slice_records import independent_units
from calaudit.metrics.base import Metric
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.power import ANY_SIZE, smallest_provable_drop, units_to_prove
from calaudit.steps.clusters import clusters_of
from calaudit.tasks.base import EvalSet

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class WeakGate:
    """One metric on one slice that has too few units for its gate."""

    metric: str
    slice: str
    unit: str
    n: int
    n_needed: int | None
    """None: no number is enough."""
    may_pass: bool
    """Whether it can if hardly a unit's score changes. If none can, only a gain might pass."""


def weak_gates(audit: Audit) -> list[WeakGate]:
    """Every gated metric and slice that can't pass if no score changes, or only then.

    By numbers of units and clusters alone. A relative gate counts as far as an absolute one is
    given beside it, and what bounds a set metric isn't known before FP32 has run.
    """
    return [
        found
        for eval_set in audit.eval_sets
        for metric in eval_set.metrics
        for name in eval_set.slices.names
        if (metric.name, name) in audit.gates
        for found in _weak(audit, eval_set, metric, name)
    ]


def _weak(audit: Audit, eval_set: EvalSet, metric: Metric, name: str) -> Iterator[WeakGate]:
    rows = eval_set.slices.rows(name)
    n = len(rows)
    if not n:
        return
    support = MinSupport().at_least(eval_set.slices.min_support(name))
    independent = independent_units(audit, eval_set, name, rows)
    needed: float | None = support.counted
    allowed = audit.gates[metric.name, name].max_drop
    smallest = smallest_provable_drop(metric, independent, min_support=ANY_SIZE)
    if allowed is not None and smallest is not None and smallest >= allowed:
        alone = units_to_prove(metric, allowed)
        needed = None if alone is None else max(support.counted, alone * n / independent)
    n_clusters = _clusters(audit, eval_set, name)
    if needed is not None and n_clusters is not None:
        needed = max(needed, support.clusters * n / n_clusters)
    kind = "jackknife" if metric.kind == "set" else "bootstrap-t"
    resampled = support.of(kind, per_cluster=n / independent, bounded=metric.span is not None)
    whole = math.ceil(resampled - _ROUNDING)
    if needed is None or n < needed:
        least = needed if metric.kind == "binary" or needed is None else max(needed, resampled)
        enough = None if least is None else math.ceil(least - _ROUNDING)
        yield WeakGate(metric.name, name, eval_set.unit, n, enough, may_pass=False)
    elif metric.kind != "binary" and n < whole:
        yield WeakGate(metric.name, name, eval_set.unit, n, whole, may_pass=True)


def _clusters(audit: Audit, eval_set: EvalSet, name: str) -> int | None:
    """Clusters that a slice's units come from; None where each stands alone."""
    alone = audit.clusters is not None and name in audit.clusters.alone
    code = clusters_of(audit.clusters, eval_set, alone=alone)
    return None if code is None else len(np.unique(code[eval_set.slices.rows(name)]))
