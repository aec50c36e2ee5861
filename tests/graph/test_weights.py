import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calaudit.graph.qdq import estimate_weight_scales, quantize_weight

VALUES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e3, 1e3, width=32),
)


@given(VALUES, st.sampled_from([0, 1, None]))
def test_weights_come_back_within_half_a_step(values: np.ndarray, axis: int | None) -> None:
    scales, _ = estimate_weight_scales(values, axis)
    levels = quantize_weight(values, scales, axis)
    assert levels.dtype == np.int8
    assert np.abs(levels.astype(int)).max() <= 127
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
    step = scales.reshape(shape).astype(np.float64)
    assert (np.abs(levels * step - values) <= step * 0.5 * (1 + 1e-5)).all()


@given(VALUES, st.sampled_from([0, 1, None]))
def test_scales_are_positive_normal_and_one_per_channel(
    values: np.ndarray, axis: int | None
) -> None:
    scales, dead = estimate_weight_scales(values, axis)
    assert scales.dtype == np.float32
    assert scales.shape == (() if axis is None else (values.shape[axis],))
    assert (scales >= np.finfo(np.float32).tiny).all()
    assert np.isfinite(scales).all()
    live = np.setdiff1d(np.arange(scales.size), dead)
    others = tuple(d for d in range(values.ndim) if d != axis) if axis is not None else None
    amax = np.atleast_1d(np.abs(values).max(axis=others))
    np.testing.assert_array_equal(np.atleast_1d(scales)[live], (amax / np.float32(127))[live])


def test_channels_of_zeros_take_the_largest_scale_and_stay_zero() -> None:
    values = np.array([[0, 0], [1, -2], [0.5, 0]], np.float32)
    scales, dead = estimate_weight_scales(values, 0)
    assert dead.tolist() == [0]
    assert scales[0] == scales[1] == np.float32(2) / np.float32(127)
    assert not quantize_weight(values, scales, 0)[0].any()


def test_denormal_channels_count_as_zeros() -> None:
    values = np.array([[1e-42, 0], [1, 1]], np.float32)
    scales, dead = estimate_weight_scales(values, 0)
    assert dead.tolist() == [0]
    assert scales[0] == scales[1]


def test_all_zero_weights_get_a_usable_scale() -> None:
    scales, dead = estimate_weight_scales(np.zeros((2, 3), np.float32), None)
    assert scales == np.float32(1 / 127)
    assert dead.tolist() == [0]


def test_ties_round_to_even() -> None:
    values = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 127]], np.float32)
    assert quantize_weight(values, np.ones(1, np.float32), 0).tolist() == [[0, 2, 2, 0, -2, 127]]
