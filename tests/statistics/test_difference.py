"""Differences of two drops by their intervals: known limits, and error rates where nothing is."""

import numpy as np
import pytest
from scipy import stats

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from calaudit.results.comparison import Result
from calaudit.statistics.compare import compare
from calaudit.statistics.difference import difference_by_intervals, differences_by_pairs
from calaudit.statistics.verdict import holm

TOP1 = parse_metric("top1")


def result(
    drop: float | None, low: float | None, high: float | None, level: float = 0.95
) -> Result:
    return Result("c", "s", "m", 100, 0.9, 0.8, drop, low, high, level, "tango")


def test_symmetric_intervals_give_the_normal_test() -> None:
    z = stats.norm.ppf(0.975)
    found = difference_by_intervals(
        result(0.1, 0.1 - 0.03 * z, 0.1 + 0.03 * z), result(0.3, 0.3 - 0.04 * z, 0.3 + 0.04 * z)
    )
    assert found is not None
    assert found.estimate == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - 0.05 * z, 0.2 + 0.05 * z))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(0.2 / 0.05))


def test_each_limit_takes_the_sides_that_bear_on_it() -> None:
    # Zou and Donner: L = D − √((d₂ − l₂)² + (u₁ − d₁)²), U = D + √((u₂ − d₂)² + (d₁ − l₁)²)
    found = difference_by_intervals(result(0.2, 0.1, 0.5), result(0.4, 0.36, 0.47))
    assert found is not None
    assert found.low == pytest.approx(0.2 - np.hypot(0.04, 0.3))
    assert found.high == pytest.approx(0.2 + np.hypot(0.07, 0.1))


def test_levels_may_differ() -> None:
    wide, narrow = stats.norm.ppf(0.995), stats.norm.ppf(0.95)
    found = difference_by_intervals(
        result(0.0, -wide, wide, 0.99), result(0.0, -narrow, narrow, 0.9), level=0.8
    )
    assert found is not None
    assert found.high == pytest.approx(stats.norm.ppf(0.9) * np.sqrt(2))


@pytest.mark.parametrize("gone", [(None, 0.0, 1.0), (0.5, None, 1.0), (0.5, 0.0, None)])
def test_what_is_unbounded_has_no_difference(
    gone: tuple[float | None, float | None, float | None],
) -> None:
    assert difference_by_intervals(result(*gone), result(0.1, 0.0, 0.2)) is None
    assert difference_by_intervals(result(0.1, 0.0, 0.2), result(*gone)) is None


def test_intervals_without_width_prove_nothing() -> None:
    same, other = (
        difference_by_intervals(result(0.1, 0.1, 0.1), result(drop, drop, drop))
        for drop in (0.1, 0.2)
    )
    assert same is not None
    assert other is not None
    assert (same.p_value, other.p_value) == (1.0, None)


@pytest.mark.slow
def test_two_audits_of_equal_engines_seldom_differ() -> None:
    """Five slices, samples of each audit's own: any claim in at most about 5 % of pairs."""
    rng = np.random.default_rng(3)
    slices = {f"s{i}": np.arange(i * 300, (i + 1) * 300) for i in range(5)}
    claims = 0
    for _ in range(400):
        both = []
        for _audit in range(2):
            fp32 = rng.random(1500) < 0.9
            flipped = rng.random(1500) < 0.06
            scores = [UnitScores(TOP1, right) for right in (fp32, fp32 ^ flipped)]
            both.append(compare(TOP1, scores[0], {"c": scores[1]}, slices))
        found = [difference_by_intervals(a, b) for a, b in zip(*both, strict=True)]
        p = [each.p_value for each in found if each is not None and each.p_value is not None]
        claims += bool((holm(p) < 0.05).any())
    assert claims / 400 < 0.08


def test_pairs_of_right_and_wrong_are_tested_by_mcnemar_both_ways() -> None:
    first = np.array([True] * 60 + [False] * 40)
    second = first.copy()
    second[:12] = False
    second[60:63] = True
    rows = {"all": np.arange(100)}
    there = differences_by_pairs(TOP1, UnitScores(TOP1, first), UnitScores(TOP1, second), rows)
    back = differences_by_pairs(TOP1, UnitScores(TOP1, second), UnitScores(TOP1, first), rows)
    assert there["all"].estimate == pytest.approx(0.09)
    assert back["all"].estimate == pytest.approx(-0.09)
    wanted = stats.binomtest(12, 15).pvalue
    assert there["all"].p_value == pytest.approx(wanted)
    assert back["all"].p_value == pytest.approx(wanted)


def test_engines_that_answer_alike_have_no_change() -> None:
    scores = UnitScores(TOP1, np.array([True, False] * 50))
    found = differences_by_pairs(TOP1, scores, scores, {"all": np.arange(100)})["all"]
    assert (found.estimate, found.p_value) == (0.0, 1.0)


@pytest.mark.slow
def test_two_engines_alike_on_the_same_samples_seldom_differ() -> None:
    rng = np.random.default_rng(4)
    slices = {f"s{i}": np.arange(i * 300, (i + 1) * 300) for i in range(5)}
    claims = 0
    for _ in range(400):
        fp32 = rng.random(1500) < 0.9
        one, other = (UnitScores(TOP1, fp32 ^ (rng.random(1500) < 0.06)) for _engine in range(2))
        found = differences_by_pairs(TOP1, one, other, slices)
        claims += bool((holm([each.p_value for each in found.values()]) < 0.05).any())
    assert claims / 400 < 0.08
