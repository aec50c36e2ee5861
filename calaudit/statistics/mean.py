"""Means and ratios of sums: bootstrap-t, or bounds from counts where few units change."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from calaudit.runtime.compiled import map_on_cores
from calaudit.statistics.bootstrap import REPLICATES, Blocks, bootstrap_t
from calaudit.statistics.bounds import few_changed, unseen_bounds
from calaudit.statistics.estimate import Estimate, Levels, no_estimate
from calaudit.statistics.permutation import signs_of_few, signs_of_many
from calaudit.statistics.random_numbers import random_coins, resample_counts
from calaudit.statistics.sums import Sums

Floats = NDArray[np.float64]

FEW_CHANGED = 20
"""With fewer changed units, and less than half of them, their number says more than their spread: a
replicate may hold none of them."""
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
    gains: bool = True,
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
    gains : bool
        Whether a unit can gain: not in likeness to FP32, which is perfect.
    """
    found = no_estimate(sums.lost.shape)
    found.drop[:] = sums.drop
    found.n_changed[:] = sums.n_changed
    how = _How(span, span if gains else 0.0, levels, margin, f"{seed}", replicates)
    few = _few(sums)
    # Where sizes add up to 0, as the words of empty texts do, the metric isn't defined.
    defined = sums.weight > 0

    def resampled(piece: _Piece) -> None:
        at, held = piece
        blocks, counts = _blocks(sums, at, held), _counts(sums, held, how)
        n_changed = sums.n_changed[at].astype(np.float64)
        bounds = bootstrap_t(blocks, counts, levels, margin[at], n_changed)
        found.ends[(slice(None), *at)] = bounds.ends
        found.plain[at] = bounds.plain
        found.p_value[at] = np.maximum(bounds.p_value, _by_signs(blocks, counts, how, margin[at]))
        found.error[at] = blocks.error
        found.interval[at] = "bootstrap-t"

    map_on_cores(resampled, _pieces_of_slices(sums, ~few & defined))
    found.ends[:, (sums.n_both == 0) & (sums.n > 0)] = _NOTHING
    found.p_value[(sums.n_both == 0) & (sums.n > 0)] = 1.0
    _fill_few(found, sums, few & defined, how)
    if span is not None:
        _use_span(found, sums, span, how)
        _remember_unseen(found, sums, span, levels)
        ends = np.where(np.isfinite(found.ends), np.clip(found.ends, -span, span), found.ends)
        found.ends[:] = ends
    return found


def _by_signs(blocks: Blocks, counts: Floats, how: "_How", margin: Floats) -> Floats:
    """What flipping the signs of all blocks says of "no drop", where it says something.

    A few large losses among small changes are as likely to be gains: of three, one in eight times
    all are losses, though no replicate of theirs shows a gain. Of few clusters which all lose no
    pattern of signs is rare, and of a margin signs say nothing.
    """
    total = blocks.total
    p_value = signs_of_many(total, random_coins(how.key, total.shape[1], len(counts)))
    few = np.count_nonzero(total, axis=1) < FEW_CHANGED
    return np.where((few & (total >= 0).all(axis=1)) | (margin != 0), 0.0, p_value)


@dataclass(frozen=True, eq=False, slots=True)
class _How:
    span: float | None
    gain: float | None
    levels: Levels
    margin: Floats
    key: str
    replicates: int


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


