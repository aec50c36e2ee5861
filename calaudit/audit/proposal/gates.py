"""Gates, proposed: the largest drop of each metric that good engines can be told to keep."""

import math
from collections.abc import Iterable

from calaudit.audit.proposal.choices import PROVABLE, Table
from calaudit.metrics.catalogue import definition_of, parse_metric
from calaudit.metrics.truth import TrueObjects
from calaudit.results.comparison import ALL
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.power import smallest_provable_drop
from calaudit.tasks.base import Proposed

SMALLEST_GATE = 0.02
LARGEST_GATE = 0.05
IMAGES = "images"


def of_objects(metric: str) -> bool:
    """Whether a metric scores objects one by one."""
    return definition_of(parse_metric(metric)).needs is TrueObjects


def units_needed(gated: Iterable[str]) -> int:
    """Judged units below which a slice proves nothing that matters."""
    kinds = {parse_metric(name).kind for name in gated if not of_objects(name)}
    return PROVABLE if kinds == {"binary"} else max(PROVABLE, MinSupport().resampled)


def gate(metric: str, guess: Proposed, *, least: int, n: int, n_clusters: int) -> Table:
    """Three times what the thinnest slice could prove, within bounds: good engines flip too.

    Where images are judged and slices are too thin to prove anything, the gate is on all of them.

    Parameters
    ----------
    metric : str
    guess : Proposed
    least, n : int
        Judged units of the thinnest slice, and all.
    n_clusters : int
        Clusters of all.
    """
    parsed, units = parse_metric(metric), guess.units
    needed = MinSupport().resampled
    if units == IMAGES and parsed.kind == "set" and least < needed:
        drop = _allowed(smallest_provable_drop(parsed, n_clusters, influence=lambda n: 1 / n))
        remark = (
            f"{100 * drop:g} points, overall: the smallest slice holds {least:,} evaluated "
            f"{units}, and {needed} are needed to prove so little by this metric."
        )
        if n < needed:
            remark += f" All {n:,} together are too few as well: evaluate more."
        return Table({"metric": metric, "slices": ALL, "max_drop": drop}, remark)
    provable = smallest_provable_drop(parsed, least)
    drop = _allowed(provable)
    remark = f"{100 * drop:g} points, on every slice and overall."
    if provable:
        remark += (
            f" The smallest slice holds {least:,} evaluated {units}: if no answer "
            f"changes, its minimum detectable drop is {100 * provable:.1f} points."
        )
    return Table({"metric": metric, "slices": "*", "max_drop": drop}, remark)


def gate_of_objects(metric: str, least: int, cluster_by: str | None) -> Table:
    """As `_gate`, by the clusters whose objects the slice with the fewest holds."""
    provable = smallest_provable_drop(parse_metric(metric), least)
    drop = _allowed(provable)
    remark = f"{100 * drop:g} points, on every slice and overall."
    if provable:
        remark += (
            f" The thinnest slice has objects of {least:,} "
            f"{'images' if cluster_by is None else f'values of {cluster_by}'}: if no answer "
            f"changes, its minimum detectable drop is {100 * provable:.1f} points."
        )
    return Table({"metric": metric, "slices": "*", "max_drop": drop}, remark)


def _allowed(provable: float | None) -> float:
    return min(LARGEST_GATE, max(SMALLEST_GATE, math.ceil(300 * (provable or 0.0)) / 100))
