"""Requests that are made: when they come, who asks."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from calaudit.ab.traffic import Traffic, make_requests
from calaudit.runtime.errors import SettingsError


def test_the_same_seed_makes_the_same_requests():
    one, other = (make_requests(Traffic(rate=9, bursty=True, seed=4), 300, 7) for _ in range(2))
    np.testing.assert_array_equal(one.time, other.time)
    np.testing.assert_array_equal(one.row, other.row)
    assert one.users == other.users
    assert make_requests(Traffic(rate=9, seed=5), 300, 7).row.tolist() != one.row.tolist()


def test_poisson_gaps_are_exponential():
    log = make_requests(Traffic(rate=40, seed=1), 20_000, 5)
    assert stats.kstest(np.diff(log.time), "expon", args=(0, 1 / 40)).pvalue > 1e-3
    assert log.time[0] == 0.0


@pytest.mark.parametrize("burst", [4.0, 20.0])
def test_bursts_keep_the_mean_rate_and_crowd_requests(burst: float):
    seconds, rates = 0.5, []
    crowding = []
    for seed in range(8):
        traffic = Traffic(rate=100, bursty=True, burst=burst, seed=seed)
        log = make_requests(traffic, 60_000, 5)
        rates.append(len(log) / log.time[-1])
        counts = np.bincount((log.time / seconds).astype(int))
        crowding.append(counts.var() / counts.mean())
    # the spread of a run's rate: about 30 cycles of 20 s in each
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - 100) < 4 * error
    assert min(crowding) > 5


def test_a_burst_has_its_rate_and_share_of_the_time():
    traffic = Traffic(rate=1000, bursty=True, burst=10, burst_share=0.25, burst_seconds=5, seed=2)
    log = make_requests(traffic, 400_000, 5)
    counts = np.bincount((log.time / 0.1).astype(int))[:-1] / 0.1
    quiet = 1000 / (0.75 + 0.25 * 10)
    crowded = counts > 5 * quiet
    assert np.median(counts[crowded]) == pytest.approx(10 * quiet, rel=0.03)
    assert np.median(counts[~crowded]) == pytest.approx(quiet, rel=0.05)
    assert crowded.mean() == pytest.approx(0.25, abs=0.1)


def test_users_come_as_zipf_says():
    log = make_requests(Traffic(rate=1, users=50, skew=1.0, seed=3), 50_000, 5)
    number = np.array([int(name[1:]) for name in log.users])[log.user]
    counts = np.bincount(number, minlength=51)[1:]
    expected = 1 / np.arange(1, 51)
    assert stats.chisquare(counts, expected / expected.sum() * len(log)).pvalue > 1e-3


def test_samples_are_asked_for_alike():
    log = make_requests(Traffic(rate=1, seed=6), 30_000, 20)
    assert stats.chisquare(np.bincount(log.row, minlength=20)).pvalue > 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": float("nan")},
        {"rate": 1, "users": 0},
        {"rate": 1, "burst_share": 1.0},
        {"rate": 1, "burst": -1},
        {"rate": 1, "skew": -0.5},
    ],
)
def test_traffic_that_makes_no_sense_is_refused(wrong: dict[str, Any]):
    with pytest.raises(SettingsError):
        Traffic(**wrong)


def test_no_requests_are_refused():
    with pytest.raises(SettingsError, match="at least one of each"):
        make_requests(Traffic(rate=1), 0, 5)
