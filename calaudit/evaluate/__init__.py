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
