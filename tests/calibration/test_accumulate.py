from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration import accumulate
from calaudit.calibration.accumulate import (
    Accumulator,
    BadActivationsError,
    bad_samples,
    observe,
)
from calaudit.calibration.counting import LONG
from calaudit.runtime.errors import RangesError
from tests.calibration.samples import batches_of_rows, drawn

Batch = NDArray[np.float32]


@given(st.data(), batches_of_rows(24))
def test_histograms_do_not_depend_on_batch_size_order_or_split(
    data: st.DataObject, rows: Batch
) -> None:
    atoms = np.arange(len(rows)) % 3
    whole = Accumulator(["t"], 3)
    whole.add(0, rows, atoms)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    pieces = Accumulator(["t"], 3)
    for piece in np.split(order, cuts):
        pieces.add(0, rows[piece], atoms[piece])
    assert pieces.histograms == whole.histograms


def test_an_outlier_in_the_first_batch_changes_nothing() -> None:
    rows = np.append(drawn("gaussian", 5000, 0), np.float32(1e6))[:, None]
    first, last = Accumulator(["t"], 1), Accumulator(["t"], 1)
    for start in range(0, len(rows), 100):
        first.add(0, rows[::-1][start : start + 100], np.zeros(min(100, len(rows) - start), int))
        last.add(0, rows[start : start + 100], np.zeros(min(100, len(rows) - start), int))
    assert first.histograms == last.histograms


@given(batches_of_rows())
def test_maxima_are_exact_for_each_sample(rows: Batch) -> None:
    found = Accumulator(["t"], 1).add(0, rows, np.zeros(len(rows), int))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.abs(rows).max(axis=1))


@pytest.mark.parametrize("n", [1, LONG - 1, LONG, 3 * LONG + 17])
def test_long_rows_are_counted_as_short_ones_are(n: int) -> None:
    rows = np.maximum(drawn("gaussian", 3 * n, 3), -0.5).reshape(3, n)
    collected = Accumulator(["t"], 1)
    collected.add(0, rows, np.zeros(3, int))
    found = collected.histograms.one(0, 0)
    expected, _ = np.histogram(np.abs(rows).astype(float), bins=found.edges)
    np.testing.assert_array_equal(found.counts, expected)


@given(st.data(), batches_of_rows(8))
def test_a_sample_may_lie_in_several_parts_or_in_none(data: st.DataObject, rows: Batch) -> None:
    held = np.array(
        data.draw(
            st.lists(
                st.lists(st.booleans(), min_size=3, max_size=3),
                min_size=len(rows),
                max_size=len(rows),
            )
        )
    )
    parts = np.where(held, np.arange(3), -1)
    short, long = Accumulator(["t"], 3), Accumulator(["t"], 3)
    short.add(0, rows, parts)
    wide = np.repeat(rows, LONG // 2, axis=1)
    long.add(0, wide, parts)
    for part in range(3):
        assert short.histograms.one(0, part) == observe(rows[held[:, part]])
        assert long.histograms.one(0, part) == observe(wide[held[:, part]])


def test_taps_may_be_added_by_several_threads() -> None:
    rows = [drawn("gaussian", 200_000, seed).reshape(4, -1) for seed in range(6)]
    taps = [f"t{number}" for number in range(6)]
    one, many = Accumulator(taps, 2), Accumulator(taps, 2)
    atoms = np.array([0, 1, 1, 0])
    for tap, values in enumerate(rows):
        one.add(tap, values, atoms)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda tap: many.add(tap, rows[tap], atoms), range(6)))
    assert one.histograms == many.histograms


def test_one_tap_may_be_added_to_by_several_threads_while_its_counts_widen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accumulate, "LARGEST_NARROW", 400_000)
    rows = [drawn("gaussian", 20_000, seed)[None] * 2.0**seed for seed in range(24)]
    one, many = Accumulator(["t"], 2), Accumulator(["t"], 2, narrow=True)
    for seed, values in enumerate(rows):
        one.add(0, values, np.array([seed % 2]))

    def add(seed: int) -> None:
        many.reserve(rows[seed].size)
        many.add(0, rows[seed], np.array([seed % 2]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(len(rows))))
    assert many.histograms.counts.dtype == np.int64
    assert one.histograms == many.histograms


