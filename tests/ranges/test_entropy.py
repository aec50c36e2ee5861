"""Entropy against a reference that builds P and Q bin by bin, as the scheme is told."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.ranges import Histogram, estimate_amax, observe
from calaudit.ranges.methods import SAME_DIVERGENCE, Bulk, bulk_of, entropy, kl_divergences
from tests.ranges.samples import KINDS, drawn

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


def brute_force(bulk: Bulk, amax: float) -> tuple[float, dict[int, float]]:
    """Best clip and the divergence of every candidate, by going through them one by one."""
    found = {
        end: divergence(bulk.edges, bulk.counts, end)
        for end in range(1, len(bulk.edges))
        if bulk.edges[end] >= 128 * bulk.floor and bulk.counts[end - 1] > 0
    }
    lowest = min(found.values(), default=0.0)
    ties = [end for end, value in found.items() if value <= lowest + SAME_DIVERGENCE]
    best = float(bulk.edges[max(ties)]) if ties else amax
    return min(best, amax), found


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
        bulk = bulk_of(histogram)
        expected, divergences = brute_force(bulk, histogram.amax)
        ends = np.array(list(divergences))
        found = kl_divergences(bulk, ends)
        np.testing.assert_allclose(found, list(divergences.values()), rtol=1e-9, atol=1e-11)
        assert entropy(histogram) == expected


@pytest.mark.parametrize("kind", ["gaussian", "relu", "laplace"])
def test_the_clip_is_near_best_by_the_published_scheme_on_2048_equal_bins(kind: str) -> None:
    values = np.abs(drawn(kind, 400_000, 11)).astype(np.float64)
    amax = values.max()
    counts = np.histogram(values[values > 0], bins=2048, range=(0, amax))[0].astype(np.float64)
    edges = np.linspace(0, amax, 2049)
    ends = 1 + np.flatnonzero(counts[127:]) + 127
    divergences = kl_divergences(Bulk(edges, counts, amax, amax / 2048), ends)
    clip = estimate_amax(observe(values), "entropy")
    ours = min(np.searchsorted(edges[ends], clip), len(ends) - 1)
    assert divergences[ours] <= divergences.min() * 1.1
    assert clip == pytest.approx(edges[ends[np.argmin(divergences)]], rel=0.12)


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
