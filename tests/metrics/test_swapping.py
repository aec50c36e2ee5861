"""Blocks of units that change places: the same as adding up the mixed statistics, unit by unit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.swapping import Moves, SumsBeside

N, M = 30, 4


def functional(totals):
    return totals.max(axis=-1) - totals.min(axis=-1) / (1.0 + np.abs(totals).sum(axis=-1))


def sums(columns):
    return Sums(sparse.csr_array(columns), functional, lambda *_: 1.0)


def engines_beside(seed, n_engines, whole):
    """FP32's columns and engines', which differ on some units; small whole numbers fit a byte."""
    rng = np.random.default_rng(seed)
    fp32 = rng.integers(-3, 4, (N, M)).astype(np.int8) if whole else rng.normal(size=(N, M))
    others = []
    for _ in range(n_engines):
        other = np.where(rng.random((N, 1)) < rng.random(), fp32[rng.permutation(N)], fp32)
        others.append(other.astype(fp32.dtype))
    return fp32, others


def moves_of(changed, rows, n_most):
    """Changed units of `rows` in at most `n_most` blocks for each engine."""
    engine, place = np.nonzero(changed[:, rows])
    number = np.cumsum(changed[:, rows], axis=1)[engine, place] - 1
    n_blocks = np.minimum(np.count_nonzero(changed[:, rows], axis=1), n_most)
    return Moves(rows, n_blocks, engine, place, number % n_blocks[engine])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 9999), st.integers(1, 5), st.sampled_from([1, 2, 30]), st.booleans(), st.data()
)
def test_what_swaps_do_to_several_engines_is_the_value_of_the_mixed_statistics(
    seed, n_engines, n_most, whole, data
):
    fp32, others = engines_beside(seed, n_engines, whole)
    beside = SumsBeside(sums(fp32), [sums(each) for each in others])
    differs = np.array([(each != fp32).any(axis=1) for each in others])
    np.testing.assert_array_equal(beside.changed, differs)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(N) < 0.7)
    moves = moves_of(differs, rows, n_most)
    asked = np.array(sorted(data.draw(st.sets(st.integers(0, n_engines - 1), min_size=1))))
    swapped = [rng.random((7, n)) < 0.5 for n in moves.n_blocks[asked]]
    before, after = beside.swaps(moves)(asked, swapped)
    for at, engine in enumerate(asked):
        own = moves.engine == engine
        for pattern, *found in zip(swapped[at], before[at], after[at], strict=True):
            change = np.zeros((N, 1), dtype=bool)
            change[rows[moves.place[own]], 0] = pattern[moves.block[own]]
            pair = (fp32, others[engine]), (others[engine], fp32)
            mixed = [np.where(change, two, one)[rows] for one, two in pair]
            expected = [functional(each.sum(axis=0, dtype=np.float64)) for each in mixed]
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_engines_whose_sums_do_not_fit_together_are_asked_in_pieces(monkeypatch):
    fp32, others = engines_beside(3, 5, whole=False)
    beside = SumsBeside(sums(fp32), [sums(each) for each in others])
    moves = moves_of(beside.changed, np.arange(N), 8)
    rng = np.random.default_rng(0)
    swapped = [rng.random((7, n)) < 0.5 for n in moves.n_blocks]
    together = beside.swaps(moves)(np.arange(5), swapped)
    monkeypatch.setattr("calaudit.metrics.swapping._HELD", 2 * 7 * M)
    apart = beside.swaps(moves)(np.arange(5), swapped)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_what_differs_by_rounding_has_not_changed():
    fp32, (other,) = engines_beside(1, 1, whole=False)
    nearly = np.where(np.arange(N)[:, None] < 20, fp32 * (1 + 1e-14), other)
    beside = SumsBeside(sums(fp32), [sums(nearly)])
    assert not beside.changed[0, :20].any()
    np.testing.assert_array_equal(beside.changed[0, 20:], (other != fp32).any(axis=1)[20:])
