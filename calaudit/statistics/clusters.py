"""Units that belong together: how much less they say than as many independent ones.

J. Rao & A. Scott (1992), Biometrics 48, 577–585: counts divided by the design effect are used as
if they were independent. Simulated where flips of a cluster go together: the interval that ignores
it passes 12 to 26 % where 5 % are promised, this one 4 to 6 %, from 6 clusters on.

`deal` deals the units of a slice into groups that are left out, or swapped, as a whole.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.division import divide
from calaudit.statistics.random_numbers import scatter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW_CHANGED = 10
"""Where fewer clusters changed, and less than half of them, their spread says too little."""

GROUPS = 50
_FEWEST = 10
"""Of at least two units each."""
_FEWEST_OF_CLUSTERS = 5


@dataclass(frozen=True, eq=False, slots=True)
class Design:
    """What clustering does to the drops of several comparisons; arrays are (…,)."""

    effect: Floats
    """Variance of the drop over that of as many independent units; at least 1."""
    freedom: Floats
    """Degrees of freedom of the variance: effective number of clusters − 1."""


def jackknife_error(total: Floats, size: Floats) -> Floats:
    """Standard error of Σ total/Σ size with each block left out once, (…,).

    √((K − 1)/K · Σ(r/(W − m))²) over K blocks with residuals r = total − D·m and sizes m, W = Σm:
    the linearised, cluster-robust one, a little larger where sizes differ.

    Parameters
    ----------
    total, size : ndarray, shape (…, blocks)
        Sizes may be 0: no block.
    """
    weight = size.sum(axis=-1, keepdims=True)
    drop = divide(total.sum(axis=-1, keepdims=True), weight, 0.0)
    apart = divide(total - drop * size, weight - size, 0.0)
    blocks = np.count_nonzero(size, axis=-1)
    return np.asarray(np.sqrt((blocks - 1) / np.maximum(blocks, 1) * (apart**2).sum(axis=-1)))


def effective_blocks(size: Floats) -> Floats:
    """Kish's effective number of blocks (Σm)²/Σm², (…,); 0 without any."""
    return divide(size.sum(axis=-1) ** 2, (size**2).sum(axis=-1), 0.0)


def design_of(total: Floats, size: Floats, flips: NDArray[np.int64]) -> Design:
    """Design effects of drops of a binary score.

    Parameters
    ----------
    total, size : ndarray, shape (…, blocks)
        Units lost minus units gained, and units, per cluster.
    flips : ndarray, shape (…,)
        Units that flipped.

    Notes
    -----
    Where few clusters changed, the effect is that of clusters that flip as a whole, Σm²/Σm.
    """
    n = size.sum(axis=-1)
    drop = divide(total.sum(axis=-1), n, 0.0)
    alone = divide(flips, n**2, 0.0) - divide(drop**2, n, 0.0)
    whole = divide((size**2).sum(axis=-1), n, 1.0)
    seen = divide(jackknife_error(total, size) ** 2, np.maximum(alone, 0.0), whole)
    changed = np.count_nonzero(total, axis=-1)
    few = (changed < FEW_CHANGED) & (2 * changed < np.count_nonzero(size, axis=-1))
    effect = np.maximum(np.where(few, np.maximum(seen, whole), seen), 1.0)
    return Design(effect, np.broadcast_to(effective_blocks(size) - 1.0, effect.shape))


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
