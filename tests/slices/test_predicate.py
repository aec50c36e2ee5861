import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.evaluate import select_rows
from calaudit.slices.predicate import column_in_sql
from tests.slices.memory_pool import MemoryPool

POOL = MemoryPool(
    snr_db=[-5.0, 0, 5, math.nan, math.inf],
    speaker=["theo", "lucas", None, "theo", "nicolas"],
    label=[0, 1, 2, 3, 4],
    loud=[True, False, True, None, False],
)


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("snr_db < 5", [0, 1]),
        ("snr_db >= 5", [2, 4]),
        ("snr_db = 'inf'::float", [4]),
        ("snr_db < 'inf'::float", [0, 1, 2]),
        ("snr_db IS NULL", [3]),
        ("NOT speaker = 'theo'", [1, 4]),
        ("speaker IN ('theo', 'lucas') AND label <> 0", [1, 3]),
        ("speaker LIKE '%o%'", [0, 3, 4]),
        ("loud", [0, 2]),
        ("NOT loud OR label BETWEEN 2 AND 2", [1, 2, 4]),
        ("CASE WHEN label % 2 = 0 THEN loud ELSE true END", [0, 1, 2, 3]),
        ("coalesce(speaker, 'nobody') = 'nobody'", [2]),
        ("abs(snr_db) = 5", [0, 2]),
        ("upper(speaker) = 'THEO'", [0, 3]),
        ('"label" > 3', [4]),
        ("speaker = 'select over (x)'", []),
    ],
)
def test_a_predicate_selects_the_rows_for_which_it_is_true(predicate: str, rows: list[int]) -> None:
    assert select_rows(predicate, POOL).tolist() == rows


def test_rows_are_ascending_int64() -> None:
    rows = select_rows("label >= 0", POOL)
    assert rows.dtype == np.int64
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_only_the_columns_it_names_are_read_and_each_once() -> None:
    pool = MemoryPool(a=[1, 2], b=[1, 2], c=[1, 2])
    select_rows("c > 1 AND a > 1 AND c < 9", pool)
    assert sorted(pool.read) == ["a", "c"]


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        ("", "doesn't parse"),
        ("snr_db <", "doesn't parse"),
        ("snr_db < 5 snr_db", "doesn't parse"),
        ("snr_db < 5) OR (snr_db > 9", "doesn't parse"),
        ("speaker = 'theo", "doesn't parse"),
        ("snr_db < 5;", "holds ;"),
        ("snr_db < 5 -- and so on", "holds --"),
        ("speaker = E'\\''", "holds E'"),
        ("speaker = 5", "can't be evaluated"),
        ("speaker::int > 5", "can't be evaluated"),
        ("regexp_like(speaker, '[')", "can't be evaluated"),
        ("snr_db", "gives Float64, not true or false"),
        ("snr_db + label", "gives Float64, not true or false"),
        ("1 = 1", "looks at no column"),
        ("foo(snr_db) > 1", "uses foo(), which isn't allowed"),
        ("greatest() > snr_db", "gives greatest() nothing"),
    ],
)
def test_a_predicate_that_is_no_condition_is_refused_by_name(predicate: str, said: str) -> None:
    with pytest.raises(SliceError, match="--within") as caught:
        select_rows(predicate, POOL, where="--within")
    [problem] = caught.value.problems
    assert repr(predicate) in problem.message
    assert said in problem.message
    assert problem.next_step


def test_unknown_columns_are_all_told_with_the_near_ones() -> None:
    with pytest.raises(SliceError) as caught:
        select_rows("snr < 5 AND speeker = 'theo'", POOL)
    assert [problem.next_step for problem in caught.value.problems] == [
        "Did you mean snr_db?",
        "Did you mean speaker?",
    ]


@pytest.mark.parametrize(
    "predicate",
    [
        "snr_db > avg(snr_db)",
        "count(*) > 3",
        "label = MAX (label)",
        "row_number() OVER (ORDER BY snr_db) < 2",
        "sum(snr_db) OVER (PARTITION BY speaker) > 1",
        "snr_db IN (SELECT snr_db FROM pool)",
        "unnest(label) > 1",
    ],
)
def test_a_predicate_cannot_look_at_other_samples(predicate: str) -> None:
    with pytest.raises(SliceError, match=r"looks at other samples|uses SELECT|uses OVER"):
        select_rows(predicate, POOL)


@pytest.mark.parametrize(
    "predicate",
    [
        "EXISTS (FROM read_csv('{path}'))",
        "label IN (SELECT a FROM read_csv('{path}'))",
        "label IN (FROM\nread_parquet ('{path}'))",
        "label IN (FROM \"read_csv\"('{path}'))",
        "speaker = E'\\' OR label IN (FROM read_csv(''{path}'')) OR speaker = '",
    ],
)
def test_a_predicate_cannot_open_files(predicate: str) -> None:
    with pytest.raises(SliceError) as caught:
        select_rows(predicate.format(path="/nowhere/secret.csv"), POOL)
    assert "No such file" not in str(caught.value)


