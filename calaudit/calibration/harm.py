"""Harm: what int8 with given ranges is predicted to do to a group of samples, without running it.

A calibration set acts on an engine only through one amax per tap. From a group's histogram of a tap
follows the squared error that quantizing the tap with any amax would make on that group:

    harm = Σ (x − q(x))² / Σ x²,   q(x) = s · min(⌊x / s⌉, 127),   s = amax / 127

the inverse of the signal-to-quantization-noise ratio. It is the sum of two parts: *clipping*, of
the values beyond 127.5 steps, and *resolution*, of those that are rounded. Harm of a group is the
sum over taps; what a tap's error does to the outputs is not in it, which is what weights are for.

Values are taken as spread evenly over their bin, the topmost bin ending at the exact maximum, and
zeros as zeros. So no value's squared error is off by more than 2·w·e, with w the width of its bin
(at most 1/256 of the value, and of those below 2^-31 of the maximum that) and e the largest
|x − q(x)| in it; in sums over many values the deviations cancel. Signs aren't known: engines that
use int8's −128 clip negative values one step later.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import Histograms
from calaudit.calibration.observation import Observation
from calaudit.calibration.tap_harm import SMALLEST, Members, TapGroups, tap_curves
from calaudit.runtime.compiled import map_on_cores
from calaudit.runtime.errors import RangesError, near

Floats = NDArray[np.float64]

N_RUNGS: Final = 128
"""Candidates of a tap's amax, where none are given."""


@dataclass(frozen=True, slots=True, eq=False)
class Harm:
    """Predicted harm of one choice of ranges: T taps over G groups of samples."""

    taps: tuple[str, ...]
    groups: tuple[str, ...]
    clipping: Floats
    """(T, G): squared error of values beyond 127.5 steps, as a share of the signal power."""
    resolution: Floats
    """(T, G): squared error of rounding the others, as a share of the signal power."""
    power: Floats
    """(T, G): sum of squares. Where it is 0 (zeros alone, or no values) there is no harm."""

    @property
    def total(self) -> Floats:
        """(T, G): clipping + resolution."""
        return self.clipping + self.resolution

    def of(self, group: str) -> Floats:
        """Harm of each tap (T,) to one group. Raises `RangesError` where there is none."""
        if group not in self.groups:
            raise RangesError(
                f"no harm was predicted for {group!r}", next_step=near(group, self.groups)
            )
        return self.total[:, self.groups.index(group)]

    def sums(self, weights: Floats | None = None) -> Floats:
        """Harm of each group (G,): the sum over taps, weighted by `weights` (T,) where given."""
        found: Floats = weighted(self.taps, weights) @ self.total
        return found


@dataclass(frozen=True, slots=True, eq=False)
class HarmCurves:
    """Harm of T taps to G groups at A candidates of each tap's amax."""

    taps: tuple[str, ...]
    groups: tuple[str, ...]
    ladder: Floats
    """(T, A): candidates, ascending; float32 values."""
    clipping: Floats
    """(T, G, A)."""
    resolution: Floats
    """(T, G, A)."""
    power: Floats
    """(T, G)."""

    @property
    def total(self) -> Floats:
        """(T, G, A): clipping + resolution."""
        return self.clipping + self.resolution

    def at(self, rungs: NDArray[np.intp]) -> Harm:
        """Harm of one choice: of each tap (T,) the position of its amax on its ladder."""
        chosen = np.asarray(rungs)[:, None, None]
        return Harm(
            self.taps,
            self.groups,
            np.take_along_axis(self.clipping, chosen, axis=2)[:, :, 0],
            np.take_along_axis(self.resolution, chosen, axis=2)[:, :, 0],
            self.power,
        )

    def least(self, weights: Floats | None = None, *, beside: Iterable[Harm] = ()) -> Floats:
        """The least harm of each group (G,) by ranges of its own, weighted by `weights` (T,).

        No ranges for all groups together do better by any of them. Holds for the candidates, and
        for those `beside` them: choices for the same groups, of these taps or some of them.
        """
        return _least(self.taps, self.total.min(axis=2), weights, beside)


def _least(
    taps: Sequence[str], each: Floats, weights: Floats | None, beside: Iterable[Harm]
) -> Floats:
    place = {tap: number for number, tap in enumerate(taps)}
    for other in beside:
        held = [place[tap] for tap in other.taps]
        each[held] = np.minimum(each[held], other.total)
    found: Floats = weighted(taps, weights) @ each
    return found


def weighted(taps: Sequence[str], weights: Floats | None) -> Floats:
    """`weights` (T,), or ones. Raises `ValueError` where they aren't one to a tap, or negative."""
    if weights is None:
        return np.ones(len(taps))
    if np.shape(weights) != (len(taps),) or not (np.asarray(weights) >= 0).all():
        raise ValueError(f"weights {np.shape(weights)} of {len(taps)} taps, or one is negative")
    return np.asarray(weights, np.float64)


