"""Simulations: the error rates that the verdicts promise, with tolerances from the binomial."""

import numpy as np
import pytest
from scipy.stats import binom

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels
from calaudit.metrics.unit_scores import UnitScores
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare, compare_cells
from calaudit.statistics.verdict import judge
from tests.statistics.cases import NDCG, TOP1, drops_of

UNLIKELY = 1e-4
"""Chance that a simulation of a method that keeps its promise exceeds its tolerance."""


def tolerated(trials, promise):
    return binom.isf(UNLIKELY, trials, promise) / trials


def zero_inflated(rng, sims, n, changed, losing):
    """Drops of nDCG: most queries unchanged, the others skewed. Returns drops and their mean."""
    size = rng.beta(0.6, 1.2, (sims, n)) * np.where(rng.random((sims, n)) < losing, 1, -1)
    return np.where(rng.random((sims, n)) < changed, size, 0), changed * (2 * losing - 1) / 3


@pytest.mark.parametrize(("n", "changed", "losing"), [(300, 0.2, 0.6), (1000, 0.05, 0.7)])
def test_a_mean_at_its_gate_passes_no_more_often_than_promised(n, changed, losing):
    drops, gate = zero_inflated(np.random.default_rng(n), 500, n, changed, losing)
    ends = drops_of(drops).ends[:, :, 0]
    assert np.mean(ends[3] < gate) <= tolerated(500, 0.05)
    covered = (ends[0] <= gate) & (gate <= ends[1])
    assert np.mean(~covered) <= tolerated(500, 0.05)


def test_few_rare_total_losses_are_not_passed_by_luck():
    # One query in 100 loses everything: no change is seen in 5 % of samples of 300.
    rng = np.random.default_rng(0)
    drops = (rng.random((1000, 300)) < 0.01).astype(float)
    found = drops_of(drops)
    assert np.mean(found.ends[3] < 0.01) <= tolerated(1000, 0.05)


def test_a_set_metric_at_its_gate_passes_no_more_often_than_promised():
    rng = np.random.default_rng(1)
    label = rng.choice(4, 20_000, p=[0.4, 0.3, 0.2, 0.1])
    right = rng.random(20_000) < 0.9
    right_now = np.where(rng.random(20_000) < 0.3, rng.random(20_000) < 0.7, right)
    metric = parse_metric("balanced_accuracy")
    fp32, int8 = (
        score(metric, np.eye(4)[np.where(ok, label, (label + 1) % 4)], Labels(label))
        for ok in (right, right_now)
    )
    gate = fp32.value() - int8.value()
    samples = {str(i): rng.choice(20_000, 400, replace=False) for i in range(300)}
    found = compare(metric, fp32, {"c": int8}, samples)
    assert {one.interval for one in found} == {"jackknife"}
    assert np.mean([one.one_sided_high < gate for one in found]) <= tolerated(300, 0.06)


def test_of_50_slices_without_harm_one_is_accused_no_more_often_than_promised():
    rng = np.random.default_rng(2)
    n_slices, n, audits = 50, 100, 150
    fp32 = rng.random(n_slices * n) < 0.85
    accuracy = np.repeat(fp32.reshape(n_slices, n).mean(axis=1), n)
    chance = np.where(fp32, 0.06, 0.06 * accuracy / (1 - accuracy))  # as many gained as lost
    cells = {
        str(audit): UnitScores(TOP1, fp32 ^ (rng.random(len(fp32)) < chance))
        for audit in range(audits)
    }
    slices = {str(i): np.arange(i * n, (i + 1) * n) for i in range(n_slices)}
    found = compare(TOP1, UnitScores(TOP1, fp32), cells, slices, max_drop=0.02)
    # Each engine is an audit of its own, and a family.
    judged = [judge([one for one in found if one.cell == cell]) for cell in cells]
    accused = [each for each in judged if any(one.verdict is Verdict.REGRESSED for one in each)]
    assert len(accused) / audits <= tolerated(audits, 0.05)


@pytest.mark.parametrize("metric", [TOP1, NDCG])
def test_a_planted_drop_in_one_of_40_slices_is_found_there_and_only_there(metric):
    rng = np.random.default_rng(3)
    n_slices, n = 40, 1500 if metric is TOP1 else 400
    size = n_slices * n
    hurt = np.arange(size) // n == 17
    if metric is TOP1:
        fp32 = rng.random(size) < 0.9
        int8 = fp32 & ~(rng.random(size) < np.where(hurt, 0.06, 0.004))
    else:
        fp32 = rng.random(size)
        change = rng.normal(0, 0.05, size) * (rng.random(size) < 0.3)
        int8 = np.clip(fp32 + change - np.where(hurt, 0.03, 0), 0, 1)
    slices = {str(i): np.arange(i * n, (i + 1) * n) for i in range(n_slices)}
    found = compare_cells(
        metric,
        UnitScores(metric, fp32),
        {"c": UnitScores(metric, int8)},
        slices,
        max_drop=0.02,
    )
    assert {one.slice for one in found if one.verdict is Verdict.REGRESSED} == {"17"}
    assert {one.verdict for one in found if one.slice != "17"} == {Verdict.PASS}
