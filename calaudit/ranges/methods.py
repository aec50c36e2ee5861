"""Methods: from the distribution of |x| to the amax that int8's 127 steps will cover.

All take a histogram and return ``0 < amax <= histogram.amax`` (0 for data that is all zero). They
are exact functions of the histogram, and scaling the data by a power of two scales the result.

Zeros quantize exactly under any scale, so entropy and mse leave them out: behind a ReLU they are
half of all values, and as a spike in the first bin they would only pull the clip down. For
percentile they count, as in every other tool.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SettingsError, near
from calaudit.ranges.grid import FRACTION_BITS
from calaudit.ranges.histogram import Histogram

N_LEVELS: Final = 128
"""Levels of int8 magnitudes in the published entropy scheme."""
N_STEPS: Final = 127
"""Steps of symmetric int8: scale = amax / 127."""
BULK: Final = 0.9999
"""Share of the non-zero values that make the bulk."""
OUTLIER_FACTOR: Final = 8.0
"""Values more than this many times the bulk's edge are outliers to mse."""
SAME_DIVERGENCE: Final = 1e-10
"""Nats within which two clips lose the same; above what the order of summing can change."""
DEFAULT_PERCENTILE: Final = 0.9999


@dataclass(frozen=True, slots=True)
class Bulk:
    """A histogram's non-zero values, with bins no finer than the bulk of them needs."""

    edges: NDArray[np.float64]
    """(k + 1,)."""
    counts: NDArray[np.float64]
    """(k,), zeros left out."""
    edge: float
    """Smallest edge that covers the share `BULK` of them."""
    floor: float
    """Width of the narrowest bins: a power of two, 1/2048 of `edge` or less."""


def bulk_of(histogram: Histogram) -> Bulk:
    """Merge the bins that are narrower than 1/2048 of the bulk's range.

    The published entropy scheme lays 2048 bins over [0, amax]. Laid over the range of the bulk
    instead, one outlier can't blur them; without a limit, structure far below one int8 step
    would count.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] -= histogram.n_zero
    edges = histogram.edges
    cumulative = np.cumsum(counts)
    last = _covering(cumulative, BULK)
    octave = int(np.frexp((edges[last] + edges[last + 1]) / 2)[1]) - 1
    floor = float(np.ldexp(1.0, octave - 11))
    linear = edges[:-1] < np.ldexp(floor, FRACTION_BITS)
    slot = np.where(linear, np.floor(edges[:-1] / floor), -np.arange(1.0, len(edges)))
    starts = np.flatnonzero(np.diff(slot, prepend=-np.inf))
    merged = np.add.reduceat(counts, starts)
    return Bulk(np.append(edges[starts], edges[-1]), merged, float(edges[last + 1]), floor)


def _covering(cumulative: NDArray[Any], share: float) -> int:
    """The first bin up to which `share` of all counts lie."""
    # 0.9999 · 10000 must ask for 9999 values, however the product is rounded.
    wanted = share * float(cumulative[-1]) * (1 - 1e-14)
    return int(np.searchsorted(cumulative, wanted))


def minmax(histogram: Histogram) -> float:
    """The largest |x|, exact."""
    return histogram.amax


def percentile(histogram: Histogram, *, fraction: float = DEFAULT_PERCENTILE) -> float:
    """The smallest bin edge that covers a fraction of all values, zeros included.

    Raises
    ------
    SettingsError
        The fraction isn't in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise SettingsError(
            f"the fraction of percentile is {fraction!r}",
            next_step="Give a number above 0 and up to 1, such as 0.9999.",
        )
    cumulative = np.cumsum(histogram.counts)
    last = _covering(cumulative, fraction)
    return min(float(histogram.edges[last + 1]), histogram.amax)


def entropy(histogram: Histogram) -> float:
    """The clip that loses least information, KL(P‖Q), in the scheme of Migacz (GTC 2017).

    P is the histogram up to the clip, what lies above folded into its last bin. Q is the
    histogram up to the clip, without the tail, levelled within 128 equal levels: bins that hold
    something share their level's mass in proportion to their widths, empty bins get none.
    Candidates are the upper edges of bins from 128 floor widths on.

    An empty last bin is no candidate. It would hold the tail in P and nothing in Q (KL infinite,
    which in other tools leaves the range unclipped); and clipping at the edge of the last filled
    bin below it clips the same values with finer steps. Of equal candidates the widest wins.
    """
    bulk = bulk_of(histogram)
    found = _candidates(bulk, bulk.counts)
    if len(found) == 0:
        return histogram.amax
    divergence = kl_divergences(bulk, found)
    best = int(np.flatnonzero(divergence <= divergence.min() + SAME_DIVERGENCE)[-1])
    return min(float(bulk.edges[found[best]]), histogram.amax)