_At = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Comparisons: the cell and the slice of each."""
_Piece = tuple[_At, NDArray[np.int64] | None]
"""Comparisons, and those blocks that hold any of their units; None: all blocks."""


def _pieces(wanted: NDArray[np.bool_]) -> Iterator[_At]:
    """Those of (cells, slices) that are wanted, some at a time."""
    cells, places = np.nonzero(wanted)
    for start in range(0, len(cells), _AT_ONCE):
        yield cells[start : start + _AT_ONCE], places[start : start + _AT_ONCE]


def _pieces_of_slices(sums: Sums, wanted: NDArray[np.bool_]) -> Iterator[_Piece]:
    """Those that are wanted, to be resampled together."""
    n_cells, n_slices, width = sums.total.shape
    pending: list[tuple[int, int]] = []
    for place in range(n_slices):
        pairs = [(cell, place) for cell in range(n_cells) if wanted[cell, place]]
        held = sums.size[:, place].any(axis=0) | sums.total[:, place].any(axis=0)
        occupied = np.flatnonzero(held)
        few = len(occupied) < FEW_BLOCKS
        if pairs and (few or (n_cells >= _MANY_CELLS and 2 * len(occupied) < width)):
            yield _index(pairs), occupied
            continue
        pending += pairs
        if len(pending) >= _AT_ONCE:
            yield _index(pending), None
            pending = []
    if pending:
        yield _index(pending), None


def _index(pairs: list[tuple[int, int]]) -> _At:
    cells, places = np.array(pairs, dtype=np.int64).T
    return cells, places


def _blocks(sums: Sums, at: _At, held: NDArray[np.int64] | None = None) -> Blocks:
    cells, places = at
    total, size = sums.total[cells, places], sums.size[cells % len(sums.size), places]
    return Blocks(total, size) if held is None else Blocks(total[:, held], size[:, held])


def _counts(sums: Sums, held: NDArray[np.int64] | None, how: _How) -> Floats:
    """How often each replicate draws each block that is held, (replicates, blocks)."""
    if held is not None and len(held) < FEW_BLOCKS:
        return resample_counts(how.key, len(held), how.replicates)
    counts = resample_counts(how.key, sums.total.shape[2], how.replicates)
    return counts if held is None else counts[:, held]


def _fill_few(found: Estimate, sums: Sums, few: NDArray[np.bool_], how: _How) -> None:
    """Bounds and p-values of drops of which few units differ from the others."""
    for at in _pieces(few):
        blocks = _blocks(sums, at)
        found.error[at] = blocks.error
        for index, pair in enumerate(zip(*(each.tolist() for each in at), strict=True)):
            block = Blocks(blocks.total[index : index + 1], blocks.size[index : index + 1])
            _fill_one(found, sums, pair, block, how)


def _fill_one(found: Estimate, sums: Sums, at: tuple[int, int], block: Blocks, how: _How) -> None:
    total, size, here = block.total[0], block.size[0], (slice(None), *at)
    drop, n = float(block.drop[0]), float(sums.independent[at])
    if drop != 0 and _constant(total, drop * size):
        found.ends[here] = _ends_alike(drop, n, how)
        if drop > how.margin[at]:
            certain = float(stdtr(max(n - 1.0, 1.0), -np.sqrt(sums.n_changed[at])))
            found.p_value[at] = min(0.5**n, certain)
        else:
            found.p_value[at] = 1.0
    else:
        above, below = float(sums.lost[at]), float(sums.gained[at])
        if sums.clustered or n < sums.n_both[at]:
            above, below = (n * size[side].sum() / size.sum() for side in (total > 0, total < 0))
        found.ends[here] = few_changed((above, below), n, how.span, how.levels, gain=how.gain)
        found.p_value[at] = signs_of_few(total) if how.margin[at] == 0 else 1.0
    if np.isfinite(found.ends[here]).any():
        found.interval[at] = "bootstrap-t" if how.span is None else "clopper-pearson"
    found.plain[at] = found.ends[(3, *at)]
    found.design_effect[at] = sums.n_both[at] / n if n else np.nan


def _ends_alike(drop: float, n: float, how: _How) -> Floats:
    """Ends where all units lose, or gain, the same.

    Without a span the end towards 0 is that of one more unit that didn't change, and nothing
    bounds the other one.
    """
    if how.span is not None:
        return few_changed((0.0, 0.0), n, how.span, how.levels, common=drop, gain=how.gain)
    ends = np.array([-np.inf, np.inf, -np.inf, np.inf])
    for index, tail in enumerate(how.levels.tails) if n >= 2 else ():
        towards = drop + float(stdtrit(max(n - 1.0, 1.0), tail)) * drop / n
        ends[2 * index + (0 if drop > 0 else 1)] = towards
    return ends


def _use_span(found: Estimate, sums: Sums, span: float, how: _How) -> None:
    """Replace bounds by those of bounded scores where these are closer, and as well founded.

    Where few units change they count losses by their size; where ends were stretched for a heavy
    tail, a unit's span says how heavy it can be.
    """
    few = found.interval == "clopper-pearson"
    whole = np.abs(sums.total).max(axis=2, initial=0.0) >= span * (1.0 - _NOISE)
    stretched = (found.interval == "bootstrap-t") & (found.ends[3] > found.plain)

    def bounded(at: _At) -> None:
        margin = how.margin[at]
        ends, p_value = unseen_bounds(
            _blocks(sums, at),
            sums.independent[at],
            span,
            how.levels,
            key=how.key,
            replicates=how.replicates,
            margin=margin,
            gain=how.gain,
        )
        for index, closer in enumerate((np.maximum, np.minimum) * 2):
            found.ends[(index, *at)] = closer(found.ends[(index, *at)], ends[index])
        untested = few[at] & (margin > 0)
        smaller = np.minimum(p_value, found.p_value[at])
        found.p_value[at] = np.where(untested, smaller, found.p_value[at])

    map_on_cores(bounded, _pieces((few & ~whole & (sums.n_changed > 0)) | stretched))


def _remember_unseen(found: Estimate, sums: Sums, span: float, levels: Levels) -> None:
    """Keep upper ends at least as far from the drop as a unit that isn't there could move it."""
    n = np.maximum(np.broadcast_to(sums.independent, found.drop.shape), 1.0)
    for index, tail in zip((1, 3), levels.tails, strict=True):
        unseen = 1.0 - tail ** (1.0 / n)
        least = found.drop + unseen * (span - found.drop)
        for ends in (found.ends[index], found.plain) if index == 3 else (found.ends[index],):
            np.maximum(ends, least, out=ends, where=np.isfinite(ends))
