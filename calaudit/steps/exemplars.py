"""Samples and queries that flip under most engines, with their ids, for people to look at."""

from collections.abc import Iterable, Mapping

from calaudit.results.drops import Exemplars
from calaudit.statistics.exemplars import find_exemplars
from calaudit.steps.score import Scored


def list_exemplars(
    scored: Iterable[Scored], gates: Mapping[tuple[str, str], float], *, most: int = 10
) -> list[Exemplars]:
    """Units that flip under more than half of the engines.

    By each exam's first metric and those that are gated; metrics of whole sets and of likeness to
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
        for number, metric in enumerate(one.exam.metrics):
            strictest = [drop for (gated, _), drop in gates.items() if gated == metric.name]
            if metric.is_agreement or (number and not strictest):
                continue
            least = 0.0 if metric.kind == "binary" else min(strictest, default=0.0)
            exemplars = find_exemplars(
                metric,
                one.reference[metric],
                [scores[metric] for scores in one.cells.values()],
                ids=one.exam.ids,
                slices=one.exam.slices,
                unit=one.exam.unit,
                least=least,
                most=most,
            )
            if exemplars is not None:
                found.append(exemplars)
    return found
