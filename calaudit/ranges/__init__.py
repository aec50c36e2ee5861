"""Ranges: the distribution of every tap, and the scales made from it. Arrays only."""

from calaudit.ranges.accumulate import Accumulator, BadActivationsError, observe
from calaudit.ranges.histogram import Histogram, Histograms
from calaudit.ranges.methods import DEFAULT_METHODS, METHODS, estimate_amax
from calaudit.ranges.mixing import mix
from calaudit.ranges.observation import LeftOut, Observation, ObservedSamples, OneByOne
from calaudit.ranges.parts import Atoms, Parts, split_into_atoms, split_into_parts
from calaudit.ranges.scales import ScaleTable, TapScale, estimate_scales, scale_of

__all__ = [
    "DEFAULT_METHODS",
    "METHODS",
    "Accumulator",
    "Atoms",
    "BadActivationsError",
    "Histogram",
    "Histograms",
    "LeftOut",
    "Observation",
    "ObservedSamples",
    "OneByOne",
    "Parts",
    "ScaleTable",
    "TapScale",
    "estimate_amax",
    "estimate_scales",
    "mix",
    "observe",
    "scale_of",
    "split_into_atoms",
    "split_into_parts",
]
