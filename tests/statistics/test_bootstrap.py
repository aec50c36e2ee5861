import numpy as np
import pytest
from scipy.stats import t as student

from calaudit.statistics.bootstrap import REPLICATES, Blocks, bootstrap_t
from calaudit.statistics.estimate import Levels
from calaudit.statistics.random_numbers import N_BUCKETS, bucket_of, resample_counts, scatter
from tests.statistics.cases import drops_of

LEVELS = Levels()


def drops(seed, cells, n, changed=0.3):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((cells, n)) < changed, rng.normal(0.05, 0.2, (cells, n)), 0.0)


def test_counts_are_those_of_n_draws_from_n_units():
    counts = resample_counts("a", 37, 500)
    assert counts.shape == (500, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(37), abs=0.25)
    assert counts.var() == pytest.approx(1 - 1 / 37, abs=0.05)


def test_counts_are_the_same_on_every_machine():
    assert resample_counts("seed and slice", 8, 2).tolist() == FIRST_COUNTS


FIRST_COUNTS = [[0, 1, 4, 0, 1, 0, 0, 2], [0, 0, 2, 2, 3, 1, 0, 0]]


def test_rows_are_scattered_into_groups_of_equal_size_whatever_their_order():
    rows = np.arange(1000, 1503)
    group = scatter(rows, 50)
    sizes = np.bincount(group)
    assert (sizes.min(), sizes.max()) == (10, 11)
    order = np.random.default_rng(0).permutation(len(rows))
    assert (scatter(rows[order], 50) == group[order]).all()


def test_a_cluster_has_a_bucket_of_its_own_while_there_are_enough():
    few = np.array([5, 0, N_BUCKETS - 1])
    assert (bucket_of(few, N_BUCKETS) == few).all()
    many = np.arange(200_000)
    held = np.bincount(bucket_of(many, len(many)), minlength=N_BUCKETS)
    assert len(held) == N_BUCKETS
    assert held.mean() - 6 * held.std() < held.min() < held.max() < held.mean() + 6 * held.std()
    assert held.std() == pytest.approx(np.sqrt(held.mean()), rel=0.1)


def test_the_interval_equals_the_textbook_loop():
    values = drops(0, 1, 300)[0]
    counts = resample_counts("0", 300, REPLICATES)
    center, error = values.mean(), values.std(ddof=1) / np.sqrt(300)
    # One more unit that changes as much as the one that changed most; to the losing side in
    # replicates too.
    most = np.abs(values - center).max() / 300
    t = []
    for row in counts:
        drawn = np.repeat(values, row.astype(int))
        apart, spread = drawn.mean() - center, drawn.std(ddof=1) / np.sqrt(300)
        t.append(apart / (np.hypot(spread, most) if apart > 0 else spread))
    t.sort()
    wider = np.hypot(error, most)
    found = drops_of(values, span=None)
    place = [1949, 49, 1899, 99]
    assert found.ends[:, 0, 0] == pytest.approx([center - t[i] * wider for i in place], rel=1e-5)
    p = (1 + sum(value >= (center - 0.01) / wider for value in t)) / 2000
    assert drops_of(values, span=None, margin=0.01).p_value[0, 0] == pytest.approx(p)


def test_where_few_units_carry_the_variance_an_end_is_stretched_on_their_side():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.01, 400)
    values[:4] += 1.0
    found = drops_of(values, span=None)
    residual = values - values.mean()
    carry = (residual**2).sum() ** 2 / (residual[residual > 0] ** 4).sum()
    assert carry == pytest.approx(4, abs=0.3)
    plain = found.plain[0, 0] - values.mean()
    assert found.ends[3, 0, 0] - values.mean() == pytest.approx(20 / carry * plain)
    mirrored = drops_of(-values, span=None)
    assert mirrored.ends[3, 0, 0] == mirrored.plain[0, 0]
    assert mirrored.ends[2, 0, 0] < -found.plain[0, 0]


@pytest.mark.parametrize("span", [1.0, None])
def test_losses_that_all_but_three_units_share_are_certain(span):
    values = np.ones(1000)
    values[:3] = 0.0
    found = drops_of(values, span=span)
    assert found.ends[2, 0, 0] > 0.9
    assert found.p_value[0, 0] < 1e-100


def test_three_losses_among_small_changes_are_as_likely_as_three_gains():
    small = np.random.default_rng(1).uniform(0, 0.001, 500)
    values = np.concatenate([small, -small])
    values[:3] = values[500:503] = 0.0
    values[:3] += 1.0
    # All three signs agree in one of eight tosses; the small ones exceed their sum in half of them.
    assert drops_of(values).p_value[0, 0] == pytest.approx(1 / 16, abs=0.02)


def test_a_cell_does_not_depend_on_the_others():
    values = drops(1, 20, 200)
    alone, together = drops_of(values[2:3]), drops_of(values)
    assert alone.ends[:, 0] == pytest.approx(together.ends[:, 2], rel=1e-9)
    assert alone.p_value[0] == together.p_value[2]


def test_the_same_seed_repeats_and_another_differs():
    values = drops(2, 2, 150)
    assert (drops_of(values).ends == drops_of(values).ends).all()
    assert (drops_of(values).ends != drops_of(values, seed=1).ends).any()


def test_the_interval_scales_with_the_drops():
    values = drops(3, 1, 150)
    found, scaled = drops_of(values, span=None), drops_of(3 * values, span=None)
    assert scaled.ends == pytest.approx(3 * found.ends, rel=1e-6)
    assert scaled.p_value == pytest.approx(found.p_value)


