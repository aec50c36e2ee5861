from pathlib import Path

import pytest

from calaudit.formats.engine import EngineFacts, facts_path, open_engine_file, write_engine_file
from calaudit.runtime.errors import FileFormatError

FACTS = EngineFacts(
    library="tensorrt_rtx",
    version="1.7.1.116",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    model="c0ffee",
    scales="5ca1e",
    precision="int8",
    max_batch=64,
    proof="engine inspector",
    nodes=({"node": "g", "op_type": "Gemm", "asked": "int8", "got": None, "reason": "gone"},),
)


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    write_engine_file(tmp_path / "x.engine", b"plan", FACTS)
    assert open_engine_file(tmp_path / "x.engine") == (b"plan", FACTS)


@pytest.mark.parametrize("content", [b"pla", b"plan!", b"PLAN", b""])
def test_engine_that_isnt_the_one_described_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.engine"
    write_engine_file(path, b"plan", FACTS)
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="checksum mismatch"):
        open_engine_file(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"calaudit_format": "report", "hash": "1"}'])
def test_foreign_descriptions_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.engine"
    write_engine_file(path, b"plan", FACTS)
    facts_path(path).write_text(text)
    with pytest.raises(FileFormatError, match="description of an engine"):
        open_engine_file(path)


def test_missing_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="can't be read"):
        open_engine_file(tmp_path / "x.engine")
    write_engine_file(tmp_path / "x.engine", b"plan", FACTS)
    (tmp_path / "x.engine").unlink()
    with pytest.raises(FileFormatError, match="can't be read"):
        open_engine_file(tmp_path / "x.engine")
