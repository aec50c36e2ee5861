"""Sample-ratio mismatch: exact, and watched at every new user."""

import numpy as np
import pytest
from scipy import stats

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.sample_ratio import sample_ratio, watched_ratio


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_evidence_is_that_of_beta_binomial_counts(share: float):
    rng = np.random.default_rng(0)
    treated = (rng.random(400) < share + 0.1).cumsum()
    n = np.arange(1, 401)
    ratio = stats.betabinom.pmf(treated, n, 60 * share, 60 * (1 - share)) / stats.binom.pmf(
        treated, n, share
    )
    expected = np.minimum(1.0, 1.0 / np.maximum.accumulate(ratio))
    np.testing.assert_allclose(watched_ratio(treated, share, concentration=60), expected, rtol=1e-8)


def test_users_are_counted_once_and_tested_exactly():
    arm = np.array([0, 1, 1, 1, 0, 1, 1, 1], np.int8)
    user = np.array([5, 7, 7, 9, 5, 2, 7, 9])
    one = sample_ratio(arm, user)
    assert (one.users_control, one.users_treatment) == (1, 3)
    assert one.observed == 0.75
    assert one.p_value == pytest.approx(stats.binomtest(3, 4, 0.5).pvalue)
    assert one.found is None


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_split_that_is_right_is_rarely_called_wrong_however_long_it_is_watched(share: float):
    rng = np.random.default_rng(1)
    false = sum(
        watched_ratio((rng.random(5000) < share).cumsum(), share)[-1] <= 0.05 for _ in range(400)
    )
    # 4 standard errors above 5 %
    assert false / 400 <= 0.094


def test_a_split_that_is_off_is_found_at_the_request_that_shows_it():
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(30_000), 2)
    arm = (rng.random(30_000) < 0.53).astype(np.int8)[user]
    one = sample_ratio(arm, user)
    assert one.found is not None
    assert one.found_users is not None
    # each user came twice in a row
    assert one.found == 2 * one.found_users - 1
    assert one.p_always <= 0.01
    until = sample_ratio(arm[: one.found], user[: one.found])
    assert until.p_always <= 0.01
    assert sample_ratio(arm[: one.found - 1], user[: one.found - 1]).p_always > 0.01


def test_nobody_is_no_mismatch():
    one = sample_ratio(np.zeros(0, np.int8), np.zeros(0, np.int64))
    assert (one.p_value, one.p_always, one.found, one.observed) == (1.0, 1.0, None, None)


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_promises_nothing_is_refused(share: float):
    with pytest.raises(SettingsError, match="between 0 and 1"):
        sample_ratio(np.zeros(1, np.int8), np.zeros(1, np.int64), share=share)
