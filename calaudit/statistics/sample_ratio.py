"""Sample-ratio mismatch: whether as many users got each arm as the split promises.

A split that is off says that something loses users of one arm (a crash, a redirect, a filter), and
with them every comparison: A. Fabijan et al. (2019), Diagnosing sample ratio mismatch in online
controlled experiments, KDD, 2156–2164. Users are counted, being what is dealt.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from calaudit.runtime.errors import SettingsError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALPHA: Final = 0.01
"""A mismatch stops an experiment: it should be rare by chance."""
CONCENTRATION: Final = 500.0
"""Users that the prior around the promised share weighs: its standard deviation is √(p(1 − p)/501),
2.2 points for a split in halves."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Users per arm, and whether that is chance."""

    users_control: int
    users_treatment: int
    share: float
    """Of users that should get the treatment."""
    p_value: float
    """Of the exact binomial test, two-sided, once all are in."""
    p_always: float
    """Always valid: it may have been watched at every new user."""
    found: int | None
    """Number of the request at which `p_always` was first at most α; None where it never was."""
    found_users: int | None
    """How many users had come by then."""

    @property
    def observed(self) -> float | None:
        """Share of users that got the treatment; None without any."""
        n = self.users_control + self.users_treatment
        return self.users_treatment / n if n else None


def sample_ratio(
    arm: NDArray[np.int8],
    user: Ints,
    *,
    share: float = 0.5,
    alpha: float = ALPHA,
    concentration: float = CONCENTRATION,
) -> SampleRatio:
    """Check the split.

    Parameters
    ----------
    arm : int8 (n,)
        1 for treatment; of the requests that got an answer, in the order in which they came.
    user : int64 (n,)
    share : float
        Of users that should get the treatment, in (0, 1).
    alpha : float
        What `found` goes by.
    concentration : float
        Users that the prior weighs.

    Raises
    ------
    SettingsError
        The share isn't between 0 and 1.
    """
    if not 0 < share < 1:
        raise SettingsError(
            f"the share of users that get the treatment is {share}",
            next_step="Give a number between 0 and 1, such as 0.5.",
        )
    _, first = np.unique(user, return_index=True)
    first.sort()
    treated = (arm[first] == 1).cumsum()
    n, k = len(first), int(treated[-1]) if len(first) else 0
    p_value = watched_ratio(treated, share, concentration=concentration)
    beyond = np.flatnonzero(p_value <= alpha)
    return SampleRatio(
        n - k,
        k,
        share,
        _exact(k, n, share),
        float(p_value[-1]) if n else 1.0,
        int(first[beyond[0]]) + 1 if len(beyond) else None,
        int(beyond[0]) + 1 if len(beyond) else None,
    )


def watched_ratio(
    treated: ArrayLike, share: float, *, concentration: float = CONCENTRATION
) -> Floats:
    """p-values (n,) that may be watched at every new user; they never rise.

    The Bayes factor of a Beta prior around the promised share against that share itself is a
    martingale where the split is right; one over its largest value so far is a p-value at every
    moment, in samples of any size. M. Lindon & A. Malek (2022), Anytime-valid inference for
    multinomial count data, NeurIPS 35.

    Parameters
    ----------
    treated : array_like of int (n,)
        Users with the treatment among the first 1, 2, …, n.
    share : float
        That is promised.
    concentration : float
        The prior's: Beta(concentration·share, concentration·(1 − share)).
    """
    k = np.asarray(treated, dtype=np.float64)
    n = np.arange(1, len(k) + 1, dtype=np.float64)
    a, b = concentration * share, concentration * (1.0 - share)
    log_factor = betaln(a + k, b + n - k) - betaln(a, b)
    log_factor -= k * np.log(share) + (n - k) * np.log1p(-share)
    largest = np.maximum.accumulate(np.maximum(log_factor, 0.0)) if len(k) else log_factor
    return np.asarray(np.exp(-largest))


def _exact(k: int, n: int, share: float) -> float:
    from scipy.stats import binomtest  # slow to import

    return float(binomtest(k, n, share).pvalue) if n else 1.0