FRAME = pl.DataFrame(
    {
        "a": [1, 5, -3, None, 2],
        "b": [0.5, math.inf, None, -2.0, 3.0],
        "s": ["x", None, "yx", "z", ""],
    }
)
ROW_WISE = [
    "a > b",
    "a IN (b, 1)",
    "greatest(a, b) > 2",
    "least(a, 0) < 0",
    "s || 'x' = 'yxx'",
    "length(s) = a",
    "nullif(a, 1) IS NULL",
    "sign(a) = -1 OR round(b) = 3",
    "strpos(s, 'x') > 1",
    "a = ANY(ARRAY[1, 2])",
    "concat(s, 'q') = 'q'",
    "if(a > 1, b > 1, true)",
]


@given(st.sampled_from(ROW_WISE), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_selection_depends_on_the_row_alone(predicate: str, rows: list[int]) -> None:
    whole = set(select_rows(predicate, FRAME).tolist())
    part = select_rows(predicate, FRAME[rows]).tolist()
    assert part == [place for place, row in enumerate(rows) if row in whole]


def test_coded_text_is_compared_as_text() -> None:
    frame = FRAME.with_columns(pl.col("s").cast(pl.Categorical))
    assert select_rows("s LIKE '%x'", frame).tolist() == [0, 2]
    assert select_rows("s < 'yz'", frame).tolist() == select_rows("s < 'yz'", FRAME).tolist()


_ALPHABET = """
    a b s 1 0.5 'x' ( ) , + - * / % = < > <= AND OR NOT IN IS NULL LIKE BETWEEN CASE WHEN THEN
    ELSE END :: int float || [ ] abs( length( coalesce( round( cast( as
"""


@given(st.lists(st.sampled_from(_ALPHABET.split()), min_size=1, max_size=9).map(" ".join))
def test_any_text_is_either_evaluated_or_a_slice_error(predicate: str) -> None:
    try:
        rows = select_rows(predicate, FRAME)
    except SliceError:
        return
    assert set(rows.tolist()) <= set(range(5))


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
)
@settings(max_examples=25)
@given(data=st.data())
def test_arithmetic_on_integers_of_every_type_is_that_of_whole_numbers(
    dtype: type[pl.DataType], data: st.DataObject
) -> None:
    ends = np.iinfo(pl.Series(dtype=dtype).to_numpy().dtype)
    low, high = int(ends.min), int(ends.max)
    numbers = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=20))
    k = data.draw(st.integers(-(2**62), 2**62))
    frame = pl.DataFrame({"x": pl.Series(numbers, dtype=dtype)})
    ways = {
        f"x - {k} < 0": [x - k < 0 for x in numbers],
        f"x + {k} > 0": [x + k > 0 for x in numbers],
        f"x * {k} > 9": [x * k > 9 for x in numbers],
        "-x < 0": [-x < 0 for x in numbers],
        f"x = {numbers[0]}": [x == numbers[0] for x in numbers],
        f"x IN ({numbers[0]}, 1)": [x in (numbers[0], 1) for x in numbers],
        f"x BETWEEN 0 AND {abs(k)}": [0 <= x <= abs(k) for x in numbers],
        "abs(x) > 4": [abs(x) > 4 for x in numbers],
    }
    for predicate, wanted in ways.items():
        assert select_rows(predicate, frame).tolist() == np.flatnonzero(wanted).tolist(), predicate


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
@settings(max_examples=40)
@given(
    st.lists(st.integers(-9999, 9999), min_size=2, max_size=20),
    st.integers(0, 3),
)
def test_decimals_meet_the_literals_that_they_were_written_as(
    dtype: type[pl.DataType], mantissas: list[int], places: int
) -> None:
    texts = [f"{m / 10**places:.{places}f}" for m in mantissas]
    frame = pl.DataFrame({"x": pl.Series([float(text) for text in texts], dtype=dtype)})
    low, high = sorted(texts[:2], key=float)
    for predicate, wanted in {
        f"x BETWEEN {low} AND {high}": [float(low) <= float(t) <= float(high) for t in texts],
        f"x >= {low} AND x <= {high}": [float(low) <= float(t) <= float(high) for t in texts],
        f"x IN ({low}, {high})": [float(t) in (float(low), float(high)) for t in texts],
        f"x = {low}": [float(t) == float(low) for t in texts],
        f"NOT x < {high}": [float(t) >= float(high) for t in texts],
        f"CASE WHEN x > {low} THEN x ELSE {low} END = {low}": [
            float(t) <= float(low) for t in texts
        ],
    }.items():
        assert select_rows(predicate, frame).tolist() == np.flatnonzero(wanted).tolist(), predicate


def test_integers_may_be_arguments_of_functions_of_text() -> None:
    frame = pl.DataFrame({"t": ["abc", "abc"], "n": pl.Series([1, 2], dtype=pl.UInt8)})
    for predicate in ("left(t, n) = 'ab'", "length(t) - n = 1", "round(1.26, 1) = 1.3 AND n = 2"):
        assert select_rows(predicate, frame).tolist() == [1]
    assert select_rows("substr(t, n) = 'bc'", frame).tolist() == [1]
    assert select_rows("strpos(t, 'b') = n", frame).tolist() == [1]


@pytest.mark.parametrize("name", ["user", "order", "group", "current_date", "limit", "null"])
def test_a_column_that_is_a_word_of_sql_is_named_in_double_quotes(name: str) -> None:
    frame = pl.DataFrame({name: [1, 2]})
    with pytest.raises(SliceError) as caught:
        select_rows(f"{name} = 2", frame)
    assert f'Write "{name}", with double quotes' in str(caught.value)
    assert select_rows(f"{column_in_sql(name)} = 2", frame).tolist() == [1]
