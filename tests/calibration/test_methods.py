import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from calaudit.calibration.accumulate import Accumulator, observe
from calaudit.calibration.distribution import Distribution
from calaudit.calibration.methods import ENTROPY_TRT, METHODS, estimate_amax, squared_errors
from calaudit.runtime.errors import SettingsError
from tests.calibration.samples import KINDS, batches_of_rows, drawn

Floats = NDArray[np.float64]


def fake_quantization_error(values: Floats, clip: float) -> float:
    """Total squared error of symmetric int8 with 127 steps up to `clip`."""
    scale = clip / 127
    steps = np.clip(np.rint(values / scale), -127, 127)
    return float(np.square(values - steps * scale).sum())


@given(batches_of_rows(), st.sampled_from(sorted(METHODS)))
def test_amax_is_positive_and_never_above_the_exact_maximum(
    values: NDArray[np.float32], method: str
) -> None:
    exact = float(np.abs(values).max())
    assume(exact > 0)
    assert 0 < estimate_amax(observe(values), method) <= exact


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exponent", [-60, -3, 1, 40])
def test_scaling_the_data_by_a_power_of_two_scales_amax(
    method: str, kind: str, exponent: int
) -> None:
    values = drawn(kind, 3000, 3)
    scaled = np.ldexp(values, exponent)
    assert estimate_amax(observe(scaled), method) == math.ldexp(
        estimate_amax(observe(values), method), exponent
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_constant_tap_keeps_its_constant(method: str) -> None:
    for constant in (3.3, -0.1, 1e-30, 65504.0):
        exact = abs(float(np.float32(constant)))
        assert estimate_amax(observe(np.full(5000, exact)), method) == exact


@pytest.mark.parametrize("method", sorted(METHODS))
def test_data_that_is_all_zero_has_no_range(method: str) -> None:
    assert estimate_amax(observe(np.zeros(100, np.float32)), method) == 0
    assert estimate_amax(Accumulator(["t"], 1).histograms.one(0, 0), method) == 0


@pytest.mark.parametrize("method", ["entropy", "percentile", "mse"])
def test_one_outlier_of_a_million_among_a_million_stays_sensible(method: str) -> None:
    values = np.append(drawn("gaussian", 1_000_000, 0), np.float32(1e6))
    assert 3.5 < estimate_amax(observe(values), method) < 7.5


@given(batches_of_rows(30), st.integers(1, 64))
def test_percentile_is_the_edge_above_the_exact_quantile(
    values: NDArray[np.float32], share: int
) -> None:
    histogram = observe(values)
    assume(histogram.amax > 0)
    clip = estimate_amax(histogram, "percentile", fraction=share / 64)
    ordered = np.sort(np.abs(values[values != 0]))
    quantile = float(ordered[math.ceil(Fraction(share, 64) * len(ordered)) - 1])
    edges = histogram.edges
    above = float(edges[np.searchsorted(edges, quantile, side="right")])
    assert clip == min(above, histogram.amax)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.5, 0.99, 0.9999, 1.0])
def test_percentile_is_within_one_bin_of_numpys_quantile(kind: str, fraction: float) -> None:
    values = np.abs(drawn(kind, 50_000, 4))
    clip = estimate_amax(observe(values), "percentile", fraction=fraction)
    exact = float(np.quantile(values[values > 0], fraction, method="inverted_cdf"))
    assert exact <= clip <= max(exact * (1 + 1 / 256), values.max() * 2.0**-30)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["one of 20,000", "counts", "a thousandth", "either sign"])
def test_zeros_never_decide_a_range(method: str, kind: str) -> None:
    random = np.random.default_rng(0)
    values = np.zeros((64, 20_000), np.float32)
    active = random.integers(0, 20_000, (64, 20 if kind == "a thousandth" else 1))
    largest = 7.0 if kind == "counts" else 1.0
    values[np.arange(64)[:, None], active] = largest
    if kind == "either sign":
        values[::2] *= -1
    found = estimate_amax(observe(values), method)
    assert found == largest
    alone = estimate_amax(observe(values[values != 0]), method)
    assert found == alone


@pytest.mark.parametrize("method", METHODS)
@given(batches_of_rows(10), st.integers(1, 100_000))
def test_adding_zeros_changes_no_range(
    method: str, values: NDArray[np.float32], n_zeros: int
) -> None:
    histogram = observe(values)
    more = dataclasses.replace(
        histogram,
        counts=histogram.counts + np.where(np.arange(len(histogram.counts)) == 0, n_zeros, 0),
        n_zero=histogram.n_zero + n_zeros,
    )
    assert estimate_amax(more, method) == estimate_amax(histogram, method)


