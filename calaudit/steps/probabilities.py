"""Outputs that are probabilities already, where a metric expects logits."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.classification import holds_probabilities
from calaudit.metrics.truth import Labels
from calaudit.runtime.errors import Notice
from calaudit.steps.exam import Exam

if TYPE_CHECKING:
    from calaudit.steps.score import Scored

OF_LOGITS: Final = frozenset({"nll", "ece"})
"""Metrics that put a softmax of their own on what they are given."""
ENDS_IN_PROBABILITIES: Final = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
_ONE_BY_ONE: Final = frozenset({"Sigmoid", "HardSigmoid"})
"""A probability per class: they needn't add up to 1."""
_SUFFIX = "_of_probabilities"


def gives_probabilities(exam: Exam, fp32: NDArray[Any]) -> bool:
    """Whether a classifier's FP32 outputs (n, classes) are probabilities.

    They are where every row is a distribution, whatever op made it so, or where they come from a
    sigmoid. A second softmax over them would be nearly flat: the loss of a sure and right answer
    of ten classes is 1.46 nats then, not 0.
    """
    if not isinstance(exam.truth, Labels) or fp32.ndim != 2:
        return False
    return exam.closing in _ONE_BY_ONE or holds_probabilities(fp32)


def as_computed(metric: Metric, *, of_probabilities: bool) -> Metric:
    """The metric that is computed under `metric`'s name."""
    if of_probabilities and metric.name in OF_LOGITS:
        return parse_metric(f"{metric.name}{_SUFFIX}")
    return metric


def probability_notices(scored: Iterable["Scored"]) -> Iterator[Notice]:
    """Metrics that were computed otherwise than their names say, and those that can't mean much."""
    for one in scored:
        exam = one.exam
        names = [metric.name for metric in exam.metrics]
        where = f"output {exam.output}"
        logits = [name for name in names if name in OF_LOGITS]
        if one.probabilities and logits:
            told = (
                f"it ends in {exam.closing}"
                if exam.closing in _ONE_BY_ONE
                else ("each row lies in 0 … 1 and adds up to 1")
            )
            better = " and ".join(f"{name}{_SUFFIX}" for name in logits)
            share = ", each divided by its row's sum" if exam.closing in _ONE_BY_ONE else ""
            yield Notice(
                "probabilities",
                f"holds probabilities ({told}){share}: {' and '.join(logits)}, which are of "
                f"logits, are computed as {better}; name these in the task's metrics",
                where,
            )
        odd = [name for name in names if name.endswith(_SUFFIX)]
        if isinstance(exam.truth, Labels) and odd and not one.probabilities:
            better = " and ".join(name.removesuffix(_SUFFIX) for name in odd)
            yield Notice(
                "no_probabilities",
                f"holds no probabilities: its rows don't add up to 1, so {' and '.join(odd)} read "
                f"them as shares; name {better} in the task's metrics if they are logits",
                where,
            )
