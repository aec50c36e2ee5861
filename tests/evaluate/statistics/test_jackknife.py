import numpy as np
import pytest
from scipy import sparse, stats

from calaudit.evaluate import Labels, Relevance, SetScores, parse_metric, score
from calaudit.evaluate.statistics.draws import scatter
from calaudit.evaluate.statistics.interval import Levels
from calaudit.evaluate.statistics.jackknife import GROUPS, changed_units, compare_sets

LEVELS = Levels()
GINI = parse_metric("gini@5")


def ranked(seed, queries=200, items=40, noise=0.0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (queries, items)) - 0.05 * np.arange(items)
    noisy = scores + noise * np.random.default_rng(seed + 1).normal(size=scores.shape)
    return noisy, Relevance(np.ones((queries, items)))


def compared(reference, candidates, rows):
    changed = np.array([changed_units(reference, one)[rows].sum() for one in candidates])
    return compare_sets(reference, candidates, rows, n_changed=changed, levels=LEVELS)


@pytest.mark.parametrize("name", ["gini@5", "coverage@5"])
def test_the_interval_equals_a_loop_that_leaves_each_group_out(name):
    metric = parse_metric(name)
    fp32, int8 = (score(metric, *ranked(0, noise=noise)) for noise in (0.0, 1.0))
    rows = np.arange(30, 180)
    found = compared(fp32, [int8], rows)
    group = scatter(rows, GROUPS)
    sign = 1 if metric.higher_is_better else -1
    parts = np.array(
        [sign * (fp32.value(rows[group != g]) - int8.value(rows[group != g])) for g in range(50)]
    )
    error = np.sqrt(49 / 50 * ((parts - parts.mean()) ** 2).sum())
    drop = sign * (fp32.value(rows) - int8.value(rows))
    reach = stats.t.ppf([0.975, 0.95], 49) * error
    assert found.drop == pytest.approx([drop])
    assert found.ends[:, 0] == pytest.approx(
        [drop - reach[0], drop + reach[0], drop - reach[1], drop + reach[1]]
    )
    assert found.p_value == pytest.approx(stats.t.sf(drop / error, 49))
    assert found.interval == ("jackknife",)


def test_of_a_mean_it_is_the_usual_standard_error():
    values = np.random.default_rng(1).normal(1.0, 0.2, 100)
    nothing = SetScores(GINI, sparse.csr_array(np.zeros((100, 2))), _mean, lambda *_: 1.0)
    columns = sparse.csr_array(np.stack([values, np.ones(100)], axis=1))
    one_each = SetScores(GINI, columns, _mean, lambda *_: 1.0)
    found = compared(nothing, [one_each], np.arange(100))
    pairs = np.bincount(scatter(np.arange(100), 50), weights=values) / 2
    error = pairs.std(ddof=1) / np.sqrt(50)
    assert found.drop == pytest.approx([values.mean()])
    assert found.ends[2, 0] == pytest.approx(values.mean() - stats.t.ppf(0.95, 49) * error)


def _mean(totals):
    return np.divide(
        totals[..., 0], totals[..., 1], out=np.zeros(totals.shape[:-1]), where=totals[..., 1] > 0
    )


def test_an_unchanged_engine_is_bounded_by_what_unseen_changes_could_do():
    scores = score(GINI, *ranked(2))
    found = compared(scores, [scores], np.arange(200))
    assert found.interval == ("clopper-pearson",)
    assert found.drop == pytest.approx([0.0])
    assert found.ends[3, 0] == pytest.approx(2 * (1 - 0.05 ** (1 / 200)))
    assert found.p_value == pytest.approx([1.0])


def test_a_handful_of_units_has_no_interval():
    fp32, int8 = (score(GINI, *ranked(3, noise=noise)) for noise in (0.0, 2.0))
    found = compare_sets(fp32, [int8], np.arange(19), n_changed=np.array([19]), levels=LEVELS)
    assert found.interval == ("clopper-pearson",)
    single = compare_sets(fp32, [int8], np.arange(1), n_changed=np.array([1]), levels=LEVELS)
    assert np.isfinite(single.drop).all()
    assert single.ends[:2, 0].tolist() == [-1.0, 1.0]


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
        most = before.influence(np.asarray(before.statistics.sum(axis=0)), 12)
        for unit in range(12):
            other = outputs.copy()
            other[unit] = rng.normal(size=other.shape[1])
            moved = abs(score(metric, other, given).value() - before.value())
            assert moved <= most + 1e-12
