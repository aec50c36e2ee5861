"""Samples and queries that flip under most engines, with their ids, for people to look at."""

from collections.abc import Iterable, Mapping

import numpy as np

from calaudit.evaluate.exemplars import Exemplar, Exemplars, find_exemplars
from calaudit.evaluate.metric import Metric
from calaudit.report import ALL, ExemplarRecord, ExemplarsRecord
from calaudit.steps.exam import Exam
from calaudit.steps.score import Scored


def list_exemplars(
    scored: Iterable[Scored], gates: Mapping[tuple[str, str], float], *, most: int = 10
) -> list[ExemplarsRecord]:
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
            record = _record(one, metric, least, most)
            if record is not None:
                found.append(record)
    return found


def _record(scored: Scored, metric: Metric, least: float, most: int) -> ExemplarsRecord | None:
    found = find_exemplars(
        metric,
        scored.reference[metric],
        [scores[metric] for scores in scored.cells.values()],
        least=least,
        most=most,
    )
    if found is None:
        return None
    return ExemplarsRecord(
        metric=metric.name,
        unit=scored.exam.unit,
        engines=found.n_engines,
        least=least,
        flipping=found.n_flipping,
        shown=_shown(found, scored.exam),
    )


def _shown(found: Exemplars, exam: Exam) -> tuple[ExemplarRecord, ...]:
    units = np.array([one.unit for one in found.shown], dtype=np.int64)
    ids = exam.ids(units) if len(units) else []
    return tuple(_exemplar(one, name, exam) for one, name in zip(found.shown, ids, strict=True))


def _exemplar(one: Exemplar, name: str, exam: Exam) -> ExemplarRecord:
    here = exam.slices.take(np.array([one.unit], dtype=np.int64)).counts()
    return ExemplarRecord(
        id=name,
        lost=one.lost,
        gained=one.gained,
        reference=one.reference,
        mean_drop=one.mean_drop,
        slices=tuple(slice_name for slice_name, n in here.items() if n and slice_name != ALL),
    )
