"""Minimum detectable effects: against another implementation, and found as often as is said."""

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import Answers, compare_arms
from calaudit.statistics.detectable import detectable
from calaudit.statistics.sequential import watch_arms
from tests.statistics.test_arms import world


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_independent_users_need_what_statsmodels_says(share: float):
    rng = np.random.default_rng(0)
    n = 20_000
    score = rng.normal(0, 2, n)
    one = detectable(np.arange(n), score, {"all": np.arange(n)}, share=share)["all"]
    solved = NormalIndPower().solve_power(
        nobs1=n * share, ratio=(1 - share) / share, alpha=0.05, power=0.8
    )
    assert one.fixed == pytest.approx(solved * score.std(), rel=0.01)


def test_users_who_come_back_and_several_slices_ask_for_more():
    rng = np.random.default_rng(1)
    answers = world(rng, 6000, 300, right=(0.85, 0.85), spread=1.5)
    rows = {"all": np.arange(6000)}
    back = detectable(answers.user, answers.score, rows, span=1.0)["all"]
    once = detectable(np.arange(6000), answers.score, rows, span=1.0)["all"]
    more = detectable(answers.user, answers.score, rows | {"half": np.arange(0, 6000, 2)}, span=1.0)
    assert None not in (back.fixed, once.fixed, back.watched)
    assert back.fixed > 1.3 * once.fixed
    assert more["all"].fixed > back.fixed
    assert more["half"].fixed > more["all"].fixed
    assert back.watched > back.fixed


@pytest.mark.slow
def test_an_effect_of_that_size_is_found_as_often_as_is_said():
    rng = np.random.default_rng(2)
    known = world(rng, 4000, 800, right=(0.9, 0.9))
    one = detectable(known.user, known.score, {"all": np.arange(4000)}, span=1.0)["all"]
    assert one.fixed is not None
    assert one.watched is not None
    fixed, watched = [], []
    for seed in range(150):
        answers = world(rng, 4000, 800, right=(0.9, 0.9 - one.fixed))
        found = compare_arms(answers, {"all": np.arange(4000)}, seed=seed, replicates=400)["all"]
        fixed.append((found.p_value or 1.0) <= 0.05)
        answers = world(rng, 4000, 800, right=(0.9, 0.9 - one.watched))
        watched.append(watch_arms(answers, np.arange(4000)).p_value[-1] <= 0.05)
    # 3.5 standard errors around .8
    assert 0.68 < np.mean(fixed) < 0.92
    assert np.mean(watched) > 0.70


def test_so_is_one_beside_fp32_where_hardly_a_score_varies_without_it():
    rng = np.random.default_rng(6)
    n, fixed = 3000, []
    fp32 = (rng.random(n) < 0.9).astype(np.float64)
    rows = {"all": np.arange(n)}
    arm = rng.integers(0, 2, n).astype(np.int8)
    flips = np.where(rng.random(n) < 0.01, 1 - fp32, fp32)
    one = detectable(np.arange(n), flips, rows, span=1.0, expected=fp32, arm=arm)["all"]
    assert one.fixed is not None
    for seed in range(100):
        own = np.where(rng.random(n) < 0.01, 1 - fp32, fp32)
        score = own * (rng.random(n) >= arm * one.fixed / own.mean())
        answers = Answers(arm, np.arange(n), score, span=1.0, expected=fp32)
        found = compare_arms(answers, rows, seed=seed, replicates=400)["all"]
        fixed.append((found.p_value or 1.0) <= 0.05)
    # 3.5 standard errors around .8
    assert 0.66 < np.mean(fixed) < 0.94


def test_in_shadow_mode_the_differences_vary():
    rng = np.random.default_rng(3)
    n = 5000
    flips = np.where(rng.random(n) < 0.05, rng.choice([-1.0, 1.0], n), 0.0)
    one = detectable(np.arange(n), flips, {"all": np.arange(n)}, span=1.0, share=None)["all"]
    assert one.standard_error == pytest.approx(flips.std() / np.sqrt(n), rel=0.03)


def test_a_user_who_makes_most_requests_matters_where_dealing_is_known():
    rng = np.random.default_rng(4)
    user = np.concatenate([np.zeros(3000, np.int64), rng.integers(1, 400, 3000)])
    score = (rng.random(6000) < 0.9).astype(np.float64)
    arm = (user % 2).astype(np.int8)
    rows = {"all": np.arange(6000)}
    evenly = detectable(user, score, rows, span=1.0)["all"]
    dealt = detectable(user, score, rows, span=1.0, arm=arm)["all"]
    found = compare_arms(Answers(arm, user, score, span=1.0), rows, replicates=100)["all"]
    assert dealt.standard_error == pytest.approx(found.standard_error)
    assert dealt.standard_error != pytest.approx(evenly.standard_error, rel=0.05)


def test_what_is_expected_of_samples_lowers_what_can_be_detected():
    rng = np.random.default_rng(5)
    fp32 = (rng.random(4000) < 0.8).astype(np.float64)
    score = np.where(rng.random(4000) < 0.02, 1 - fp32, fp32)
    rows = {"all": np.arange(4000)}
    plain = detectable(np.arange(4000), score, rows, span=1.0)["all"]
    beside = detectable(np.arange(4000), score, rows, span=1.0, expected=fp32)["all"]
    assert plain.fixed is not None
    assert beside.fixed is not None
    assert beside.fixed < 0.5 * plain.fixed


def test_too_few_users_detect_nothing():
    few = detectable(np.arange(6), np.arange(6.0), {"all": np.arange(6)})["all"]
    assert (few.n, few.users) == (6, 6)
    assert few.fixed is None
    assert few.watched is None


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"alpha": 0.0}, {"power": 1.5}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(SettingsError, match="between 0 and 1"):
        detectable(np.arange(9), np.arange(9.0), {"all": np.arange(9)}, **wrong)
