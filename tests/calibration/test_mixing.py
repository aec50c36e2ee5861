"""Mixtures and unions of recorded groups, against direct observation of the same samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator, observe
from calaudit.calibration.groups import mix, split_into_parts
from calaudit.calibration.methods import DEFAULT_METHODS, estimate_amax
from calaudit.calibration.observation import Observation
from calaudit.runtime.errors import RangesError, SettingsError

SAMPLES = 10.0 ** np.random.default_rng(5).uniform(-1, 2, (12, 1))
ROWS = (SAMPLES * np.random.default_rng(6).standard_normal((12, 40))).astype(np.float32)


def observed(weights: dict[str, list[int]]) -> Observation:
    """Groups over the 12 samples of `ROWS`: how often each counts each."""
    table = np.array(list(weights.values()), np.float64)
    parts = split_into_parts(table)
    collected = Accumulator(["t"], parts.weights.shape[1])
    collected.add(0, ROWS, parts.of_sample)
    held = parts.of_sample[parts.of_sample >= 0]
    sizes = np.bincount(held, minlength=parts.weights.shape[1])
    return Observation(
        collected.histograms, tuple(weights), parts.weights, sizes, "m", "p", parts.disjoint
    )


def indicator(held: NDArray[np.bool_]) -> list[int]:
    return held.astype(int).tolist()


@given(
    stratum=st.lists(st.integers(0, 2), min_size=12, max_size=12).filter(lambda s: len({*s}) == 3),
    copies=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_a_mixture_of_strata_is_the_direct_observation_of_the_mixed_samples(
    stratum: list[int], copies: tuple[int, int, int]
) -> None:
    code = np.array(stratum)
    found = observed({f"s{k}": indicator(code == k) for k in range(3)})
    shares = {f"s{k}": float(copies[k] * (code == k).sum()) for k in range(3)}
    mixed = found.mixture(shares).one(0, 0)
    direct = observe(ROWS[np.repeat(np.arange(12), np.array(copies)[code])])
    np.testing.assert_allclose(mixed.counts * direct.n / mixed.n, direct.counts, rtol=1e-9)
    assert mixed.amax == direct.amax
    assert mixed.n == pytest.approx(ROWS.size)
    for method in DEFAULT_METHODS:
        ours, theirs = estimate_amax(mixed, method), estimate_amax(direct, method)
        assert ours == pytest.approx(theirs, rel=1e-9)


@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4))
def test_a_union_of_overlapping_groups_counts_each_sample_once(groups: list[list[bool]]) -> None:
    found = observed({f"g{k}": indicator(np.array(held)) for k, held in enumerate(groups)})
    union = found.union(found.groups).one(0, 0)
    assert union == observe(ROWS[np.array(groups).any(axis=0)])


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any))
def test_a_weighted_group_is_the_observation_of_its_samples_so_often(weights: list[int]) -> None:
    found = observed({"weighted": weights, "all": [1] * 12})
    assert found.of("weighted").one(0, 0) == observe(np.repeat(ROWS, weights, axis=0))


def test_rest_is_what_the_other_groups_do_not_hold() -> None:
    early = np.arange(12) < 4
    found = observed({"early": indicator(early), "all": [1] * 12})
    np.testing.assert_array_equal(
        mix(found, "early=0.5,rest=0.5").counts * 12,
        found.mixture({"early": 1, "rest": 1}).counts * 12,
    )
    late = mix(found, "rest=1").one(0, 0)
    assert late.n == ROWS.size  # of no other group: all


def test_names_are_read_as_slices_are_written_and_may_hold_an_equals_sign() -> None:
    early = np.arange(12) < 4
    found = observed({"noise = 0": indicator(early), "0 ≤ snr_db < 5": indicator(~early)})
    by_name = found.mixture({"noise = 0": 0.25, "0 ≤ snr_db < 5": 0.75})
    assert mix(found, "noise=0=0.25, 0<=snr_db<5=0.75") == by_name
    assert mix(found, "noise = 0,0 ≤ snr_db < 5") == found.whole()
    assert mix(found, "noise=0").one(0, 0) == observe(ROWS[:4])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nois=0.5,rest=0.5", "no ranges were recorded for 'nois'"),
        ("early=0.5,late", "'late' has no share"),
        ("early=0.5,early=0.2", "named twice"),
        ("early=-1,late=2", "must be positive"),
        ("early=inf,late=2", "must be positive"),
        ("early=nan,late=2", "must be positive"),
        (" , ", "names no group"),
        ("early=1,late=1,rest=1", "'rest' holds no sample"),
    ],
)
def test_what_is_no_mixture_is_refused(text: str, reason: str) -> None:
    early = np.arange(12) < 4
    found = observed({"early": indicator(early), "late": indicator(~early)})
    with pytest.raises((RangesError, SettingsError), match=reason):
        mix(found, text)


def test_many_overlapping_groups_are_told_apart_but_not_united() -> None:
    """Beyond 48 combinations each group has its own histograms."""
    random = np.random.default_rng(1)
    held = random.random((8, 120)) < 0.5
    parts = split_into_parts(held.astype(np.float64))
    assert not parts.disjoint
    rows = random.standard_normal((120, 5)).astype(np.float32)
    collected = Accumulator(["t"], parts.weights.shape[1])
    collected.add(0, rows, parts.of_sample)
    sizes = held.sum(axis=1)
    names = tuple(f"g{k}" for k in range(8))
    found = Observation(collected.histograms, names, parts.weights, sizes, "m", "p", disjoint=False)
    for name, mask in zip(names, held, strict=True):
        assert found.of(name).one(0, 0) == observe(rows[mask])
    with pytest.raises(RangesError, match="unions and 'rest' can't be computed"):
        found.union(names)
    with pytest.raises(RangesError, match="Record fewer groups"):
        mix(found, "g0=0.5,rest=0.5")
