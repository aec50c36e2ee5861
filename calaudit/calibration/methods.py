"""Methods: from the distribution of |x| to the amax that int8's 127 steps will cover.

All take a histogram and return ``0 < amax <= histogram.amax`` (0 for data that is all zero). They
are exact functions of the histogram, and scaling the data by a power of two scales the result.
``entropy-trt`` isn't one of them: it depends on the batches of one calibration set and has a
histogram of its own (`calaudit.calibration.equal_bins`).

Zeros quantize exactly under any scale, so every method leaves them out: behind a ReLU they are
half of all values, and as a spike in the first bin they would only pull the clip down. Of one-hot
inputs with 20,000 columns they are more than 99.99 %: a percentile that counts them sees nothing
else.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.distribution import Distribution, covering
from calaudit.calibration.entropy import N_LEVELS, least_loss
from calaudit.calibration.histogram import Histogram
from calaudit.runtime.compiled import compiled
from calaudit.runtime.errors import SettingsError, near

N_STEPS: Final = 127
"""Steps of symmetric int8: scale = amax / 127."""
_STRIDE: Final = 16

DEFAULT_PERCENTILE: Final = 0.9999


def squared_errors(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    clips: NDArray[np.float64],
    *,
    only_best: bool = False,
) -> NDArray[np.float64]:
    """Total squared error (n,) of rounding to 127 steps of ``clips / 127`` and saturating there.

    The error of the values that round to a step at l is Σ(x − l)² = Σx² − 2l·Σx + l²·Σ1; those
    moments are differences of cumulative ones: O(127) per clip.

    Parameters
    ----------
    edges : float64 (k + 1,)
    counts : float64 (k,)
    clips : float64 (n,)
        Ascending.
    only_best : bool
        Give up on a clip when its error is above the least: its entry is infinite.
    """
    return _errors(edges, counts, clips, only_best)


@compiled
def _least_error(
    edges: NDArray[np.float64], counts: NDArray[np.float64], clips: NDArray[np.float64]
) -> int:
    """The first of the clips with the least error; parameters as of `squared_errors`."""
    return int(np.argmin(_errors(edges, counts, clips, True)))


@compiled
def _moments(edges: NDArray[np.float64], density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ1, Σx and Σx² (3, k + 1) of all values up to each edge."""
    sums = np.zeros((3, len(edges)))
    for place in range(len(density)):
        inside, low, high = density[place], edges[place], edges[place + 1]
        sums[0, place + 1] = sums[0, place] + inside * (high - low)
        sums[1, place + 1] = sums[1, place] + inside * (high * high - low * low) / 2
        cubes = high * high * high - low * low * low
        sums[2, place + 1] = sums[2, place] + inside * cubes / 3
    return sums


@compiled
def _errors(
    edges: NDArray[np.float64],
    counts: NDArray[np.float64],
    clips: NDArray[np.float64],
    only_best: bool,
) -> NDArray[np.float64]:
    unit = clips[-1]
    edges, clips = edges / unit, clips / unit
    density = counts / np.diff(edges)
    count, mean, square = _moments(edges, density)
    found = np.full(len(clips), np.inf)
    last = len(density) - 1
    best = np.inf
    for stride in np.array([_STRIDE, 1]) if only_best else np.array([1]):
        # The bins that steps begin in only move up from one clip to the next.
        bins = np.zeros(N_STEPS + 1, np.int64)
        for place in range(0, len(clips), stride):
            step = clips[place] / N_STEPS
            error = 0.0
            begin, before = (0.0, 0.0, 0.0), 0
            # What saturates first: where a clip is too low, that alone is more than the least.
            for turn in range(N_STEPS + 1):
                number = turn if turn else N_STEPS
                bound = min(step * (number - 0.5), edges[-1])
                # Of the first clip every bin is still to be found.
                at = max(bins[number], before)
                while at < last and edges[at + 1] <= bound:
                    at += 1
                bins[number] = at
                low, inner = edges[at], density[at]
                stop = (
                    count[at] + inner * (bound - low),
                    mean[at] + inner * (bound**2 - low**2) / 2,
                    square[at] + inner * (bound**3 - low**3) / 3,
                )
                if turn == 0:
                    level = step * N_STEPS
                    n, x, xx = count[-1] - stop[0], mean[-1] - stop[1], square[-1] - stop[2]
                else:
                    level = step * (number - 1)
                    n, x, xx = stop[0] - begin[0], stop[1] - begin[1], stop[2] - begin[2]
                    begin, before = stop, at
                error += xx - level * (2 * x - level * n)
                if only_best and error > best:
                    break
            else:
                found[place] = error
                best = min(best, error)
    found *= unit**2
    return found


def minmax(seen: Distribution) -> float:
    """The largest |x|, exact."""
    return seen.histogram.amax


