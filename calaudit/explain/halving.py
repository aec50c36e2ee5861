"""Successive halving: of many candidates the best few, most of the work spent on the good ones.

K. Jamieson & A. Talwalkar (2016), Non-stochastic best arm identification and hyperparameter
optimization, AISTATS, PMLR 51, 240–248: each round the worse half goes, and the rest is looked at
on twice as many samples.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

FIRST: Final = 32
"""Samples of the first round."""


def halve(
    candidates: Sequence[str],
    loss: Callable[[str, NDArray[np.int64]], float],
    n: int,
    *,
    keep: int,
    seed: int,
) -> list[str]:
    """The `keep` candidates with the smallest loss, the smallest first.

    Parameters
    ----------
    candidates : sequence of str
    loss : callable
        Of a candidate over some of the samples (ascending positions); NaN counts as infinite.
    n : int
        Samples there are.
    keep : int
        At least 1.
    seed : int
        Of the order in which samples are taken.
    """
    order = np.random.default_rng(seed).permutation(n)
    size, left = min(FIRST, n), list(candidates)
    while True:
        taken = np.sort(order[:size])
        losses = {name: loss(name, taken) for name in left}
        ranked = sorted(left, key=lambda name: _finite(losses[name]))
        if len(left) <= keep:
            return ranked
        left = ranked[: max(keep, (len(left) + 1) // 2)]
        size = min(2 * size, n)


def _finite(loss: float) -> float:
    return float("inf") if np.isnan(loss) else loss
