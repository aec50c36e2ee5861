"""Binary files that were tampered with are read or refused; nothing else."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.audit.run import run_audit
from calaudit.formats.pool_writer import write_pool
from tests.audit.world import AUDIT, make_world
from tests.fuzz.mutations import EDITS, TRIES, edited, fuzzed
from tests.runtime.test_objects import made as objects

ROOT = Path(__file__).parents[2]
FEW = 40
PATIENCE = 300
"""Seconds for one file, which takes milliseconds: more is a hang, however busy the machine is."""


class Reader:
    """A process that reads files; it is started again if a file ends it."""

    def __init__(self) -> None:
        self.ended = 0
        """How often HDF5 itself gave up."""
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )

    def answer(self, kind: str, path: Path) -> str:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{kind} {path}\n")
        stdin.flush()
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        answer = stdout.readline().strip()
        hung = watch.finished.is_set()
        watch.cancel()
        if not answer:
            self.close()
            self.ended += 1
            self._start()
        return answer or ("hung" if hung else "ended")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One whole file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    audit = AUDIT.replace('"mse"]', '"entropy-trt"]')
    run_audit(make_world(folder, n=600, audit=audit))
    made = folder / "audit"
    write_pool(
        folder / "boxes.h5",
        inputs={"x": np.zeros((4, 2, 3), np.float32)},
        targets={"objects": objects([2, 0, 1, 3]), "mask": np.zeros((4, 2, 3), np.uint8)},
        classes={"mask": ["road", "sky"]},
        ignored={"mask": 255},
    )
    return {
        "boxes": folder / "boxes.h5",
        "pool": folder / "pool.h5",
        "calibset": min((made / "calibsets").glob("*.h5")),
        "ranges": min((made / "ranges").glob("*.h5")),
        "predictions": min((made / "predictions").glob("*.h5")),
    }


KINDS = st.sampled_from(["pool", "boxes", "calibset", "ranges", "predictions"])


@fuzzed(FEW)
@given(kind=KINDS, edits=EDITS)
def test_files_whose_bytes_were_changed(
    files: Mapping[str, Path], reader: Reader, kind: str, edits: list[Any]
) -> None:
    path = files["pool"].with_name("changed.h5")
    path.write_bytes(edited(files[kind].read_bytes(), edits))
    # where the C library ends the process no code of ours is left to refuse the file
    assert reader.answer(kind, path) in {"read", "refused", "ended"}


def values_of(file: h5py.File, name: str) -> Any:
    node = file[name]
    return node[...] if isinstance(node, h5py.Dataset) and node.shape is not None else np.zeros(3)


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    del file[name]
    if values.dtype.kind == "O":
        texts = [each if isinstance(each, bytes) else str(each) for each in values.ravel()]
        file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
    else:
        file[name] = values


def delete(file: h5py.File, name: str) -> None:
    del file[name]


def shorten(file: h5py.File, name: str) -> None:
    values = values_of(file, name)
    put(file, name, values[: len(values) // 2] if values.ndim else np.array([1]))


def lengthen(file: h5py.File, name: str) -> None:
    values = values_of(file, name)
    doubled = np.concatenate([values, values]) if values.ndim else np.array([values, values])
    put(file, name, doubled)


def as_text(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_dataset(name, data=["a", "", "ü🎧"], dtype=h5py.string_dtype())


def as_bytes(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_dataset(name, data=[b"\xff\xfe", b"x"], dtype=h5py.string_dtype("utf-8"))


def as_number(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = -1.5


def as_group(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name).create_group("inner")


def as_pairs(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = np.zeros(4, [("a", "i4"), ("b", "f8")])


def as_nothing(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.Empty("f4")


def as_nans(file: h5py.File, name: str) -> None:
    shape = values_of(file, name).shape
    del file[name]
    file[name] = np.full(shape, np.nan)


def as_huge(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_dataset(name, (10, 2), "i8", fillvalue=2**62, chunks=(5, 2))


CHANGES: list[Callable[[h5py.File, str], None]] = [
    delete, shorten, lengthen, as_text, as_bytes, as_number, as_group, as_pairs, as_nothing,
    as_nans, as_huge,
]  # fmt: skip
ATTRIBUTES: list[Any] = [0, -1, 2**40, 1.5, "", "x", b"\xff", "[]", "{", [1, 2], h5py.Empty("i4")]


@fuzzed(FEW * 3)
@given(
    kind=KINDS,
    changes=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(CHANGES)), max_size=2),
    attribute=st.none() | st.tuples(st.floats(0, 1), st.sampled_from(ATTRIBUTES)),
)
def test_files_whose_parts_were_replaced(
    files: Mapping[str, Path],
    reader: Reader,
    kind: str,
    changes: list[tuple[float, Callable[[h5py.File, str], None]]],
    attribute: tuple[float, Any] | None,
) -> None:
    path = files["pool"].with_name("replaced.h5")
    path.write_bytes(files[kind].read_bytes())
    done = []
    with h5py.File(path, "r+") as file:
        for place, change in changes:
            names: list[str] = []
            file.visit(names.append)
            if names:
                name = names[int(place * (len(names) - 1))]
                change(file, name)
                done.append(f"{change.__name__} {name}")
        if attribute is not None:
            names = [""]
            file.visit(names.append)
            pairs = [(name, key) for name in names for key in file[name or "/"].attrs]
            if pairs:
                name, key = pairs[int(attribute[0] * (len(pairs) - 1))]
                file[name or "/"].attrs[key] = attribute[1]
                done.append(f"{name}.{key} = {attribute[1]!r}")
    assert reader.answer(kind, path) in {"read", "refused"}, done


def test_the_whole_files_are_read(files: Mapping[str, Path], reader: Reader) -> None:
    assert {kind: reader.answer(kind, path) for kind, path in files.items()} == dict.fromkeys(
        files, "read"
    )
    if TRIES:
        print(f"HDF5 ended {reader.ended} of about {TRIES} times")
