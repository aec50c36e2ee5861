"""Links in HDF5 files: what they lead to is there, and one that leads nowhere is said."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import FileFormatError
from tests.formats.pools import tiny, write_by_hand

NAMES = ("inputs/x", "targets/label", "meta/snr_db", "meta/speaker")
WAYS = ("hard", "soft", "external", "group", "virtual")
CASES = [
    (name, way) for name in NAMES for way in WAYS if (name, way) != ("meta/speaker", "virtual")
]
"""HDF5 has no virtual datasets of text of any length."""


def linked(path: Path, name: str, way: str) -> Path:
    """The tiny pool, with one of its arrays elsewhere and linked to in one of the ways."""
    arrays = tiny()
    values = arrays.pop(name)
    write_by_hand(path, arrays)
    with h5py.File(path, "a") as file, h5py.File(path.with_suffix(".other"), "w") as other:
        if way == "external":
            other["far/away"] = values
            file[name] = h5py.ExternalLink(path.with_suffix(".other").name, "far/away")
        elif way == "virtual":
            other["far"] = values
            layout = h5py.VirtualLayout(other["far"].shape, other["far"].dtype)
            layout[:] = h5py.VirtualSource(other["far"])
            file.create_virtual_dataset(name, layout)
        elif way == "group":
            file[f"elsewhere/{name}"] = values
            role = name.split("/", maxsplit=1)[0]
            for each in list(file.get(role, ())):
                file.move(f"{role}/{each}", f"elsewhere/{role}/{each}")
            if role in file:
                del file[role]
            file[role] = h5py.SoftLink(f"/elsewhere/{role}")
        else:
            file["elsewhere/values"] = values
            file[name] = (
                file["elsewhere/values"] if way == "hard" else h5py.SoftLink("/elsewhere/values")
            )
    return path


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_linked_array_is_as_if_it_were_stored_here(tmp_path: Path, name: str, way: str) -> None:
    here = open_pool(write_by_hand(tmp_path / "here.h5", tiny()))
    there = open_pool(linked(tmp_path / "there.h5", name, way))
    assert there.fingerprint() == here.fingerprint()
    assert there.column_names() == here.column_names()
    assert there.columns(there.column_names()).equals(here.columns(here.column_names()))
    rows = np.arange(4)
    assert (there.read_inputs(rows)["x"] == here.read_inputs(rows)["x"]).all()


def test_a_second_name_of_a_column_is_a_second_column(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny())
    plain = open_pool(path)
    fingerprint = plain.fingerprint()
    plain.close()
    with h5py.File(path, "a") as file:
        file["meta/b"] = h5py.SoftLink("/meta/snr_db")
        file["meta/c"] = file["meta/snr_db"]
    pool = open_pool(path)
    assert {"b", "c", "snr_db"} <= set(pool.meta)
    assert pool.fingerprint() != fingerprint


def drop_soft(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink("/nowhere")


def drop_external(file: h5py.File, name: str) -> None:
    file[name] = h5py.ExternalLink("nowhere.h5", "/x")


def drop_virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("nowhere.h5", "x", shape=(4,))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("name", ["inputs/y", "targets/y", "meta/y", "items/y", "ids"])
@pytest.mark.parametrize("dangling", [drop_soft, drop_external])
def test_a_link_that_leads_nowhere_is_an_error_that_names_it(
    tmp_path: Path, name: str, dangling: Callable[[h5py.File, str], None]
) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny())
    with h5py.File(path, "a") as file:
        dangling(file, name)
    with pytest.raises(FileFormatError, match=f"/{name} is a link to .* which doesn't exist"):
        open_pool(path)


@pytest.mark.parametrize("role", ["targets", "meta", "items"])
def test_a_group_that_is_a_link_to_nowhere_is_not_an_empty_group(tmp_path: Path, role: str) -> None:
    arrays = {name: values for name, values in tiny().items() if not name.startswith(role)}
    path = write_by_hand(tmp_path / "p.h5", arrays)
    with h5py.File(path, "a") as file:
        drop_soft(file, role)
    with pytest.raises(FileFormatError, match=f"/{role} is a link to /nowhere"):
        open_pool(path)


def test_a_virtual_column_without_its_source_is_not_zeros(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny())
    with h5py.File(path, "a") as file:
        drop_virtual(file, "meta/y")
    with pytest.raises(FileFormatError, match=r"/meta/y is made of x of nowhere\.h5"):
        open_pool(path)


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "p.h5", tiny())
    with h5py.File(path, "a") as file:
        file["meta/again"] = h5py.SoftLink("/meta")
    with pytest.raises(FileFormatError, match="/meta/again is a link to a group that it lies in"):
        open_pool(path)
