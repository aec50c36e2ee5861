"""TOML that is written is what Python's own reader reads back."""

import tomllib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats.toml import toml_tables, toml_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.dates()
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TABLE = st.dictionaries(TEXT, VALUES, max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(TEXT, TABLE | st.lists(TABLE, min_size=1, max_size=3), max_size=3))
def test_whatever_is_written_is_read_back_the_same(content: dict[str, object]) -> None:
    assert tomllib.loads("\n".join(toml_tables(content))) == content


def test_numbers_stay_what_they_are() -> None:
    assert toml_value({"a b": [1, 1.0, True, 1e300, float("inf")]}) == (
        '{ "a b" = [1, 1.0, true, 1e+300, inf] }'
    )
    assert toml_value(date(2026, 1, 2)) == "2026-01-02"


def test_what_toml_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="no value like None"):
        toml_value({"a": None})
    with pytest.raises(TypeError, match="neither a table"):
        list(toml_tables({"a": 1}))
