"""Percentiles of latencies: the values, and how often their intervals hold the truth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.latency import Percentile, latencies


def arms_of(n: int) -> NDArray[np.int8]:
    return (np.arange(n) % 2).astype(np.int8)


def test_percentiles_are_order_statistics():
    rng = np.random.default_rng(0)
    latency, arm = rng.lognormal(size=5001), arms_of(5001)
    found = latencies(arm, latency, percentiles=(50, 90, 99.9))
    for side, own in enumerate((found.control, found.treatment)):
        expected = np.quantile(latency[arm == side], [0.5, 0.9, 0.999], method="inverted_cdf")
        assert [each.value for each in own] == expected.tolist()
    gaps = [t.value - c.value for c, t in zip(found.control, found.treatment, strict=True)]
    assert [each.value for each in found.difference] == gaps
    assert found.control[2].high is None  # three requests are slower
    assert found.difference[2].low is None
    assert (found.n_control, found.n_treatment) == (2501, 2500)


def queue(rng: np.random.Generator, n: int, load: float) -> NDArray[np.float64]:
    """What requests take at one server, waiting included (D. Lindley's recursion)."""
    service, gap = rng.exponential(1.0, n), rng.exponential(1 / load, n)
    step = service[:-1] - gap[1:]
    total = np.concatenate([[0.0], step.cumsum()])
    return total - np.minimum.accumulate(np.minimum(total, 0.0)) + service


def holds(one: Percentile, truth: float) -> bool:
    """Whether an interval holds it; nothing bounds it at an end that isn't known."""
    low, high = -np.inf if one.low is None else one.low, np.inf if one.high is None else one.high
    return bool(low <= truth <= high)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.0001, 0.5])
def test_intervals_hold_the_truth_though_requests_queue(load: float):
    """Of an M/M/1 queue the time in the system is exponential with rate 1 − load."""
    rng = np.random.default_rng(1)
    truth = -np.log1p(-np.array([0.5, 0.95, 0.99])) / (1 - load)
    held, apart, bounded = [], [], []
    for seed in range(120):
        n = 8000
        latency = np.stack([queue(rng, n // 2, load) for _ in (0, 1)], axis=1).ravel()
        found = latencies(arms_of(n), latency, seed=seed, replicates=300)
        held.append([holds(each, value) for each, value in zip(found.control, truth, strict=True)])
        bounded.append([each.high is not None for each in found.control])
        apart.append([holds(each, 0.0) for each in found.difference])
    # 3.5 standard errors below 95 %
    assert (np.mean(held, axis=0) >= 0.88).all()
    assert (np.mean(apart, axis=0) >= 0.88).all()
    assert np.mean(bounded, axis=0)[:2].tolist() == [1.0, 1.0]


def test_what_slows_both_arms_is_no_difference():
    rng = np.random.default_rng(2)
    n = 10_000
    slow = np.repeat(rng.lognormal(0, 1, 50), n // 50)  # by stretches of time
    latency = slow * rng.lognormal(0, 0.1, n)
    found = latencies(arms_of(n), latency)
    (median, *_), (own, *_) = found.difference, found.control
    assert None not in (median.low, median.high, own.low, own.high)
    assert median.high - median.low < 0.5 * (own.high - own.low)


def test_requests_that_never_ended_count_as_the_slowest():
    latency = np.ones(1000)
    latency[::10] = np.inf  # all of the control's
    found = latencies(arms_of(1000), latency, percentiles=(50, 99))
    assert found.control[0] == Percentile(50, 1.0, 1.0, 1.0)
    assert found.control[1].value is None
    assert found.treatment[1].value == 1.0
    assert found.difference[1].value is None


def test_requests_that_were_never_sent_dont_count():
    latency = np.arange(400.0)
    latency[::4] = np.nan
    found = latencies(arms_of(400), latency)
    assert (found.n_control, found.n_treatment) == (100, 200)


def test_an_arm_without_requests_has_no_percentile():
    found = latencies(np.zeros(100, np.int8), np.arange(100.0), percentiles=(50,))
    assert found.treatment == (Percentile(50, None),)
    assert found.difference == (Percentile(50, None),)
    nobody = latencies(np.zeros(0, np.int8), np.zeros(0))
    assert nobody.n_control == 0


@pytest.mark.parametrize("wrong", [0, 100, -5])
def test_percentiles_out_of_range_are_refused(wrong: float):
    with pytest.raises(SettingsError, match="between 0 and 100"):
        latencies(arms_of(10), np.ones(10), percentiles=(wrong,))
