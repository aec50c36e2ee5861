"""What commands do where they may not write: a message, no traceback, not even as Python ends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.writing import atomic_write, write_text
from calaudit.runtime.errors import OutputError
from tests.audit.world import make_world
from tests.cli.running import calaudit

SCRIPT = """
import sys
from tests.cli.running import calaudit
for command in sys.argv[1:]:
    ended = calaudit(*command.split())
    print(ended.status, ended.err.replace("\\n", " "), flush=True)
"""
WRITING = {
    "sample pool.h5 --size 8 --name s --out new/s.h5": "new/s.h5",
    "sample pool.h5 --size 8 --name s --out s.h5": "s.h5",
    "init model.onnx pool.h5 --out first.toml": "first.toml",
    "build model.onnx --scales scales.json --out int8.onnx": "int8.onnx",
    "compare audit.toml --out results": "results",
    "compare audit.toml": "audit",
    "clean audit.toml": "audit",
    "report render audit/report.json --out page": "page",
    "pool import data.npz t.h5 --input x": "t.h5",
}
READING = (
    "pool show pool.h5", "slices pool.h5 --by loudness", "status audit.toml",
    "compare audit.toml --dry-run", "doctor",
)  # fmt: skip


def read_only(folder: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run commands in `folder` on a file system that is mounted read-only, home and temp there."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a folder read-only for a while")
    mount = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", SCRIPT]
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        [*command, *commands], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_world(tmp_path_factory.mktemp("world"), n=400).parent
    calaudit("compare", path / "audit.toml")
    shutil.copy(next((path / "audit" / "scales").glob("*.json")), path / "scales.json")
    return path


@pytest.mark.slow
def test_commands_that_write_name_the_file_and_those_that_read_do_not_mind(folder: Path) -> None:
    np.savez(folder / "data.npz", x=np.zeros((3, 2), np.float32))
    commands = [*WRITING, *READING]
    ended = read_only(folder, *commands)
    assert ended.stderr == ""
    told = dict(zip(commands, ended.stdout.splitlines(), strict=True))
    for command, target in WRITING.items():
        assert told[command].startswith(f"2 calaudit: error: {target}"), told[command]
        assert "Read-only file system" in told[command]
        assert ".part" not in told[command]
        assert "→" in told[command]
    assert {command: told[command] for command in READING} == dict.fromkeys(READING, "0 ")


@pytest.mark.usefixtures("permissions")
def test_a_folder_that_becomes_read_only_meanwhile_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "inside" / "file.txt"
    write_text(path, "before")

    def write() -> None:
        with atomic_write(path) as aside:
            aside.write_text("after")
            path.parent.chmod(0o500)

    with pytest.raises(OutputError, match="can't be written: Permission denied") as caught:
        write()
    path.parent.chmod(0o700)
    assert caught.value.problems[0].where == str(path)
    assert path.read_text() == "before"


def test_a_device_or_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(OutputError, match="is a device or pipe, not a file"):
            write_text(path, "text")
        assert not path.is_file()


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "file.txt")
    for text in ("first", "second"):
        write_text(link, text)
        assert (tmp_path / "real" / "file.txt").read_text() == text
    assert link.is_symlink()
    assert [each.name for each in (tmp_path / "real").iterdir()] == ["file.txt"]
