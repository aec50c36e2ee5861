"""Metrics: what engines' answers are worth, unit by unit. Arrays in, arrays out.

unit
    What is counted: a sample, or in a ranking a query.
score
    What one unit got from one engine.

`catalogue.parse_metric` names a metric, `scoring.score` gives its scores; `base.metric` makes one
of a function. A family's file holds its functions, each under the facts of its metric.
"""
