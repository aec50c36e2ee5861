"""Bounds that hold for the drop that was picked as the largest."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.statistics.compare import compare
from calaudit.statistics.worst_slice import joint_lows
from tests.statistics.cases import NDCG, TOP1

TAIL = 0.025
BALANCED = parse_metric("balanced_accuracy")
WER = Metric(
    name="wer", family="wer", k=None, title="Word error rate", kind="ratio",
    direction="lower_is_better", unit="fraction", span=None,
)  # fmt: skip


def equal_slices(n_slices, n):
    return {str(i): np.arange(i * n, (i + 1) * n) for i in range(n_slices)}


def answers(rng, cells, units, drop, flips=0.06):
    """Top-1 of engines that all lose `drop`; they share half of what makes samples flip."""
    right, shared = rng.random(units) < 0.9, rng.random(units)
    engines = {}
    for cell in range(cells):
        chance = np.where(rng.random(units) < 0.5, shared, rng.random(units))
        lost = right & (chance < (flips / 2 + drop) / 0.9)
        gained = ~right & (chance < flips / 2 / 0.1)
        engines[str(cell)] = UnitScores(TOP1, (right & ~lost) | gained)
    return UnitScores(TOP1, right), engines


def means(rng, cells, units, drop):
    zeros = UnitScores(NDCG, np.zeros(units))
    engines = {}
    for cell in range(cells):
        size = rng.beta(0.6, 1.2, units) * np.where(rng.random(units) < 0.5 + 2.5 * drop, -1, 1)
        engines[str(cell)] = UnitScores(NDCG, np.where(rng.random(units) < 0.6, size, 0.0))
    return zeros, engines


def words(rng, cells, units, drop):
    total = rng.integers(3, 20, units)
    common = rng.binomial(total, 0.06)
    before = RatioScores(WER, common + rng.binomial(total, 0.02), total)
    return before, {
        str(cell): RatioScores(WER, common + rng.binomial(total, 0.02 + drop), total)
        for cell in range(cells)
    }


def recalls(rng, cells, units, drop):
    label = rng.integers(0, 3, units)
    right = rng.random(units) < 0.9

    def scored(correct):
        return score(BALANCED, np.eye(3)[np.where(correct, label, (label + 1) % 3)], Labels(label))

    kept = (rng.random(units) < 1 - drop / 0.9 for _ in range(cells))
    return scored(right), {str(cell): scored(right & each) for cell, each in enumerate(kept)}


@pytest.mark.parametrize("world", [answers, means, words, recalls])
@pytest.mark.parametrize("drop", [0.0, 0.03])
def test_the_interval_of_the_largest_of_many_equal_drops_holds_the_truth(world, drop):
    rng, audits, slices = np.random.default_rng(0), 15, equal_slices(10, 200)
    missed = alone = 0
    for _ in range(audits):
        reference, engines = world(rng, 3, 2000, drop)
        truth = 0.6 * 5 * drop / 3 if world is means else drop
        lows = joint_lows(reference, engines, slices, tail=TAIL)
        found = compare(reference.metric, reference, engines, slices)
        picked = max(found, key=lambda one: one.drop)
        missed += not lows[picked.cell, picked.slice] <= truth <= picked.high
        alone += not picked.low <= truth <= picked.high
    assert missed <= binom.isf(1e-4, audits, 0.05)
    if drop and world is not recalls:
        # Its own interval, which knows nothing of the choice, misses far more.
        assert alone > audits / 4


def test_bounds_of_drops_that_move_together_cost_less_than_those_of_independent_ones():
    rng, slices = np.random.default_rng(1), equal_slices(4, 400)
    reference, engines = answers(rng, 6, 1600, 0.03)
    one = {str(i): engines["0"] for i in range(6)}
    apart, alike = (
        joint_lows(reference, each, slices, tail=TAIL)["0", "0"] for each in (engines, one)
    )
    assert (
        apart
        < alike
        < min(each.low for each in compare(TOP1, reference, one, slices) if each.slice == "0")
    )


def test_a_bound_of_one_drop_is_its_own():
    reference, engines = answers(np.random.default_rng(2), 1, 4000, 0.05)
    (low,) = joint_lows(reference, engines, equal_slices(1, 4000), tail=TAIL).values()
    (own,) = compare(TOP1, reference, engines, equal_slices(1, 4000))
    assert low == pytest.approx(own.low, abs=0.003)


def test_more_comparisons_lower_every_bound():
    reference, engines = answers(np.random.default_rng(3), 1, 8000, 0.05)
    few, many = (
        joint_lows(reference, engines, equal_slices(k, 400), tail=TAIL)["0", "0"] for k in (2, 20)
    )
    assert many < few


def test_few_clusters_widen_the_bounds_and_one_gives_none():
    reference, engines = answers(np.random.default_rng(4), 2, 1200, 0.05)
    slices = equal_slices(2, 600)

    def bound(clusters):
        return joint_lows(reference, engines, slices, tail=TAIL, clusters=clusters)

    assert bound(np.arange(1200) // 100)["0", "0"] < bound(None)["0", "0"]
    assert bound(np.arange(1200) // 600) == {}


def test_slices_without_units_have_no_bound():
    reference, engines = answers(np.random.default_rng(5), 2, 400, 0.05)
    slices = {"full": np.arange(400), "empty": np.arange(0)}
    assert set(joint_lows(reference, engines, slices, tail=TAIL)) == {("0", "full"), ("1", "full")}


def test_a_tail_that_replicates_can_not_tell_is_bonferronis():
    reference, engines = answers(np.random.default_rng(6), 2, 4000, 0.05)
    slices = equal_slices(2, 2000)
    tail = 1e-6
    lows = joint_lows(reference, engines, slices, tail=tail)
    own = {(c.cell, c.slice): c for c in compare(TOP1, reference, engines, slices)}
    reach = -norm.ppf(tail / 4)
    for key, low in lows.items():
        error = (own[key].drop - own[key].low) / 1.96
        assert low == pytest.approx(own[key].drop - reach * error, abs=0.003)
