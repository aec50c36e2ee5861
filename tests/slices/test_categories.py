import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.categories import MAX_CATEGORIES, MAX_NUMBERS, code_categories


def column(
    values: st.SearchStrategy[object], dtype: type[pl.DataType]
) -> st.SearchStrategy[pl.Series]:
    return st.lists(st.none() | values, max_size=30).map(lambda x: pl.Series(x, dtype=dtype))


columns = (
    column(st.text(max_size=3), pl.String)
    | column(st.integers(-5, 5), pl.Int64)
    | column(st.booleans(), pl.Boolean)
    | column(st.integers(0, 255), pl.UInt8)
)


@given(columns)
def test_codes_lead_back_to_the_values(column: pl.Series) -> None:
    coded = code_categories(column, where="")
    values = [*coded.values.to_list(), None]
    assert [values[code] for code in coded.codes] == column.to_list()


@given(columns)
def test_values_are_distinct_ascending_and_all_used(column: pl.Series) -> None:
    coded = code_categories(column, where="")
    assert coded.values.to_list() == sorted(set(column.drop_nulls().to_list()))
    assert (coded.counts() > 0).all()
    assert coded.counts().sum() == len(column) - column.null_count()


@given(st.lists(st.none() | st.sampled_from("cab"), max_size=20))
def test_how_text_is_stored_does_not_matter(texts: list[str | None]) -> None:
    plain = pl.Series(texts, dtype=pl.String)
    for dtype in (pl.Categorical, pl.Enum(["c", "unused", "b", "a"])):
        stored = code_categories(plain.cast(dtype), where="")
        assert stored.codes.tolist() == code_categories(plain, where="").codes.tolist()


def test_texts_are_readable_on_one_line() -> None:
    def texts(column: pl.Series) -> list[str]:
        return code_categories(column, where="").texts()

    assert texts(pl.Series(["a\nb", "é", "a\tb"])) == ["a\\tb", "a\\nb", "é"]
    assert texts(pl.Series([True, False])) == ["false", "true"]
    assert texts(pl.Series([0.1, 2.0, float("inf")], dtype=pl.Float32)) == ["0.1", "2", "∞"]
    assert texts(pl.Series([datetime.date(2024, 2, 29)])) == ["2024-02-29"]


def test_too_many_categories_are_refused_with_a_way_out() -> None:
    column = pl.Series("recording", range(MAX_CATEGORIES + 1))
    with pytest.raises(SliceError, match="1,001 categories, at most 1,000") as caught:
        code_categories(column, where="slices: recording")
    assert "tail" in str(caught.value)
    code_categories(column, where="", at_most=None)


def test_fractional_numbers_are_categories_only_while_they_are_few() -> None:
    code_categories(pl.Series("noise", np.arange(MAX_NUMBERS) / 7), where="")
    with pytest.raises(SliceError, match="quantiles"):
        code_categories(pl.Series("rms", np.arange(MAX_NUMBERS + 1) / 7), where="")


def test_lists_are_no_categories() -> None:
    with pytest.raises(SliceError, match="not one value per sample"):
        code_categories(pl.Series("genres", [["a"], ["b", "c"]]), where="")
