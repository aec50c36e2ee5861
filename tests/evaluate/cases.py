"""Scores and comparisons to test with."""

import numpy as np

from calaudit.evaluate import Comparison, Flips, UnitScores, parse_metric

TOP1 = parse_metric("top1")
NLL = parse_metric("nll")
NDCG = parse_metric("ndcg@10")


def flipped(lost, gained, right, wrong):
    """FP32's and an engine's top-1 scores with these counts."""
    fp32 = np.repeat([True, False, True, False], [lost, gained, right, wrong])
    int8 = np.repeat([False, True, True, False], [lost, gained, right, wrong])
    return UnitScores(TOP1, fp32), UnitScores(TOP1, int8)


def comparison(**changes):
    """A comparison that is INCONCLUSIVE, but for `changes`; its bound agrees with its p-value."""
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
        "one_sided_low": 0.001 if (changes.get("p_value", 0.36) or 1) < 0.05 else -0.015,
        "one_sided_high": 0.035,
        "alpha": 0.05,
        "flips": Flips(5, 3),
        "p_value": 0.36,
        "n_changed": 8,
        "max_drop": 0.02,
    }
    return Comparison(**(plain | changes))
