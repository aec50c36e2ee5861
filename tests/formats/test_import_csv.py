"""CSV files as people write them give the pool that was meant, or say what is wrong with them."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats.importers.csv_table import find_type, read_csv
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.importers.samples import Imported
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import FileFormatError
from calaudit.runtime.settings import parse_settings

HOW = parse_settings({"inputs": {"x": {"npy": {}}}}, ManifestSettings, where="test")
MEANT = pd.DataFrame(
    {
        "path": ["0.npy", "1.npy", "2.npy"],
        "snr": [0.5, -1.25, np.nan],
        "user": [2**53 + 1, 2**53 + 2, 7],
        "place": ["a, b", 'the "hall"', "zwei\nZeilen; ü"],
        "loud": [True, False, True],
    }
)
READ = {
    "snr": [0.5, -1.25, None],
    "user": [2**53 + 1, 2**53 + 2, 7],
    "place": ["a, b", 'the "hall"', "zwei\nZeilen; ü"],
    "loud": [True, False, True],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full(2, i, np.float32))
    return tmp_path


def imported(source: Path) -> tuple[Imported, dict[str, list[Any]]]:
    done = import_manifest(source, source.parent / "p.h5", HOW)
    with open_pool(source.parent / "p.h5") as pool:
        assert pool.ids(np.arange(len(pool)))[0] == "0.npy"
        columns = pool.columns(pool.column_names()).to_dict(as_series=False)
    return done, columns


WAYS: list[tuple[str, dict[str, Any]]] = [
    ("plain", {}),
    ("with its index", {"index": True}),
    ("with a named index", {"index": True, "index_label": "Unnamed: 0"}),
    ("UTF-8 with a mark", {"encoding": "utf-8-sig"}),
    ("UTF-16", {"encoding": "utf-16"}),
    ("UTF-16 without a mark", {"encoding": "utf-16-le"}),
    ("UTF-16, the other order", {"encoding": "utf-16-be"}),
    ("UTF-32", {"encoding": "utf-32"}),
    ("semicolons", {"sep": ";"}),
    ("semicolons and decimal commas", {"sep": ";", "decimal": ","}),
    ("tabs", {"sep": "\t"}),
    ("bars", {"sep": "|"}),
    ("CRLF", {"lineterminator": "\r\n"}),
    ("CR", {"lineterminator": "\r", "quoting": 1}),
    ("all quoted", {"quoting": 1}),
    ("n/a", {"na_rep": "n/a"}),
    ("NaN", {"na_rep": "NaN"}),
]


@pytest.mark.parametrize(("way", "options"), WAYS, ids=[way for way, _ in WAYS])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_is_read_alike_however_pandas_writes_it(
    folder: Path, way: str, options: dict[str, Any], suffix: str
) -> None:
    MEANT.to_csv(folder / f"list{suffix}", **({"index": False} | options))
    _, columns = imported(folder / f"list{suffix}")
    assert columns == READ


def test_a_compressed_table_is_read_alike(folder: Path) -> None:
    MEANT.to_csv(folder / "plain.csv", index=False)
    (folder / "list.csv.gz").write_bytes(gzip.compress((folder / "plain.csv").read_bytes()))
    done, columns = imported(folder / "list.csv.gz")
    assert columns == READ
    assert done.notices == ()


TEXT = "path,snr\n0.npy,1\n1.npy,2\n2.npy,3\n"


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (TEXT + "\n", []),
        (TEXT + "\n\r\n   \n", ["1 row without any value is left out"]),
        ("\n".join([*TEXT.splitlines()[:2], "", *TEXT.splitlines()[2:]]), []),
        (TEXT + ",\n,\n", ["2 rows without any value are left out"]),
        (TEXT.replace("\n", ",\n"), []),
        (TEXT.replace("\n", ",,\n"), []),
        (TEXT.replace("\n", ",\n", 1), []),
        (TEXT.replace("1\n", "1,,\n", 1), []),
        (TEXT.replace("path,snr", " path , snr "), []),
        ("sep=,\n" + TEXT, []),
        ("sep=;\n" + TEXT.replace(",", ";"), ["its columns are separated by semicolons"]),
        (
            TEXT.replace("\n", ",x\n").replace("snr,x", "snr,"),
            ["column 3 has no name and is left out"],
        ),
        (TEXT.replace(",1", ",n/a").replace(",2", ","), ["1 × 'n/a': counted as missing"]),
    ],
)
def test_what_editors_and_spreadsheets_add_changes_nothing(
    folder: Path, text: str, noted: list[str]
) -> None:
    (folder / "list.csv").write_text(text, newline="")
    done, columns = imported(folder / "list.csv")
    assert columns["snr"] == ([None, None, 3] if "n/a" in text else [1, 2, 3])
    assert [notice.message for notice in done.notices] == noted


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT.encode().replace(b"1.npy", b"\xe9.npy"), "isn't UTF-8 text"),
        (b"path,snr\n0.npy,1,2\n", "line 2: has 3 cells, the header has 2"),
        (b"path,snr\n0.npy,1\n1.npy\n", "line 3: has 1 cells, the header has 2"),
        (b'path,snr\n0.npy,"1\n1.npy,2\n', "unexpected end of data"),
        (b"path,snr,snr\n0.npy,1,2\n", "several columns are called 'snr'"),
        (b"", "has no header"),
        (b"\n\n", "has no header"),
        (gzip.compress(TEXT.encode(), mtime=0)[:20], "can't be read"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_line(
    folder: Path, content: bytes, said: str
) -> None:
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(FileFormatError, match=said) as caught:
        import_manifest(folder / "list.csv", folder / "p.h5", HOW)
    assert caught.value.problems[0].next_step
    assert not (folder / "p.h5").exists()


COLUMNS: list[tuple[list[str | None], list[Any], str | None]] = [
    (["1", "2", None], [1, 2, None], None),
    (["1", "n/a", "-"], [1, None, None], "1 × '-', 1 × 'n/a': counted as missing"),
    (["1.5", "NA"], [1.5, None], "1 × 'NA': counted as missing"),
    (["True", "FALSE", "null"], [True, False, None], "1 × 'null': counted as missing"),
    (["cat", "n/a"], ["cat", "n/a"], None),
    (["1", "2", "broken"], ["1", "2", "broken"], "2 numbers, but also 1 × 'broken'"),
    (["1", "a", "b"], ["1", "a", "b"], None),
    (["007", "12"], ["007", "12"], "whole numbers with leading zeros"),
    ([str(2**64 - 1), "0"], [2**64 - 1, 0], None),
    ([str(2**64), "0"], [str(2**64), "0"], "whole numbers that 64 bits don't hold"),
    ([str(2**63), "-1"], [str(2**63), "-1"], "whole numbers that 64 bits don't hold"),
    ([str(2**53 + 1), "0.5"], [str(2**53 + 1), "0.5"], "that a float would round"),
    (["1,234", "1,234,567"], ["1,234", "1,234,567"], "separators of thousands, such as '1,234'"),
    (["0,5", "1"], ["0,5", "1"], "numbers with commas or separators of thousands"),
    (["+5", "-6"], [5, -6], None),
    (["+.5", "-1e3", "inf", "-Infinity", "0."], [0.5, -1e3, np.inf, -np.inf, 0.0], None),
    ([" 1", "2 "], [1, 2], None),
    (["n/a", "n/a"], ["n/a", "n/a"], None),
    (["2024-01-02", "2024-01-03"], ["2024-01-02", "2024-01-03"], None),
    (["1e5", "12"], [1e5, 12.0], None),
]


@pytest.mark.parametrize(("texts", "values", "noted"), COLUMNS)
def test_a_column_is_numbers_only_if_nothing_is_lost_and_says_so_otherwise(
    texts: list[str | None], values: list[Any], noted: str | None
) -> None:
    typed = find_type(pl.Series("c", texts), decimal_comma=False, where="list.csv")
    assert typed.column.to_list() == values
    assert (noted is None) == (typed.notices == ())
    assert all(noted in str(notice) and "list.csv: c" in str(notice) for notice in typed.notices)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["0,5", "-1"], [0.5, -1.0]),
        (["1.234,5", "2"], [1234.5, 2.0]),
        (["1,5e3", ",5"], [1500.0, 0.5]),
        (["1,234,567", "1"], ["1,234,567", "1"]),
    ],
)
def test_decimal_commas_are_read_where_commas_separate_no_columns(
    texts: list[str], values: list[Any]
) -> None:
    typed = find_type(pl.Series("c", texts), decimal_comma=True, where="list.csv")
    assert typed.column.to_list() == values
    assert typed.notices


@settings(max_examples=60)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1)
    | st.lists(st.floats(allow_nan=False) | st.none(), min_size=1)
)
def test_numbers_that_python_writes_are_read_as_they_were(values: list[Any]) -> None:
    texts = [None if value is None else repr(value) for value in values]
    typed = find_type(pl.Series("c", texts, dtype=pl.String), decimal_comma=False, where="")
    assert typed.column.to_list() == values
    assert not typed.notices


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@settings(max_examples=60)
@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=20))
def test_any_text_that_pandas_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame = pd.DataFrame(rows, columns=["a", "b"])
    frame.to_csv(path, index=False, quoting=1)
    wanted = [tuple(cell or None for cell in row) for row in rows if any(c.strip() for c in row)]
    assert read_csv(path).frame.rows() == wanted


def test_float32_of_a_parquet_file_keeps_its_decimals(folder: Path) -> None:
    table = pl.DataFrame(
        {
            "path": ["0.npy", "1.npy"],
            "snr": pl.Series([0.7, None], dtype=pl.Float32),
            "user": pl.Series([2**53 + 1, None], dtype=pl.Int64),
            "price": pl.Series(["12345678901234567", "7"]).cast(pl.Decimal(20, 0)),
            "big": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
        }
    )
    table.write_parquet(folder / "list.parquet")
    _, columns = imported(folder / "list.parquet")
    assert columns == {
        "snr": [0.7, None],
        "user": [2**53 + 1, None],
        "price": [12345678901234567, 7],
        "big": [2**64 - 1, None],
    }
