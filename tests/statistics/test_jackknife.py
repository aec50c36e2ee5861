import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.swapping import SumSwaps
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import SetScores
from calaudit.statistics.clusters import GROUPS, deal
from calaudit.statistics.estimate import Levels
from calaudit.statistics.jackknife import SetDrops
from calaudit.statistics.permutation import swap_tests

LEVELS = Levels()
GINI = parse_metric("gini@5")


def ranked(seed, queries=200, items=40, noise=0.0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (queries, items)) - 0.05 * np.arange(items)
    noisy = scores + noise * np.random.default_rng(seed + 1).normal(size=scores.shape)
    return noisy, Relevance(np.ones((queries, items)))


def compared(reference, candidates, rows, *, cluster=None, margin=0.0):
    drops = SetDrops(reference, candidates, cluster)
    margins = np.full(len(candidates), margin)
    return drops.compare(rows, LEVELS, key="k", margin=margins)


@pytest.mark.parametrize("name", ["gini@5", "coverage@5"])
def test_the_interval_equals_a_loop_that_leaves_each_group_out(name):
    metric = parse_metric(name)
    fp32, int8 = (score(metric, *ranked(0, noise=noise)) for noise in (0.0, 1.0))
    rows = np.arange(30, 180)
    found = compared(fp32, [int8], rows)
    group = deal(rows).group
    sign = 1 if metric.higher_is_better else -1
    parts = np.array(
        [sign * (fp32.value(rows[group != g]) - int8.value(rows[group != g])) for g in range(50)]
    )
    error = np.sqrt(49 / 50 * ((parts - parts.mean()) ** 2).sum())
    drop = sign * (fp32.value(rows) - int8.value(rows))
    error = max(error, abs(drop) / 150)  # no surer than if one more query hadn't changed
    reach = stats.t.ppf([0.975, 0.95], 49) * error
    assert found.drop == pytest.approx([drop])
    assert found.ends[:, 0] == pytest.approx(
        [drop - reach[0], drop + reach[0], drop - reach[1], drop + reach[1]]
    )
    assert found.interval.tolist() == ["jackknife"]
    above = compared(fp32, [int8], rows, margin=0.01)
    assert above.p_value == pytest.approx(stats.t.sf((drop - 0.01) / error, 49))


def mean_of(values, weights=None):
    """A mean as a set metric: the sums are of values and of weights."""
    columns = np.stack([values, np.ones(len(values)) if weights is None else weights], axis=1)
    return SetScores(GINI, Sums(sparse.csr_array(columns), _mean, lambda *_: 1.0))


def _mean(totals):
    return np.divide(
        totals[..., 0], totals[..., 1], out=np.zeros(totals.shape[:-1]), where=totals[..., 1] > 0
    )


def test_of_a_mean_it_is_the_usual_standard_error():
    values = np.random.default_rng(1).normal(1.0, 0.2, 100)
    found = compared(mean_of(np.zeros(100)), [mean_of(values)], np.arange(100))
    pairs = np.bincount(deal(np.arange(100)).group, weights=values) / 2
    error = pairs.std(ddof=1) / np.sqrt(50)
    assert found.drop == pytest.approx([values.mean()])
    assert found.ends[2, 0] == pytest.approx(values.mean() - stats.t.ppf(0.95, 49) * error)


def test_clusters_of_unequal_size_are_left_out_as_a_whole():
    rng = np.random.default_rng(2)
    cluster = rng.choice(30, 600, p=rng.dirichlet(np.full(30, 3.0)))
    values = rng.normal(0.2, 0.3, 30)[cluster]
    found = compared(mean_of(np.zeros(600)), [mean_of(values)], np.arange(600), cluster=cluster)
    size = np.bincount(cluster, minlength=30)
    size = size[size > 0]
    residual = np.bincount(cluster, values - values.mean(), minlength=30)
    residual = residual[np.bincount(cluster, minlength=30) > 0]
    robust = np.sqrt(len(size) / (len(size) - 1) * (residual**2).sum()) / 600
    effective = size.sum() ** 2 / (size**2).sum()
    plain = found.plain[0] - found.drop[0]
    assert plain / stats.t.ppf(0.95, effective - 1) == pytest.approx(robust, rel=0.1)
    assert found.error[0] == pytest.approx(robust, rel=0.1)


def test_a_cluster_that_holds_half_leaves_few_degrees_of_freedom():
    cluster = np.minimum(np.arange(760) // 20, 19)
    rng = np.random.default_rng(2)
    values = rng.normal(0.2, 0.3, 20)[cluster] + rng.normal(0, 0.1, 760)
    found = compared(mean_of(np.zeros(760)), [mean_of(values)], np.arange(760), cluster=cluster)
    effective = 760**2 / (19 * 20**2 + 380**2)
    assert found.independent[0] == pytest.approx(effective)
    reach = stats.t.ppf(0.95, effective - 1) * found.error[0]
    assert found.plain[0] == pytest.approx(found.drop[0] + reach)


@pytest.mark.parametrize("each", [None, 12, 6])
def test_a_set_that_loses_everything_alike_has_regressed(each):
    cluster = None if each is None else np.arange(600) % each
    before, after = mean_of(np.zeros(600)), mean_of(np.ones(600))
    found = compared(before, [after], np.arange(600), cluster=cluster)
    assert found.ends[2, 0] > 0
    assert found.p_value[0] < 1e-5


def test_ignoring_clusters_understates_the_error():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), 10)
    values = rng.normal(0.2, 0.3, 60)[cluster]
    alone, together = (
        compared(mean_of(np.zeros(600)), [mean_of(values)], np.arange(600), cluster=each)
        for each in (None, cluster)
    )
    assert np.ptp(together.ends[:2, 0]) > 2 * np.ptp(alone.ends[:2, 0])


