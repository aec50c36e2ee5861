import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.calibration.histogram import N_BINS, as_float32, bin_number, edges, first_bin
from tests.calibration.samples import finite32


@given(finite32)
def test_every_value_lies_between_the_edges_of_its_bin(value: float) -> None:
    first = first_bin(value)
    position = bin_number(value) - first
    assert 0 <= position < N_BINS
    lower, upper = edges(first)[position : position + 2]
    assert lower <= abs(value) < upper


@given(finite32, finite32)
def test_a_larger_maximum_never_starts_at_a_lower_bin(a: float, b: float) -> None:
    small, large = sorted((abs(a), abs(b)))
    assert first_bin(small) <= first_bin(large)


@pytest.mark.parametrize("amax", [0.0, 1e-45, 1e-38, 1e-3, 1.0, 255.0, 1e6, 3.4e38])
def test_widths_are_powers_of_two_and_the_top_octave_has_256(amax: float) -> None:
    found = edges(first_bin(amax))
    widths = np.diff(found)[1:]
    assert (np.frexp(widths)[0] == 0.5).all()
    assert found[-1] > amax
    assert (found >= found[-1] / 2).sum() == 257


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=3e38, min_value=-3e38))
def test_float64_is_truncated_and_so_stays_in_its_bin(value: float) -> None:
    kept = float(as_float32(np.array([value]))[0])
    assert abs(kept) <= abs(value)
    assert math.copysign(1, kept) == math.copysign(1, value)
    above = np.nextafter(np.float32(abs(kept)), np.float32(np.inf))
    assert abs(value) < float(above)


@given(st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_float16_converts_exactly(value: float) -> None:
    assert float(as_float32(np.array([value], np.float16))[0]) == value


def test_float64_beyond_float32_becomes_infinite_and_just_below_does_not() -> None:
    values = np.array([2.0**128, np.nextafter(2.0**128, 0), np.inf, np.nan])
    found = as_float32(values)
    assert np.isinf(found[[0, 2]]).all()
    assert found[1] == np.finfo(np.float32).max
    assert np.isnan(found[3])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.complex64, np.longdouble])
def test_tensors_that_are_not_quantized_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match="float16, float32 or float64"):
        as_float32(np.zeros(3, dtype))
