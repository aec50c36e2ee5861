"""The catalogue of metrics: what each name means and which function computes it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.errors import SettingsError, near
from calaudit.evaluate.metric import Direction, Kind, Metric, Needs
from calaudit.evaluate.metrics import agreement, classification, diversity, ranking
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.scores import Functional

PerUnit = NDArray[Any] | sparse.csr_array
"""(n,) bool or float64, or (n, m) additive statistics, by the metric's kind."""

Bounds = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A family of metrics. Functions of a family with a cut take k as well."""

    title: str
    kind: Kind
    needs: Needs
    compute: Callable[..., PerUnit]
    cut: bool = False
    direction: Direction = "higher_is_better"
    unit: str = "fraction"
    span: float | None = 1.0
    functional: Functional | None = None
    """Of a set metric: from summed statistics to the metric."""
    influence: Callable[[int | None, NDArray[np.float64], int], float] | None = None
    """Of a set metric: k, summed statistics, n → the most that one of n units can move it."""
    bounds: Callable[..., Bounds] | None = None
    """Per-unit scores with ties broken (against, for) quality."""

    def scores(self, case: Case, k: int | None) -> PerUnit:
        """Per-unit scores of a case."""
        return self.compute(case) if k is None else self.compute(case, k)

    def of_sets(self) -> tuple[Functional, Callable[[int | None, NDArray[np.float64], int], float]]:
        """What a set metric needs beside its statistics."""
        if self.functional is None or self.influence is None:
            raise TypeError(f"{self.title} is a set metric without a functional or an influence")
        return self.functional, self.influence


DEFINITIONS: dict[str, Definition] = {
    "top": Definition(
        title="Top-{k} accuracy",
        kind="binary",
        needs="labels",
        cut=True,
        compute=classification.topk,
        bounds=classification.topk_bounds,
    ),
    "nll": Definition(
        title="Negative log-likelihood",
        kind="mean",
        needs="labels",
        direction="lower_is_better",
        unit="nats",
        span=None,
        compute=classification.nll,
    ),
    "nll_of_probabilities": Definition(
        title="Negative log-likelihood (of probabilities)",
        kind="mean",
        needs="labels",
        direction="lower_is_better",
        unit="nats",
        span=None,
        compute=classification.nll_of_probabilities,
    ),
    "balanced_accuracy": Definition(
        title="Balanced accuracy",
        kind="set",
        needs="labels",
        compute=classification.balanced_accuracy,
        functional=classification.balanced_accuracy_of,
        influence=classification.balanced_accuracy_influence,
    ),
    "top1_agreement": Definition(
        title="Top-1 agreement with FP32",
        kind="binary",
        needs="reference",
        compute=agreement.top1_agreement,
    ),
    "cosine": Definition(
        title="Cosine with FP32",
        kind="mean",
        needs="reference",
        unit="cosine",
        span=2.0,
        compute=agreement.cosine,
    ),
    "max_abs_diff": Definition(
        title="Largest difference from FP32",
        kind="mean",
        needs="reference",
        direction="lower_is_better",
        unit="output",
        span=None,
        compute=agreement.max_abs_diff,
    ),
    "overlap": Definition(
        title="Overlap@{k} with FP32",
        kind="mean",
        needs="reference",
        cut=True,
        compute=agreement.overlap,
        bounds=agreement.overlap_bounds,
    ),
    "ndcg": Definition(
        title="nDCG@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=ranking.ndcg,
        bounds=ranking.ndcg_bounds,
    ),
    "ndcg_exp": Definition(
        title="nDCG@{k} (gain 2^r − 1)",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=ranking.ndcg_exp,
        bounds=ranking.ndcg_exp_bounds,
    ),
    "recall": Definition(
        title="Recall@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=ranking.recall,
        bounds=ranking.recall_bounds,
    ),
    "coverage": Definition(
        title="Coverage@{k}",
        kind="set",
        needs="relevance",
        cut=True,
        compute=diversity.coverage,
        functional=diversity.coverage_of,
        influence=diversity.coverage_influence,
    ),
    "gini": Definition(
        title="Gini of exposure@{k}",
        kind="set",
        needs="relevance",
        cut=True,
        direction="lower_is_better",
        unit="index",
        compute=diversity.exposure,
        functional=diversity.gini_of,
        influence=diversity.gini_influence,
    ),
    "long_tail_share": Definition(
        title="Long-tail share@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=diversity.long_tail_share,
        bounds=diversity.long_tail_share_bounds,
    ),
    "ties_at_cut": Definition(
        title="Ties at rank {k}",
        kind="binary",
        needs="relevance",
        cut=True,
        direction="lower_is_better",
        compute=ranking.ties_at_cut,
    ),
}


def known_metrics() -> list[str]:
    """Names that `parse_metric` reads, with k standing for a number."""
    return [
        "topk" if family == "top" else f"{family}@k" if definition.cut else family
        for family, definition in DEFINITIONS.items()
    ]


def parse_metric(name: str) -> Metric:
    """The metric of that name: ``top1``, ``nll``, ``ndcg@10`` and so on.

    Raises
    ------
    SettingsError
        The name isn't known, or its cut is missing, superfluous or 0.

    Examples
    --------
    >>> parse_metric("ndcg@10").title
    'nDCG@10'
    """
    if top := re.fullmatch(r"top[_@]?(\d+)", name):
        return _metric("top", f"top{int(top[1])}", int(top[1]))
    found = re.fullmatch(r"([a-z0-9_]+?)(?:@(\d+))?", name)
    if found is None or found[1] not in DEFINITIONS or found[1] == "top":
        stem = name.partition("@")[0]
        known = ["top1", "top5", *(family for family in DEFINITIONS if family != "top")]
        raise SettingsError(f"there is no metric {name!r}", next_step=near(stem, known))
    family, k = found[1], found[2]
    if DEFINITIONS[family].cut and k is None:
        raise SettingsError(
            f"{name} needs the rank at which lists are cut", next_step=f"Write {name}@10."
        )
    if not DEFINITIONS[family].cut and k is not None:
        raise SettingsError(f"{family} takes no cut", next_step=f"Write {family}.")
    return _metric(family, family if k is None else f"{family}@{int(k)}", k and int(k))


def definition_of(metric: Metric) -> Definition:
    """How the metric is computed."""
    return DEFINITIONS[metric.family]


def _metric(family: str, name: str, k: int | str | None) -> Metric:
    definition = DEFINITIONS[family]
    cut = None if k is None else int(k)
    if cut == 0:
        raise SettingsError(f"{name} shows nothing", next_step="Choose k ≥ 1.")
    return Metric(
        name=name,
        family=family,
        k=cut,
        title=definition.title.format(k=cut),
        kind=definition.kind,
        direction=definition.direction,
        unit=definition.unit,
        needs=definition.needs,
        span=definition.span,
    )
