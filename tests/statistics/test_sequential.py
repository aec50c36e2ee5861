"""Always-valid tests: each moment against a computation from scratch, and watched in simulation."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests

from calaudit.runtime.errors import SettingsError
from calaudit.statistics.arms import Answers, ratio_variance, user_sums
from calaudit.statistics.sequential import (
    SOONEST,
    Watch,
    decide,
    watch_arms,
    watch_pairs,
)
from tests.statistics.test_arms import world


def from_scratch(answers: Answers, side: int, reach: float) -> tuple[float, float, float]:
    one = user_sums(answers.take(np.flatnonzero(answers.arm == side)))
    y, w = one.total, one.size
    six = np.array([y.sum(), w.sum(), y @ y, y @ w, w @ w, float(len(y))])
    ratio, variance, freedom = ratio_variance(six, reach)
    return float(ratio), float(variance), float(freedom)


def test_every_moment_is_what_its_requests_alone_would_give():
    rng = np.random.default_rng(0)
    answers = world(rng, 500, 90, right=(0.95, 0.5), spread=0.5)
    rows = np.flatnonzero(rng.random(500) < 0.8)
    watch = watch_arms(answers, rows, planned=300)
    largest = 0.0
    for look in range(len(rows)):
        so_far = answers.take(rows[: look + 1])
        users = [len(np.unique(so_far.user[so_far.arm == side])) for side in (0, 1)]
        if min(users) < 20:
            assert watch.p_value[look] == 1.0
            assert np.isinf(watch.radius[look])
            continue
        before, after = (from_scratch(so_far, side, 1.0) for side in (0, 1))
        gap, variance = after[0] - before[0], before[1] + after[1]
        freedom = variance**2 / (before[1] ** 2 / before[2] + after[1] ** 2 / after[2])
        # Student's t to a normal deviate, exactly
        z = -stats.norm.ppf(stats.t.sf(abs(gap) / np.sqrt(variance), freedom))
        information, prior = look + 1.0, 300 / SOONEST
        largest = max(largest, evidence(z, information, prior))
        assert watch.estimate[look] == pytest.approx(gap, abs=1e-12)
        assert watch.p_value[look] == pytest.approx(min(1.0, 1 / largest), rel=0.06)
    assert watch.started is not None
    assert watch.p_value[-1] < 0.05


def evidence(z: float, information: float, prior: float) -> float:
    """Mean likelihood ratio over effects from N(0, 1/prior), by quadrature."""

    shift, height = z * np.sqrt(information), np.sqrt(prior / (2 * np.pi))

    def weighed(effect: float) -> float:
        ratio = effect * shift - information * effect**2 / 2
        return float(height * np.exp(ratio - prior * effect**2 / 2))

    at = shift / (information + prior)
    width = 12 / np.sqrt(information + prior)
    return float(integrate.quad(weighed, at - width, at + width)[0])


def test_the_sequence_excludes_0_when_the_evidence_reaches_its_level():
    answers = world(np.random.default_rng(1), 4000, 900, right=(0.9, 0.8))
    watch = watch_arms(answers, np.arange(4000), alpha=0.01)
    excluded = np.abs(watch.estimate) > watch.radius
    assert excluded.any()
    assert np.flatnonzero(excluded)[0] == np.flatnonzero(watch.p_value <= 0.01)[0]


def test_what_comes_later_changes_nothing_before():
    answers = world(np.random.default_rng(2), 2000, 300, right=(0.9, 0.85))
    whole = watch_arms(answers, np.arange(2000), planned=2000)
    half = watch_arms(answers, np.arange(1000), planned=2000)
    np.testing.assert_array_equal(whole.p_value[:1000], half.p_value)
    np.testing.assert_array_equal(whole.radius[:1000], half.radius)


def test_slices_are_decided_when_holms_method_would(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels calls it in each correction
    rng = np.random.default_rng(3)
    answers = world(rng, 6000, 4000, right=(0.95, 0.85))
    slices = {f"s{k}": np.sort(rng.choice(6000, 300 * (k + 1), replace=False)) for k in range(6)}
    watches = {name: watch_arms(answers, rows) for name, rows in slices.items()}
    found = decide(watches)
    at = np.ones((len(watches), 6001))
    for place, watch in enumerate(watches.values()):
        looks = np.searchsorted(watch.request, np.arange(1, 6001), side="right") - 1
        at[place, 1:] = np.where(looks < 0, 1.0, watch.p_value[looks])
    first: dict[str, int] = {}
    for request in range(1, 6001):
        rejected = multipletests(at[:, request], alpha=0.05, method="holm")[0]
        for name, out in zip(watches, rejected, strict=True):
            if out:
                first.setdefault(name, request)
    assert first == {name: one.decided for name, one in found.items() if one.decided}
    assert len(first) > 1


def test_a_slice_is_decided_exactly_where_its_corrected_p_value_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    """Slices that have not started yet are of the family from the first request on."""
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels calls it in each correction
    apart = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        answers = world(rng, 1200, 900, right=(0.95, 0.85))
        sizes = {"most": 1200, "half": 600, "some": 300, "few": 20, "fewer": 10, "none": 0}
        watches = {
            name: watch_arms(answers, np.sort(rng.choice(1200, size, replace=False)))
            for name, size in sizes.items()
        }
        found = decide(watches)
        for name, watch in watches.items():
            one = found[name]
            assert (one.p_adjusted is None) == (watch.started is None)
            if one.p_adjusted is not None:
                assert (one.p_adjusted <= 0.05) == (one.decided is not None), (seed, name)
        started = [watch.p_value[-1] for watch in watches.values() if watch.started is not None]
        among_started = multipletests(started, alpha=0.05, method="holm")[0].sum()
        apart += among_started != sum(one.decided is not None for one in found.values())
    assert apart > 0  # a family of those that have started would decide more


def test_a_slice_without_a_difference_ends_within_its_gate():
    rng = np.random.default_rng(4)
    answers = world(rng, 20_000, 15_000, right=(0.95, 0.95))
    watch = watch_arms(answers, np.arange(20_000))
    for higher in (True, False):
        one = decide({"all": watch}, max_harm={"all": 0.03}, higher_is_better=higher)["all"]
        assert one.within is not None
        place = int(np.flatnonzero(watch.request == one.within)[0])
        loss = -watch.low if higher else watch.high
        assert loss[place] < 0.03
        assert (loss[:place] >= 0.03).all()
    assert decide({"all": watch}, max_harm={"all": 0.002})["all"].within is None


@pytest.mark.slow
@pytest.mark.parametrize("users", [10**6, 150], ids=["come once", "come back"])
def test_watching_every_request_calls_no_difference_one_rarely(users: int):
    """And what it is there for: looks at 1.96 standard errors; users taken for others each time."""
    rng = np.random.default_rng(users)
    false = naive = strangers = 0
    ratio = 3000 / SOONEST / np.arange(1, 3001)
    widest = np.sqrt((1 + ratio) * (np.log((1 + ratio) / ratio) + 2 * np.log(20)))
    for _ in range(300):
        answers = world(rng, 3000, users, right=(0.9, 0.9), spread=0.0 if users > 3000 else 1.5)
        watch = watch_arms(answers, np.arange(3000))
        false += watch.p_value[-1] <= 0.05
        naive += bool((np.abs(watch.estimate) > 1.96 * watch.radius / widest)[200:].any())
        apart = replace(answers, user=np.arange(3000))
        strangers += watch_arms(apart, np.arange(3000)).p_value[-1] <= 0.05
    assert false / 300 <= 0.08
    if users > 3000:
        assert naive / 300 > 0.2
    else:
        assert strangers / 300 > 0.1


def test_a_difference_is_found_before_the_end():
    rng = np.random.default_rng(5)
    moments = []
    for _ in range(20):
        answers = world(rng, 8000, 6000, right=(0.92, 0.86))
        moments.append(decide({"all": watch_arms(answers, np.arange(8000))})["all"].decided)
    assert all(each is not None for each in moments)
    assert np.median([each for each in moments if each]) < 5000


def test_what_was_expected_of_samples_decides_sooner():
    rng = np.random.default_rng(10)
    n = 6000
    fp32 = (rng.random(n) < 0.8).astype(np.float64)
    arm = rng.integers(0, 2, n).astype(np.int8)
    score = fp32 * (rng.random(n) >= 0.05 * arm)
    plain = Answers(arm, np.arange(n), score, span=1.0)
    watches = {
        "plain": watch_arms(plain, np.arange(n)),
        "beside": watch_arms(replace(plain, expected=fp32), np.arange(n)),
    }
    found = decide(watches)
    assert found["beside"].decided is not None
    assert found["plain"].decided is None or found["beside"].decided < found["plain"].decided / 2


def test_in_shadow_mode_pairs_are_watched():
    rng = np.random.default_rng(6)
    false, found = 0, []
    for _ in range(200):
        user = rng.integers(0, 400, 3000)
        flipped = rng.random(3000) < 0.06
        sign = np.where(rng.random(3000) < 0.5, 1.0, -1.0)
        null = watch_pairs(user, flipped * sign, np.arange(3000), span=1.0)
        false += null.p_value[-1] <= 0.05
        sign = np.where(rng.random(3000) < 0.9, -1.0, 1.0)
        found.append(watch_pairs(user, flipped * sign, np.arange(3000), span=1.0).p_value[-1])
    assert false / 200 <= 0.08
    assert np.mean(np.array(found) <= 0.05) > 0.95


def test_pairs_without_a_change_are_bounded_as_counts_are():
    n = 1000
    watch = watch_pairs(np.arange(n), np.zeros(n), np.arange(n), span=1.0)
    assert watch.p_value[-1] == 1.0
    assert watch.radius[-1] >= stats.binomtest(0, n).proportion_ci(0.95, method="exact").high


def test_a_slice_that_never_starts_is_not_watched():
    answers = world(np.random.default_rng(7), 30, 10)
    watches = {
        "few": watch_arms(answers, np.arange(30)),
        "none": watch_arms(answers, np.zeros(0, np.int64)),
    }
    for one in decide(watches, max_harm={"few": 0.5, "none": 0.5}).values():
        assert one.p_value is None
        assert one.started is None
        assert one.decided is None
        assert one.low is None
        assert one.within is None


def test_thinned_looks_keep_the_last():
    watch = watch_arms(world(np.random.default_rng(8), 900, 400), np.arange(900))
    thin = watch.thinned(50)
    assert isinstance(thin, Watch)
    assert len(thin.request) <= 50
    assert thin.request[-1] == watch.request[-1]
    assert set(thin.request) <= set(watch.request)
    assert thin.p_value[-1] == watch.p_value[-1]


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="at least 1"):
        watch_arms(world(np.random.default_rng(9), 30, 10), np.arange(30), planned=0)
