"""Two arms with users as units, against other implementations and by simulation."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import Answers, compare_arms, ratio_variance, user_sums

Floats = NDArray[np.float64]


@cache
def _shares(users: int, skew: float) -> NDArray[np.float64]:
    """Share of requests that the first user makes, the first two, …, (users,)."""
    weight = np.cumsum(np.arange(1, users + 1) ** -skew)
    return np.asarray(weight / weight[-1])


def world(
    rng: np.random.Generator,
    n: int,
    users: int,
    *,
    right: tuple[float, float] = (0.9, 0.9),
    spread: float = 0.0,
    skew: float = 0.7,
) -> Answers:
    """Right and wrong answers to users who come back; `spread` of users' own chances, as logits."""
    user = np.searchsorted(_shares(users, skew), rng.random(n), side="right")
    arm = rng.integers(0, 2, users)[user].astype(np.int8)
    base = np.log(np.array(right) / (1 - np.array(right)))[arm]
    own = rng.normal(0, spread, users)[user] if spread else 0.0
    score = rng.random(n) < 1 / (1 + np.exp(-(base + own)))
    return Answers(arm, user.astype(np.int64), score.astype(np.float64), span=1.0)


def everything(answers: Answers) -> dict[str, NDArray[np.int64]]:
    return {"all": np.arange(len(answers))}


def test_variance_is_that_of_regression_with_clusters():
    rng = np.random.default_rng(0)
    answers = world(rng, 900, 120, spread=1.0)
    for side in (0, 1):
        rows = np.flatnonzero(answers.arm == side)
        one = user_sums(answers.take(rows))
        y, w = one.total, one.size
        six = np.array([y.sum(), w.sum(), y @ y, y @ w, w @ w, float(len(y))])
        ratio, variance, _ = ratio_variance(six, 0.0)
        fit = sm.OLS(answers.score[rows], np.ones(len(rows))).fit(
            cov_type="cluster", cov_kwds={"groups": answers.user[rows]}
        )
        assert float(ratio) == pytest.approx(fit.params[0], rel=1e-12)
        assert float(variance) == pytest.approx(float(fit.cov_params()[0, 0]), rel=1e-9)


def test_variance_of_a_ratio_is_that_of_weighted_regression():
    rng = np.random.default_rng(1)
    n = 400
    user = rng.integers(0, 60, n)
    words = rng.integers(1, 9, n).astype(float)
    errors = rng.binomial(words.astype(int), 0.1 + 0.1 * (user % 3)).astype(float)
    one = user_sums(Answers(np.zeros(n, np.int8), user, errors, words))
    y, w = one.total, one.size
    six = np.array([y.sum(), w.sum(), y @ y, y @ w, w @ w, float(len(y))])
    ratio, variance, _ = ratio_variance(six, 0.0)
    fit = sm.WLS(errors / words, np.ones(n), weights=words).fit(
        cov_type="cluster", cov_kwds={"groups": user}
    )
    assert float(ratio) == pytest.approx(fit.params[0], rel=1e-12)
    assert float(variance) == pytest.approx(float(fit.cov_params()[0, 0]), rel=1e-9)


