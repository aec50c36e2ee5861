import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom

from calaudit.metrics.unit_scores import UnitScores
from calaudit.statistics.worst_slice import worst_gaps
from tests.statistics.cases import NDCG, TOP1


def answers(rng, n_slices, n, hurt=0.0, flips=0.06):
    """Top-1 scores; slice 0 loses `hurt` more than the others."""
    units = n_slices * n
    fp32, chance = rng.random(units) < 0.9, rng.random(units)
    planted = np.where(np.arange(units) < n, hurt, 0.0)
    lost = fp32 & (chance < (flips / 2 + planted) / 0.9)
    gained = ~fp32 & (chance < flips / 2 / 0.1)
    return UnitScores(TOP1, fp32), UnitScores(TOP1, (fp32 & ~lost) | gained)


def equal_slices(n_slices, n):
    return {str(i): np.arange(i * n, (i + 1) * n) for i in range(n_slices)}


def test_the_worst_slice_is_held_against_everyone_outside_it():
    fp32, int8 = answers(np.random.default_rng(0), 5, 400, hurt=0.1)
    (gap,) = worst_gaps(TOP1, fp32, {"c": int8}, equal_slices(5, 400))
    drop = fp32.values.astype(float) - int8.values
    assert (gap.cell, gap.slice, gap.n_slices) == ("c", "0", 5)
    assert gap.drop == pytest.approx(drop[:400].mean())
    assert gap.rest == pytest.approx(drop[400:].mean())
    assert gap.gap.value == pytest.approx(gap.drop - gap.rest)
    assert 0 < gap.gap.low < gap.gap.value < gap.gap.high


def test_the_interval_accounts_for_having_picked_the_worst():
    # Nobody is hurt: the largest of 20 gaps looks large, but its lower bound isn't above 0.
    rng, simulations = np.random.default_rng(1), 50
    found = [
        worst_gaps(TOP1, fp32, {"c": int8}, equal_slices(20, 100))[0]
        for fp32, int8 in (answers(rng, 20, 100) for _ in range(simulations))
    ]
    assert np.mean([gap.gap.value for gap in found]) > 0.03
    wrong = sum(not gap.gap.low <= 0 <= gap.gap.high for gap in found)
    assert wrong <= binom.isf(1e-4, simulations, 0.05)


def test_of_many_engines_the_largest_gap_is_no_more_often_clear():
    # Nobody is hurt: one of six engines may look as if, with a chance of 2.5 % in all.
    rng, simulations = np.random.default_rng(6), 15
    clear = 0
    for _ in range(simulations):
        engines = {str(i): answers(rng, 10, 150) for i in range(6)}
        reference = next(iter(engines.values()))[0]
        cells = {}
        for name, (fp32, int8) in engines.items():
            lost = fp32.values > int8.values
            cells[name] = UnitScores(TOP1, np.where(lost, 0.0, reference.values))
        found = worst_gaps(TOP1, reference, cells, equal_slices(10, 150))
        clear += any(gap.gap.low > 0 for gap in found)
    assert clear <= binom.isf(1e-4, simulations, 0.025)


def test_a_planted_gap_is_covered():
    rng, simulations = np.random.default_rng(2), 50
    found = [
        worst_gaps(TOP1, fp32, {"c": int8}, equal_slices(4, 300))[0]
        for fp32, int8 in (answers(rng, 4, 300, hurt=0.08) for _ in range(simulations))
    ]
    wrong = sum(not gap.gap.low <= 0.08 <= gap.gap.high for gap in found)
    assert wrong <= binom.isf(1e-4, simulations, 0.05)
    assert np.mean([gap.gap.low > 0 for gap in found]) > 0.9


def test_without_any_change_the_gap_is_not_known_to_be_zero():
    fp32, _ = answers(np.random.default_rng(3), 3, 100)
    (gap,) = worst_gaps(TOP1, fp32, {"c": fp32}, equal_slices(3, 100))
    assert gap.gap.value == 0
    assert gap.gap.low < -0.01 < 0.01 < gap.gap.high


def test_thin_slices_and_the_slice_of_everything_are_not_looked_at():
    fp32, int8 = answers(np.random.default_rng(4), 3, 100)
    slices = {"all": np.arange(300), "thin": np.arange(29), "wide": np.arange(29, 300)}
    assert worst_gaps(TOP1, fp32, {"c": int8}, slices) == []
    slices["half"] = np.arange(150)
    (gap,) = worst_gaps(TOP1, fp32, {"c": int8}, slices)
    assert (gap.slice, gap.n_slices) == ("half", 1)


def test_clusters_widen_the_gap():
    rng = np.random.default_rng(5)
    clusters = np.arange(2000) // 10
    drop = np.repeat(rng.normal(0.02, 0.1, 200), 10)
    fp32, int8 = UnitScores(NDCG, np.full(2000, 0.5)), UnitScores(NDCG, 0.5 - drop)
    slices = {"a": np.arange(1000), "b": np.arange(1000, 2000)}
    alone, together = (
        worst_gaps(NDCG, fp32, {"c": int8}, slices, clusters=each)[0] for each in (None, clusters)
    )
    assert together.gap.high - together.gap.low > 2.5 * (alone.gap.high - alone.gap.low)


def test_memory_does_not_grow_with_slices_nor_with_engines():
    def peak(n_slices, n_cells):
        fp32, int8 = answers(np.random.default_rng(6), n_slices, 40, hurt=0.6)
        slices = dict(reversed(equal_slices(n_slices, 40).items()))
        drop = fp32.values.astype(float) - int8.values
        tracemalloc.start()
        found = worst_gaps(TOP1, fp32, {f"c{place}": int8 for place in range(n_cells)}, slices)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for gap in found:
            assert (gap.slice, gap.n_slices) == ("0", n_slices)
            assert gap.gap.value == pytest.approx(drop[:40].mean() - drop[40:].mean())
        return most

    peak(2, 1)  # what is kept once
    assert peak(1500, 2) < 1.5 * peak(750, 1)