def kl_divergences(bulk: Bulk, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
    """KL(P‖Q) in nats of clipping at ``bulk.edges[candidates]`` (n,).

    With c counts and w widths of bins, C and W their sums over the filled bins of a level, t the
    tail and N all values::

        N·KL = Σ_bins c·log(c/w) − Σ_levels C·log(C/W)          what levelling loses
               + (c+t)·log((c+t)/w) − c·log(c/w) − t·log(C/W)   in the last bin and level
               + N·log((N−t)/N)

    Sums over bins and levels are differences of prefix sums: O(128) per candidate.
    """
    # In units of the floor, so that data scaled by a power of two gives the very same numbers.
    counts, edges = bulk.counts, bulk.edges / bulk.floor
    widths = np.diff(edges)
    density_terms = _xlogy(counts, counts / widths)
    mass = np.append(0.0, np.cumsum(counts))
    width = np.append(0.0, np.cumsum(np.where(counts > 0, widths, 0.0)))
    terms = np.append(0.0, np.cumsum(density_terms))

    clips = edges[candidates]
    level_edges = clips[:, None] * (np.arange(N_LEVELS + 1) / N_LEVELS)
    bounds = np.searchsorted((edges[1:] + edges[:-1]) / 2, level_edges)
    bounds[:, -1] = candidates
    level_mass = np.diff(mass[bounds], axis=1)
    level_width = np.diff(width[bounds], axis=1)
    level_density = np.divide(
        level_mass, level_width, out=np.ones_like(level_mass), where=level_mass > 0
    )
    levelled = _xlogy(level_mass, level_density).sum(axis=1)

    total, inside, last = mass[-1], mass[candidates], counts[candidates - 1]
    tail = total - inside
    last_level = _last_filled(level_density, level_mass)
    folded = (
        _xlogy(last + tail, (last + tail) / widths[candidates - 1])
        - density_terms[candidates - 1]
        - _xlogy(tail, last_level)
    )
    divergence: NDArray[np.float64] = (
        terms[candidates] - levelled + folded + _xlogy(total, inside / total)
    ) / total
    return divergence


def _xlogy(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """x·log(y), and 0 where x is 0."""
    logs = np.log(y, out=np.zeros_like(y), where=x > 0)
    product: NDArray[np.float64] = x * logs
    return product


def _last_filled(
    level_density: NDArray[np.float64], level_mass: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Density of the level that holds the last bin: the last one with any mass."""
    from_top = np.argmax(level_mass[:, ::-1] > 0, axis=1)
    found: NDArray[np.float64] = level_density[np.arange(len(from_top)), N_LEVELS - 1 - from_top]
    return found


def _candidates(bulk: Bulk, counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the edges above filled bins, from 128 floor widths on."""
    tops = np.flatnonzero(counts > 0) + 1
    return tops[bulk.edges[tops] >= N_LEVELS * bulk.floor]


def mse(histogram: Histogram) -> float:
    """The clip with the smallest squared error of fake quantization.

    Values are taken as spread evenly over their bin; rounding to nearest, saturation at 127
    steps. Outliers, beyond 8 times the edge that covers 99.99 % of the non-zero values, count
    neither for nor against a clip: the square of one value at 1e6 would outweigh a million at 1.
    """
    bulk = bulk_of(histogram)
    counts = np.where(bulk.edges[:-1] <= OUTLIER_FACTOR * bulk.edge, bulk.counts, 0.0)
    found = _candidates(bulk, counts)
    if len(found) == 0:
        return histogram.amax
    clips = np.minimum(bulk.edges[found], histogram.amax)
    errors = squared_errors(bulk.edges, counts, clips)
    return float(clips[int(np.argmin(errors))])


def squared_errors(
    edges: NDArray[np.float64], counts: NDArray[np.float64], clips: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Total squared error (n,) of quantizing to 127 steps of ``clips / 127``.

    The error of a step j of size s is Σ(x − j·s)², which the moments Σ1, Σx, Σx² of the values
    that round to it give; those are differences of cumulative moments: O(127) per clip.
    """
    unit = float(clips.max())
    edges = edges / unit
    steps = (clips / unit / N_STEPS)[:, None]
    bounds = steps * (np.arange(1, N_STEPS + 1) - 0.5)
    density = counts / np.diff(edges)
    place = np.searchsorted(edges, bounds, side="right") - 1
    cumulative = []
    totals = []
    for power in (0, 1, 2):
        moment = density * np.diff(edges ** (power + 1)) / (power + 1)
        prefix = np.append(0.0, np.cumsum(moment))
        part = density[place] * (bounds ** (power + 1) - edges[place] ** (power + 1)) / (power + 1)
        cumulative.append(prefix[place] + part)
        totals.append(prefix[-1])
    levels = np.arange(1, N_STEPS + 1) * steps
    mass = np.diff(cumulative[0], axis=1, append=totals[0])
    mean = np.diff(cumulative[1], axis=1, append=totals[1])
    errors: NDArray[np.float64] = totals[2] + (levels * (levels * mass - 2 * mean)).sum(axis=1)
    return errors * unit**2


METHODS: Final[dict[str, Callable[..., float]]] = {
    "minmax": minmax,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mse,
}
"""Methods by name."""
OPTIONS: Final[dict[str, tuple[str, ...]]] = {"percentile": ("fraction",)}
"""Names of the options of those methods that have any."""


def estimate_amax(histogram: Histogram, method: str, **options: float) -> float:
    """Apply a method by name.

    Parameters
    ----------
    histogram : Histogram
        Distribution of |x|.
    method : str
        ``minmax``, ``entropy``, ``percentile`` or ``mse``.
    **options
        ``fraction`` of ``percentile``, default 0.9999.

    Returns
    -------
    float
        amax, at most the histogram's exact maximum; 0 when all values are zero.

    Raises
    ------
    SettingsError
        Unknown method, or an option it doesn't have.
    """
    if method not in METHODS:
        raise SettingsError(f"unknown method {method!r}", next_step=near(method, METHODS))
    for option in options:
        if option not in OPTIONS.get(method, ()):
            raise SettingsError(
                f"method {method!r} has no option {option!r}",
                next_step=near(option, OPTIONS.get(method, ())),
            )
    if histogram.amax == 0:
        return 0.0
    return METHODS[method](histogram, **options)