def test_users_who_come_once_are_tested_as_scipy_deals_them():
    rng = np.random.default_rng(2)
    n = 60
    arm = (np.arange(n) % 2).astype(np.int8)
    score = rng.exponential(size=n) + 0.6 * arm
    found = compare_arms(Answers(arm, np.arange(n), score), {"all": np.arange(n)}, replicates=4000)

    def apart(a: Floats, b: Floats, axis: int) -> Floats:
        # with the one more user that calaudit counts in
        reach = np.ptp(score)
        error = sum(x.var(axis, ddof=1) / x.shape[axis] + (reach / x.shape[axis]) ** 2
                    for x in (a, b))  # fmt: skip
        return np.asarray(np.abs(b.mean(axis) - a.mean(axis)) / np.sqrt(error))

    oracle = stats.permutation_test(
        (score[arm == 0], score[arm == 1]),
        apart,
        vectorized=True,
        n_resamples=20_000,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    error = np.sqrt(oracle.pvalue * (1 - oracle.pvalue) / 4000)
    assert found["all"].p_value == pytest.approx(oracle.pvalue, abs=4 * error + 1 / 4000)


def test_many_normal_users_give_welchs_interval():
    rng = np.random.default_rng(3)
    n = 6000
    arm = rng.integers(0, 2, n).astype(np.int8)
    score = rng.normal(0.02 * arm, 1 + arm)
    one = compare_arms(Answers(arm, np.arange(n), score), {"all": np.arange(n)})["all"]
    welch = stats.ttest_ind(score[arm == 1], score[arm == 0], equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert one.estimate == pytest.approx(score[arm == 1].mean() - score[arm == 0].mean())
    assert one.low == pytest.approx(low, abs=0.05 * (high - low))
    assert one.high == pytest.approx(high, abs=0.05 * (high - low))
    assert one.p_value == pytest.approx(welch.pvalue, abs=0.05)


def test_slices_are_corrected_by_holms_method():
    rng = np.random.default_rng(4)
    answers = world(rng, 4000, 500, right=(0.93, 0.88))
    slices = {f"s{k}": np.arange(k, 4000, 7) for k in range(7)} | {"few": np.arange(3)}
    found = compare_arms(answers, slices)
    assert found["few"].p_value is None
    tested = {name: one for name, one in found.items() if one.p_value is not None}
    p_values = [one.p_value for one in tested.values()]
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose([one.p_adjusted for one in tested.values()], expected)


def test_a_slice_doesnt_depend_on_the_others():
    answers = world(np.random.default_rng(5), 3000, 5000, spread=1.0)
    slices = {f"s{k}": np.arange(k, 3000, 3) for k in range(3)}
    together = compare_arms(answers, slices)
    alone = compare_arms(answers, {"s1": slices["s1"]})["s1"]
    assert together["s1"].p_value == alone.p_value
    assert together["s1"].low == pytest.approx(alone.low)


@pytest.mark.parametrize(
    ("users", "spread", "n"), [(100_000, 0.0, 300), (80, 1.5, 600), (25, 1.0, 200)]
)
def test_no_difference_is_called_one_as_rarely_as_is_promised(users: int, spread: float, n: int):
    """300 experiments: 4 standard errors above 5 % are 10 %."""
    rng = np.random.default_rng(users)
    false = 0
    for seed in range(300):
        answers = world(rng, n, users, right=(0.9, 0.9), spread=spread)
        one = compare_arms(answers, everything(answers), seed=seed, replicates=400)["all"]
        false += one.p_value is not None and one.p_value <= 0.05
    assert false / 300 <= 0.10


def test_users_who_come_back_would_deceive_a_test_of_requests():
    """What the test above is for: the plain test of two shares is wrong there."""
    rng = np.random.default_rng(80)
    false = 0
    for _ in range(300):
        answers = world(rng, 600, 80, spread=1.5)
        table = [
            np.bincount(answers.score[answers.arm == side].astype(int), minlength=2)
            for side in (0, 1)
        ]
        false += stats.chi2_contingency(table, correction=False).pvalue <= 0.05
    assert false / 300 > 0.10


def test_intervals_hold_the_planted_difference():
    rng = np.random.default_rng(6)
    held = []
    for seed in range(200):
        answers = world(rng, 800, 150, right=(0.95, 0.85))
        one = compare_arms(answers, everything(answers), seed=seed, replicates=400)["all"]
        assert one.low is not None
        assert one.high is not None
        held.append(one.low <= -0.10 <= one.high)
    assert np.mean(held) >= 0.91


def test_answers_that_are_all_right_prove_little():
    n = 100
    arm = (np.arange(2 * n) % 2).astype(np.int8)
    answers = Answers(arm, np.arange(2 * n), np.ones(2 * n), span=1.0)
    one = compare_arms(answers, everything(answers))["all"]
    one_of_them = stats.binomtest(0, n).proportion_ci(0.95, method="exact").high
    assert one.p_value == 1.0
    assert one.high is not None
    assert one.high >= one_of_them
    assert one.low == -one.high


def test_requests_without_a_score_are_left_out_and_counted():
    answers = world(np.random.default_rng(7), 1000, 200)
    score = answers.score.copy()
    score[:100] = np.nan
    holed = Answers(answers.arm, answers.user, score, span=1.0)
    rest = answers.take(np.arange(100, 1000))
    one = compare_arms(holed, everything(holed))["all"]
    other = compare_arms(rest, everything(rest))["all"]
    assert one.n_left_out == 100
    assert one.n_control + one.n_treatment == 900
    assert one.estimate == pytest.approx(other.estimate)


@pytest.mark.parametrize(
    ("arm", "user", "score", "said"),
    [
        ([0, 2], [1, 2], [1.0, 1.0], "neither 0"),
        ([0, 1], [1, 1], [1.0, 1.0], "user 1 is in both arms"),
        ([0, 1], [1], [1.0, 1.0], "user has shape"),
        ([0, 1], [-1, 1], [1.0, 1.0], "at least 0"),
    ],
)
def test_answers_that_make_no_sense_are_refused(
    arm: list[int], user: list[int], score: list[float], said: str
):
    with pytest.raises(SettingsError, match=said):
        Answers(np.array(arm, np.int8), np.array(user), np.array(score))


def test_an_empty_arm_is_not_tested():
    answers = Answers(np.zeros(50, np.int8), np.arange(50), np.ones(50), span=1.0)
    one = compare_arms(answers, everything(answers) | {"none": np.zeros(0, np.int64)})
    assert one["all"].control == 1.0
    assert one["all"].treatment is None
    assert one["all"].p_value is None
    assert one["none"].control is None


def test_what_was_expected_of_samples_tells_small_losses_apart():
    """A treatment that spoils 3 % of right answers, of samples that differ in difficulty."""
    rng = np.random.default_rng(8)
    n, gaps, widths = 4000, [], []
    for seed in range(40):
        user = rng.integers(0, 900, n)
        arm = rng.integers(0, 2, 900)[user].astype(np.int8)
        fp32 = (rng.random(n) < 0.8).astype(np.float64)
        score = fp32 * (rng.random(n) >= 0.03 * arm)
        plain = Answers(arm, user, score, span=1.0)
        beside = replace(plain, expected=fp32)
        one, other = (
            compare_arms(each, everything(each), seed=seed, replicates=200)["all"]
            for each in (plain, beside)
        )
        assert None not in (one.low, one.high, other.low, other.high)
        assert (one.control, one.treatment) == (other.control, other.treatment)
        gaps.append(other.estimate)
        widths.append((other.high - other.low) / (one.high - one.low))
        by_hand = Answers(arm, user, score - fp32, span=1.0, expected=np.zeros(n))
        found = compare_arms(by_hand, everything(by_hand), seed=seed, replicates=200)["all"]
        assert (found.estimate, found.p_value) == (other.estimate, other.p_value)
    assert np.mean(gaps) == pytest.approx(-0.024, abs=0.002)
    assert np.median(widths) < 0.5


def test_requests_of_which_nothing_was_expected_are_left_out():
    answers = world(np.random.default_rng(9), 600, 100)
    expected = np.zeros(600)
    expected[:50] = np.nan
    one = compare_arms(replace(answers, expected=expected), everything(answers))["all"]
    assert one.n_left_out == 50
    assert one.control == pytest.approx(answers.take(np.arange(50, 600)).score[
        answers.arm[50:] == 0].mean())  # fmt: skip
