""".npy files that were tampered with give what numpy gives of them, or are refused."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.importers.manifest_settings import ArraySettings
from calaudit.formats.importers.media import read_npy
from calaudit.runtime.errors import PoolError
from tests.fuzz.mutations import EDITS, edited, fuzzed

PIECES = st.sampled_from([
    "(", ")", "[", "]", "{", "}", ",", ":", "-", "1", "-7", "3", "True", "None", "0", "9" * 20,
    "'<f4'", "'|O'", "'>i2'", "()", "'descr'", "'fortran_order'", "'shape'", "(2, 3)", "(-1, 2)",
    "\x00", "'", "#", "\\", "lambda", "...",
])  # fmt: skip
HEADERS = st.one_of(
    st.lists(PIECES, max_size=20).map("".join),
    st.tuples(PIECES, PIECES, PIECES).map(
        lambda each: "{{'descr': {}, 'fortran_order': {}, 'shape': {}}}".format(*each)
    ),
)


def saved(header: str, version: tuple[int, int] = (1, 0), data: bytes = bytes(24)) -> bytes:
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text + data


def by_numpy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except Exception:  # noqa: BLE001 - of a header that isn't one, numpy raises many kinds
        return None


def check(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        path.write_bytes(content)
        wanted = by_numpy(path)
        if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "biuf":
            with pytest.raises(PoolError):
                read_npy(path, ArraySettings())
            return
        found = read_npy(path, ArraySettings())
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.tobytes("A") == wanted.tobytes("A")


@fuzzed(150)
@given(EDITS, st.sampled_from(["<f4", ">i2", "|b1", "<f8", "|O"]), st.booleans())
def test_an_array_with_pieces_moved_is_read_as_numpy_reads_it(
    edits: Any, kind: str, by_columns: bool
) -> None:
    head = {"descr": kind, "fortran_order": by_columns, "shape": (2, 3)}
    check(edited(saved(repr(head), data=np.arange(6).astype("<f8").tobytes()), edits))


@fuzzed(300)
@given(HEADERS, st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
def test_any_header_is_read_as_numpy_reads_it(header: str, version: tuple[int, int]) -> None:
    check(saved(header, version))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}", "its shape is (-1, 2)"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-7,)}", "its shape is (-7,)"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2)}", "its shape is (True, 2)"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**20},)}}", "its shape is"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**32}, {2**32})}}", "its shape"),
        ("{'descr': (), 'fortran_order': False, 'shape': (2,)}", "can't be parsed (IndexError)"),
        ("{[]: 1}", "can't be parsed (TypeError)"),
        ("{1: 2, 'a': 3}", "can't be parsed (TypeError)"),
        ("(" * 5000, "can't be parsed"),
        ("-" * 9000 + "1", "can't be parsed"),
        (" " * 20_000 + "1", "Header info length"),
    ],
)  # fmt: skip
def test_a_forged_header_is_refused_and_said_to_be_none(
    tmp_path: Path, header: str, told: str
) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(saved(header))
    with pytest.raises(PoolError) as caught:
        read_npy(path, ArraySettings())
    assert "isn't a readable .npy file" in str(caught.value)
    assert told in str(caught.value)


def test_another_version_of_the_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(saved("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", (9, 9)))
    with pytest.raises(PoolError, match=r"version 9\.9 of the format isn't known"):
        read_npy(path, ArraySettings())
