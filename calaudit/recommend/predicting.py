"""Predicted harm to the slices that count: those with a gate, or all where nothing has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.calibration.harm import HarmCurves, harm_curves
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.minimax import Choice, FreeRanges, minimax_ranges, minimise_worst
from calaudit.calibration.observation import Observation

Floats = NDArray[np.float64]
Ranges = Mapping[str, float]
"""Tap → amax."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts the harm of any ranges to G slices."""

    observation: Observation
    """Of the slices of the tuning rows."""
    slices: tuple[str, ...]
    """(G,) those that count."""

    @property
    def taps(self) -> tuple[str, ...]:
        """Tensors with Q/DQ (T,)."""
        return self.histograms.taps

    @property
    def histograms(self) -> Histograms:
        """Of the parts that slices are made of."""
        return self.observation.histograms

    @cached_property
    def members(self) -> Floats:
        """(G, P): how often each slice counts each part."""
        places = [self.observation.groups.index(name) for name in self.slices]
        found: Floats = self.observation.members[places].astype(np.float64)
        return found

    @cached_property
    def curves(self) -> HarmCurves:
        """Harm over a ladder of amaxes of each tap."""
        return harm_curves(self.histograms, groups=self.slices, members=self.members)

    def harms(self, choices: Sequence[Ranges]) -> Floats:
        """Harm to each slice (K, G) of K choices of ranges, by one pass over the histograms."""
        costs = self.costs(choices)
        found: Floats = costs.sum(axis=0).T
        return found

    def costs(self, choices: Sequence[Ranges]) -> Floats:
        """Harm of each tap to each slice under each choice, (T, G, K)."""
        ladder = np.array([[ranges[tap] for ranges in choices] for tap in self.taps], np.float64)
        curves = harm_curves(self.histograms, ladder, groups=self.slices, members=self.members)
        return curves.total

    def roughly(self, amax: Floats) -> Floats:
        """Harm to each slice (G,), read off the ladder: for searches through many choices.

        Parameters
        ----------
        amax : float64 (T,)
        """
        found = np.zeros(len(self.slices))
        total = self.curves.total
        for tap, value in enumerate(amax.tolist()):
            ladder = np.log(self.curves.ladder[tap])
            at = float(np.interp(np.log(value), ladder, np.arange(len(ladder))))
            low = min(int(at), len(ladder) - 2)
            share = at - low
            found += (1 - share) * total[tap, :, low] + share * total[tap, :, low + 1]
        return found

    def best_of(self, choices: Sequence[Ranges], weights: Floats | None = None) -> Choice:
        """At each tap one of the choices' ranges, so that the worst slice's harm is smallest."""
        costs = self.costs(choices)
        return minimise_worst(costs if weights is None else costs * weights[:, None, None])

    def free(self, weights: Floats | None = None) -> FreeRanges:
        """Ranges without any set behind them, with their bound."""
        return minimax_ranges(
            self.histograms, groups=self.slices, members=self.members, weights=weights
        )


def predictor(audit: Audit, observation: Observation) -> Predictor:
    """Of the slices that count and that some observed tuning row is in."""
    gated = {name for _, name in audit.gates}
    names = [name for name in audit.slices.names if name in observation.groups]
    return Predictor(observation, tuple(name for name in names if name in gated) or tuple(names))
