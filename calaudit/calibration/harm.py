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

Each level's error is Σx² − 2l·Σx + l²·Σ1, from differences of cumulative moments: 128 of them per
amax, whatever the number of values and bins.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.histogram import FRACTION_BITS, N_BINS, Histograms, edges, first_bin
from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import SMALLEST_NORMAL
from calaudit.runtime.compiled import compiled, map_on_cores
from calaudit.runtime.errors import RangesError, near

Floats = NDArray[np.float64]
Members = NDArray[np.bool_] | NDArray[np.float64]

N_RUNGS: Final = 128
"""Candidates of a tap's amax, where none are given."""
_LOWEST: Final = 0.5
"""The lowest candidate, in root mean squares of the non-zero values of the group with the smallest:
clipping alone costs more than a quarter of the signal power there."""
_SMALLEST: Final = N_STEPS * SMALLEST_NORMAL
"""No amax is lower: its step would be no normal float32."""
_DROPPED: Final = 52 - FRACTION_BITS
_FIRST_NORMAL: Final = (1023 - 127) << FRACTION_BITS
_DENORMAL: Final = 2.0 ** (126 + FRACTION_BITS)


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
        each = self.total.min(axis=2)
        place = {tap: number for number, tap in enumerate(self.taps)}
        for other in beside:
            held = [place[tap] for tap in other.taps]
            each[held] = np.minimum(each[held], other.total)
        found: Floats = weighted(self.taps, weights) @ each
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
        good = np.isfinite(ladder) & (ladder >= _SMALLEST)
        if ladder.ndim != 2 or len(ladder) != len(histograms.taps) or not good.all():
            raise ValueError(
                f"amax {ladder.shape} of {len(histograms.taps)} taps: one row for each, of finite "
                f"values of at least {_SMALLEST:.3g}"
            )

    def one(tap: int) -> tuple[Floats, Floats, Floats]:
        own = n_rungs if ladder is None else ladder[tap]
        return _tap_curves(_of_tap(histograms, tap, members), own)

    found = map_on_cores(one, range(len(histograms.taps)))
    clipping, resolution = (_shares(found, part, n_groups) for part in (0, 1))
    rungs = np.stack([each[0] for each in found]) if found else np.zeros((0, 0))
    power = np.stack([each[2] for each in found]) if found else np.zeros((0, n_groups))
    return HarmCurves(histograms.taps, names, rungs, clipping, resolution, power)


def _shares(found: list[tuple[Floats, Floats, Floats]], part: int, n_groups: int) -> Floats:
    """(T, G, A): one of the two errors of each tap, as a share of the power."""
    if not found:
        return np.zeros((0, n_groups, 0))
    share = np.stack([errors[..., part] for _, errors, _ in found])
    for tap, (_, _, power) in enumerate(found):
        share[tap] *= np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)[:, None]
    return share


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


def _of_tap(histograms: Histograms, tap: int, members: Members | None) -> Histograms:
    here = slice(tap, tap + 1)
    one = Histograms(
        histograms.taps[here],
        histograms.counts[here],
        histograms.n_zero[here],
        histograms.amax[here],
    )
    return one if members is None else one.group(members)


def _tap_curves(one: Histograms, ladder: Floats | int) -> tuple[Floats, Floats, Floats]:
    """Ladder (A,), squared errors (G, A, 2) by clipping and by resolution, and power (G,)."""
    n_groups = one.n_groups
    tops = one.amax[0].astype(np.float64)
    firsts = [first_bin(float(top)) for top in tops]
    # one group's at a time, made twice: those of thousands of groups are gigabytes
    moments = np.zeros((N_BINS + 1, 3))

    def counted(group: int) -> Floats:
        counts: Floats = one.counts[0, group].astype(np.float64)
        counts[0] = max(counts[0] - float(one.n_zero[0, group]), 0.0)
        _accumulate(edges(firsts[group]), counts, tops[group], moments)
        return counts

    whole = np.zeros((n_groups, 3))
    for group in range(n_groups):
        counted(group)
        whole[group] = moments[-1]
    power = whole[:, 2].copy()
    if isinstance(ladder, int):
        ladder = _rungs(ladder, tops, power, whole[:, 0])
    rungs = ladder.astype(np.float32)
    steps = np.asarray(rungs / np.float32(N_STEPS), np.float64)
    errors = np.zeros((n_groups, len(ladder), 2))
    for group, first in enumerate(firsts):
        if power[group] > 0:
            counts = counted(group)
            _errors(edges(first), counts, moments, tops[group], first, steps, errors[group])
    return rungs.astype(np.float64), errors, power


def _rungs(n_rungs: int, tops: Floats, power: Floats, n: Floats) -> Floats:
    held = power > 0
    if not held.any():
        return np.ones(n_rungs)
    root = np.sqrt(power[held] / n[held])
    top = max(float(tops.max()), _SMALLEST)
    lowest = min(max(_LOWEST * float(root.min()), _SMALLEST), top)
    return np.geomspace(lowest, top, n_rungs)


@compiled
def _accumulate(lower: Floats, counts: Floats, top: float, moments: Floats) -> None:
    """Number, sum and sum of squares of the values below each edge, (N_BINS + 1, 3)."""
    n = mean = square = 0.0
    for place in range(len(counts)):
        count = counts[place]
        if count > 0:
            low = lower[place]
            high = max(low, min(lower[place + 1], top))
            n += count
            mean += count * (low + high) / 2
            square += count * (low * low + low * high + high * high) / 3
        moments[place + 1, 0] = n
        moments[place + 1, 1] = mean
        moments[place + 1, 2] = square


@compiled
def _errors(  # noqa: PLR0917  # numba has no keyword-only arguments
    lower: Floats,
    counts: Floats,
    moments: Floats,
    top: float,
    first: int,
    steps: Floats,
    found: Floats,
) -> None:
    """Squared errors (A, 2) of quantizing with each of `steps` (A,): clipping, resolution."""
    last = len(counts)
    bounds = np.empty(N_STEPS + 1, np.float64)
    for rung in range(len(steps)):
        step = steps[rung]
        for level in range(N_STEPS + 1):
            bounds[level] = step * (level + 0.5)
        bits = bounds.view(np.int64)
        resolution = 0.0
        n, x, xx = 0.0, 0.0, 0.0
        for level in range(N_STEPS + 1):
            bound = bounds[level]
            if bound >= top:
                below, mean, square = moments[last, 0], moments[last, 1], moments[last, 2]
            else:
                number = (bits[level] >> _DROPPED) - _FIRST_NORMAL
                if number < 1 << FRACTION_BITS:
                    number = int(bound * _DENORMAL)
                at = max(number - first, 0)
                low = lower[at]
                high = min(lower[at + 1], top)
                share = counts[at] * (bound - low) / (high - low)
                below = moments[at, 0] + share
                mean = moments[at, 1] + share * (low + bound) / 2
                square = moments[at, 2] + share * (low * low + low * bound + bound * bound) / 3
            value = step * level
            resolution += max((square - xx) - value * (2 * (mean - x) - value * (below - n)), 0.0)
            n, x, xx = below, mean, square
            if bound >= top:
                break
        value = step * N_STEPS
        n, x, xx = moments[last, 0] - n, moments[last, 1] - x, moments[last, 2] - xx
        found[rung, 0] = max(xx - value * (2 * x - value * n), 0.0)
        found[rung, 1] = resolution
