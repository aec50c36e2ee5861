"""Slices: named sets of samples, chosen by metadata; they may overlap.

A `Dimension` declares one way to slice, `evaluate_slices` turns declarations into a `SliceSet`,
`select_rows` evaluates a lone predicate, `match_slices` finds slices by name or pattern,
`describe_slices` puts each in numbers.
"""

from calaudit.slices.dimension import EVERYTHING, MIN_SUPPORT, Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.pattern import match_slices
from calaudit.slices.predicate import column_in_sql
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.slices.summary import SliceSummary, describe_slices

__all__ = [
    "EVERYTHING",
    "MIN_SUPPORT",
    "CodedDimension",
    "Dimension",
    "SliceSet",
    "SliceSummary",
    "column_in_sql",
    "describe_slices",
    "evaluate_slices",
    "match_slices",
    "select_rows",
]
