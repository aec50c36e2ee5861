"""Predicted harm against fake quantization of the data behind the histograms."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator, observe
from calaudit.calibration.diff import clipping
from calaudit.calibration.harm import (
    Harm,
    HarmCurves,
    harm,
    harm_curves,
    least_harm,
    observed_harm,
)
from calaudit.calibration.histogram import N_BINS, Histograms, no_histograms
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import scale_of
from calaudit.runtime.errors import RangesError
from tests.calibration.samples import KINDS, batches_of_rows, drawn

Floats = NDArray[np.float64]

SPREAD = [kind for kind in KINDS if kind != "few values"]
"""Those whose values fill their bins; of the others only what holds for each value is claimed."""
ranges = st.floats(2.0**-116, 2.0**127, width=32)


def of_groups(*groups: NDArray[np.float32], tap: str = "t") -> Histograms:
    """Histograms of one tap over groups of values."""
    accumulator = Accumulator([tap], len(groups))
    for number, values in enumerate(groups):
        accumulator.add(0, values.reshape(1, -1), np.array([number]))
    return accumulator.histograms


def quantized(values: NDArray[np.float32], amax: float) -> tuple[Floats, Floats]:
    """|x|, and |x| after symmetric int8 with 127 steps up to `amax`."""
    step = scale_of(amax)
    x = np.abs(values.astype(np.float64)).reshape(-1)
    return x, np.minimum(np.rint(x / step), 127) * step


def uncertainty(values: NDArray[np.float32], amax: float) -> float:
    """How far squared errors can be from those of values spread over their bins: Σ 2·w·e."""
    histogram = observe(values)
    x, _ = quantized(values, amax)
    x = x[x > 0]
    edges = histogram.edges
    place = np.searchsorted(edges, x, side="right") - 1
    low, high = edges[place], np.minimum(edges[place + 1], histogram.amax)
    step = scale_of(amax)
    farthest = np.maximum(np.minimum(step / 2, high), high - 127 * step)
    return float((2 * (high - low) * farthest).sum())


def squared(found: Harm) -> float:
    """The squared error behind the only tap's and group's harm."""
    return float(found.total[0, 0] * found.power[0, 0])


@given(batches_of_rows(), ranges)
def test_harm_is_the_squared_error_of_fake_quantization_within_the_bins_resolution(
    values: NDArray[np.float32], amax: float
) -> None:
    assume(values.any())
    x, q = quantized(values, amax)
    found = harm(of_groups(values), np.array([amax]))
    error, power = float(np.square(x - q).sum()), float(np.square(x).sum())
    slack = uncertainty(values, amax)
    assert squared(found) == pytest.approx(error, rel=1e-7, abs=slack * (1 + 1e-9) + 1e-13 * power)
    assert found.power[0, 0] == pytest.approx(power, rel=2 / 256)


@pytest.mark.parametrize("kind", SPREAD)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0, 1.7, 12.0])
def test_over_many_values_both_parts_are_those_of_fake_quantization(
    kind: str, share: float
) -> None:
    values = drawn(kind, 100_000, 5)
    amax = share * float(np.abs(values).max())
    x, q = quantized(values, amax)
    found = harm(of_groups(values), np.array([amax]))
    clipped = x > 127.5 * scale_of(amax)
    error, power = np.square(x - q), np.square(x).sum()
    assert found.clipping[0, 0] == pytest.approx(error[clipped].sum() / power, rel=0.05, abs=1e-7)
    assert found.resolution[0, 0] == pytest.approx(error[~clipped].sum() / power, rel=0.02)


@given(batches_of_rows(), ranges)
def test_clipping_is_what_the_comparison_of_scales_says_by_other_means(
    values: NDArray[np.float32], amax: float
) -> None:
    histograms = of_groups(values)
    found = harm(histograms, np.array([amax]))
    wanted = clipping(histograms.one(0, 0), scale_of(amax)).energy
    assert found.clipping[0, 0] == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@given(batches_of_rows(), st.lists(ranges, min_size=2, max_size=8))
def test_clipping_falls_as_amax_grows_and_resolution_stays_below_half_a_step(
    values: NDArray[np.float32], rungs: list[float]
) -> None:
    ladder = np.sort(np.array([*rungs, float(np.abs(values).max()) + 1e-35], np.float32))
    curves = harm_curves(of_groups(values), ladder[None].astype(np.float64))
    clipped = curves.clipping[0, 0]
    assert (np.diff(clipped) <= 1e-12).all()
    assert clipped[ladder >= np.abs(values).max()] == pytest.approx(0)
    assert (curves.clipping >= 0).all()
    assert (curves.resolution >= 0).all()
    half = np.square(ladder.astype(np.float64) / 127 / 2) * np.count_nonzero(values)
    assert (curves.resolution[0, 0] * curves.power[0, 0] <= half * (1 + 1e-6)).all()


@given(st.lists(batches_of_rows(6), min_size=2, max_size=4), ranges)
def test_squared_errors_of_groups_add_up(groups: list[NDArray[np.float32]], amax: float) -> None:
    largest = max(float(np.abs(values).max()) for values in groups)
    # the same maximum in each, so that no group's topmost bin ends earlier than another's
    full = [np.append(values, np.float32(largest)) for values in groups]
    parts = of_groups(*full)
    each = harm(parts, np.array([amax]))
    together = harm(parts, np.array([amax]), members=np.ones((1, len(full))))
    added = float((each.total * each.power).sum())
    assert squared(together) == pytest.approx(added, rel=1e-6, abs=1e-12 * each.power.sum())
    assert together.power.sum() == pytest.approx(each.power.sum())


def test_overlapping_and_weighted_groups_are_those_of_their_samples() -> None:
    a, b = drawn("laplace", 4000, 1), 3 * drawn("gaussian", 4000, 2)
    members = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.5]])
    found = harm(of_groups(a, b), np.array([4.0]), groups=["a", "all", "mix"], members=members)
    assert found.groups == ("a", "all", "mix")
    both = np.concatenate([a, b])
    assert found.total[0, 0] == pytest.approx(harm(of_groups(a), np.array([4.0])).total[0, 0])
    assert found.total[0, 1] == pytest.approx(
        harm(of_groups(both), np.array([4.0])).total[0, 0], rel=1e-3
    )
    power = 2 * found.power[0, 0] + 0.5 * (found.power[0, 1] - found.power[0, 0])
    assert found.power[0, 2] == pytest.approx(power, rel=1e-4)


@pytest.mark.parametrize("constant", [1.0, 6.0, 0.625, 2.0**-100])
def test_what_takes_one_value_is_exact_at_its_own_range(constant: float) -> None:
    values = np.full(500, constant, np.float32)
    values[::2] = 0
    found = harm(of_groups(values), np.array([constant]))
    assert found.total[0, 0] < 1e-12
    assert harm(of_groups(values), np.array([constant / 2])).clipping[0, 0] == pytest.approx(0.25)


def test_zeros_and_empty_groups_take_no_harm() -> None:
    nothing = no_histograms(["t"], 1)
    zeros = of_groups(np.zeros(9, np.float32))
    for histograms in (nothing, zeros):
        found = harm_curves(histograms)
        assert (found.total == 0).all()
        assert (found.power == 0).all()
        assert (found.ladder > 0).all()


@pytest.mark.parametrize("kind", SPREAD)
@pytest.mark.parametrize("n_rungs", [64, 128, 512])
def test_the_ladder_is_as_good_as_its_steps_are_fine(kind: str, n_rungs: int) -> None:
    histograms = of_groups(drawn(kind, 50_000, 8), 5 * drawn("gaussian", 50_000, 9))
    own = harm_curves(histograms, n_rungs=n_rungs)
    assert own.ladder.shape == (1, n_rungs)
    assert own.ladder[0, -1] == pytest.approx(histograms.amax.max())
    finer = harm_curves(
        histograms, np.geomspace(own.ladder[0, 0] / 4, own.ladder[0, -1], 4000)[None]
    )
    ratio = own.ladder[0, 1] / own.ladder[0, 0]
    for weight in (0.0, 0.1, 0.5, 0.9, 1.0):
        mix = np.array([weight, 1 - weight])
        least, any_amax = ((mix @ curves.total[0]).min() for curves in (own, finer))
        assert any_amax * (1 - 1e-3) <= least <= ratio**2 * any_amax
    assert (own.least() <= ratio**2 * finer.least()).all()


def two_taps() -> Histograms:
    one = of_groups(drawn("laplace", 3000, 1), drawn("uniform", 3000, 2))
    two = of_groups(drawn("relu", 3000, 3), drawn("heavy tail", 3000, 4))
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("counts", "n_zero", "amax")]
    return Histograms(("one", "two"), *(np.concatenate(pair) for pair in pairs))


def test_sums_are_over_taps_and_weights_multiply_them() -> None:
    found = harm(two_taps(), np.array([2.0, 3.0]), groups=["a", "b"])
    assert found.sums() == pytest.approx(found.total[0] + found.total[1])
    assert found.sums(np.array([3.0, 0.0])) == pytest.approx(3 * found.total[0])
    assert found.of("b").tolist() == found.total[:, 1].tolist()
    with pytest.raises(RangesError, match="'c'"):
        found.of("c")
    for bad in (np.ones(3), np.array([1.0, -1.0])):
        with pytest.raises(ValueError, match="weights"):
            found.sums(bad)


def test_curves_at_rungs_are_harm_there_and_no_choice_is_below_the_least() -> None:
    histograms = two_taps()
    curves = harm_curves(histograms)
    rungs = np.array([100, 60])
    chosen = curves.ladder[np.arange(2), rungs]
    at, direct = curves.at(rungs), harm(histograms, chosen)
    assert at.total == pytest.approx(direct.total)
    weights = np.array([0.3, 2.0])
    for place in range(0, curves.ladder.shape[1], 9):
        some = curves.at(np.array([place, -place - 1]))
        assert (some.sums(weights) >= curves.least(weights) * (1 - 1e-12)).all()


def test_the_least_is_no_more_than_any_choice_beside_the_candidates() -> None:
    histograms = two_taps()
    curves = harm_curves(histograms, n_rungs=4)
    other = harm_curves(histograms, n_rungs=64)
    better = other.at(other.total.sum(axis=1).argmin(axis=1))
    both = curves.least(beside=[better])
    assert (both <= better.sums()).all()
    assert (both <= curves.least()).all()
    part = Histograms(("two",), histograms.counts[1:], histograms.n_zero[1:], histograms.amax[1:])
    one = harm(part, other.ladder[1:, 40])
    assert curves.least(beside=[one]) == pytest.approx(
        curves.total[0].min(axis=1) + np.minimum(curves.total[1].min(axis=1), one.total[0])
    )


def test_the_least_of_many_groups_is_that_of_their_curves() -> None:
    histograms = two_taps()
    members = np.random.default_rng(5).integers(0, 3, (600, histograms.n_groups)).astype(float)
    curves = harm_curves(histograms, members=members)
    other = curves.at(np.array([90, 70]))
    found = least_harm(histograms, members=members, beside=[other])
    assert np.array_equal(found, curves.least(beside=[other]))
    assert np.array_equal(least_harm(histograms), harm_curves(histograms).least())
    # pieces of groups are no others than those looked at together
    few = harm_curves(histograms, curves.ladder, members=members[500:])
    assert np.array_equal(few.total, curves.total[:, 500:])


def test_memory_of_the_least_does_not_grow_with_candidates_or_groups_of_parts() -> None:
    histograms = two_taps()
    members = np.random.default_rng(6).integers(0, 3, (3000, histograms.n_groups)).astype(float)
    least_harm(histograms, members=members[:2])  # compiles
    tracemalloc.start()
    least_harm(histograms, members=members)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the histograms of 3,000 groups would be 190 MiB of each tap
    assert peak < 100 << 20


@pytest.mark.parametrize("amax", [0.0, -1.0, np.nan, np.inf, 1e-40])
def test_ranges_that_no_engine_should_get_are_refused(amax: float) -> None:
    with pytest.raises(ValueError, match="amax"):
        harm(of_groups(np.ones(3, np.float32)), np.array([amax]))


def test_shapes_that_do_not_agree_are_refused() -> None:
    ones = of_groups(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="amax"):
        harm(ones, np.ones(2))
    with pytest.raises(ValueError, match="names"):
        harm(ones, np.ones(1), groups=["a", "b"])


def observed() -> Observation:
    return Observation(
        two_taps(),
        ("quiet", "everything"),
        np.array([[True, False], [True, True]]),
        np.array([3, 4]),
        "model",
        "pool",
    )


def test_of_an_observation_taps_without_a_range_are_left_out() -> None:
    found = observed_harm(observed(), {"two": 3.0, "elsewhere": 1.0}, ["everything"])
    assert (found.taps, found.groups) == (("two",), ("everything",))
    whole = observed_harm(observed(), {"one": 2.0, "two": 3.0})
    assert whole.groups == ("quiet", "everything")
    assert whole.total[1, 1] == found.total[0, 0]


def test_of_an_observation_unknown_groups_and_foreign_tables_are_refused() -> None:
    with pytest.raises(RangesError, match="'quite'") as caught:
        observed_harm(observed(), {"one": 2.0}, ["quite"])
    assert "quiet" in str(caught.value.problems[0].next_step)
    with pytest.raises(RangesError, match="none of the observed taps"):
        observed_harm(observed(), {"elsewhere": 1.0})


def test_nothing_to_quantize_is_no_harm() -> None:
    found = harm_curves(no_histograms([], 3))
    assert isinstance(found, HarmCurves)
    assert found.total.shape == (0, 3, 0)


def test_memory_of_many_groups_is_their_histograms_not_many_times_them():
    rng = np.random.default_rng(6)
    shape = (1, 300, N_BINS)
    many = Histograms(
        ("t",),
        rng.integers(0, 2, shape).astype(np.uint16),
        np.zeros((1, 300), np.int64),
        np.ones((1, 300), np.float32),
    )
    harm_curves(many)  # compiles
    tracemalloc.start()
    harm_curves(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # of one group the sums up to each edge are 197 KB
    assert peak < 300 * 40_000
