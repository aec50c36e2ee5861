"""Bins that grow with the batches, against the rule told batch by batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.equal_bins import EqualBins, GrowingBins, count_equal, factors, grow
from tests.calibration.trt import told_bins

Batches = list[NDArray[np.float32]]


@st.composite
def batches(draw: st.DrawFn, most: int = 6) -> Batches:
    """Batches that grow, shrink, are zero, or hold what lies at the very edge of bins."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([1, 5, N_EQUAL - 1, N_EQUAL + 1, 5000]))
    found = []
    for _ in range(draw(st.integers(1, most))):
        values = random.standard_normal(n) * 2.0 ** draw(st.integers(-14, 14))
        kind = draw(st.sampled_from(["plain", "zero", "relu", "on a grid", "tiny"]))
        if kind == "zero":
            values *= 0
        elif kind == "relu":
            values = np.maximum(values, 0)
        elif kind == "on a grid":
            values = np.round(values * 4) / 4
        elif kind == "tiny":
            values *= 1e-38
        found.append(values.astype(np.float32))
    return found


@given(batches())
def test_bins_that_grow_batch_by_batch_are_those_of_the_rule(given: Batches) -> None:
    counts, width = told_bins(given)
    bins = GrowingBins()
    for batch in given:
        bins.add(batch)
    assert bins.width == width
    np.testing.assert_array_equal(bins.counts, counts)


@given(batches(), st.randoms(use_true_random=False))
def test_samples_counted_in_any_order_give_the_same_bins(given: Batches, random) -> None:
    counts, width = told_bins(given)
    grown = grow(np.array([[np.abs(batch).max() for batch in given]], np.float32))
    assert grown.widths.tolist() == [width]
    found = np.zeros((1, N_EQUAL), np.int64)
    order = list(range(len(given)))
    random.shuffle(order)
    none = np.zeros(1, np.int64)
    for at in order:
        inverses, shifts = factors(grown.first, grown.doublings[:, at], grown.doublings[:, -1])
        count_equal(given[at][None], none, none, inverses, shifts, found)
    np.testing.assert_array_equal(found[0], counts)


def test_values_at_the_edge_stay_in_the_last_bin_of_their_time() -> None:
    """4 is the end of the first batch's bins, and the middle of what the second makes of them."""
    bins = GrowingBins()
    bins.add(np.array([4, 1], np.float32))
    assert (bins.counts[2047], bins.counts[512]) == (1, 1)
    bins.add(np.array([8, 4], np.float32))
    assert bins.width == 8 / 2048
    assert [bins.counts[number] for number in (256, 1023, 1024, 2047)] == [1, 1, 1, 1]
    assert bins.counts.sum() == 4


@pytest.mark.parametrize("seed", range(4))
def test_the_bin_of_a_value_is_the_floor_of_the_exact_quotient(seed: int) -> None:
    """Multiples of the width and their neighbours, where a rounded quotient would be one off."""
    random = np.random.default_rng(seed)
    largest = np.float32(random.uniform(1, 2))
    edges = (np.arange(1, 2048) * (float(largest) / 2048)).astype(np.float32)
    beside = (np.nextafter(edges, 0), np.nextafter(edges, largest))
    values = np.concatenate([edges, *beside, [largest]])
    counts, _ = told_bins([values])
    bins = GrowingBins()
    bins.add(values)
    np.testing.assert_array_equal(bins.counts, counts)


def test_rows_are_counted_as_often_as_asked_in_each_group() -> None:
    rows = np.array([[1, 2, 4], [0.5, 4, 3]], np.float32)
    found = np.zeros((2, N_EQUAL), np.int64)
    count_equal(
        rows,
        np.array([0, 0, 1]),
        np.array([0, 0, 1]),
        np.array([512.0, 512.0, 256.0]),
        np.array([0, 0, 1]),
        found,
    )
    assert {i: n for i, n in enumerate(found[0].tolist()) if n} == {512: 2, 1024: 2, 2047: 2}
    assert {i: n for i, n in enumerate(found[1].tolist()) if n} == {64: 1, 384: 1, 512: 1}


@pytest.mark.parametrize("m", [N_EQUAL - 1, N_EQUAL, 5001])
def test_groups_of_one_width_and_of_several_get_each_rows_values(m: int) -> None:
    """A long row is looked at once where the width stays: what follows may have any other."""
    random = np.random.default_rng(m)
    values = random.standard_normal((3, m)).astype(np.float32)
    entries = [
        (row, group, float(random.choice([256.0, 300.5, 512.0])), int(random.integers(0, 4)))
        for row in range(3)
        for group in random.permutation(6)
    ]
    rows, groups, inverses, shifts = (np.array(each) for each in zip(*entries, strict=True))
    found = np.zeros((6, N_EQUAL), np.int64)
    count_equal(values, rows, groups, inverses, shifts, found)
    wanted = np.zeros_like(found)
    for row, group, inverse, shift in entries:
        bins = np.minimum(np.abs(values[row]).astype(np.float64) * inverse, 2047).astype(int)
        wanted[group] += np.bincount(bins >> shift, minlength=N_EQUAL)
    np.testing.assert_array_equal(found, wanted)


def test_what_fills_a_batch_and_a_first_batch_of_zeros_are_told() -> None:
    nothing = np.zeros((2, N_EQUAL), np.int64)
    start = np.array([0, 2])
    bins = EqualBins(("a", "b"), nothing, np.ones(2), start, 10, Batching(4))
    filled, zero = bins.notices("some")
    assert filled.code == "calibration_filled"
    assert "of 4 is filled with 2 samples once more, of 10" in filled.message
    assert zero.code == "first_batch_zero"
    assert "in 1 tap (b)" in zero.message
    assert "isn't known" in zero.message
    assert EqualBins(("a",), nothing[:1], np.ones(1), start[:1], 8, Batching(4)).notices("s") == []