def test_many_units_are_added_up_in_buckets_with_the_same_answer():
    values = drops(4, 1, 20_000)
    found = drops_of(values).ends[:, 0, 0]
    error = values.std(ddof=1) / np.sqrt(20_000)
    assert found == pytest.approx(
        values.mean() + error * np.array([-1.96, 1.96, -1.645, 1.645]), abs=0.25 * error
    )


def test_units_that_an_engine_broke_leave_only_that_cell():
    values = drops(5, 2, 300)
    values[1, :20] = np.nan
    found = drops_of(values)
    assert found.drop[:, 0] == pytest.approx([values[0].mean(), np.nanmean(values[1])])
    assert found.ends[:, 0] == pytest.approx(drops_of(values[:1]).ends[:, 0])
    assert np.isfinite(found.ends).all()


def test_all_units_broken_bounds_nothing():
    found = drops_of(np.full((1, 50), np.nan))
    assert np.isnan(found.drop[0, 0])
    assert np.isinf(found.ends).all()
    assert found.interval[0, 0] is None


def test_an_end_that_too_many_replicates_leave_open_is_infinite():
    values = np.zeros((1, 100))
    values[0, :2] = 1.0
    blocks = Blocks(values, np.ones_like(values))
    ends = bootstrap_t(blocks, resample_counts("k", 100, 999), LEVELS).ends
    assert ends[1, 0] == np.inf
    assert np.isfinite(ends[0, 0])


def test_a_clear_drop_has_a_p_value_below_what_replicates_resolve():
    rng = np.random.default_rng(6)
    found = drops_of(rng.normal(0.3, 0.2, (1, 400)))
    assert 0 < found.p_value[0, 0] < 1e-6


def test_the_margin_moves_the_test():
    values = np.random.default_rng(7).normal(0.3, 0.2, (1, 400))
    assert drops_of(values, margin=values.mean()).p_value[0, 0] == pytest.approx(0.5, abs=0.05)
    assert drops_of(values, margin=values.mean() + 0.1).p_value[0, 0] > 0.999


@pytest.mark.parametrize("n_clusters", [6, 40, 400])
def test_of_clusters_that_say_all_the_same_only_their_number_counts(n_clusters):
    # Ten equal units per cluster are no more than one.
    values = np.random.default_rng(8).normal(0.05, 0.2, n_clusters)
    one = drops_of(values, clusters=np.arange(n_clusters))
    ten = drops_of(np.repeat(values, 10), clusters=np.repeat(np.arange(n_clusters), 10))
    assert ten.ends == pytest.approx(one.ends, rel=1e-6)
    assert ten.p_value == pytest.approx(one.p_value)


def test_a_ratio_is_resampled_by_cluster_with_linearised_residuals():
    rng = np.random.default_rng(9)
    words = rng.integers(1, 30, 400).astype(float)
    errors = rng.binomial(words.astype(int), 0.05).astype(float)
    speaker = rng.integers(0, 80, 400)
    found = drops_of(errors, denominator=words, clusters=speaker, span=None)
    ratio = errors.sum() / words.sum()
    residual = np.bincount(speaker, errors - ratio * words)
    error = np.sqrt(80 / 79 * (residual**2).sum()) / words.sum()
    assert found.drop[0, 0] == pytest.approx(ratio)
    half = student.ppf(0.975, 79) * np.hypot(error, np.abs(residual).max() / words.sum())
    assert found.ends[:2, 0, 0] == pytest.approx([ratio - half, ratio + half], abs=0.15 * half)


def test_weights_count_units_as_if_they_came_so_often():
    rng = np.random.default_rng(10)
    values, times = rng.normal(0.02, 0.3, 300), rng.integers(1, 4, 300)
    weighted = drops_of(values, weights=times.astype(float))
    repeated = drops_of(np.repeat(values, times), clusters=np.repeat(np.arange(300), times))
    assert weighted.drop == pytest.approx(repeated.drop)
    assert weighted.ends == pytest.approx(repeated.ends, rel=1e-6)


def test_one_cluster_bounds_nothing_better_than_the_score_itself():
    values = np.random.default_rng(11).normal(0.1, 0.1, 100)
    found = drops_of(values, clusters=np.zeros(100, dtype=int))
    assert found.ends[3, 0, 0] > 0.9
    unbounded = drops_of(values, clusters=np.zeros(100, dtype=int), span=None)
    assert np.isinf(unbounded.ends).all()


@pytest.mark.parametrize("n_blocks", [40, 300])
def test_losses_of_blocks_without_size_count_in_whatever_unit_sizes_are(n_blocks):
    rng = np.random.default_rng(4)
    size = rng.integers(0, 2, (3, n_blocks)).astype(float)
    total = rng.integers(-2, 4, (3, n_blocks)).astype(float)  # also where the size is 0
    counts = resample_counts("k", n_blocks, REPLICATES)
    ones = bootstrap_t(Blocks(total, size), counts, Levels())
    threes = bootstrap_t(Blocks(total, 3 * size), counts, Levels())
    np.testing.assert_allclose(threes.ends, ones.ends / 3, rtol=1e-10)
    np.testing.assert_allclose(threes.p_value, ones.p_value, rtol=1e-10)
    alone = bootstrap_t(Blocks(total[:1], size[:1]), counts, Levels())
    np.testing.assert_allclose(alone.ends[:, 0], ones.ends[:, 0], rtol=1e-10)
