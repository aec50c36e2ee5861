"""Means and ratios of sums: bootstrap-t, or bounds from counts where few units change."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate.statistics.bootstrap import REPLICATES, Blocks, bootstrap_t
from calaudit.evaluate.statistics.clusters import effective_blocks
from calaudit.evaluate.statistics.draws import resample_counts
from calaudit.evaluate.statistics.interval import Estimate, Levels, no_estimate
from calaudit.evaluate.statistics.signs import signs_of_few
from calaudit.evaluate.statistics.sparse import few_changed
from calaudit.evaluate.statistics.sums import Sums

Floats = NDArray[np.float64]

FEW_CHANGED = 20
"""With fewer changed units, and less than half of them, their number says more than their spread:
bootstrap-t promises too much, and a replicate may hold none of them."""
FEW_BLOCKS = 64
"""Fewer blocks are resampled among themselves, so that replicates hold as many."""
_AT_ONCE = 64
"""Comparisons whose replicates are made together."""
_MANY_CELLS = 8
"""From so many on, leaving empty buckets out saves more than it costs."""
_NOISE = 1e-9
"""What rounding leaves of 0, as a share of the largest of the numbers."""
_NOTHING = np.array([-np.inf, np.inf, -np.inf, np.inf])[:, None]


def compare_means(
    sums: Sums,
    *,
    span: float | None,
    levels: Levels,
    margin: Floats,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Drops of means or ratios of sums, (cells, slices).

    Parameters
    ----------
    sums : Sums
    span : float or None
        The most that one unit can lose or gain.
    levels : Levels
    margin : ndarray (cells, slices)
        The test is of "the drop is at most this".
    seed : int
        Of the replicates, which all cells and slices share: a result doesn't depend on others.
    replicates : int
    """
    found = no_estimate(sums.lost.shape)
    found.drop[:] = sums.drop
    found.n_changed[:] = sums.n_changed
    few = _few(sums)
    # Where sizes add up to 0, as the words of empty texts do, the metric isn't defined.
    defined = sums.weight > 0
    for at, blocks, counts in _work(sums, ~few & defined, f"{seed}", replicates):
        ends, p_value = bootstrap_t(blocks, counts, levels, margin[at])
        found.ends[(slice(None), *at)] = ends
        found.p_value[at] = p_value
        found.interval[at] = "bootstrap-t"
    found.ends[:, (sums.n_both == 0) & (sums.n > 0)] = _NOTHING
    found.p_value[(sums.n_both == 0) & (sums.n > 0)] = 1.0
    for cell, place in np.argwhere(few & defined).tolist():
        at_one = cell, place
        blocks = _blocks(sums, [at_one])
        found.ends[(slice(None), *at_one)], found.p_value[at_one], n = _count_bounds(
            sums, at_one, blocks, span=span, levels=levels, margin=float(margin[at_one])
        )
        bounded = np.isfinite(found.ends[(slice(None), *at_one)]).any()
        found.interval[at_one] = "clopper-pearson" if bounded else None
        found.design_effect[at_one] = sums.n_both[at_one] / n if n else np.nan
    if span is not None:
        ends = np.where(np.isfinite(found.ends), np.clip(found.ends, -span, span), found.ends)
        found.ends[:] = ends
    return found


def _few(sums: Sums) -> NDArray[np.bool_]:
    """(cells, slices) where counts say more than spread, or all units lose the same."""
    changed, units = sums.n_changed, sums.n_both
    if sums.clustered:
        changed = np.count_nonzero(sums.total, axis=2)
        units = np.broadcast_to(sums.n_blocks, changed.shape)
    same = _constant(sums.total, np.nan_to_num(sums.drop)[:, :, None] * sums.size)
    return np.asarray(((changed < FEW_CHANGED) & (2 * changed < units)) | same)


def _constant(total: Floats, expected: Floats) -> NDArray[np.bool_]:
    """Whether totals (…, blocks) are what they would be if all units lost the same, (…,)."""
    apart = np.abs(total - expected).max(axis=-1, initial=0.0)
    return np.asarray(apart <= _NOISE * np.abs(total).max(axis=-1, initial=0.0))


def _work(
    sums: Sums, wanted: NDArray[np.bool_], key: str, replicates: int
) -> Iterator[tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Blocks, Floats]]:
    """Comparisons to be resampled together, as (cells, slices), their blocks and the counts."""
    n_cells, n_slices, width = sums.total.shape
    pending: list[tuple[int, int]] = []
    for place in range(n_slices):
        pairs = [(cell, place) for cell in range(n_cells) if wanted[cell, place]]
        held = sums.size[:, place].any(axis=0) | sums.total[:, place].any(axis=0)
        occupied = np.flatnonzero(held)
        few = len(occupied) < FEW_BLOCKS
        if pairs and (few or (n_cells >= _MANY_CELLS and 2 * len(occupied) < width)):
            whole = _blocks(sums, pairs)
            blocks = Blocks(whole.total[:, occupied], whole.size[:, occupied])
            n_drawn = len(occupied) if few else width
            counts = resample_counts(key, n_drawn, replicates)
            yield _index(pairs), blocks, counts if few else counts[:, occupied]
            continue
        pending += pairs
        if len(pending) >= _AT_ONCE or (pending and place == n_slices - 1):
            yield _index(pending), _blocks(sums, pending), resample_counts(key, width, replicates)
            pending = []
    if pending:
        yield _index(pending), _blocks(sums, pending), resample_counts(key, width, replicates)


def _index(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    cells, places = np.array(pairs, dtype=np.int64).T
    return cells, places


def _blocks(sums: Sums, pairs: list[tuple[int, int]]) -> Blocks:
    cells, places = _index(pairs)
    return Blocks(sums.total[cells, places], sums.size[cells % len(sums.size), places])


def _count_bounds(
    sums: Sums,
    at: tuple[int, int],
    blocks: Blocks,
    *,
    span: float | None,
    levels: Levels,
    margin: float,
) -> tuple[Floats, float, float]:
    """Ends, p-value, and the number of independent units they rest on."""
    total, size = blocks.total[0], blocks.size[0]
    drop = float(blocks.drop[0])
    n = float(sums.n_both[at])
    above, below = float(sums.lost[at]), float(sums.gained[at])
    if sums.clustered or sums.weighted:
        weight = size.sum()
        n = float(effective_blocks(size)) if sums.clustered else weight**2 / sums.squared[at[1]]
        above, below = (n * size[side].sum() / weight for side in (total > 0, total < 0))
    if drop != 0 and _constant(total, drop * size):
        return (
            few_changed((0.0, 0.0), n, span, levels, common=drop),
            0.5**n if drop > margin else 1.0,
            n,
        )
    p_value = signs_of_few(total) if margin == 0 else 1.0
    return few_changed((above, below), n, span, levels), p_value, n
