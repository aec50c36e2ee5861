"""Ranges: the distribution of every tap, and the scales made from it. Arrays only."""

from calaudit.ranges.accumulate import Accumulator, BadActivationsError, observe
from calaudit.ranges.histogram import Histogram, Histograms
from calaudit.ranges.methods import METHODS, estimate_amax
from calaudit.ranges.scales import ScaleTable, TapScale, estimate_scales, scale_of

__all__ = [
    "METHODS",
    "Accumulator",
    "BadActivationsError",
    "Histogram",
    "Histograms",
    "ScaleTable",
    "TapScale",
    "estimate_amax",
    "estimate_scales",
    "observe",
    "scale_of",
]
