"""The TensorRT-like variant against the published scheme on the values themselves."""

import numpy as np
import pytest

from calaudit.calibration.accumulate import observe
from calaudit.calibration.entropy import N_EQUAL, equal_bins, kl_divergences
from calaudit.calibration.methods import estimate_amax
from calaudit.calibration.scales import scale_of
from tests.calibration.samples import KINDS, drawn


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bins_hold_every_non_zero_value_where_it_lies(kind: str) -> None:
    values = np.abs(drawn(kind, 200_000, 1)).astype(np.float64)
    found = equal_bins(observe(values))
    kept = values[values > 0]
    exact = np.histogram(kept, bins=N_EQUAL, range=(0, values.max()))[0]
    assert found.sum() == pytest.approx(len(kept), rel=1e-12)
    difference = np.abs(np.cumsum(found) - np.cumsum(exact))
    # A bin of the stored grid is at most 1/256 of its value wide.
    assert difference.max() <= exact.max() * 8
    assert difference[: N_EQUAL // 16].max() <= exact[: N_EQUAL // 16 + 1].max()


def test_counts_are_exact_where_the_stored_grid_is_the_finer_one() -> None:
    values = np.append(np.random.default_rng(2).random(100_000) * 255 + 0.001, 2048.0)
    exact = np.histogram(values, bins=N_EQUAL, range=(0, values.max()))[0]
    np.testing.assert_array_equal(equal_bins(observe(values)), exact)


@pytest.mark.parametrize("seed", range(5))
def test_unclipped_gives_2048_and_a_half_bins(seed: int) -> None:
    """As published caches have it: scale 3c010a14 for amax 1."""
    values = np.random.default_rng(seed).random(300_000, np.float32)
    values[0] = 1
    amax = estimate_amax(observe(values), "entropy-trt")
    assert amax == 2048.5 / 2048
    assert np.float32(scale_of(amax)).tobytes()[::-1].hex() == "3c010a14"
    scaled = estimate_amax(observe(values * np.float32(0.375)), "entropy-trt")
    assert scaled == pytest.approx(0.375 * 2048.5 / 2048, rel=1e-12)


@pytest.mark.parametrize("kind", ["gaussian", "relu", "laplace", "heavy tail", "uniform"])
def test_the_clip_loses_no_more_than_the_published_schemes_own(kind: str) -> None:
    values = np.abs(drawn(kind, 400_000, 3)).astype(np.float64)
    width = values.max() / N_EQUAL
    counts = np.histogram(values[values > 0], bins=N_EQUAL, range=(0, values.max()))[0]
    counts = counts.astype(np.float64)
    ends = np.flatnonzero(counts[127:]) + 128
    loss = kl_divergences(np.arange(N_EQUAL + 1.0), counts, ends)
    clip = round(estimate_amax(observe(values), "entropy-trt") / width - 0.5)
    ours = loss[np.argmin(np.abs(ends - clip))]
    assert ours <= loss.min() * 1.2


def test_an_outlier_keeps_the_range_open_as_published() -> None:
    """What the robust default is for."""
    values = np.append(drawn("gaussian", 500_000, 4), np.float32(1e6))
    assert estimate_amax(observe(values), "entropy-trt") == pytest.approx(1e6 * 2048.5 / 2048)
