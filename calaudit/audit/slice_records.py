"""The slices of a report: how many are in each, and what they could prove at best."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.metrics.base import Metric
from calaudit.results.audited import SliceRecord
from calaudit.slices.dimension import OBJECT
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.clusters import effective_blocks
from calaudit.statistics.criteria import Comparison, MinSupport
from calaudit.statistics.power import smallest_provable_drop
from calaudit.steps.clusters import clusters_of
from calaudit.tasks.base import EvalSet


def slice_records(audit: Audit, comparisons: Sequence[Comparison]) -> list[SliceRecord]:
    """Every slice; n counts evaluated samples.

    What a slice can prove by a gated metric is what its comparisons say, of the units that they
    compared; without any, of its samples.
    """
    measured: dict[tuple[str, str], float] = {}
    for one in comparisons:
        if one.smallest_provable_drop is not None:
            here = one.metric, one.slice
            measured[here] = max(measured.get(here, 0.0), one.smallest_provable_drop)
    found = []
    for unit, slices, names in _slices(audit):
        counts = slices.counts()
        for name in names:
            n, enough = counts[name], slices.min_support(name)
            provable = {
                metric.name: None if thin else measured.get((metric.name, name), least)
                for metric, thin, least in _provable(audit, name)
            }
            found.append(SliceRecord(name, n, n >= enough, provable, unit))
    return found


def slice_names(audit: Audit) -> list[str]:
    """Names of all slices that a report of this audit has."""
    return [name for _, _, names in _slices(audit) for name in names]


def _slices(audit: Audit) -> Iterator[tuple[str, SliceSet, list[str]]]:
    """Slices of samples, and those that only hold units of another kind."""
    told = list(audit.slices.names)
    units = {each.unit for each in audit.eval_sets}
    yield "image" if units <= {"image", OBJECT} else "sample", audit.slices, list(told)
    for each in audit.eval_sets:
        own = [name for name in each.slices.names if name not in told]
        if own:
            yield each.unit, each.slices, own
            told += own


def _provable(audit: Audit, name: str) -> Iterator[tuple[Metric, bool, float | None]]:
    """Of each metric with a gate on a slice: whether too few are in it, and what it could prove."""
    for eval_set in audit.eval_sets:
        for metric in eval_set.metrics:
            if (metric.name, name) not in audit.gates:
                continue
            support = MinSupport().at_least(eval_set.slices.min_support(name))
            units = eval_set.slices.rows(name)
            independent = independent_units(audit, eval_set, name, units)
            least = smallest_provable_drop(metric, independent, min_support=support)
            yield metric, len(units) < support.counted, least


def independent_units(
    audit: Audit, eval_set: EvalSet, name: str, units: NDArray[np.int64]
) -> float:
    """Units of a slice that are certain to be independent: a cluster may change as a whole."""
    alone = audit.clusters is not None and name in audit.clusters.alone
    code = clusters_of(audit.clusters, eval_set, alone=alone)
    if code is None or not len(units):
        return len(units)
    held = np.bincount(code[units]).astype(np.float64)
    return float(effective_blocks(held))
