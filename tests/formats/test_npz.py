"""Calibration sets as other tools read them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.formats.npz import write_ids, write_npz
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import OutputError
from calaudit.sampling.kinds import make_recipe
from calaudit.steps.sample import draw_calibset

INPUTS: dict[str, NDArray[np.generic]] = {
    "images": np.random.default_rng(0).normal(size=(600, 3, 4)).astype(np.float32),
    "a/b:0": np.arange(600, dtype=np.int64),
    "mask": np.arange(600).reshape(600, 1) % 2 == 0,
}


def drawn(folder: Path, ids: list[str] | None = None) -> Calibset:
    write_pool(folder / "pool.h5", inputs=INPUTS, ids=ids)
    with open_pool(folder / "pool.h5") as pool:
        draw_calibset(pool, make_recipe(name="all", size=600), folder / "all.h5")
    return open_calibset(folder / "all.h5")


def test_numpy_reads_every_input_in_its_type_and_order(tmp_path: Path) -> None:
    write_npz(tmp_path / "set.npz", drawn(tmp_path))
    with np.load(tmp_path / "set.npz", allow_pickle=False) as found:
        assert set(found.files) == set(INPUTS)
        for name, values in INPUTS.items():
            assert found[name].dtype == values.dtype
            assert np.array_equal(found[name], values)


def test_the_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    one = drawn(tmp_path)
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, one)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_ids_stand_on_lines(tmp_path: Path) -> None:
    one = drawn(tmp_path, ids=[f"grün {n}" for n in range(600)])
    write_ids(tmp_path / "ids.txt", one)
    assert (tmp_path / "ids.txt").read_text(encoding="utf-8").splitlines() == one.ids.tolist()


@pytest.mark.parametrize("strange", ["a\nb", " a", "a\u2028b"])
def test_ids_that_cant_are_refused(strange: str, tmp_path: Path) -> None:
    one = drawn(tmp_path, ids=[strange, *(str(n) for n in range(599))])
    with pytest.raises(OutputError, match="can't stand on a line of its own"):
        write_ids(tmp_path / "ids.txt", one)
    assert not (tmp_path / "ids.txt").exists()
