"""What is said of times: against scipy's tests, and in worlds whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calaudit.results.values import Estimate
from calaudit.statistics.timing import (
    mean,
    middle,
    orders,
    percentile,
    ratio,
    settled,
)

LEVEL = 0.95


@pytest.mark.parametrize("n", [6, 7, 12, 25])
def test_a_ratio_holds_what_wilcoxons_test_doesnt_refuse(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(1.0, 0.3, n)
    found = middle(values, LEVEL)
    assert found.low is not None
    assert found.high is not None
    for end, outwards in ((found.low, -1e-9), (found.high, 1e-9)):
        inside, outside = end - outwards, end + outwards
        kept = stats.wilcoxon(values - inside, method="exact").pvalue
        refused = stats.wilcoxon(values - outside, method="exact").pvalue
        assert refused <= 1 - LEVEL < kept


@pytest.mark.parametrize("n", [1000, 1100])
def test_a_thousand_rounds_have_the_interval_that_the_normal_distribution_gives(n: int) -> None:
    """2ⁿ is no float64 any more from 1,024 on."""
    values = np.random.default_rng(n).normal(1.0, 0.3, n)
    found = middle(values, LEVEL)
    first, second = np.triu_indices(n)
    means = np.sort((values[first] + values[second]) / 2)
    # Hollander, Wolfe & Chicken (2014), (3.40): n(n + 1)/4 − z·√(n(n + 1)(2n + 1)/24)
    far = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    outside = n * (n + 1) / 4 - far
    near = round(outside) + np.array([-3, 3])
    assert found.low is not None
    assert found.high is not None
    assert means[near[0]] <= found.low <= means[near[1]]
    assert means[-near[1]] <= found.high <= means[-near[0]]


def test_five_rounds_are_too_few_for_an_interval_and_six_are_enough() -> None:
    assert middle(np.arange(5.0)) == Estimate(2.0)
    found = middle(np.arange(6.0))
    assert (found.low, found.high) == (0.0, 5.0)


def test_a_ratio_is_of_pairs_so_drift_of_both_leaves_it_exact() -> None:
    drift = np.exp(np.linspace(0, 2, 9))
    assert ratio(2.5 * drift, drift) == Estimate(
        pytest.approx(2.5), pytest.approx(2.5), pytest.approx(2.5)
    )


def test_rounds_without_a_number_dont_count() -> None:
    assert ratio(np.array([2.0, np.nan]), np.array([1.0, 1.0])).value == pytest.approx(2.0)
    assert middle(np.array([np.nan])) == Estimate(None)
    assert mean([]) == Estimate(None)
    assert percentile([], 0.5) == Estimate(None)


@pytest.mark.parametrize(("q", "n"), [(0.5, 40), (0.95, 200), (0.99, 1000)])
def test_a_percentile_of_one_round_has_scipys_interval(q: float, n: int) -> None:
    times = np.random.default_rng(n).exponential(size=n)
    found = percentile([times], q)
    wanted = stats.quantile_test(times, p=q).confidence_interval(LEVEL)
    assert (found.low, found.high) == (wanted.low, wanted.high)
    assert found.value == np.quantile(times, q, method="inverted_cdf")


def test_a_99th_percentile_has_no_upper_end_before_368_runs() -> None:
    times = np.random.default_rng(0).exponential(size=368)
    assert percentile([times[:367]], 0.99).high is None
    assert percentile([times], 0.99).high == times.max()


def test_rounds_that_differ_widen_a_percentiles_interval() -> None:
    rng = np.random.default_rng(1)
    alike = [rng.normal(10, 1, 200) for _ in range(12)]
    shifted = [each + rng.normal(0, 3) for each in alike]
    narrow, wide = (percentile(each, 0.5) for each in (alike, shifted))
    assert _width(wide) > 5 * _width(narrow)


def _width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def _busy(rng: np.random.Generator, rounds: int) -> list[np.ndarray]:
    """Rounds whose level differs, and in which other programs slow some runs down."""
    made = []
    for _ in range(rounds):
        times = np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.1, 60))
        late = rng.random(60) < rng.beta(0.5, 9.5)
        made.append(times * (1 + late * rng.exponential(0.5, 60)))
    return made


def test_intervals_cover_the_truth_though_runs_of_a_round_depend() -> None:
    rng = np.random.default_rng(2)
    every = np.concatenate(_busy(rng, 8000))
    truth = {q: float(np.quantile(every, q)) for q in (0.5, 0.95)}
    n, held = 300, dict.fromkeys([*truth, "mean", "ratio"], 0)
    for _ in range(n):
        rounds, others = _busy(rng, 12), _busy(rng, 12)
        for q, value in truth.items():
            held[q] += _holds(percentile(rounds, q), value)
        held["mean"] += _holds(mean(rounds), float(every.mean()))
        medians = [np.array([np.median(r) for r in one]) for one in (rounds, others)]
        held["ratio"] += _holds(ratio(*medians), 1.0)
    # 2.6 standard errors below .95
    assert {key: count for key, count in held.items() if count / n < 0.917} == {}


def _holds(found: Estimate, value: float) -> bool:
    low = -np.inf if found.low is None else found.low
    high = np.inf if found.high is None else found.high
    return bool(low <= value <= high)


def test_intervals_that_ignore_rounds_dont_cover_it() -> None:
    """The same worlds, their runs taken as independent: the rounds are what keeps the promise."""
    rng = np.random.default_rng(2)
    truth = float(np.median(np.concatenate(_busy(rng, 8000))))
    held = [_holds(percentile([np.concatenate(_busy(rng, 12))], 0.5), truth) for _ in range(200)]
    assert np.mean(held) < 0.8


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_each_round_has_every_engine_once_and_every_second_is_the_reverse(
    n: int, rounds: int, seed: int
) -> None:
    made = orders(n, rounds, np.random.default_rng(seed))
    assert [sorted(each) for each in made] == [list(range(n))] * rounds
    for first, second in zip(made[::2], made[1::2], strict=False):
        assert second == first[::-1]


def test_times_have_settled_once_they_dont_fall_any_more() -> None:
    falling = np.exp(-np.arange(40) / 5) + 1
    assert not settled(falling[:12], 2)
    assert settled(falling, 2)
    assert not settled(np.ones(5), 2)
    noisy = 1 + np.random.default_rng(0).exponential(0.3, 60)
    assert settled(noisy, 3)