def test_samples_in_no_part_may_be_bad() -> None:
    rows = np.ones((3, 4), np.float32)
    rows[1, 2] = np.nan
    np.testing.assert_array_equal(bad_samples(rows), [False, True, False])
    collected = Accumulator(["t"], 1)
    collected.add(0, rows, np.array([0, -1, 0]))
    assert collected.histograms.one(0, 0) == observe(rows[[0, 2]])


def test_layout_in_memory_does_not_matter() -> None:
    values = drawn("gaussian", 240, 4).reshape(4, 5, 12)
    atoms = np.zeros(12, int)
    plain, strided = Accumulator(["t"], 1), Accumulator(["t"], 1)
    plain.add(0, np.ascontiguousarray(values.T), atoms)
    strided.add(0, values.T, atoms)
    assert plain.histograms == strided.histograms


def test_ragged_batches_and_empty_samples_are_fine() -> None:
    collected = Accumulator(["t"], 1)
    collected.add(0, np.ones((2, 3, 5), np.float32), np.zeros(2, int))
    collected.add(0, np.ones((1, 7), np.float16), np.zeros(1, int))
    found = collected.add(0, np.empty((2, 0), np.float32), np.zeros(2, int))
    collected.add(0, np.empty((0, 4), np.float32), np.zeros(0, int))
    assert collected.histograms.one(0, 0).n == 37
    np.testing.assert_array_equal(found, [0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_name_the_tap_and_the_samples(bad: float, dtype: type) -> None:
    collected = Accumulator(["conv1", "conv2"], 1)
    values = np.ones((4, 3), dtype)
    values[1, 2] = values[3, 0] = bad
    with pytest.raises(BadActivationsError, match=r"tap 'conv2'.*positions 1, 3") as caught:
        collected.add(1, values, np.zeros(4, int))
    assert isinstance(caught.value, RangesError)
    assert (caught.value.tap, caught.value.positions) == ("conv2", (1, 3))
    assert collected.histograms.one(1, 0).n == 0


def test_observe_refuses_nan() -> None:
    with pytest.raises(BadActivationsError):
        observe(np.array([1.0, np.nan]))


def test_zero_dimensional_samples_are_one_value_each() -> None:
    collected = Accumulator(["t"], 1)
    collected.add(0, np.arange(5, dtype=np.float32), np.zeros(5, int))
    assert collected.histograms.one(0, 0) == observe(np.arange(5, dtype=np.float32))


def test_narrow_counts_are_the_same_and_widen_before_they_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    batches = [random.standard_normal((3, 5)).astype(np.float32) for _ in range(6)]
    batches[3][0, 0] = 1e30
    parts = np.array([[0, 1], [1, -1], [2, 0]])
    wide, narrow = Accumulator(["t"], 3), Accumulator(["t"], 3, narrow=True)
    monkeypatch.setattr(accumulate, "LARGEST_NARROW", 50)
    widened = Accumulator(["t"], 3, narrow=True)
    found = []
    for values in batches:
        wide.add(0, values, parts)
        for each in (narrow, widened):
            each.reserve(values.size)
            each.add(0, values, parts)
        found.append((narrow.histograms.counts.dtype, widened.histograms.counts.dtype))
        assert narrow.histograms == wide.histograms
        assert widened.histograms == wide.histograms
    assert {dtype for dtype, _ in found} == {np.dtype(np.uint32)}
    assert [dtype for _, dtype in found] == [np.dtype(np.uint32)] * 3 + [np.dtype(np.int64)] * 3


def test_narrow_histograms_add_up_without_overflow() -> None:
    collected = Accumulator(["t"], 2, narrow=True)
    collected.reserve(3)
    collected.add(0, np.ones((1, 3), np.float32), np.array([[0, 1]]))
    collected.histograms.counts[0, :, -1] = 2**32 - 1
    one = collected.histograms.one(0, 0)
    assert (one + one).counts.max() == 2 * (2**32 - 1)
    assert (collected.histograms + collected.histograms).counts.max() == 2 * (2**32 - 1)
    assert collected.histograms.group(np.array([[5.0, 0]])).counts.max() == 5 * (2**32 - 1)


def test_values_that_were_not_announced_are_refused_where_counts_are_narrow() -> None:
    collected = Accumulator(["t"], 1, narrow=True)
    collected.reserve(4)
    collected.add(0, np.ones((1, 4), np.float32), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="announced"):
        collected.add(0, np.ones((1, 1), np.float32), np.zeros(1, np.int64))
