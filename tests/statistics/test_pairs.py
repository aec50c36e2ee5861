"""Differences of pairs: against scipy's paired test, and with users who come back."""

import numpy as np
import pytest
from scipy import stats

from calaudit.statistics.pairs import compare_pairs
from calaudit.statistics.verdict import holm


def scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = rng.normal(0.8, 0.1, n)
    return before, before + rng.normal(-0.01, 0.05, n)


@pytest.mark.parametrize("n", [50, 2000])
def test_of_users_who_come_once_it_is_the_paired_t_test(n: int) -> None:
    """But for one more user, who is off as far as any: ours is that much more careful."""
    before, after = scores(n)
    one = compare_pairs(np.arange(n), before, after, {"all": np.arange(n)})["all"]
    wanted = stats.ttest_rel(after, before)
    gap = after - before
    assert one.estimate == pytest.approx(gap.mean(), rel=1e-12)
    assert (one.control, one.treatment) == pytest.approx((before.mean(), after.mean()))
    assert one.standard_error is not None
    usual, further = stats.sem(gap), np.abs(gap).max() / n
    assert one.standard_error == pytest.approx(np.hypot(usual, further), rel=1e-12)
    t = wanted.statistic * usual / one.standard_error
    assert one.p_value == pytest.approx(2 * stats.t.sf(abs(t), n - 1), rel=1e-9)
    assert wanted.pvalue <= one.p_value
    interval = wanted.confidence_interval(0.95)
    wider = one.standard_error / usual
    assert 1 < wider < (1.1 if n > 1000 else 1.2)
    assert one.low is not None
    assert one.high is not None
    assert one.high - one.low == pytest.approx(wider * (interval.high - interval.low), rel=1e-9)


def test_requests_of_one_user_say_what_one_of_them_says() -> None:
    before, after = scores(300)
    once = compare_pairs(np.arange(300), before, after, {"all": np.arange(300)})["all"]
    user = np.repeat(np.arange(300), 10)
    tenfold = compare_pairs(
        user, np.repeat(before, 10), np.repeat(after, 10), {"all": np.arange(3000)}
    )["all"]
    alone = compare_pairs(
        np.arange(3000), np.repeat(before, 10), np.repeat(after, 10), {"all": np.arange(3000)}
    )["all"]
    assert (tenfold.n_control, tenfold.users_control) == (3000, 300)
    assert tenfold.standard_error == pytest.approx(once.standard_error, rel=0.03)
    assert alone.standard_error == pytest.approx(once.standard_error / np.sqrt(10), rel=0.03)


def test_requests_without_a_score_of_both_are_left_out() -> None:
    before, after = scores(200)
    user, rows = np.arange(200), np.arange(200)
    odd = before.copy()
    odd[:30] = np.nan
    sizes = np.ones(200)
    sizes[30:50] = 0.0
    found = compare_pairs(user, odd, after, {"all": rows, "none": rows[:30]}, size=sizes)
    rest = compare_pairs(user, before, after, {"all": rows[50:]})["all"]
    assert found["all"].n_left_out == 50
    assert (found["all"].estimate, found["all"].low) == (rest.estimate, rest.low)
    assert (found["none"].estimate, found["none"].control) == (None, None)
    assert found["none"].n_left_out == 30


def test_ratios_of_sums_are_weighed_and_slices_corrected() -> None:
    rng = np.random.default_rng(4)
    size = rng.integers(1, 6, 400).astype(np.float64)
    before, after = rng.binomial(5, 0.9, 400) * size / 5, rng.binomial(5, 0.8, 400) * size / 5
    slices = {"all": np.arange(400), "first": np.arange(60), "last": np.arange(380, 400)}
    found = compare_pairs(np.arange(400), before, after, slices, size=size, span=1.0)
    whole = found["all"]
    assert whole.estimate == pytest.approx((after - before).sum() / size.sum(), rel=1e-12)
    p_values = [each.p_value or 0.0 for each in found.values()]
    assert [each.p_adjusted for each in found.values()] == holm(p_values).tolist()
