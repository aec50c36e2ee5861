"""The clip of TensorRT's entropy calibrator: as told bin by bin, and as TensorRT chose it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.entropy_trt import N_EQUAL, choose_amax, choose_bins, divergences
from calaudit.calibration.scales import scale_of
from tests.calibration.samples import KINDS, drawn
from tests.calibration.trt import told_bins, told_clip, told_divergence, trt_amax

RECORDED = Path(__file__).parents[3] / "shared" / "trt" / "calibrators.json"
SHAPE = (64, 1, 64, 64)


def counts_of(seed: int) -> NDArray[np.int64]:
    """Counts with gaps, tails, few filled bins, or ties."""
    random = np.random.default_rng(seed)
    shape = np.exp(-np.arange(N_EQUAL) / random.uniform(20, N_EQUAL))
    counts = random.poisson(shape * 10.0 ** random.uniform(-2, 4))
    counts[random.random(N_EQUAL) < random.random()] = 0
    counts[random.integers(1, N_EQUAL + 1) :] = 0
    return counts.astype(np.int64)


@pytest.mark.parametrize("seed", range(6))
def test_divergences_are_those_told_bin_by_bin(seed: int) -> None:
    counts = counts_of(seed)
    some = np.unique(np.append(np.random.default_rng(seed).integers(128, 2049, 60), [128, 2048]))
    told = np.array([told_divergence(counts.tolist(), int(i)) for i in some])
    found = divergences(counts, only_best=False)[some - 128]
    candidates = np.isfinite(told)
    assert np.isinf(found[~candidates]).all()
    np.testing.assert_allclose(found[candidates], told[candidates], rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_clip_is_that_told_bin_by_bin(seed: int) -> None:
    counts = counts_of(100 + seed)
    assert choose_bins(counts) == told_clip(counts)


@given(st.integers(0, 2**32))
def test_giving_up_early_never_changes_the_best(seed: int) -> None:
    counts = counts_of(seed)
    early, whole = divergences(counts), divergences(counts, only_best=False)
    known = np.isfinite(early)
    np.testing.assert_array_equal(early[known], whole[known])
    assert known.any() == np.isfinite(whole).any()
    if known.any():
        assert (whole[~known] > whole.min() + 1e-10).all()


def counts_at(**bins: int) -> NDArray[np.int64]:
    counts = np.zeros(N_EQUAL, np.int64)
    for name, count in bins.items():
        counts[int(name[1:])] = count
    return counts


def test_without_a_candidate_nothing_is_clipped() -> None:
    assert choose_bins(np.zeros(N_EQUAL, np.int64)) == N_EQUAL
    assert choose_bins(counts_at(b0=500)) == N_EQUAL, "zeros alone"
    assert choose_bins(counts_at(b2047=500)) == N_EQUAL, "a constant"
    assert choose_bins(counts_at(b0=7, b300=500)) == N_EQUAL, "one filled bin below the last"


def test_of_equal_candidates_the_widest_wins() -> None:
    """Two bins far apart are never levelled: every candidate above them loses nothing."""
    assert choose_bins(counts_at(b40=3, b900=5)) == N_EQUAL


@pytest.mark.parametrize("seed", range(5))
def test_unclipped_gives_2048_and_a_half_bins(seed: int) -> None:
    """As published caches have it: scale 3c010a14 for amax 1."""
    values = np.random.default_rng(seed).random(300_000, np.float32)
    values[0] = 1
    amax = trt_amax(values)
    assert amax == 2048.5 / 2048
    assert np.float32(scale_of(amax)).tobytes()[::-1].hex() == "3c010a14"
    assert trt_amax(values * np.float32(0.375)) == 0.375 * 2048.5 / 2048


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exponent", [-60, -3, 1, 40])
def test_scaling_the_data_by_a_power_of_two_scales_amax(kind: str, exponent: int) -> None:
    values = drawn(kind, 3000, 3)
    assert trt_amax(np.ldexp(values, exponent)) == np.ldexp(trt_amax(values), exponent)


def test_zeros_never_count() -> None:
    positive = np.abs(drawn("gaussian", 50_000, 1)) + np.float32(0.01)
    assert trt_amax(np.append(positive, np.zeros(900_000, np.float32))) == trt_amax(positive)


def test_an_outlier_keeps_the_range_open() -> None:
    values = np.append(drawn("gaussian", 500_000, 4), np.float32(1e6))
    assert trt_amax(values) == pytest.approx(1e6 * 2048.5 / 2048)


def test_batches_and_their_order_decide_where_a_later_one_is_larger() -> None:
    small, large = drawn("gaussian", 20_000, 5), 3 * drawn("gaussian", 20_000, 6)
    together = trt_amax(np.append(small, large))
    assert trt_amax(large, small) == together
    assert trt_amax(small, large) != together


def test_no_amax_leaves_float32() -> None:
    largest = float(np.finfo(np.float32).max)
    assert choose_amax(counts_at(b2047=5), largest / N_EQUAL) == largest


# --- TensorRT 8.5.3.1 itself -------------------------------------------------------------------


NARROW = {
    "half": (lambda n, one, other: 0.5 + 0.1 * n, "3bf93730"),
    "half05": (lambda n, one, other: 0.5 + 0.05 * n, "3bc10267"),
    "uniform46": (lambda n, one, other: 0.4 + 0.2 * one, "3b9ad893"),
    "one": (lambda n, one, other: 1 + 0.02 * n, "3c09ebc3"),
    "two": (lambda n, one, other: np.where(other < 0.5, 0.5 + 0.05 * n, n), "3cdd5554"),
}
"""Values far from 0, and the scale that TensorRT 8.5.3.1 wrote for them (batches of 16)."""


@pytest.mark.parametrize("name", NARROW)
def test_narrow_values_far_from_zero_are_clipped_as_tensorrt_clipped_them(name: str) -> None:
    random, shape = np.random.default_rng(7), (64, 3, 32, 32)
    make, recorded = NARROW[name]
    values = make(random.standard_normal(shape), random.random(shape), random.random(shape))
    amax = trt_amax(*values.astype(np.float32).reshape(4, 16, -1))
    assert np.float32(scale_of(amax)).tobytes()[::-1].hex() == recorded


def _growing(factor: float) -> NDArray[np.float64]:
    steps: NDArray[np.float64] = factor ** (np.arange(64.0) // 16)
    return steps.reshape(64, 1, 1, 1)


def _with_outliers(random: np.random.Generator, which: slice, value: float) -> NDArray[np.float64]:
    values = random.standard_normal(SHAPE)
    values.reshape(-1)[which] = value
    return values


def _bimodal(random: np.random.Generator) -> NDArray[np.float64]:
    low = random.random(SHAPE) < 0.5
    one, other = (random.standard_normal(SHAPE) * 0.1 + centre for centre in (1, 5))
    return np.where(low, one, other)


def _hard_swish(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * np.clip(x + 3, 0, 6) / 6


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], Any]] = {
    "gaussian": lambda r: r.standard_normal(SHAPE),
    "gaussian_small": lambda r: r.standard_normal(SHAPE) * 1e-3,
    "gaussian_large": lambda r: r.standard_normal(SHAPE) * 100,
    "relu": lambda r: np.maximum(r.standard_normal(SHAPE), 0),
    "relu_shifted": lambda r: np.maximum(r.standard_normal(SHAPE) - 1.5, 0),
    "laplace": lambda r: r.laplace(size=SHAPE),
    "t3": lambda r: r.standard_t(3, SHAPE),
    "t2": lambda r: r.standard_t(2, SHAPE),
    "uniform_pm": lambda r: r.uniform(-1, 1, SHAPE),
    "uniform01": lambda r: r.random(SHAPE),
    "exponential": lambda r: r.exponential(size=SHAPE),
    "lognormal1": lambda r: r.lognormal(0, 1, SHAPE),
    "lognormal2": lambda r: r.lognormal(0, 2, SHAPE),
    "binary_1pct": lambda r: r.random(SHAPE) < 0.01,
    "binary_50pct": lambda r: r.random(SHAPE) < 0.5,
    "multihot_levels": lambda r: (
        (r.random(SHAPE) < 0.02) * r.choice([0.125, 0.1, 0.0667, 0.05], size=SHAPE)
    ),
    "bimodal": _bimodal,
    "constant1": lambda _: np.ones(SHAPE),
    "relu6": lambda r: np.clip(3 * r.standard_normal(SHAPE), 0, 6),
    "sigmoid": lambda r: 1 / (1 + np.exp(-2 * r.standard_normal(SHAPE))),
    "tanh": lambda r: np.tanh(2 * r.standard_normal(SHAPE)),
    "hardswish": lambda r: _hard_swish(2 * r.standard_normal(SHAPE)),
    "outlier1_100": lambda r: _with_outliers(r, slice(77, 78), 100),
    "outlier10_30": lambda r: _with_outliers(r, slice(0, 1000, 100), 30),
    "half_zero": lambda r: r.standard_normal(SHAPE) * (r.random(SHAPE) < 0.5),
    "mostly_zero": lambda r: r.standard_normal(SHAPE) * (r.random(SHAPE) < 0.001),
    "pixels255": lambda r: r.integers(0, 256, SHAPE),
    "pixels01": lambda r: r.integers(0, 256, SHAPE) / 255,
    "cauchy_clip": lambda r: np.clip(r.standard_cauchy(SHAPE), -1e4, 1e4),
    "beta": lambda r: r.beta(0.5, 3, SHAPE),
    "gamma": lambda r: r.gamma(0.3, 2, SHAPE),
    "triangle": lambda r: r.triangular(0, 0, 1, SHAPE),
    "grow2": lambda r: r.standard_normal(SHAPE) * _growing(2),
    "grow1.3": lambda r: r.standard_normal(SHAPE) * _growing(1.3),
    "shrink2": lambda r: r.standard_normal(SHAPE) * _growing(0.5),
    "grow10": lambda r: np.abs(r.standard_normal(SHAPE)) * _growing(10),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_scales_are_to_the_bit_those_that_tensorrt_chose(name: str) -> None:
    """Of the input x, and of y = x/2: entropy in batches of 64, 16 and 4, and min-max."""
    if not RECORDED.exists():
        pytest.skip("TensorRT's recorded calibrations aren't beside the project")
    everything = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert {each["distribution"] for each in everything} == set(DISTRIBUTIONS)
    recorded = [each for each in everything if each["distribution"] == name]
    assert [(each["calibrator"], each["batch"]) for each in recorded] == [
        ("entropy", 64), ("entropy", 16), ("minmax", 64), ("entropy", 4)
    ]  # fmt: skip
    x = np.asarray(DISTRIBUTIONS[name](np.random.default_rng(7))).astype(np.float32)
    for each in recorded:
        assert float(np.abs(x).max()) == each["absmax"], "the values aren't those it saw"
        for tensor, values in (("x", x), ("y", x * np.float32(0.5))):
            batches = np.split(values, len(values) // each["batch"])
            minmax = each["calibrator"] == "minmax"
            amax = float(np.abs(values).max()) if minmax else trt_amax(*batches)
            found = np.float32(scale_of(amax)).tobytes()[::-1].hex()
            assert found == each[tensor], (each["calibrator"], each["batch"], tensor)


def test_the_rule_as_told_here_gives_what_tensorrt_chose() -> None:
    """So that what the other tests compare with is held to TensorRT too."""
    if not RECORDED.exists():
        pytest.skip("TensorRT's recorded calibrations aren't beside the project")
    for each in json.loads(RECORDED.read_text(encoding="utf-8")):
        if (each["calibrator"], each["batch"]) != ("entropy", 16):
            continue
        if each["distribution"] not in {"gaussian", "hardswish", "grow2"}:
            continue
        x = DISTRIBUTIONS[each["distribution"]](np.random.default_rng(7)).astype(np.float32)
        counts, width = told_bins(np.split(x, 4))
        amax = np.float32(told_clip(counts) + 0.5) * np.float32(width)
        assert np.float32(scale_of(float(amax))).tobytes()[::-1].hex() == each["x"]
