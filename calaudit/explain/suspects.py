"""Who is suspected: taps by how much predicted harm to a slice another choice of ranges avoids.

No label and no answer of an engine has a part in it, so that experiments along this order aren't
selected by their outcome.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calaudit.calibration.diff import clipping
from calaudit.calibration.distribution import covering
from calaudit.calibration.harm import Floats, Harm, harm_curves, observed_harm
from calaudit.calibration.histogram import Histogram
from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.minimax import minimise_worst
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import scale_of
from calaudit.results.explanation import MOST_SUSPECTS, MOST_VALUES, Suspect

MINIMAX = "minimax"
"""Name of ranges that minimise the harm of the slice that suffers most."""

Ranges = Mapping[str, float]
"""Tap → amax."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """Predicted harm of any ranges to the slices observed on the tuning rows."""

    observation: Observation
    weights: Mapping[str, float] | None = None
    """Tap → how much the output suffers from its harm; None: all alike."""

    @property
    def slices(self) -> tuple[str, ...]:
        """Slices that were observed."""
        return self.observation.groups

    def harm(self, ranges: Ranges, slice_name: str) -> Harm:
        """Harm of each tap to one slice, not weighted."""
        return observed_harm(self.observation, ranges, [slice_name])

    def total(self, ranges: Ranges, slice_name: str) -> float:
        """Weighted sum over the taps."""
        found = self.harm(ranges, slice_name)
        return float(found.sums(self.weights_of(found.taps))[0])

    def weights_of(self, taps: Sequence[str]) -> Floats:
        """Weights in the order of `taps`."""
        if self.weights is None:
            return np.ones(len(taps))
        return np.array([self.weights[tap] for tap in taps])

    def minimax(self, slices: Sequence[str]) -> dict[str, float]:
        """Ranges whose worst harm to `slices` is smallest."""
        places = [self.observation.groups.index(name) for name in slices]
        curves = harm_curves(
            self.observation.histograms, groups=slices, members=self.observation.members[places]
        )
        costs = curves.total * self.weights_of(curves.taps)[:, None, None]
        chosen = minimise_worst(costs).choice
        best = np.take_along_axis(curves.ladder, chosen[:, None], axis=1)[:, 0]
        return dict(zip(curves.taps, best.tolist(), strict=True))

    def suspects(
        self, ranges: Ranges, donor: Ranges, slice_name: str, named: Sequence[str] | None = None
    ) -> list[Suspect]:
        """Taps where the donor does less harm to the slice, those where it avoids most first.

        Parameters
        ----------
        ranges, donor : mapping
            Tap → amax; of the same taps.
        slice_name : str
        named : sequence of str, optional
            These taps instead, in this order.
        """
        own, other = (self.harm(each, slice_name) for each in (ranges, donor))
        weights = self.weights_of(own.taps)
        harmed, spared = weights * own.total[:, 0], weights * other.total[:, 0]
        excess = np.maximum(harmed - spared, 0.0)
        whole = float(excess.sum())
        histograms = self.observation.of(slice_name)
        order = [place for place in np.argsort(-excess, kind="stable") if excess[place] > 0]
        if named is not None:
            order = [own.taps.index(tap) for tap in named]
        found = []
        for place in order:
            tap, total = own.taps[place], float(own.total[place, 0])
            histogram = histograms.one(histograms.taps.index(tap), 0)
            used = N_STEPS * _edge(histogram) / ranges[tap] if histogram.amax > 0 else 0.0
            found.append(
                Suspect(
                    tap=tap,
                    amax=ranges[tap],
                    donor=donor[tap],
                    share=float(excess[place]) / whole if whole > 0 else 0.0,
                    harm=float(harmed[place]),
                    donor_harm=float(spared[place]),
                    clipping=float(own.clipping[place, 0]) / total if total > 0 else 0.0,
                    clipped=_clipped(histogram, ranges[tap]),
                    steps=min(N_STEPS, int(used)),
                    sensitivity=None if self.weights is None else float(weights[place]),
                )
            )
        return found


def _edge(histogram: Histogram) -> float:
    """The smallest edge that covers `MOST_VALUES` of the values other than 0."""
    cumulative = np.cumsum(histogram.counts) - histogram.n_zero
    return float(histogram.edges[covering(cumulative, MOST_VALUES) + 1])


def _clipped(histogram: Histogram, amax: float) -> float:
    """Share of the values other than 0 that saturate."""
    held = histogram.n - histogram.n_zero
    beyond = clipping(histogram, scale_of(amax)).values * histogram.n
    return min(1.0, beyond / held) if held > 0 else 0.0


def shown(suspects: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """Those that a report lists."""
    return tuple(suspects[:MOST_SUSPECTS])