def harm(
    histograms: Histograms,
    amax: Floats,
    *,
    groups: Sequence[str] | None = None,
    members: Members | None = None,
) -> Harm:
    """Predicted harm of ranges, on all cores.

    Parameters
    ----------
    histograms : Histograms
        T taps over G groups, or over P parts that `members` sums up.
    amax : float64 (T,)
        Of each tap, positive and finite.
    groups : sequence of str, optional
        Names of the G groups; their numbers where they have none.
    members : bool or float64 (G, P), optional
        How often each group counts each part, as `Histograms.group` has it.

    Raises
    ------
    ValueError
        Shapes don't agree, or an amax isn't finite, or so small that its step isn't a normal
        float32.
    """
    curves = harm_curves(
        histograms, np.asarray(amax, np.float64)[:, None], groups=groups, members=members
    )
    return curves.at(np.zeros(len(histograms.taps), np.intp))


def harm_curves(
    histograms: Histograms,
    ladder: Floats | None = None,
    *,
    n_rungs: int = N_RUNGS,
    groups: Sequence[str] | None = None,
    members: Members | None = None,
) -> HarmCurves:
    """Predicted harm at many candidates of each tap's amax, for a search over ranges.

    Parameters
    ----------
    histograms, groups, members
        As `harm` has them.
    ladder : float64 (T, A), optional
        Candidates, ascending. By default `n_rungs`, evenly spaced in their logarithm from half the
        least root mean square of any group's non-zero values up to the tap's largest value. With
        r the ratio of two neighbours, the least harm on it is at most r² times the least harm at
        any amax, but for taps that take a few distinct values.
    n_rungs : int
        See `ladder`.

    Raises
    ------
    ValueError
        As `harm`.
    """
    n_groups = histograms.n_groups if members is None else len(members)
    names = tuple(map(str, range(n_groups))) if groups is None else tuple(groups)
    if len(names) != n_groups:
        raise ValueError(f"{len(names)} names of {n_groups} groups")
    if ladder is not None:
        good = np.isfinite(ladder) & (ladder >= SMALLEST)
        if ladder.ndim != 2 or len(ladder) != len(histograms.taps) or not good.all():
            raise ValueError(
                f"amax {ladder.shape} of {len(histograms.taps)} taps: one row for each, of finite "
                f"values of at least {SMALLEST:.3g}"
            )

    def one(tap: int) -> tuple[Floats, Floats, Floats]:
        return tap_curves(
            TapGroups(histograms, tap, members), n_rungs if ladder is None else ladder[tap]
        )

    found = map_on_cores(one, range(len(histograms.taps)))
    clipping, resolution = (_shares(found, part, n_groups) for part in (0, 1))
    rungs = np.stack([each[0] for each in found]) if found else np.zeros((0, 0))
    power = np.stack([each[2] for each in found]) if found else np.zeros((0, n_groups))
    return HarmCurves(histograms.taps, names, rungs, clipping, resolution, power)


def least_harm(
    histograms: Histograms,
    *,
    members: Members | None = None,
    weights: Floats | None = None,
    beside: Iterable[Harm] = (),
) -> Floats:
    """`HarmCurves.least` of `harm_curves`, of any number of groups: no more than a tap is held."""

    def one(tap: int) -> Floats:
        _, errors, power = tap_curves(TapGroups(histograms, tap, members), N_RUNGS)
        share = _inverse(power)[:, None]
        least: Floats = (errors[..., 0] * share + errors[..., 1] * share).min(axis=1)
        return least

    n_groups = histograms.n_groups if members is None else len(members)
    found = map_on_cores(one, range(len(histograms.taps)))
    each = np.array(found, np.float64).reshape(len(found), n_groups)
    return _least(histograms.taps, each, weights, beside)


def _shares(found: list[tuple[Floats, Floats, Floats]], part: int, n_groups: int) -> Floats:
    """(T, G, A): one of the two errors of each tap, as a share of the power."""
    if not found:
        return np.zeros((0, n_groups, 0))
    share = np.stack([errors[..., part] for _, errors, _ in found])
    for tap, (_, _, power) in enumerate(found):
        share[tap] *= _inverse(power)[:, None]
    return share


def _inverse(power: Floats) -> Floats:
    """1 / power, 0 where there is none."""
    return np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)


def observed_harm(
    observation: Observation,
    amax: Mapping[str, float],
    groups: Collection[str] | None = None,
) -> Harm:
    """Predicted harm of a scale table to observed groups.

    Parameters
    ----------
    observation : Observation
        Of the groups: slices, sets.
    amax : mapping
        Tap → its amax. What it doesn't hold stays in float: the result holds the other taps.
    groups : collection of str, optional
        Default: all that were observed.

    Raises
    ------
    RangesError
        An unknown group, or no tap that was observed.
    """
    names = observation.groups if groups is None else tuple(groups)
    for name in names:
        if name not in observation.groups:
            raise RangesError(
                f"no ranges were recorded for {name!r}", next_step=near(name, observation.groups)
            )
    every = observation.histograms
    held = [place for place, tap in enumerate(every.taps) if tap in amax]
    if not held:
        raise RangesError(
            "none of the observed taps has a range in this scale table",
            next_step="Give a scale table of the model whose ranges were observed.",
        )
    taps = tuple(every.taps[place] for place in held)
    part = every
    if len(held) < len(every.taps):
        part = Histograms(taps, every.counts[held], every.n_zero[held], every.amax[held])
    return harm(
        part,
        np.array([amax[tap] for tap in taps]),
        groups=names,
        members=observation.members[[observation.groups.index(name) for name in names]],
    )
