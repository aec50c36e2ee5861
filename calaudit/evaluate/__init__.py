"""Scores, statistics and verdicts: arrays in, arrays out.

score
    What one unit (a sample, or a query) got from one engine.
drop
    The metric under FP32 minus the metric under the engine, turned so that a positive drop is
    quality lost whichever way the metric points.
verdict
    PASS, REGRESSED or INCONCLUSIVE for a (cell, slice, metric) against its gate.

`parse_metric` names a metric, `score` gives its per-unit scores, `compare` sets one engine after
the other against FP32 on every slice, `judge` draws the verdicts.
"""

from calaudit.evaluate.attribution import Origin, attribute
from calaudit.evaluate.catalogue import known_metrics, parse_metric, suggest_metric
from calaudit.evaluate.compare import compare, compare_cells, compare_sums
from calaudit.evaluate.comparison import (
    Comparison,
    Flips,
    MinSupport,
    Reason,
    Tolerance,
    Verdict,
)
from calaudit.evaluate.conventions import convention_of
from calaudit.evaluate.gap import worst_gaps
from calaudit.evaluate.listwise import Pairs, from_pairs, retrieval_scores
from calaudit.evaluate.metric import Direction, Kind, Metric, Needs
from calaudit.evaluate.own import make_importable
from calaudit.evaluate.power import (
    Expectation,
    smallest_provable_drop,
    units_to_prove,
    verdict_chances,
)
from calaudit.evaluate.scores import RatioScores, Scores, SetScores, UnitScores, concatenate
from calaudit.evaluate.scoring import TieBounds, perfect, score, score_all, tie_bounds
from calaudit.evaluate.spelling import Spelling, decode
from calaudit.evaluate.truth import (
    Labels,
    Relevance,
    Texts,
    Truth,
    Values,
    check_at_least_0,
    check_labels,
)
from calaudit.evaluate.verdict import judge, overall_verdict, screen

__all__ = [
    "Comparison",
    "Direction",
    "Expectation",
    "Flips",
    "Kind",
    "Labels",
    "Metric",
    "MinSupport",
    "Needs",
    "Origin",
    "Pairs",
    "RatioScores",
    "Reason",
    "Relevance",
    "Scores",
    "SetScores",
    "Spelling",
    "Texts",
    "TieBounds",
    "Tolerance",
    "Truth",
    "UnitScores",
    "Values",
    "Verdict",
    "attribute",
    "check_at_least_0",
    "check_labels",
    "compare",
    "compare_cells",
    "compare_sums",
    "concatenate",
    "convention_of",
    "decode",
    "from_pairs",
    "judge",
    "known_metrics",
    "make_importable",
    "overall_verdict",
    "parse_metric",
    "perfect",
    "retrieval_scores",
    "score",
    "score_all",
    "screen",
    "smallest_provable_drop",
    "suggest_metric",
    "tie_bounds",
    "units_to_prove",
    "verdict_chances",
    "worst_gaps",
]