def percentile(seen: Distribution, *, fraction: float = DEFAULT_PERCENTILE) -> float:
    """The smallest bin edge that covers a fraction of the non-zero values.

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
    last = covering(seen.cumulative, fraction)
    return min(float(seen.edges[last + 1]), seen.histogram.amax)


def entropy(seen: Distribution) -> float:
    """The clip that loses least information, KL(P‖Q), and doesn't cut into the bulk.

    The loss is that of the published scheme, see `calaudit.calibration.entropy`. Here
    the bins are laid over the range without outliers, and the candidates are the upper edges of
    filled bins from the edge of the bulk (99.99 % of the non-zero values) on.

    Why not below: the loss sees the clipped values as one bin of P, whatever their distance. Where
    most values crowd near zero, as behind a hard-swish, levelling them costs more than cutting off
    one value in fifty, and the published scheme clips at 1.3 what reaches 18.7.

    An empty last bin is no candidate. It would hold the tail in P and nothing in Q (KL infinite,
    which in other tools leaves the range unclipped); and clipping at the edge of the last filled
    bin below it clips the same values with finer steps. Of equal candidates the widest wins.
    """
    bulk = seen.bulk
    best = least_loss(bulk.edges, bulk.counts, bulk.edge, bulk.top, bulk.floor)
    return min(best, seen.histogram.amax)


def mse(seen: Distribution) -> float:
    """The clip with the smallest squared error of fake quantization.

    Values are taken as spread evenly over their bin; rounding to nearest, saturation at 127
    steps. Outliers, beyond 8 times the edge that covers 99.99 % of the non-zero values, count
    neither for nor against a clip: the square of one value at 1e6 would outweigh a million at 1.
    """
    bulk, amax = seen.bulk, seen.histogram.amax
    lowest = min(N_LEVELS * bulk.floor, bulk.edge)
    return _least_mse(bulk.edges, bulk.counts, lowest, bulk.top, amax)


@compiled
def _least_mse(
    edges: NDArray[np.float64], counts: NDArray[np.float64], lowest: float, top: float, amax: float
) -> float:
    """The clip that `mse` looks for, no lower than `lowest`; the others as of `Bulk`."""
    counted = np.where(edges[:-1] <= top, counts, 0.0)
    ends = edges[1:][counted > 0]
    clips = np.minimum(ends[ends >= lowest], amax)
    return float(clips[_least_error(edges, counted, clips)])


METHODS: Final[dict[str, Callable[..., float]]] = {
    "minmax": minmax,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mse,
}
"""Methods of a histogram, by name."""
ENTROPY_TRT: Final = "entropy-trt"
"""As TensorRT's entropy calibrator."""
ALL_METHODS: Final = (*METHODS, ENTROPY_TRT)
CALLED: Final = {
    "kl": "entropy",
    "kld": "entropy",
    "kl_divergence": "entropy",
    "max": "minmax",
    "absmax": "minmax",
    "l2": "mse",
}
"""What methods are called elsewhere."""
DEFAULT_METHODS: Final = ("minmax", "entropy", "percentile", "mse")
"""Those used when none is named."""
OPTIONS: Final[dict[str, tuple[str, ...]]] = {"percentile": ("fraction",)}
"""Names of the options of those methods that have any."""


def check_method(method: str, options: dict[str, float]) -> None:
    """Raise `SettingsError` for an unknown method, or for an option it doesn't have."""
    if method not in ALL_METHODS:
        raise SettingsError(
            f"unknown method {method!r}", next_step=near(method, ALL_METHODS, meant=CALLED)
        )
    for option in options:
        if option not in OPTIONS.get(method, ()):
            raise SettingsError(
                f"method {method!r} has no option {option!r}",
                next_step=near(option, OPTIONS.get(method, ())),
            )


def estimate_amax(values: Histogram | Distribution, method: str, **options: float) -> float:
    """Apply a method by name.

    Parameters
    ----------
    values : Histogram or Distribution
        Of |x|. Several methods share what they need of a `Distribution`.
    method : str
        ``minmax``, ``entropy``, ``percentile`` or ``mse``.
    **options
        ``fraction`` of ``percentile``, default 0.9999.

    Returns
    -------
    float
        amax; 0 when all values are zero.

    Raises
    ------
    SettingsError
        Unknown method, an option it doesn't have, or ``entropy-trt``.
    """
    check_method(method, options)
    if method not in METHODS:
        raise SettingsError(
            f"{method} can't be estimated from a histogram that adds up: it depends on batches",
            next_step="Give calaudit.calibration.scales.estimate_scales the set's equal bins.",
        )
    seen = values if isinstance(values, Distribution) else Distribution(values)
    if seen.histogram.amax == 0:
        return 0.0
    return METHODS[method](seen, **options)