def test_groups_hold_whole_clusters_and_at_most_50_of_them():
    cluster = np.random.default_rng(4).integers(0, 200, 3000)
    groups = deal(np.arange(3000), cluster)
    assert len(groups.size) == GROUPS
    assert groups.size.sum() == 3000
    for each in range(200):
        assert len(np.unique(groups.group[cluster == each])) == 1
    assert not deal(np.arange(100), np.zeros(100, dtype=int)).enough
    assert not deal(np.arange(19)).enough
    assert deal(np.arange(20)).enough


def test_an_unchanged_engine_is_bounded_by_what_unseen_changes_could_do():
    scores = score(GINI, *ranked(2))
    found = compared(scores, [scores], np.arange(200))
    assert found.interval.tolist() == ["clopper-pearson"]
    assert found.drop == pytest.approx([0.0])
    assert found.ends[3, 0] == pytest.approx(2 * (1 - 0.05 ** (1 / 200)))
    assert found.p_value == pytest.approx([1.0])


def test_a_handful_of_units_or_a_single_cluster_has_no_interval():
    fp32, int8 = (score(GINI, *ranked(3, noise=noise)) for noise in (0.0, 2.0))
    for rows, cluster in (
        (np.arange(19), None),
        (np.arange(1), None),
        (np.arange(100), np.zeros(200, dtype=int)),
    ):
        found = compared(fp32, [int8], rows, cluster=cluster)
        assert np.isfinite(found.drop).all()
        assert found.interval.tolist() == [None]
        assert np.isinf(found.ends).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_single_unit_moves_a_set_metric_by_more_than_its_influence(seed):
    rng = np.random.default_rng(seed)
    scores, truth = ranked(seed, queries=12, items=9)
    label = np.append(rng.integers(0, 3, 11), 3)
    logits = rng.normal(size=(12, 4))
    for name, outputs, given in [
        ("gini@3", scores, truth),
        ("coverage@3", scores, truth),
        ("balanced_accuracy", logits, Labels(label)),
    ]:
        metric = parse_metric(name)
        before = score(metric, outputs, given)
        most = before.statistics.most(np.arange(12))(12)
        for unit in range(12):
            other = outputs.copy()
            other[unit] = rng.normal(size=other.shape[1])
            moved = abs(score(metric, other, given).value() - before.value())
            assert moved <= most + 1e-12


def test_swapping_labels_comes_near_the_share_of_all_swaps():
    rng = np.random.default_rng(5)
    before, moved = rng.random(10) * 20, rng.normal(0.4, 1.0, (9, 10))
    observed = drop_of(before, before + moved.sum(axis=0))
    drops = []
    for swap in itertools.product((0, 1), repeat=9):
        step = np.array(swap) @ moved
        drops.append(drop_of(before + step, before + moved.sum(axis=0) - step))
    exact = np.mean(np.array(drops) >= observed - 1e-12)
    block, column = np.indices(moved.shape).reshape(2, -1)
    swaps = SumSwaps.of(
        _spread,
        (before, before + moved.sum(axis=0, keepdims=True)),
        np.array([0, 9]),
        (block, column, moved.ravel()),
    )
    (found,) = swap_tests(
        GINI, swaps, np.array([9]), key="k", beyond=np.ones(1), few=np.zeros(1, dtype=bool)
    )
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 20) * exact + 0.05)


def _spread(totals):
    return np.log(np.maximum(totals, 1e-3)).sum(axis=-1)


def drop_of(before, after):
    return -(_spread(before) - _spread(after))


def test_an_engine_that_only_relabels_ties_is_not_accused_more_often_than_promised():
    # FP32 and INT8 are exchangeable: the p-value must be uniform or larger.
    small = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        truth = Relevance(np.ones((60, 30)))
        base = rng.normal(size=(60, 30)) - 0.1 * np.arange(30)
        one, other = (score(GINI, base + rng.normal(0, 0.7, base.shape), truth) for _ in range(2))
        small += compared(one, [other], np.arange(60)).p_value[0] <= 0.1
    assert small <= stats.binom.isf(1e-4, 150, 0.1)


def test_a_clear_drop_is_rarer_than_the_swaps_that_are_drawn():
    fp32, int8 = (score(GINI, *ranked(6, noise=noise)) for noise in (0.0, 3.0))
    worse = compared(int8, [fp32], np.arange(200))
    assert worse.drop[0] > 0.1
    assert worse.p_value[0] < 1e-4
