"""Input ranges against NumPy over the whole array at once."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.pool import Rows, TensorSpec
from calaudit.steps.input_ranges import InputRanges, channel_axis, describe_inputs
from tests.cli.running import calaudit
from tests.slices.memory_pool import MemoryPool


class InputPool(MemoryPool):
    """A pool of one input, which may hold anything."""

    def __init__(self, values: NDArray[Any]) -> None:
        super().__init__(row=np.arange(len(values)))
        self.values = values
        self.inputs = {"x": TensorSpec("x", values.dtype, values.shape[1:])}

    def read_inputs(self, rows: Rows, *, check: bool = True) -> dict[str, NDArray[Any]]:
        assert not check
        return {"x": self.values[rows]}


def ranges_of(values: NDArray[Any], folder: Path, most_bytes: int = 2**28) -> InputRanges:
    path = folder / "pool.h5"
    write_pool(path, inputs={"x": values})
    with open_pool(path) as pool:
        (found,) = describe_inputs(pool, most_bytes=most_bytes)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 6, 5), 1), ((6, 5, 3), 3), ((3, 3, 3), 1), ((8,), 1), ((200,), None), ((), None)],
)
def test_every_channel_is_summed_up_as_numpy_does(
    shape: tuple[int, ...], axis: int | None, dtype: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(40, *shape)) * 3 + 100).clip(0, 255).astype(dtype)
    values[::7] = 0
    found = ranges_of(values, tmp_path)
    assert (found.axis, found.n, found.n_samples) == (axis, 40, 40)
    wide = values.astype(np.float64)
    channels = [wide.ravel()] if axis is None else list(np.moveaxis(wide, axis, 0))
    assert len(found.channels) == len(channels)
    for one, own in zip(found.channels, channels, strict=True):
        assert (one.low, one.high, one.not_finite) == (own.min(), own.max(), 0)
        assert one.mean == pytest.approx(own.mean(), rel=1e-12)
        assert one.std == pytest.approx(own.std(), rel=1e-9, abs=1e-12)
        assert one.zeros == np.mean(own == 0)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 3)),
        elements=st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_what_is_not_finite_is_counted_and_left_out(values: NDArray[np.float32]) -> None:
    pool = InputPool(values)
    (found,) = describe_inputs(pool)
    for one, own in zip(found.channels, values.T, strict=True):
        kept = own[np.isfinite(own)].astype(np.float64)
        assert one.not_finite == len(own) - len(kept)
        if not len(kept):
            assert (one.low, one.mean, one.high, one.std) == (None, None, None, None)
            continue
        assert (one.low, one.high) == (kept.min(), kept.max())
        assert one.mean == pytest.approx(kept.mean(), rel=1e-9, abs=1e-9)
        assert one.std == pytest.approx(kept.std(), rel=1e-6, abs=1e-6)


def test_a_large_mean_does_not_drown_the_spread(tmp_path: Path) -> None:
    values = np.float32(1e6) + np.arange(3000, dtype=np.float32).reshape(-1, 1) % 4
    (one,) = ranges_of(values, tmp_path).channels
    assert one.std == pytest.approx(values.astype(np.float64).std(), rel=1e-9)


def test_of_large_pools_samples_at_even_distances_are_read_and_counted(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float32).reshape(-1, 1)
    found = ranges_of(values, tmp_path, most_bytes=4 * 11)
    assert (found.n, found.n_samples) == (11, 1000)
    (one,) = found.channels
    assert (one.low, one.high) == (0, 999)
    assert one.mean == pytest.approx(499.5, abs=5)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((224, 224, 3), 3), ((3, 224, 224), 1), ((1, 28, 28), 1), ((28, 28, 1), 3), ((4, 4, 4), 1),
        ((16000,), None), ((1, 16000), 1), ((40, 98), 1), ((512, 80), None), ((), None),
    ],
)  # fmt: skip
def test_channels_are_axis_1_or_plainly_the_last(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


def test_pool_show_prints_ranges_of_a_pool_that_no_audit_would_take(tmp_path: Path) -> None:
    path = tmp_path / "pool.h5"
    images = np.full((4, 2, 3, 3), 5.0, np.float32)
    images[:, 1] = 0
    write_pool(path, inputs={"image": images})
    with h5py.File(path, "a") as file:
        file["inputs/image"][0, 0, 0, 0] = np.nan
    ended = calaudit("pool", "show", path)
    assert ended.status == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["image,", "channel", "0", "5", "5", "5", "0", "0", "%", "1"] in lines
    assert ["image,", "channel", "1", "0", "0", "0", "0", "100", "%", "0"] in lines
