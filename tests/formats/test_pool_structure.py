"""Files that aren't usable pools: every problem at once, located, with a next step."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, FileFormatError, PoolError
from tests.formats.pools import tiny, write_by_hand


def refusal(path: Path, kind: type[CalauditError]) -> str:
    with pytest.raises(kind) as caught:
        open_pool(path)
    for problem in caught.value.problems:
        assert str(path) in str(problem.where)
        assert problem.next_step
    return str(caught.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.h5", FileFormatError)


def test_a_folder_is_said_to_be_a_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path, FileFormatError)


def test_a_file_that_is_not_hdf5_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("id,label\n1,2\n")
    assert "isn't an HDF5 file" in refusal(path, FileFormatError)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_pool_is_refused_wherever_it_was_cut(tmp_path: Path, keep: float) -> None:
    whole = write_by_hand(tmp_path / "whole.h5", tiny()).read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(len(whole) * keep)])
    message = refusal(path, FileFormatError)
    assert ("truncated" if keep else "isn't an HDF5 file") in message


def test_damage_inside_the_data_names_the_array(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", {"inputs/x": np.zeros((2, 2))})
    with h5py.File(path, "a") as file:
        noise = np.random.default_rng(0).normal(size=(4, 3000))
        file.create_dataset(
            "meta/noise", data=noise[:2, 0], chunks=(2,), fletcher32=True, compression="gzip"
        )
        at = file["meta/noise"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(at)
        raw.write(b"\xff" * 8)
    with (
        open_pool(path) as pool,
        pytest.raises(FileFormatError, match="/meta/noise can't be read"),
    ):
        pool.columns(["noise"])


def test_a_foreign_hdf5_file_is_refused(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny(), calaudit_format=None)
    assert "not a calaudit pool: its root has no calaudit_format" in refusal(path, FileFormatError)


def test_another_calaudit_file_is_named(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny(), calaudit_format="calibset")
    assert "'calibset'" in refusal(path, FileFormatError)


@pytest.mark.parametrize(("version", "said"), [(5, "reads up to 4"), (0, "not a version")])
def test_a_version_this_release_cannot_read_is_refused(
    tmp_path: Path, version: int, said: str
) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny(), format_version=version)
    assert said in refusal(path, FileFormatError)


@pytest.mark.usefixtures("permissions")
def test_a_file_one_may_not_read_is_said_to_be_so(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny())
    path.chmod(0)
    assert "permission denied" in refusal(path, FileFormatError)


def test_all_arrays_with_another_n_are_listed_at_once(tmp_path: Path) -> None:
    arrays = tiny() | {"meta/a": np.zeros(3), "meta/b": np.zeros(5)}
    message = refusal(write_by_hand(tmp_path / "p.h5", arrays), PoolError)
    assert "/meta/a has 3, /meta/b has 5, but 4 in 4 others" in message


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"inputs/x": None}, "holds no /inputs"),
    ({"inputs/x": ["a", "b", "c", "d"]}, "/inputs/x: holds text"),
    ({"meta/m": np.zeros((4, 2))}, "/meta/m: has shape (4, 2)"),
    ({"meta/c": np.zeros(4, np.complex64)}, "/meta/c: has element type complex64"),
    ({"meta/c": np.zeros(4, "i4,f4")}, "/meta/c: has element type"),
    ({"meta/empty": h5py.Empty("f4")}, "/meta/empty: is a single value"),
    ({"meta/one": 3.0}, "/meta/one: is a single value"),
    ({"meta/label": np.zeros(4)}, "'label' is in both"),
    ({"ids": np.arange(4)}, "/ids: must be text"),
    (
        {"targets/relevance": np.zeros((4, 6)), "items/pop": np.zeros(7)},
        "/items/pop has 7, /targets/relevance has 6",
    ),
    (
        {"targets/relevance": np.zeros((4, 6)), "targets/exclude": np.zeros((4, 5))},
        "differ in their number of items",
    ),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
def test_a_structure_that_does_not_hang_together_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    arrays = {name: v for name, v in (tiny() | change).items() if v is not None}
    assert said in refusal(write_by_hand(tmp_path / "p.h5", arrays), PoolError)


def test_an_empty_pool_is_refused(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", {"inputs/x": np.zeros((0, 3))})
    assert "N is 0" in refusal(path, PoolError)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    arrays = tiny() | {"meta/m": np.zeros((4, 2)), "meta/n": np.zeros(3), "ids": np.arange(4)}
    with pytest.raises(PoolError) as caught:
        open_pool(write_by_hand(tmp_path / "p.h5", arrays))
    assert len(caught.value.problems) == 3


def test_text_that_is_not_utf8_is_refused_when_read(tmp_path: Path) -> None:
    arrays = tiny() | {"meta/speaker": np.array([b"\xff\xfe", b"a", b"b", b"c"])}
    with (
        open_pool(write_by_hand(tmp_path / "p.h5", arrays)) as pool,
        pytest.raises(PoolError, match="isn't UTF-8"),
    ):
        pool.columns(["speaker"])
