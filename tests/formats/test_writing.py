"""The disk begins with a file while it is being written."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats import writing
from calaudit.formats.writing import written_hdf5

linux = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only where it can be asked")


def write(path: Path) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 256, (400, 1_000), np.uint8)
    with written_hdf5(path, check=lambda aside: None) as opened:
        held = opened.file.create_dataset("x", x.shape, np.uint8, chunks=(8, 1_000))
        for start in range(0, len(x), 8):
            held[start : start + 8] = x[start : start + 8]
    return x


@linux
def test_all_but_the_end_is_on_its_way_to_the_disk_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(writing, "_TAKE_BYTES", 40_000)
    monkeypatch.setattr(
        os,
        "posix_fadvise",
        lambda file, start, size, advice: asked.append((start, start + size)),
    )
    write(tmp_path / "x.h5")
    ends = [end for _, end in asked]
    assert [start for start, _ in asked] == [0, *ends[:-1]]  # each part once
    assert min(np.diff([0, *ends])) >= 40_000
    assert (tmp_path / "x.h5").stat().st_size - ends[-1] < 40_000
    assert len(asked) >= 8


@pytest.mark.parametrize("fault", ["refused", "unknown"])
def test_a_system_that_cannot_be_asked_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def refuse(*given: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(writing, "_TAKE_BYTES", 40_000)
    if fault == "refused":
        monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    x = write(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][:], x)
