"""Columns of every kind that people hand over come back as the values they were."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_columns import as_series, join
from calaudit.formats.pool_writer import PoolWriter, write_pool
from calaudit.runtime.errors import PoolError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows


def pooled(path: Path, *batches: Any) -> list[Any]:
    """What a column given in batches reads as."""
    with PoolWriter(path) as pool:
        for batch in batches:
            n = len(batch)
            pool.append({"x": np.zeros((n, 1), np.float32)}, meta={"c": batch})
    with open_pool(path) as pool:
        return pool.columns(["c"]).to_series().to_list()


SAME: list[tuple[Any, list[Any]]] = [
    (["a", float("nan"), None, ""], ["a", None, None, None]),
    (np.array(["a", np.nan, None], object), ["a", None, None]),
    (pd.Series(["a", np.nan, pd.NA]), ["a", None, None]),
    (pd.Series(["a", None], dtype="string"), ["a", None]),
    (pd.Series(["a", None], dtype="category"), ["a", None]),
    (pd.Series([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None]),
    (pd.Series([True, None], dtype="boolean"), [True, None]),
    (pd.Series([0.7, 0.1], dtype="float32"), [0.7, 0.1]),
    ([2**53 + 1, float("nan"), 2**53 + 2], [2**53 + 1, None, 2**53 + 2]),
    ([2**64 - 1, None, 0], [2**64 - 1, None, 0]),
    ([True, None, False], [True, None, False]),
    ([np.float32(0.7), None, np.float32(0.1)], [0.7, None, 0.1]),
    ([np.float32(0.7), 0.7], [0.7, 0.7]),
    ([np.float16(0.7), np.float16(0.1)], [0.7, 0.1]),
    ([np.array(0.7, np.float32), np.array(0.1, np.float32)], [0.7, 0.1]),
    ([np.int8(3), np.uint64(2**63)], [3, 2**63]),
    (np.ma.masked_array([2**60 + 1, 5], mask=[False, True]), [2**60 + 1, None]),
    (np.ma.masked_array([0.5, 5], mask=[False, True]), [0.5, None]),
    (np.ma.masked_array(["a", "hidden"], mask=[False, True]), ["a", None]),
    ([np.ma.masked, 1], [None, 1]),
    ([b"z\xc3\xbc", "b"], ["zü", "b"]),
    (np.array([b"z\xc3\xbc", b""]), ["zü", None]),
    (pl.Series([Decimal("12345678901234567"), None]), [12345678901234567, None]),
    ([Decimal("0.7"), Decimal("NaN")], [0.7, None]),
    ([date(2024, 1, 2), None], ["2024-01-02", None]),
    ([datetime(2024, 1, 2, 3, 4, 5), None], ["2024-01-02 03:04:05.000000", None]),
    (np.array(["2024-01-02", "NaT"], "M8[D]"), ["2024-01-02", None]),
    (np.array(["2024-01-02T03:04", "NaT"], "M8[m]"), ["2024-01-02 03:04:00.000000", None]),
    (pd.Series(["a", "b"]).astype("category"), ["a", "b"]),
    (pl.Series([2**60, None], dtype=pl.Int128), [2**60, None]),
    (np.array([0.5, np.nan], np.longdouble), [0.5, None]),
]


@pytest.mark.parametrize(("given_as", "read_as"), SAME, ids=[repr(each)[:60] for each, _ in SAME])
def test_values_come_back_as_they_were_given(
    tmp_path: Path, given_as: Any, read_as: list[Any]
) -> None:
    assert pooled(tmp_path / "p.h5", given_as) == read_as


BATCHES: list[tuple[list[Any], list[Any]]] = [
    ([[1], [2**63]], [1, 2**63]),
    ([[2**63], [None], [1]], [2**63, None, 1]),
    ([np.array([1], np.int8), np.array([2**64 - 1], np.uint64)], [1, 2**64 - 1]),
    ([np.array([-1], np.int8), np.array([200], np.uint8)], [-1, 200]),
    ([[np.float32(0.7)], [0.7], [1]], [0.7, 0.7, 1.0]),
    ([[None], [True], [None]], [None, True, None]),
    ([[None], ["a"]], [None, "a"]),
]


@pytest.mark.parametrize(("batches", "read_as"), BATCHES)
def test_batches_of_different_types_meet_in_one_that_holds_them_all(
    tmp_path: Path, batches: list[Any], read_as: list[Any]
) -> None:
    assert pooled(tmp_path / "p.h5", *batches) == read_as


REFUSED: list[tuple[list[Any], str]] = [
    ([[-1], [2**63]], "9223372036854775808, for which 64 bits don't suffice"),
    ([[-1, 2**63]], "64 bits don't suffice"),
    ([[2**64]], "64 bits don't suffice"),
    ([[2**53 + 1], [0.5]], "9007199254740993 beside fractions"),
    ([[2**53 + 1, 0.5]], "9007199254740993 beside fractions"),
    ([[1], ["a"]], "text in some samples and numbers in others"),
    ([[True], [2]], "true or false in some samples and numbers in others"),
    ([[True], ["a"]], "true or false in some samples and text in others"),
    ([["a", 1]], "mixed or unsupported"),
    ([[True, 2]], "mixed or unsupported"),
    ([[1 + 2j]], "mixed or unsupported"),
    ([[b"\xff"]], "mixed or unsupported"),
    ([["x\0", "x"]], "text with a NUL character"),
    ([pl.Series([2**70], dtype=pl.Int128)], "64 bits don't suffice"),
]


@pytest.mark.parametrize(("batches", "said"), REFUSED)
def test_values_that_no_type_holds_are_refused_rather_than_rounded(
    tmp_path: Path, batches: list[Any], said: str
) -> None:
    with pytest.raises(PoolError, match=said) as caught:
        pooled(tmp_path / "p.h5", *batches)
    assert "'meta/c'" in str(caught.value)
    assert not list(tmp_path.iterdir())


integers = st.none() | st.integers(-(2**63), 2**63 - 1)
naturals = st.none() | st.integers(0, 2**64 - 1)
columns = st.one_of(
    st.lists(st.lists(kind, max_size=5), min_size=1, max_size=4)
    for kind in (
        integers,
        naturals,
        st.none() | st.booleans(),
        st.none() | st.floats(allow_nan=False, allow_infinity=True),
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
)


@settings(max_examples=200)
@given(columns)
def test_joining_pieces_keeps_every_value_and_every_gap(batches: list[list[Any]]) -> None:
    joined = join("c", [as_series("c", each, where="") for each in batches], where="")
    values = list(joined.values)
    if joined.missing is not None:
        values = [None if gone else v for v, gone in zip(values, joined.missing, strict=True)]
    wanted = [None if value == "" else value for batch in batches for value in batch]
    found = [None if v in (None, "") or str(v) == "nan" != v else v for v in values]
    assert found == wanted


def test_ids_beyond_what_floats_hold_stay_apart_beside_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    users = [2**53, 2**53 + 1, None, 2**53 + 2]
    write_pool(path, inputs={"x": np.zeros((4, 1), np.float32)}, meta={"user": users})
    with open_pool(path) as pool:
        counts = evaluate_slices([Dimension(by="user")], pool).counts()
        assert select_rows(f'"user" = {2**53 + 1}', pool).tolist() == [1]
        assert select_rows('"user" IS NULL', pool).tolist() == [2]
    assert counts == {
        "all": 4,
        **{f"user = {user}": 1 for user in users if user is not None},
        "user missing": 1,
    }


def test_a_missing_value_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for number, column in enumerate([[0, 1], [None, 1], [0, None]]):
        path = tmp_path / f"{number}.h5"
        write_pool(path, inputs={"x": np.zeros((2, 1), np.float32)}, meta={"c": column})
        with open_pool(path) as pool:
            prints.add(pool.fingerprint())
    assert len(prints) == 3


def test_a_pool_without_gaps_is_one_that_older_releases_read(tmp_path: Path) -> None:
    for name, column, version in (("a.h5", [0, 1], 1), ("b.h5", [0, None], 2)):
        write_pool(tmp_path / name, inputs={"x": np.zeros((2, 1))}, meta={"c": column})
        with h5py.File(tmp_path / name) as file:
            assert file.attrs["format_version"] == version


def test_missing_targets_and_item_columns_of_integers_are_told_by_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_pool(
        path,
        inputs={"x": np.zeros((3, 1), np.float32)},
        targets={"label": [4, None, 2**53 + 1], "relevance": np.zeros((3, 2), np.uint8)},
        items={"popularity": [None, 7]},
    )
    with open_pool(path) as pool:
        assert pool.read_target("label", np.array([0, 2])).tolist() == [4, 2**53 + 1]
        assert pool.item_column("popularity").to_list() == [None, 7]
        np.testing.assert_equal(pool.read_target("label", np.array([0, 1])), [4.0, np.nan])
        with pytest.raises(PoolError, match="1 of 3 values are missing"):
            pool.read_target("label", np.arange(3))


@pytest.mark.parametrize(
    ("name", "mask", "said"),
    [
        ("missing/meta/no", np.zeros(2, bool), "isn't a column of integers or booleans"),
        ("missing/meta/f", np.zeros(2, bool), "isn't a column of integers or booleans"),
        ("missing/inputs/x", np.zeros(2, bool), "isn't a column of integers or booleans"),
        ("missing/meta/c", np.zeros(3, bool), r"shape \(3,\) for a column of shape \(2,\)"),
        ("missing/meta/c", np.zeros(2), "is float64"),
    ],
)
def test_a_mask_that_fits_no_column_is_refused(
    tmp_path: Path, name: str, mask: np.ndarray, said: str
) -> None:
    path = tmp_path / "p.h5"
    meta = {"c": [1, 2], "f": [0.5, 1.5]}
    write_pool(path, inputs={"x": np.zeros((2, 1), np.float32)}, meta=meta)
    with h5py.File(path, "a") as file:
        file[name] = mask
    with pytest.raises(PoolError, match=said):
        open_pool(path)


@pytest.mark.parametrize("role", ["inputs", "targets"])
def test_masked_elements_of_an_array_are_refused(tmp_path: Path, role: str) -> None:
    masked = np.ma.masked_array(np.ones((2, 3), np.float32), mask=np.eye(2, 3))
    parts: dict[str, Any] = {"inputs": {"x": np.ones((2, 3), np.float32)}}
    for values in (masked, list(masked)):
        parts[role] = {"x": values}
        with pytest.raises(PoolError, match=f"{role}/x holds masked elements"):
            write_pool(tmp_path / "p.h5", **parts)
    parts[role] = {"x": np.ma.masked_array(np.ones((2, 3), np.float32))}
    write_pool(tmp_path / "p.h5", **parts)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a")])
def test_names_of_which_one_would_lie_in_the_other_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    meta = {name: [1, 2] for name in names}
    with pytest.raises(PoolError, match="can't both be names in HDF5"):
        write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((2, 1))}, meta=meta)
    assert not list(tmp_path.iterdir())


def test_targets_without_one_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="targets/t isn't a plain array"):
        write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((2, 1))}, targets={"t": [[1, 2], None]})
