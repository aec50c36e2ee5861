from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calaudit.runtime.pool import as_written, read_as_numbers, widened

SMALL = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize(("stored", "digits"), [(np.float32, 6), (np.float16, 3)])
@given(data=st.data())
def test_a_decimal_that_the_type_is_sure_to_keep_reads_as_it_was_written(
    stored: type[np.floating], digits: int, data: st.DataObject
) -> None:
    mantissa = data.draw(st.integers(-(10**digits) + 1, 10**digits - 1))
    exponent = data.draw(st.integers(-30, 30) if digits == 6 else st.integers(-4, 1))
    written = float(Decimal(mantissa).scaleb(exponent))
    assert as_written(np.array([written], stored))[0] == written


@given(
    arrays(
        np.float32,
        st.integers(1, 50),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_reading_as_written_changes_neither_the_order_nor_what_would_be_stored(
    values: np.ndarray,
) -> None:
    read = as_written(values)
    assert (read.astype(np.float32) == values).all()
    order = np.argsort(values, kind="stable")
    assert (read[order][1:] >= read[order][:-1]).all()
    assert ((values[order][1:] > values[order][:-1]) == (read[order][1:] > read[order][:-1])).all()


@given(st.integers(-(2**40), 2**40))
def test_a_whole_number_that_float32_holds_exactly_is_itself(number: int) -> None:
    stored = np.float32(number)
    read = as_written(np.array([stored]))[0]
    assert read == int(stored) or len(str(int(abs(read))).rstrip("0")) <= 6


def test_float32_fractions_are_the_shortest_decimals_that_numpy_prints() -> None:
    values = np.random.default_rng(0).random(2000, np.float32)
    assert as_written(values).tolist() == [float(str(value)) for value in values]


@pytest.mark.parametrize("dtype", SMALL)
def test_integers_of_every_type_keep_their_ends(dtype: type[np.integer]) -> None:
    ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    wanted = [int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)]
    assert read_as_numbers(ends).to_list() == wanted
    assert widened(pl.Series("x", ends)).to_list() == wanted


def test_a_frames_missing_values_stay_missing() -> None:
    column = pl.Series("x", [0.1, None, float("nan")], dtype=pl.Float32)
    assert widened(column).to_list() == [0.1, None, None]
    assert widened(pl.Series("x", [None, 2**63], dtype=pl.UInt64)).to_list() == [None, 2**63]
