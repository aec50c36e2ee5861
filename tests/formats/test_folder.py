"""Folders of files: whole or not at all, with their sums, never in the place of others' files."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from calaudit.formats.folder import SUMS, read_sums, written_folder
from calaudit.runtime.errors import OutputError


def write(path: Path, then: Callable[[], object] = lambda: None, **files: str) -> None:
    with written_folder(path) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        then()


def content(path: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in path.iterdir()}


def test_every_file_has_its_sum(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "out", a="one", b="two")
    assert read_sums(tmp_path / "deep" / "out") == {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in (("a", "one"), ("b", "two"))
    }
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["out"]


def test_what_it_wrote_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "out", a="one", b="two")
    write(tmp_path / "out", a="other")
    assert set(content(tmp_path / "out")) == {"a", SUMS}
    assert content(tmp_path / "out")["a"] == "other"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("change", ["more", "changed", "no list", "folder", "link"])
def test_what_others_wrote_is_kept(change: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, a="one")
    if change == "more":
        (out / "mine").write_text("mine")
    elif change == "changed":
        (out / "a").write_text("edited")
    elif change == "no list":
        (out / SUMS).unlink()
    elif change == "folder":
        (out / "inner").mkdir()
    else:
        (out / "a").unlink()
        (out / "a").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_text("one")
    before = sorted(each.name for each in out.iterdir())
    with pytest.raises(OutputError, match="would be lost"):
        write(out, a="new")
    assert sorted(each.name for each in out.iterdir()) == before
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(".part")]


def test_a_file_isnt_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        write(tmp_path / "out", a="one")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", a="one")
    assert content(tmp_path / "out")["a"] == "one"


@pytest.mark.skipif(os.name == "nt", reason="folders have no such modes on Windows")
def test_a_read_only_folder_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"is read-only \(mode 555\)"):
        write(tmp_path / "out", a="one")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert content(tmp_path / "out") == {}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o555


@pytest.mark.skipif(os.name == "nt", reason="folders have no such modes on Windows")
def test_a_folders_mode_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o750)
    for text in ("one", "two"):
        write(tmp_path / "out", a=text)
        assert content(tmp_path / "out")["a"] == text
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def ended(error: BaseException) -> Callable[[], object]:
    def end() -> None:
        raise error

    return end


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_whatever_ends_it_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path / "out", a="one")
    with pytest.raises(type(error)):
        write(tmp_path / "out", ended(error), a="half")
    assert content(tmp_path / "out")["a"] == "one"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


SCRIPT = """
import signal, sys
from pathlib import Path
from calaudit.formats.folder import written_folder
with written_folder(Path(sys.argv[1])) as folder:
    (folder / "a").write_text("half")
    signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_while_files_are_written_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out", a="one")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "out"], capture_output=True, check=False
    )
    assert b"KeyboardInterrupt" in ended.stderr
    assert content(tmp_path / "out")["a"] == "one"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_files_that_came_meanwhile_are_kept(tmp_path: Path) -> None:
    def come() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("theirs")

    with pytest.raises(OutputError, match="would be lost: theirs"):
        write(tmp_path / "out", come, a="one")
    assert set(content(tmp_path / "out")) == {"theirs"}


def test_what_was_there_comes_back_where_the_swap_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", a="one")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".part") and target.name == "out":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write(tmp_path / "out", a="new")
    assert content(tmp_path / "out")["a"] == "one"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    write(tmp_path / "real", a="one")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    write(tmp_path / "out", a="two")
    assert (tmp_path / "out").is_symlink()
    assert content(tmp_path / "real")["a"] == "two"


def test_a_folder_that_cant_be_written_is_told_of(tmp_path: Path, permissions: None) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="can't be written: Permission denied"):
        write(tmp_path / "locked" / "out", a="one")
