"""Units of a slice dealt into groups that are left out, or swapped, as a whole."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.statistics.draws import scatter

Ints = NDArray[np.int64]

GROUPS = 50
_FEWEST = 10
"""Of at least two units each."""
_FEWEST_OF_CLUSTERS = 5


@dataclass(frozen=True, eq=False, slots=True)
class Groups:
    """The units of one slice in groups of whole clusters."""

    place: Ints
    """(n,) cluster of each unit, numbered within the slice."""
    group: Ints
    """(n,) group of each unit."""
    size: Ints
    """(groups,) units in each."""
    n_clusters: int
    """Units, where they are independent."""
    effective: float
    """Kish's effective number of clusters, (Σm)²/Σm²."""
    freedom: float
    """Degrees of freedom of the groups' spread: Kish's effective number of groups − 1."""
    enough: bool
    """Whether there are enough groups for their spread to say anything."""


def deal(rows: Ints, cluster: Ints | None = None) -> Groups:
    """Deal the units of a slice into at most `GROUPS` groups.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        The units' numbers.
    cluster : ndarray, shape (n,), optional
        Their clusters. None: units are independent, and groups hold at least two.
    """
    if cluster is None:
        n_groups = max(1, min(GROUPS, len(rows) // 2))
        group = scatter(rows, n_groups)
        size = np.bincount(group, minlength=n_groups).astype(np.int64)
        n = len(rows)
        return Groups(np.arange(n), group, size, n, float(n), _freedom(size), n_groups >= _FEWEST)
    known, place, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    n_groups = max(1, min(GROUPS, len(known)))
    group = scatter(known, n_groups)[place]
    size = np.bincount(group, minlength=n_groups).astype(np.int64)
    effective = float(counts.sum() ** 2 / max((counts**2).sum(), 1))
    enough = n_groups >= _FEWEST_OF_CLUSTERS
    return Groups(place, group, size, len(known), effective, _freedom(size), enough)


def _freedom(size: Ints) -> float:
    return float(size.sum() ** 2 / max((size**2).sum(), 1)) - 1.0
