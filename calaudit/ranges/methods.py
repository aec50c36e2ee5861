"""Methods: from the distribution of |x| to the amax that int8's 127 steps will cover.

All take a histogram and return ``0 < amax <= histogram.amax`` (0 for data that is all zero); only
``entropy-trt`` may go half a bin above. They are exact functions of the histogram, and scaling
the data by a power of two scales the result.

Zeros quantize exactly under any scale, so every method leaves them out: behind a ReLU they are
half of all values, and as a spike in the first bin they would only pull the clip down. Of one-hot
inputs with 20,000 columns they are more than 99.99 %: a percentile that counts them sees nothing
else.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from calaudit.errors import SettingsError, near
from calaudit.ranges.bulk import bulk_of, covering
from calaudit.ranges.divergence import N_LEVELS, SAME_DIVERGENCE, kl_divergences
from calaudit.ranges.equal_bins import entropy_trt
from calaudit.ranges.histogram import Histogram
from calaudit.ranges.squared_error import N_STEPS, squared_errors

__all__ = ["DEFAULT_METHODS", "METHODS", "N_LEVELS", "N_STEPS", "OPTIONS", "estimate_amax"]

DEFAULT_PERCENTILE: Final = 0.9999


def minmax(histogram: Histogram) -> float:
    """The largest |x|, exact."""
    return histogram.amax


def percentile(histogram: Histogram, *, fraction: float = DEFAULT_PERCENTILE) -> float:
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
    last = covering(np.cumsum(histogram.counts) - histogram.n_zero, fraction)
    return min(float(histogram.edges[last + 1]), histogram.amax)


def entropy(histogram: Histogram) -> float:
    """The clip that loses least information, KL(P‖Q), and doesn't cut into the bulk.

    The loss is that of the published scheme, see `calaudit.ranges.divergence`; `entropy_trt`
    applies it as published. Here the bins are laid over the range without outliers, and the
    candidates are the upper edges of filled bins from the edge of the bulk (99.99 % of the
    non-zero values) on.

    Why not below: the loss sees the clipped values as one bin of P, whatever their distance. Where
    most values crowd near zero, as behind a hard-swish, levelling them costs more than cutting off
    one value in fifty, and the published scheme clips at 1.3 what reaches 18.7.

    An empty last bin is no candidate. It would hold the tail in P and nothing in Q (KL infinite,
    which in other tools leaves the range unclipped); and clipping at the edge of the last filled
    bin below it clips the same values with finer steps. Of equal candidates the widest wins.
    """
    bulk = bulk_of(histogram)
    tops = np.flatnonzero(bulk.counts > 0) + 1
    found = tops[(bulk.edges[tops] >= bulk.edge) & (bulk.edges[tops - 1] <= bulk.top)]
    # In units of the floor, so that data scaled by a power of two gives the very same numbers.
    loss = kl_divergences(bulk.edges / bulk.floor, bulk.counts, found, only_best=True)
    best = int(np.flatnonzero(loss <= loss.min() + SAME_DIVERGENCE)[-1])
    return min(float(bulk.edges[found[best]]), histogram.amax)


def mse(histogram: Histogram) -> float:
    """The clip with the smallest squared error of fake quantization.

    Values are taken as spread evenly over their bin; rounding to nearest, saturation at 127
    steps. Outliers, beyond 8 times the edge that covers 99.99 % of the non-zero values, count
    neither for nor against a clip: the square of one value at 1e6 would outweigh a million at 1.
    """
    bulk = bulk_of(histogram)
    counts = np.where(bulk.edges[:-1] <= bulk.top, bulk.counts, 0.0)
    tops = np.flatnonzero(counts > 0) + 1
    found = tops[bulk.edges[tops] >= min(N_LEVELS * bulk.floor, bulk.edge)]
    clips = np.minimum(bulk.edges[found], histogram.amax)
    errors = squared_errors(bulk.edges, counts, clips, only_best=True)
    return float(clips[int(np.argmin(errors))])


METHODS: Final[dict[str, Callable[..., float]]] = {
    "minmax": minmax,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mse,
    "entropy-trt": entropy_trt,
}
"""Methods by name."""
DEFAULT_METHODS: Final = ("minmax", "entropy", "percentile", "mse")
"""Those used when none is named."""
OPTIONS: Final[dict[str, tuple[str, ...]]] = {"percentile": ("fraction",)}
"""Names of the options of those methods that have any."""


def check_method(method: str, options: dict[str, float]) -> None:
    """Raise `SettingsError` for an unknown method, or for an option it doesn't have."""
    if method not in METHODS:
        raise SettingsError(f"unknown method {method!r}", next_step=near(method, METHODS))
    for option in options:
        if option not in OPTIONS.get(method, ()):
            raise SettingsError(
                f"method {method!r} has no option {option!r}",
                next_step=near(option, OPTIONS.get(method, ())),
            )


def estimate_amax(histogram: Histogram, method: str, **options: float) -> float:
    """Apply a method by name.

    Parameters
    ----------
    histogram : Histogram
        Distribution of |x|.
    method : str
        ``minmax``, ``entropy``, ``percentile``, ``mse`` or ``entropy-trt``.
    **options
        ``fraction`` of ``percentile``, default 0.9999.

    Returns
    -------
    float
        amax; 0 when all values are zero.

    Raises
    ------
    SettingsError
        Unknown method, or an option it doesn't have.
    """
    check_method(method, options)
    if histogram.amax == 0:
        return 0.0
    return METHODS[method](histogram, **options)
