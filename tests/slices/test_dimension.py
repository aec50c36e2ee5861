import math

import pytest

from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import parse_settings
from calaudit.slices.dimension import Dimension


def read(**values: object) -> Dimension:
    return parse_settings(values, Dimension, where="audit.toml: slices[0]")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "exactly one of by, where and cross, got none"),
        ({"by": "a", "where": "a > 1", "name": "x"}, "got by, where"),
        ({"by": "a", "edges": [1], "quantiles": 2}, "edges, quantiles can't go together"),
        ({"where": "a > 1"}, "needs a name"),
        ({"where": "a > 1", "name": "all"}, "every sample"),
        ({"where": "a > 1", "name": "x", "edges": [1]}, "edges needs by, not where"),
        ({"where": "a > 1", "name": "x", "missing": "drop"}, "missing needs by"),
        ({"by": "a", "count": "n"}, "go with tail"),
        ({"by": "a", "edges": []}, "empty"),
        ({"by": "a", "edges": [1, 1]}, "ascend"),
        ({"by": "a", "edges": [2, 1]}, "ascend"),
        ({"by": "a", "edges": [math.nan]}, "ascend"),
        ({"by": "a", "edges": [-math.inf, 0]}, "open below"),
        ({"by": "a", "quantiles": 1}, "at least 2"),
        ({"by": "a", "quantiles": 10**9}, "at most 1000"),
        ({"by": "a", "quantiles": [0.5, 1.0]}, "strictly between 0 and 1"),
        ({"by": "a", "tail": [0.8, 0.5]}, "ascend"),
        ({"by": "a", "tail": [0.2, 0.4, 0.6]}, "need names for their 4 groups"),
        ({"by": "a", "tail": [0.5], "tail_labels": ["x", "x"]}, "2 different names"),
        ({"cross": ["a"]}, "two or more"),
        ({"cross": ["a", "a"]}, "two or more"),
        ({"by": "a", "min_support": 0}, "at least 1"),
        ({"by": "a", "name": "two\nlines"}, "one line"),
        ({"by": "a", "edgs": [1]}, "unknown key"),
        ({"by": "a", "missing": "keep"}, "'slice', 'drop' or 'error'"),
    ],
)
def test_a_dimension_that_makes_no_sense_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=r"audit.toml: slices\[0\]") as caught:
        read(**values)
    assert said in str(caught.value)


def test_an_unknown_key_is_answered_with_the_near_one() -> None:
    with pytest.raises(SettingsError, match="Did you mean edges"):
        read(by="a", edgs=[1])


def test_lists_and_tuples_declare_the_same_dimension() -> None:
    assert Dimension(by="a", edges=[0, 5]) == Dimension(by="a", edges=(0, 5))
    assert hash(Dimension(by="a", tail=[0.5])) == hash(Dimension(by="a", tail=(0.5,)))


def test_the_title_is_the_name_or_else_what_is_sliced() -> None:
    assert Dimension(by="a").title == "a"
    assert Dimension(by="a", name="b").title == "b"
    assert Dimension(cross=("a", "b")).title == "a & b"
