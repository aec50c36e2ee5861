"""Which items are the long tail."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.runtime.errors import PoolError, SettingsError


def tail_by_interactions(popularity: ArrayLike, head_share: float = 0.8) -> NDArray[np.bool_]:
    """Items outside the head: the fewest, most popular items that hold `head_share` of all.

    Parameters
    ----------
    popularity : array_like, shape (items,)
        Interactions of each item, ≥ 0. Of equally popular items the earlier joins the head first.
    head_share : float
        Share of interactions that the head holds, in (0, 1).

    Returns
    -------
    ndarray of bool, shape (items,)

    Raises
    ------
    PoolError
        A popularity that is negative, NaN or infinite.
    SettingsError
        A share outside (0, 1).
    """
    count = _counts(popularity, head_share)
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    tail = np.empty(len(count), dtype=bool)
    # An item is in the head as long as those before it don't yet hold the share; without the
    # tolerance, rounding in share × total would admit one item more.
    tail[order] = before >= head_share * count.sum() * (1 - 1e-12)
    return tail


def tail_by_rank(popularity: ArrayLike, head_share: float = 0.2) -> NDArray[np.bool_]:
    """Items outside the `head_share` most popular ones (rounded down to whole items).

    Parameters, ties, return value and errors as for `tail_by_interactions`, but `head_share` is a
    share of the items.
    """
    count = _counts(popularity, head_share)
    order = np.argsort(-count, kind="stable")
    tail = np.ones(len(count), dtype=bool)
    tail[order[: int(head_share * len(count) + 1e-9)]] = False
    return tail


def _counts(popularity: ArrayLike, head_share: float) -> NDArray[np.float64]:
    if not 0 < head_share < 1:
        raise SettingsError(f"the head's share is {head_share}, expected between 0 and 1")
    count = np.asarray(popularity, dtype=np.float64)
    if count.size and not (np.isfinite(count).all() and count.min() >= 0):
        raise PoolError("popularity holds negative numbers, NaN or infinity")
    return count
