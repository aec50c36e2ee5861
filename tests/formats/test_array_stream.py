"""What a stream of batches leaves in the file is what any reader of HDF5 finds there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats import array_stream
from calaudit.formats.array_stream import ArrayStream, ReservedRows
from calaudit.formats.writing import written_hdf5


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "int64", ">f4"])
def test_batches_of_any_type_are_read_again_by_h5py(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, compress: bool
) -> None:
    monkeypatch.setattr(array_stream, "CHUNK_BYTES", 64)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if dtype == "bool" else 100, (500, 3, 2)).astype(dtype)
    with written_hdf5(tmp_path / "x.h5", check=lambda aside: None) as writing:
        stream = ArrayStream(writing.file, "inputs/x", x[:0], compress=compress)
        for part in np.split(x, [1, 30, 31, 200, 499]):
            given = part.copy()
            stream.add(given)
            given[:] = 0  # the caller's own again
        stream.finish()
    with h5py.File(tmp_path / "x.h5") as file:
        found = file["inputs/x"]
        assert found.chunks is not None
        assert (found.compression, found.shuffle) == (("gzip", True) if compress else (None, False))
        assert found.dtype == x.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[:], x)


def test_an_array_of_few_chunks_is_stored_in_one_piece(tmp_path: Path) -> None:
    x = np.arange(1_000, dtype=np.float32).reshape(100, 10)
    with written_hdf5(tmp_path / "x.h5", check=lambda aside: None) as writing:
        stream = ArrayStream(writing.file, "x", x, compress=False)
        for part in np.split(x, 4):
            stream.add(part)
        stream.finish()
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["x"].chunks is None
        np.testing.assert_array_equal(file["x"][:], x)


def test_equal_values_take_less_room_when_compressed(tmp_path: Path) -> None:
    x = np.zeros((64, 3, 224, 224), np.float32)
    with written_hdf5(tmp_path / "x.h5", check=lambda aside: None) as writing:
        stream = ArrayStream(writing.file, "x", x, compress=True)
        stream.add(x)
        stream.finish()
    assert (tmp_path / "x.h5").stat().st_size < x.nbytes / 100


def test_rows_written_by_many_threads_are_read_again_by_h5py(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 5, 7)).astype(np.float32)
    with written_hdf5(tmp_path / "x.h5", check=lambda aside: None) as writing:
        rows = ReservedRows(writing, "inputs/x", len(x), x[0])
        assert not rows.are_all(300)
        writing.file.create_dataset("after", data=np.arange(10))
        order = np.random.default_rng(1).permutation(len(x))
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda row: rows.write(row, x[row]), order))
        assert rows.are_all(300)
        assert not rows.are_all(299)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["inputs/x"][:], x)
        np.testing.assert_array_equal(file["after"][:], np.arange(10))


@pytest.mark.parametrize(
    "odd",
    [
        np.zeros((2, 3), np.float64),
        np.zeros((3, 2), np.float32),
        np.array([[0, 1, 2], [3, np.nan, 5]], np.float32),
        np.full((2, 3), np.inf, np.float32),
    ],
)
def test_rows_unlike_the_first_are_not_written(tmp_path: Path, odd: np.ndarray) -> None:
    with written_hdf5(tmp_path / "x.h5", check=lambda aside: None) as writing:
        rows = ReservedRows(writing, "x", 2, np.zeros((2, 3), np.float32))
        assert rows.write(0, np.arange(6, dtype=np.float32).reshape(3, 2).T)  # in another order
        assert not rows.write(1, odd)
        assert not rows.are_all(2)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][0], [[0, 2, 4], [1, 3, 5]])
