import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats import array_stream
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import PoolWriter, write_pool
from calaudit.runtime.errors import OutputError, PoolError

X = np.arange(40, dtype=np.float32).reshape(20, 2)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_batches(
    path: Path, batches: list[dict[str, Any]], failure: type[BaseException] | None = None
) -> None:
    with PoolWriter(path) as pool:
        for batch in batches:
            pool.append(**batch)
        if failure is not None:
            raise failure


@given(cuts=st.sets(st.integers(1, 19)), chunk=st.integers(8, 200), compress=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_pool_does_not_depend_on_how_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], chunk: int, compress: bool
) -> None:
    folder = tmp_path_factory.mktemp("writer")
    texts = [f"t{i % 7}" for i in range(20)]
    write_pool(folder / "whole.h5", inputs={"x": X}, targets={"y": X[:, 0]}, meta={"text": texts})
    edges = [0, *sorted(cuts), 20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_stream, "CHUNK_BYTES", chunk)
        patch.setattr(array_stream, "_FLUSH_CHUNKS", 2)
        with PoolWriter(folder / "parts.h5", compress=compress) as pool:
            for start, stop in pairwise(edges):
                part = slice(start, stop)
                pool.append({"x": X[part]}, {"y": X[part, 0]}, {"text": texts[part]})
    with open_pool(folder / "whole.h5") as whole, open_pool(folder / "parts.h5") as parts:
        assert whole.fingerprint() == parts.fingerprint()
        np.testing.assert_array_equal(parts.read_inputs(np.arange(20))["x"], X)


def test_integers_with_a_missing_value_become_floats(tmp_path: Path) -> None:
    with PoolWriter(tmp_path / "p.h5") as pool:
        pool.append({"x": X[:2]}, meta={"count": [1, 2], "late": [None, None]})
        pool.append({"x": X[2:4]}, meta={"count": [None, 2.5], "late": ["a", None]})
    with open_pool(tmp_path / "p.h5") as pool:
        frame = pool.columns(["count", "late"])
    assert frame["count"].to_list() == [1.0, 2.0, None, 2.5]
    assert frame["late"].to_list() == [None, None, "a", None]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"inputs": {"x": X[:3]}}, "inputs/x has 3, .*meta/m has 2"),
    ({"inputs": {"z": X[:2]}}, "inputs/x is missing from sample 2 on"),
    ({"inputs": {"x": np.zeros((2, 3), np.float32)}}, r"shape per sample from \(2,\) to \(3,\)"),
    ({"inputs": {"x": np.zeros((2, 2))}}, "from float32 to float64"),
    ({"inputs": {"x": [["a", "b"], ["c", "d"]]}}, "inputs/x is <U1"),
    ({"inputs": {"x": 3.0}}, "inputs/x is float64"),
    ({"inputs": {"x": np.full((2, 2), np.nan, np.float32)}}, "NaN or infinity in 2 samples: c, d"),
    ({"meta": {"m": [[1], [2]]}}, "'meta/m' holds mixed or unsupported values"),
    ({"meta": {"m": [1, "a"]}}, "'meta/m' holds mixed or unsupported values"),
    ({"meta": {"m": np.zeros((2, 2))}}, "'meta/m' has shape"),
    ({"ids": ["a", "c"]}, "more than once: 'a'"),
    ({"ids": ["c", ""]}, "1 of 4 ids are empty"),
    ({"meta": {"m": ["x", "y"]}}, "text in some samples and numbers in others"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_samples_that_do_not_fit_are_refused_and_nothing_is_left(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    good: dict[str, Any] = {"inputs": {"x": X[:2]}, "meta": {"m": [1, 2]}, "ids": ["c", "d"]}
    first = {"inputs": {"x": X[:2]}, "meta": {"m": [1, 2]}, "ids": ["a", "b"]}
    with pytest.raises(PoolError, match=said):
        write_batches(tmp_path / "p.h5", [first, good | change])
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a/..", "."])
def test_names_hdf5_would_change_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PoolError, match="can't be a name"):
        write_pool(tmp_path / "p.h5", inputs={name: X})
    assert left_in(tmp_path) == []


def test_a_pool_without_samples_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="no samples"), PoolWriter(tmp_path / "p.h5"):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_pool_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": X[:3]})
    with pytest.raises(failure):
        write_batches(tmp_path / "p.h5", [{"inputs": {"x": X}}], failure)
    assert left_in(tmp_path) == ["p.h5"]
    with open_pool(tmp_path / "p.h5") as old:
        assert len(old) == 3


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written") as caught:
        write_pool(tmp_path / "file" / "p.h5", inputs={"x": X})
    assert caught.value.problems[0].next_step


def test_a_full_disk_is_an_output_error_and_nothing_is_left(tmp_path: Path) -> None:
    script = (
        "import resource, sys, numpy as np\n"
        "from calaudit.runtime.errors import OutputError\n"
        "from calaudit.formats.pool_writer import PoolWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    with PoolWriter(sys.argv[1]) as pool:\n"
        "        for _ in range(64):\n"
        "            pool.append({'x': np.zeros((1000, 100), np.float32)})\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "p.h5")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "can't be written" in done.stdout, done.stderr
    assert left_in(tmp_path) == []


def test_many_small_batches_are_stored_in_few_chunks(tmp_path: Path) -> None:
    with PoolWriter(tmp_path / "p.h5") as pool:
        for _ in range(100):
            pool.append({"x": np.zeros((10, 8192), np.float32)})
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["inputs/x"].shape == (1000, 8192)
        assert file["inputs/x"].chunks == (8, 8192)


@pytest.mark.parametrize(("written", "appended"), [([0, 1], 3), ([0, 1, 2], 2), ([0, 2], 2)])
def test_reserved_inputs_that_lack_samples_are_no_pool(
    tmp_path: Path, written: list[int], appended: int
) -> None:
    with pytest.raises(ValueError, match="each written"), PoolWriter(tmp_path / "x.h5") as pool:  # noqa: PT012
        rows = pool.reserve({"x": np.zeros(4, np.float32)}, 3)["x"]
        for row in written:
            assert rows.write(row, np.ones(4, np.float32))
        pool.append({}, {"y": list(range(appended))})
    assert list(tmp_path.iterdir()) == []


def test_a_pool_of_reserved_inputs_is_that_of_appended_ones(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3, 4)).astype(np.float32)
    labels = list(range(20))
    write_pool(tmp_path / "appended.h5", inputs={"x": x}, targets={"y": labels})
    with PoolWriter(tmp_path / "reserved.h5") as pool:
        rows = pool.reserve({"x": x[0]}, 20)["x"]
        pool.append({}, {"y": labels[:7]})
        for row in reversed(range(20)):
            assert rows.write(row, x[row])
        pool.append({}, {"y": labels[7:]})
    with open_pool(tmp_path / "appended.h5") as one, open_pool(tmp_path / "reserved.h5") as other:
        assert one.fingerprint() == other.fingerprint()
