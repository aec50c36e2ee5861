"""Scores, sums and comparisons to test with."""

import numpy as np

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.results.comparison import Flips, Gate
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.estimate import Levels
from calaudit.statistics.mean import compare_means
from calaudit.statistics.tally import Partition, batch, describe_units

TOP1 = parse_metric("top1")
NLL = parse_metric("nll")
NDCG = parse_metric("ndcg@10")
WER = Metric(
    name="wer",
    family="wer",
    k=None,
    title="Word error rate",
    kind="ratio",
    direction="lower_is_better",
    unit="fraction",
    span=None,
)


def flipped(lost, gained, right, wrong):
    """FP32's and an engine's top-1 scores with these counts."""
    fp32 = np.repeat([True, False, True, False], [lost, gained, right, wrong])
    int8 = np.repeat([False, True, True, False], [lost, gained, right, wrong])
    return UnitScores(TOP1, fp32), UnitScores(TOP1, int8)


def sums_of(drops, *, clusters=None, weights=None, denominator=None, codes=None, names=("s",)):
    """Sums of drops (cells, n) of a metric whose FP32 scores are 0."""
    drops = np.atleast_2d(drops)
    n = drops.shape[1]
    zeros = np.zeros(n)
    if denominator is None:
        reference, engines = UnitScores(NDCG, zeros), [UnitScores(NDCG, -d) for d in drops]
    else:
        reference = RatioScores(WER, zeros, denominator)
        engines = [RatioScores(WER, d, denominator) for d in drops]
    codes = np.zeros(n, dtype=np.int32) if codes is None else codes
    return batch(reference, engines, describe_units(n, clusters, weights)).sums(
        Partition(names, codes)
    )


def drops_of(drops, *, span=1.0, seed=0, margin=0.0, levels=None, **units):
    """The estimate of mean drops (cells, n), arrays (cells,)."""
    sums = sums_of(drops, **units)
    return compare_means(
        sums,
        span=span,
        levels=levels or Levels(),
        margin=np.full(sums.lost.shape, margin),
        seed=seed,
    )


def comparison(**changes):
    """A comparison that is INCONCLUSIVE, but for `changes`; its bound agrees with its p-value."""
    p_value = changes.get("p_value", 0.36)
    plain = {
        "cell": "c",
        "slice": "s",
        "metric": TOP1,
        "n": 200,
        "n_left_out": 0,
        "reference": 0.9,
        "candidate": 0.89,
        "drop": 0.01,
        "low": -0.02,
        "high": 0.04,
        "level": 0.95,
        "interval": "tango",
        "one_sided_low": 0.001 if p_value is not None and p_value < 0.05 else -0.015,
        "one_sided_high": 0.035,
        "alpha": 0.05,
        "flips": Flips(5, 3),
        "p_value": 0.36,
        "n_changed": 8,
        "max_drop": 0.02,
    }
    made = plain | changes
    metric, max_drop = made.pop("metric"), made.pop("max_drop")
    made.setdefault("gate", None if max_drop is None else Gate(max_drop))
    return Comparison(metric=metric.name, by=metric, **made)
