import numpy as np
import pytest
from scipy.stats import binomtest, norm

from calaudit.statistics.clusters import design_of, effective_blocks, jackknife_error
from calaudit.statistics.estimate import Levels
from calaudit.statistics.paired_proportions import compare_binary, compare_clustered, mcnemar

LEVELS = Levels()


def clustered(lost, gained, size, margin=0.0):
    """One comparison from counts per cluster."""
    lost, gained, size = (np.asarray(each, dtype=float) for each in (lost, gained, size))
    b, c = int(lost.sum()), int(gained.sum())
    blocks = (lost - gained)[None], size[None]
    design = design_of(*blocks, np.array([b + c]))
    found = compare_clustered(np.array([b]), np.array([c]), blocks, design, LEVELS, margin=margin)
    return found, design


def test_mcnemar_equals_scipys_binomial_test():
    lost, gained = (index.ravel() for index in np.indices((12, 12)))
    theirs = [
        binomtest(b, b + c, 0.5, "greater").pvalue if b + c else 1.0
        for b, c in zip(lost.tolist(), gained.tolist(), strict=True)
    ]
    assert mcnemar(lost, gained) == pytest.approx(theirs)


def test_all_comparisons_are_made_at_once():
    found = compare_binary(
        np.array([40, 0, 0]), np.array([20, 0, 0]), np.array([160, 160, 0]), LEVELS
    )
    assert found.drop[:2] == pytest.approx([0.125, 0.0])
    assert found.ends[:2, 0] == pytest.approx([0.0309, 0.2181], abs=5e-5)
    assert found.ends[3, 1] == pytest.approx(1.6448536**2 / (160 + 1.6448536**2))
    assert found.n_changed.tolist() == [60, 0, 0]
    assert found.interval.tolist() == ["tango", "tango", None]


def test_a_margin_makes_it_the_score_test_whose_inverse_is_the_interval():
    low = compare_binary(np.array([40]), np.array([0]), np.array([400]), LEVELS).ends[2, 0]
    at_bound = compare_binary(np.array([40]), np.array([0]), np.array([400]), LEVELS, low)
    assert at_bound.p_value == pytest.approx(0.05)
    assert norm.sf(1.6448536) == pytest.approx(0.05)


def test_clusters_of_one_unit_change_nothing():
    rng = np.random.default_rng(0)
    lost = rng.random(3000) < 0.04
    gained = ~lost & (rng.random(3000) < 0.02)
    found, design = clustered(lost, gained, np.ones(3000))
    alone = compare_binary(
        np.array([lost.sum()]), np.array([gained.sum()]), np.array([3000]), LEVELS
    )
    assert design.effect[0] == pytest.approx(1.0, abs=0.01)
    assert found.ends == pytest.approx(alone.ends, rel=0.01)
    assert found.p_value == pytest.approx(alone.p_value)
    assert (found.interval[0], alone.interval[0]) == ("tango-clustered", "tango")


def test_clusters_that_flip_as_a_whole_are_worth_one_unit_each():
    rng = np.random.default_rng(1)
    lost = rng.random(2000) < 0.05
    whole, design = clustered(10 * lost, np.zeros(2000), np.full(2000, 10))
    single, _ = clustered(lost, np.zeros(2000), np.ones(2000))
    assert design.effect[0] == pytest.approx(10, rel=0.01)
    assert whole.ends == pytest.approx(single.ends, rel=1e-6)
    assert whole.p_value == pytest.approx(single.p_value)


def test_without_flips_clusters_are_taken_to_flip_as_a_whole():
    found, design = clustered(np.zeros(268), np.zeros(268), np.full(268, 7))
    assert design.effect[0] == 7
    assert found.ends[3, 0] == pytest.approx(0.01, rel=0.01)
    assert found.p_value[0] == 1.0


def test_few_clusters_widen_the_interval_and_one_bounds_nothing():
    rng = np.random.default_rng(2)
    lost = rng.binomial(300, 0.05, 6)
    few, design = clustered(lost, np.zeros(6), np.full(6, 300))
    alone = compare_binary(np.array([lost.sum()]), np.array([0]), np.array([1800]), LEVELS)
    assert design.freedom[0] == pytest.approx(5)
    assert few.ends[3, 0] > alone.ends[3, 0]
    one, _ = clustered([90], [0], [1800])
    assert np.isinf(one.ends).all()
    assert (one.interval[0], one.p_value[0]) == (None, 1.0)


def test_the_error_is_that_of_leaving_each_cluster_out():
    rng = np.random.default_rng(3)
    total, size = rng.normal(0, 1, 40), rng.integers(1, 30, 40).astype(float)
    without = [np.delete(total, g).sum() / np.delete(size, g).sum() for g in range(40)]
    drop = total.sum() / size.sum()
    exact = np.sqrt(39 / 40 * ((np.array(without) - drop) ** 2).sum())
    assert jackknife_error(total, size) == pytest.approx(exact)
    padded = np.append(size, 0.0)
    assert jackknife_error(np.append(total, 0.0), padded) == pytest.approx(exact)
    assert effective_blocks(padded) == pytest.approx(size.sum() ** 2 / (size**2).sum())
