"""Layouts are found from a sample alone and a pair, and then tell samples apart in any batch."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.steps.tapped import Layout, Unclear, find_layout, remember

sizes = st.integers(1, 4)


def batch(samples: NDArray[np.float32], shape: tuple[int, ...], axis: int, part: int) -> NDArray:
    """Samples (n, *shape) as a tap: axis `axis` is (part, n, rest of that axis) merged."""
    split = (*shape[:axis], part, shape[axis] // part, *shape[axis + 1 :])
    moved = np.moveaxis(samples.reshape(len(samples), *split), 0, axis + 1)
    return moved.reshape(*shape[:axis], shape[axis] * len(samples), *shape[axis + 1 :])


@given(st.data(), st.lists(sizes, min_size=1, max_size=4), st.integers(3, 5))
def test_wherever_the_batch_lies_each_sample_gets_its_own_values(
    data: st.DataObject, lengths: list[int], n: int
) -> None:
    axis = data.draw(st.integers(0, len(lengths) - 1))
    part = data.draw(sizes)
    lengths[axis] *= part
    shape = tuple(lengths)
    seed = data.draw(st.integers(0, 1000))
    samples = np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)
    rounding = np.float32(1 + 1e-6)
    alone = remember(samples[0])
    found = find_layout(alone, batch(samples[:2] * rounding, shape, axis, part))
    assert isinstance(found, Layout)
    values = batch(samples, shape, axis, part)
    assert found.fits(values, n)
    assert not found.fits(values, n + 1)
    np.testing.assert_array_equal(found.rows(values, n), samples.reshape(n, -1))


@given(st.lists(sizes, min_size=1, max_size=3), st.integers(2, 4), st.sampled_from([0.0, 1.5]))
def test_equal_values_leave_merged_axes_unclear_until_other_samples_come(
    lengths: list[int], factor: int, constant: float
) -> None:
    shape = (factor * lengths[0], *lengths[1:])
    same = np.full((2, *shape), constant, np.float32)
    found = find_layout(remember(same[0]), batch(same, shape, 0, 1))
    assert isinstance(found, Unclear)
    assert not found.for_good


def test_equal_samples_are_told_apart_by_what_lies_inside_them() -> None:
    one = np.arange(6, dtype=np.float32)
    assert find_layout(remember(one), np.concatenate([one, one])) == Layout((6,), 0, 1)
    assert find_layout(remember(one), np.repeat(one, 2)) == Layout((6,), 0, 6)


@pytest.mark.parametrize(
    ("one", "two"),
    [((), ()), ((4,), (4,)), ((4,), (6,)), ((2, 3), (4, 6)), ((2, 3), (12,)), ((0, 3), (0, 3))],
)
def test_shapes_that_do_not_double_along_one_axis_are_unclear_for_good(
    one: tuple[int, ...], two: tuple[int, ...]
) -> None:
    found = find_layout(remember(np.ones(one, np.float32)), np.ones(two, np.float32))
    assert isinstance(found, Unclear)
    assert found.for_good
    assert not found.mixed
    assert str(one) in found.reason
    assert str(two) in found.reason


@given(st.integers(0, 1000))
def test_values_that_the_other_sample_changes_are_called_mixed(seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal((2, 5)).astype(np.float32)
    mixed = samples - samples.mean(axis=0)
    assume(np.abs(samples.mean(axis=0)).max() > 0.1)
    found = find_layout(remember(samples[:1]), mixed)
    assert isinstance(found, Unclear)
    assert found.for_good
    assert found.mixed


def test_nan_and_infinity_count_as_equal_where_both_have_them() -> None:
    one = np.array([np.nan, 1, np.inf, 2], np.float32)
    pair = np.stack([one, np.arange(4, dtype=np.float32)])
    assert find_layout(remember(one[None]), pair) == Layout((1, 4), 0, 1)
    assert isinstance(find_layout(remember(np.nan_to_num(one[None])), pair), Unclear)


def test_of_a_large_tap_a_part_is_remembered_and_tells_the_same() -> None:
    samples = np.random.default_rng(0).standard_normal((2, 64, 4096)).astype(np.float32)
    alone = remember(samples[0])
    assert alone.values.nbytes < samples[0].nbytes / 3
    for axis, part in ((0, 1), (0, 64), (0, 16), (1, 8)):
        found = find_layout(alone, batch(samples, (64, 4096), axis, part))
        assert found == Layout((64, 4096), axis, part if axis == 0 else 64 * part)
