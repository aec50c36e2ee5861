"""Who is in the top k of each query, and with what probability when scores tie.

Tied items are ranked in random order, every order equally likely. An item's chance of a place is
then the share of the tie's places that lie within the top k, and its expected discount the mean
discount of the tie's places. Every ranking metric here is a sum over these expectations.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_EXACT = 2**53
"""Up to here every whole number is exact as float64."""

_MOST_EMPTY = 4
"""Places in a table of lists, for each entry, up to which rows are sorted instead of entries."""

TIES = "expected value over the order of ties"


@dataclass(frozen=True, eq=False)
class Shown:
    """Items with a chance of a place in the top `k`, by query, then by score, best first."""

    k: int
    shape: tuple[int, int]
    """Queries, items."""
    query: NDArray[np.int64]
    """(entries,) ascending."""
    item: NDArray[np.int64]
    """(entries,)"""
    first: NDArray[np.int64]
    """(entries,) places before the item's tie: 0 for the best."""
    tied: NDArray[np.int64]
    """(entries,) size of the item's tie, itself included."""
    probability: NDArray[np.float64]
    """(entries,) chance of a place in the top k, in (0, 1]."""

    def total(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up one value per entry by query, (queries,)."""
        summed = np.bincount(self.query, weights=value, minlength=self.shape[0])
        return summed.astype(np.float64)

    @cached_property
    def n_shown(self) -> NDArray[np.int64]:
        """(queries,) places filled: k, or fewer where fewer items are eligible."""
        return np.rint(self.total(self.probability)).astype(np.int64)

    @cached_property
    def key(self) -> NDArray[np.int64]:
        """(entries,) one number for each (query, item)."""
        return self.query * self.shape[1] + self.item

    @cached_property
    def exposure(self) -> sparse.csr_array:
        """Chance of each item to be shown, (queries, items)."""
        ends = np.searchsorted(self.query, np.arange(self.shape[0] + 1))
        entries = self.probability, self.item, ends
        found = sparse.csr_array(entries, shape=self.shape, copy=True)
        found.sort_indices()
        return found

    @cached_property
    def _chances(self) -> NDArray[np.float64]:
        """(queries · items,) chance of each place of `key`: as large as what is ranked."""
        found = np.zeros(self.shape[0] * self.shape[1])
        found[self.key] = self.probability
        return found

    def chance_in(self, other: "Shown") -> NDArray[np.float64]:
        """Chance that each of these entries has of a place in another top k, (entries,)."""
        return other._chances[self.key]

    def mean_over_places(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected weight of each entry's place, (entries,).

        Parameters
        ----------
        weight : ndarray, shape (k,)
            Weight of each place; places beyond k weigh 0.
        """
        below = np.concatenate([[0.0], np.cumsum(weight)])
        last = np.minimum(self.first + self.tied, self.k)
        mean = (below[last] - below[self.first]) / (last - self.first)
        return np.asarray(self.probability * mean, dtype=np.float64)


def show(scores: NDArray[Any], exclude: NDArray[np.bool_] | None, k: int) -> Shown:
    """Find the items with a chance of a place in each query's top `k`.

    Parameters
    ----------
    scores : ndarray, shape (queries, items)
        Numbers; higher ranks first. −inf ranks last, tied.
    exclude : ndarray of bool, shape (queries, items), optional
        Items that are never shown.
    k : int
        At least 1.
    """
    ranked = rankable(scores, exclude)
    n_queries, n_items = ranked.shape
    place = max(n_items - k, 0)
    cut = np.partition(ranked, place, axis=1)[:, place] if ranked.size else np.zeros(n_queries)
    # Fewer than k eligible items leave −inf at the cut; the excluded must stay out all the same.
    cut = np.maximum(cut, np.finfo(ranked.dtype).min)
    flat = np.flatnonzero(ranked >= cut[:, None])
    query, item = np.divmod(flat, max(n_items, 1))
    value = ranked.reshape(-1)[flat]
    order = order_within(query, n_queries, -value)
    query, item, value = query[order], item[order], value[order]

    starts = np.ones(len(query), dtype=bool)
    starts[1:] = (query[1:] != query[:-1]) | (value[1:] != value[:-1])
    tie = np.cumsum(starts) - 1
    tied = np.bincount(tie)[tie]
    counts = np.bincount(query, minlength=n_queries)
    head = np.cumsum(counts) - counts
    first = np.flatnonzero(starts)[tie] - head[query]
    probability = np.minimum(k - first, tied) / tied
    return Shown(k, (n_queries, n_items), query, item, first, tied, probability)


def order_within(
    query: NDArray[np.int64], n_queries: int, *keys: NDArray[Any]
) -> NDArray[np.int64]:
    """The order of entries by query, then by keys, equals as they stand, (entries,).

    As ``np.lexsort((*keys[::-1], query))``, in a tenth of the time: lists are short, and each is
    sorted by itself.

    Parameters
    ----------
    query : ndarray of int64, shape (entries,)
        Ascending.
    n_queries : int
    *keys : ndarray, shape (entries,)
        Numbers, none of them NaN; the first counts most.
    """
    counts = np.bincount(query, minlength=n_queries)
    width = int(counts.max(initial=0))
    if width * n_queries > _MOST_EMPTY * len(query):
        return np.lexsort((*keys[::-1], query))
    head = np.cumsum(counts) - counts
    place = np.arange(width)
    held, entry = place < counts[:, None], head[:, None] + place
    whole = bool(held.all())
    if not whole:
        entry[~held] = 0
    for key in reversed(keys):
        wide = key[entry] if whole else np.where(held, key[entry], np.inf)
        # what is held stands before the rest, and stays there among equals
        entry = np.take_along_axis(entry, np.argsort(wide, axis=1, kind="stable"), axis=1)
    return entry[held]


def rankable(scores: NDArray[Any], exclude: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Floats in the scores' order, in which −inf marks the excluded, and only them."""
    ordered = as_floats(scores)
    lowest = np.finfo(ordered.dtype).min
    # of NaN and a number fmax gives the number: NaN ranks last
    ranked: NDArray[Any] = np.fmax(ordered, lowest)
    if exclude is not None:
        ranked[exclude] = -np.inf
    return ranked


def as_floats(scores: NDArray[Any]) -> NDArray[Any]:
    """Scores as floats that keep every difference between them: float32 or float64.

    Whole numbers become float64. Where some are beyond 2**53, so that this would make ties, they
    are given by their rank among all of them: what is left of such scores is their order.
    """
    if scores.dtype.kind == "f":
        narrow = scores.dtype.itemsize < np.dtype(np.float32).itemsize
        return scores.astype(np.float32) if narrow else scores
    if scores.size and max(int(scores.max()), -int(scores.min())) > _EXACT:
        place = np.unique(scores, return_inverse=True)[1]
        return place.reshape(scores.shape).astype(np.float64)
    return scores.astype(np.float64)


def count_bounds(
    shown: Shown, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fewest and most `chosen` entries that the order within ties can bring into the top k.

    Parameters
    ----------
    shown : Shown
    chosen : ndarray of bool, shape (entries,)

    Returns
    -------
    tuple of ndarray, each of shape (queries,)
    """
    certain = shown.probability == 1.0
    surely = shown.total((certain & chosen).astype(np.float64))
    open_places = shown.n_shown - shown.total(certain.astype(np.float64))
    contenders = shown.total((~certain & chosen).astype(np.float64))
    others = shown.total((~certain & ~chosen).astype(np.float64))
    return surely + np.maximum(open_places - others, 0), surely + np.minimum(
        open_places, contenders
    )
