from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats import rows as module
from calaudit.formats.rows import blocks, check_rows, read_rows

N = 97


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[h5py.Dataset]:
    """The same values, stored in one piece, in chunks, compressed, and big-endian."""
    values = np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3)
    path = tmp_path_factory.mktemp("rows") / "rows.h5"
    file = h5py.File(path, "w")
    file.create_dataset("whole", data=values)
    file.create_dataset("chunked", data=values, chunks=(10, 2, 3))
    file.create_dataset("packed", data=values, chunks=(7, 1, 3), compression="gzip")
    file.create_dataset("swapped", data=values.astype(">f4"))
    return [file[name] for name in ("whole", "chunked", "packed", "swapped")]


@given(chosen=st.sets(st.integers(0, N - 1)), gap=st.integers(1, 400), block=st.integers(1, 4000))
@settings(max_examples=60, deadline=None)
def test_reading_equals_indexing_however_rows_are_stored_and_cut(
    files: list[h5py.Dataset], chosen: set[int], gap: int, block: int
) -> None:
    rows = np.array(sorted(chosen), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GAP_BYTES", gap)
        patch.setattr(module, "BLOCK_BYTES", block)
        for dataset in files:
            read = read_rows(dataset, rows)
            assert read.dtype == np.dtype(np.float32)
            np.testing.assert_array_equal(read, dataset[:][rows])


@given(block=st.integers(1, 5000))
@settings(max_examples=30, deadline=None)
def test_blocks_cover_the_dataset_once_in_storage_order(
    files: list[h5py.Dataset], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block)
        for dataset in files:
            covered = [i for span in blocks(dataset) for i in range(span.start, span.stop)]
            assert covered == list(range(N))


@pytest.mark.parametrize("rows", [[1, 1], [2, 1], [-1, 3], [3, N]])
def test_rows_that_are_not_ascending_unique_and_inside_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="rows"):
        check_rows(np.array(rows), N)


def test_distant_rows_are_read_apart(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "far.h5", "w") as file:
        far = file.create_dataset("far", (1 << 40,), np.float32, chunks=(1024,))
        np.testing.assert_array_equal(read_rows(far, np.array([0, 1 << 39])), [0, 0])
