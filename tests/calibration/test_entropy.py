"""Entropy against a reference that builds P and Q bin by bin, as the scheme is told."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.calibration.accumulate import observe
from calaudit.calibration.distribution import Bulk, Distribution
from calaudit.calibration.entropy import SAME_DIVERGENCE, kl_divergences
from calaudit.calibration.histogram import Histogram
from calaudit.calibration.methods import estimate_amax
from tests.calibration.samples import KINDS, drawn
from tests.calibration.trt import trt_amax

Floats = NDArray[np.float64]


def divergence(edges: Floats, counts: Floats, end: int) -> float:
    """KL(P‖Q) of clipping at ``edges[end]``, one bin at a time."""
    centres = (edges[1:] + edges[:-1]) / 2
    widths = np.diff(edges)
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    q = np.zeros(end)
    level = np.minimum(np.floor(centres[:end] * 128 / edges[end]), 127).astype(int)
    filled = counts[:end] > 0
    mass = np.bincount(level, counts[:end], 128)
    width = np.bincount(level[filled], widths[:end][filled], 128)
    q[filled] = mass[level[filled]] * widths[:end][filled] / width[level[filled]]
    p, q = p / p.sum(), q / q.sum()
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / q[filled])).sum())


def best_of(divergences: dict[int, float]) -> int:
    lowest = min(divergences.values())
    return max(end for end, value in divergences.items() if value <= lowest + SAME_DIVERGENCE)


def brute_force(bulk: Bulk, amax: float) -> tuple[float, dict[int, float]]:
    """Best clip and the divergence of every candidate, by going through them one by one."""
    found = {
        end: divergence(bulk.edges, bulk.counts, end)
        for end in range(1, len(bulk.edges))
        if bulk.edges[end] >= bulk.edge
        and bulk.edges[end - 1] <= bulk.top
        and bulk.counts[end - 1] > 0
    }
    return min(float(bulk.edges[best_of(found)]), amax), found


def random_histogram(seed: int) -> Histogram:
    """A few filled bins of random counts, or a drawn sample: small, so that ties and gaps occur."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 400))
    values = drawn(KINDS[seed % len(KINDS)], n + 2, seed)
    values[random.random(len(values)) < 0.2] = 0
    values[0] = 1
    repeats = random.integers(1, 30, len(values))
    return observe(np.repeat(values, repeats) * np.float32(2.0 ** random.integers(-20, 20)))


@pytest.mark.parametrize("block", range(8))
def test_entropy_equals_brute_force_on_random_histograms(block: int) -> None:
    for seed in range(40 * block, 40 * block + 40):
        histogram = random_histogram(seed)
        bulk = Distribution(histogram).bulk
        expected, divergences = brute_force(bulk, histogram.amax)
        found = kl_divergences(bulk.edges, bulk.counts, np.array(list(divergences)))
        np.testing.assert_allclose(found, list(divergences.values()), rtol=1e-9, atol=1e-11)
        assert estimate_amax(histogram, "entropy") == expected


def equal_bins_of(seed: int, n_bins: int) -> tuple[Floats, Floats]:
    """Random counts with gaps in bins of width 1, and candidates from 128 bins on."""
    random = np.random.default_rng(seed)
    shape = np.exp(-np.arange(n_bins) / random.uniform(20, n_bins))
    counts = random.poisson(shape * 10.0 ** random.uniform(-1, 4)).astype(np.float64)
    counts[random.random(n_bins) < random.random() / 2] = 0
    counts[-1] = max(counts[-1], 1)
    return counts, np.flatnonzero(counts[127:]) + 128


@pytest.mark.parametrize("block", range(4))
def test_divergence_equals_brute_force_below_the_bulk_too(block: int) -> None:
    for seed in range(15 * block, 15 * block + 15):
        counts, ends = equal_bins_of(seed, 300)
        edges = np.arange(301.0)
        expected = {int(end): divergence(edges, counts, int(end)) for end in ends}
        found = kl_divergences(edges, counts, ends)
        np.testing.assert_allclose(found, list(expected.values()), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("block", range(4))
def test_giving_up_early_never_changes_the_best_of_thousands_of_histograms(block: int) -> None:
    for seed in range(500 * block, 500 * block + 500):
        counts, ends = equal_bins_of(seed, 400)
        whole = kl_divergences(np.arange(401.0), counts, ends)
        early = kl_divergences(np.arange(401.0), counts, ends, only_best=True)
        known = np.isfinite(early)
        np.testing.assert_array_equal(early[known], whole[known])
        assert (whole[~known] > whole.min() + SAME_DIVERGENCE).all()
        assert known.any()


def test_the_bulk_is_never_clipped() -> None:
    for kind in KINDS:
        values = np.abs(drawn(kind, 100_000, 12))
        clip = estimate_amax(observe(values), "entropy")
        kept = values[values > 0]
        assert (kept <= clip).mean() >= 0.9999


def test_values_that_crowd_near_zero_are_not_clipped_harder_than_one_in_ten_thousand() -> None:
    """A hard-swish: TensorRT's calibrator clips where one value in a hundred is cut off."""
    x = 3 * drawn("heavy tail", 500_000, 13)
    swish = x * np.clip(x / 6 + 0.5, 0, 1)
    ours = estimate_amax(observe(swish), "entropy")
    assert ours > trt_amax(swish)
    assert (np.abs(swish[swish != 0]) > ours).mean() <= 1e-4


@pytest.mark.parametrize("outlier", [100.0, 1e6, 1e8])
def test_one_outlier_does_not_keep_the_range_open(outlier: float) -> None:
    plain = drawn("gaussian", 800_000, 0)
    clip = estimate_amax(observe(np.append(plain, np.float32(outlier))), "entropy")
    assert 3.5 < clip < 7.5
    assert clip == pytest.approx(estimate_amax(observe(plain), "entropy"), rel=0.25)


def test_zeros_behind_a_relu_do_not_move_the_clip() -> None:
    positive = np.abs(drawn("gaussian", 100_000, 1))
    mostly_zero = np.append(positive, np.zeros(900_000, np.float32))
    assert estimate_amax(observe(mostly_zero), "entropy") == estimate_amax(
        observe(positive), "entropy"
    )


def test_a_distribution_that_ends_sharply_is_not_clipped() -> None:
    values = drawn("uniform", 200_000, 2)
    assert estimate_amax(observe(values), "entropy") > 0.99
