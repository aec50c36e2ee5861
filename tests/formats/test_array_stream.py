"""What a stream of batches leaves in the file is what any reader of HDF5 finds there."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats import array_stream
from calaudit.formats.array_stream import ArrayStream
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
