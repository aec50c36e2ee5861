import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.errors import RangesError
from calaudit.ranges import Accumulator, BadActivationsError, observe
from calaudit.ranges.accumulate import BLOCK
from tests.ranges.samples import batches_of_rows, drawn

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


def test_more_values_than_a_block_are_all_counted() -> None:
    rows = drawn("gaussian", 3 * BLOCK + 17, 3)[None]
    collected = Accumulator(["t"], 1)
    collected.add(0, rows, np.array([0]))
    expected, _ = np.histogram(
        np.abs(rows).astype(float), bins=collected.histograms.one(0, 0).edges
    )
    np.testing.assert_array_equal(collected.histograms.counts[0, 0], expected)


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