def test_no_range_of_the_largest_float32_leaves_float32() -> None:
    largest = np.finfo(np.float32).max
    values = (np.linspace(-1, 1, 5000) * float(largest)).astype(np.float32)
    for method in METHODS:
        assert 0.9 * largest < estimate_amax(observe(values), method) <= largest


def test_percentile_of_ten_thousand_leaves_one_out() -> None:
    values = np.append(np.ones(9999), 7.0)
    assert estimate_amax(observe(values), "percentile") == 1 + 1 / 256
    assert estimate_amax(observe(values[1:]), "percentile") == 7


def error_bin_by_bin(edges: Floats, counts: Floats, clip: float) -> float:
    """Exact error of values spread evenly over their bins, by cutting bins at step bounds."""
    scale = clip / 127
    total = 0.0
    for lower, upper, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count == 0:
            continue
        bounds = scale * (np.arange(1, 128) - 0.5)
        inner = bounds[(bounds > lower) & (bounds < upper)]
        cuts = np.concatenate([[lower], inner, [upper]])
        for a, b in itertools.pairwise(cuts):
            step = scale * min(round((a + b) / 2 / scale), 127)
            total += count / (upper - lower) * ((b - step) ** 3 - (a - step) ** 3) / 3
    return total


@pytest.mark.parametrize("seed", range(16))
def test_squared_errors_equal_integration_bin_by_bin(seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = np.append(0.0, np.cumsum(random.random(60) + 0.01))
    counts = random.integers(0, 50, 60).astype(np.float64)
    clips = np.sort(edges[-1] * random.random(5) + 0.1)
    np.testing.assert_allclose(
        squared_errors(edges, counts, clips),
        [error_bin_by_bin(edges, counts, clip) for clip in clips],
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    "kind", ["gaussian", "relu", "laplace", "heavy tail", "uniform", "bimodal"]
)
def test_mse_is_as_good_as_a_search_on_the_values_themselves(kind: str) -> None:
    values = np.abs(drawn(kind, 60_000, 6)).astype(np.float64)
    clip = estimate_amax(observe(values), "mse")
    grid = np.linspace(values.max() / 30, values.max(), 80)
    errors = [fake_quantization_error(values, candidate) for candidate in grid]
    near = grid[int(np.argmin(errors))]
    refined = minimize_scalar(
        lambda candidate: fake_quantization_error(values, candidate),
        bounds=(near * 0.9, min(near * 1.1, values.max())),
        method="bounded",
    )
    best = min(*errors, float(refined.fun))
    assert fake_quantization_error(values, clip) <= best * 1.02


@pytest.mark.parametrize("seed", range(200))
def test_giving_up_early_never_changes_the_least_squared_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.poisson(np.exp(-np.arange(300) / random.uniform(10, 300)) * 100)
    edges = np.arange(301.0)
    clips = np.arange(20.0, 301.0)
    whole = squared_errors(edges, counts.astype(float), clips)
    early = squared_errors(edges, counts.astype(float), clips, only_best=True)
    assert np.argmin(whole) == np.argmin(early)
    known = np.isfinite(early)
    np.testing.assert_array_equal(early[known], whole[known])


def test_bulk_keeps_every_non_zero_value_and_no_bin_below_its_floor() -> None:
    for kind in KINDS:
        histogram = observe(drawn(kind, 20_000, 8))
        bulk = Distribution(histogram).bulk
        assert bulk.counts.sum() == histogram.n - histogram.n_zero
        assert np.diff(bulk.edges).min() >= bulk.floor
        assert bulk.top / 4096 < bulk.floor <= bulk.top / 2048
        assert bulk.top <= min(histogram.amax, 8 * bulk.edge)
        assert bulk.edges[0] == 0


def test_unknown_methods_and_options_say_what_is_near() -> None:
    histogram = observe(np.ones(3))
    with pytest.raises(SettingsError, match="Did you mean entropy"):
        estimate_amax(histogram, "entropi")
    with pytest.raises(SettingsError, match="depends on batches"):
        estimate_amax(histogram, ENTROPY_TRT)
    with pytest.raises(SettingsError, match="Did you mean fraction"):
        estimate_amax(histogram, "percentile", fracton=0.9)
    with pytest.raises(SettingsError, match="'minmax' has no option 'fraction'"):
        estimate_amax(histogram, "minmax", fraction=0.9)
    for fraction in (0.0, 1.5, math.nan):
        with pytest.raises(SettingsError, match="fraction of percentile is"):
            estimate_amax(histogram, "percentile", fraction=fraction)
