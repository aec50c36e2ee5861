import numpy as np
import pytest

from calaudit.evaluate.statistics import bootstrap, mean
from calaudit.evaluate.statistics.bootstrap import REPLICATES, Blocks, bootstrap_t
from calaudit.evaluate.statistics.draws import resample_counts, scatter
from calaudit.evaluate.statistics.interval import Levels
from calaudit.evaluate.statistics.mean import compare_means

LEVELS = Levels()


def drops(seed, cells, n, changed=0.3):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((cells, n)) < changed, rng.normal(0.05, 0.2, (cells, n)), 0.0)


def compared(values, key="k", span=1.0, **options):
    n = values.shape[1]
    return compare_means(values, np.arange(n), key=key, span=span, levels=LEVELS, **options)


def test_counts_are_those_of_n_draws_from_n_units():
    counts = np.concatenate(list(resample_counts("a", 37, 500)))
    assert counts.shape == (500, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(37), abs=0.25)
    assert counts.var() == pytest.approx(1 - 1 / 37, abs=0.05)


def test_counts_are_the_same_on_every_machine():
    first = next(resample_counts("seed and slice", 8, 2))
    assert first.tolist() == FIRST_COUNTS


FIRST_COUNTS = [[0, 1, 4, 0, 1, 0, 0, 2], [0, 0, 2, 2, 3, 1, 0, 0]]


def test_rows_are_scattered_into_groups_of_equal_size_whatever_their_order():
    rows = np.arange(1000, 1503)
    group = scatter(rows, 50)
    sizes = np.bincount(group)
    assert (sizes.min(), sizes.max()) == (10, 11)
    order = np.random.default_rng(0).permutation(len(rows))
    assert (scatter(rows[order], 50) == group[order]).all()


def test_the_interval_equals_the_textbook_loop():
    values = drops(0, 1, 120)[0]
    counts = np.concatenate(list(resample_counts("k", 120, REPLICATES)))
    center, error = values.mean(), values.std(ddof=1) / np.sqrt(120)
    t = []
    for row in counts:
        drawn = np.repeat(values, row.astype(int))
        t.append((drawn.mean() - center) / (drawn.std(ddof=1) / np.sqrt(120)))
    t.sort()
    found = compared(values[None, :])
    place = [1949, 49, 1899, 99]
    assert found.ends[:, 0] == pytest.approx([center - t[i] * error for i in place])
    p = (1 + sum(value >= center / error for value in t)) / 2000
    assert found.p_value[0] == pytest.approx(p)


def test_a_cell_does_not_depend_on_the_others():
    values = drops(1, 4, 200)
    alone, together = compared(values[2:3]), compared(values)
    assert alone.ends[:, 0] == pytest.approx(together.ends[:, 2], rel=1e-9)
    assert alone.p_value[0] == together.p_value[2]


def test_the_same_key_repeats_and_another_differs():
    values = drops(2, 2, 150)
    assert (compared(values).ends == compared(values).ends).all()
    assert (compared(values).ends != compared(values, key="other").ends).any()


def test_the_interval_scales_and_mirrors_with_the_drops():
    values = drops(3, 1, 150)
    found, scaled = compared(values, span=None), compared(3 * values, span=None)
    mirrored = compared(-values, span=None)
    assert scaled.ends == pytest.approx(3 * found.ends)
    assert mirrored.ends == pytest.approx(-found.ends[[1, 0, 3, 2]])


def test_a_large_slice_is_added_up_in_blocks_with_the_same_answer(monkeypatch):
    values = drops(4, 2, 4000)
    by_unit = compared(values)
    monkeypatch.setattr(mean, "MOST_BLOCKS", 1000)
    by_block = compared(values)
    width = by_unit.ends[1] - by_unit.ends[0]
    assert by_block.drop == pytest.approx(by_unit.drop)
    assert by_block.ends[1] - by_block.ends[0] == pytest.approx(width, rel=0.1)


def test_units_that_an_engine_broke_leave_only_that_cell():
    values = drops(5, 2, 300)
    values[1, :20] = np.nan
    found = compared(values)
    assert found.drop == pytest.approx([values[0].mean(), np.nanmean(values[1])])
    assert found.ends[:, 0] == pytest.approx(compared(values[:1]).ends[:, 0])
    assert np.isfinite(found.ends).all()


def test_all_units_broken_bounds_nothing():
    found = compared(np.full((1, 50), np.nan))
    assert np.isnan(found.drop[0])
    assert np.isinf(found.ends).all()
    assert found.interval == (None,)


def test_an_end_that_too_many_replicates_leave_open_is_infinite():
    values = np.zeros((1, 100))
    values[0, :2] = 1.0
    ends, _ = bootstrap_t(Blocks(values, np.ones_like(values)), "k", LEVELS)
    assert ends[1, 0] == np.inf
    assert np.isfinite(ends[0, 0])


def test_a_clear_drop_has_a_p_value_below_what_replicates_resolve():
    rng = np.random.default_rng(6)
    found = compared(rng.normal(0.3, 0.2, (1, 400)))
    assert 0 < found.p_value[0] < 1e-6
    assert bootstrap.REPLICATES == 1999


def test_the_margin_moves_the_test():
    values = np.random.default_rng(7).normal(0.3, 0.2, (1, 400))
    assert compared(values, margin=values.mean()).p_value[0] == pytest.approx(0.5, abs=0.05)
    assert compared(values, margin=values.mean() + 0.1).p_value[0] > 0.999
