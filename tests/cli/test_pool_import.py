"""What `calaudit pool import` says of input that it can't use, and of what killed imports left."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from calaudit.cli import main
from calaudit.formats.pool import open_pool

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``calaudit pool``: its exit status, and what it says on stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["calaudit", "pool", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return command


def images(*names: str) -> None:
    """Images, and ``list.csv`` with a row for each name."""
    for name in set(names):
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(name)
    Path("list.csv").write_text("path,label\n" + "".join(f"{name},1\n" for name in names))


SLOW = """
import os, time
def samples():
    for i in range(2000):
        if i == 1000:
            open("started", "w").close()
            time.sleep(0 if os.path.exists("go") else 600)
        yield {"inputs": {"x": [float(i)] * 100}}
"""


def start_slow() -> subprocess.Popen[str]:
    """An import that has written a part and waits."""
    Path("slow.py").write_text(SLOW)
    script = "import sys; from calaudit.cli import main; main()"
    command = [sys.executable, "-c", script, "pool", "import", "slow:samples", "pool.h5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not Path("started").exists() and process.poll() is None:
        time.sleep(0.02)
    return process


def parts() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name.endswith(".part"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_what_a_killed_import_left_is_removed_by_the_next_one_and_said(run: Run) -> None:
    process = start_slow()
    (part,) = parts()
    Path(".other.h5.0123abcd.part").touch()  # of another file
    np.savez("data.npz", x=np.ones((3, 2), np.float32))
    assert run("import", "data.npz", "pool.h5", "--input", "x") == (0, "")
    assert part in parts()  # a living process writes it
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert part in parts()
    status, said = run("import", "data.npz", "pool.h5", "--input", "x")
    assert status == 0
    assert f"note: {part}: removed (" in said
    assert "killed" in said
    assert parts() == [".other.h5.0123abcd.part"]
    with open_pool("pool.h5") as pool:
        assert len(pool) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_an_import_goes_on_beside_another_one_of_the_same_file(run: Run) -> None:
    process = start_slow()
    np.savez("data.npz", x=np.ones((3, 2), np.float32))
    assert run("import", "data.npz", "pool.h5", "--input", "x")[0] == 0
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert parts() == []


@pytest.mark.parametrize("size", ["99999999", "9999999999999999999999999", "1x99999999999"])
def test_a_size_beyond_the_memory_is_refused(run: Run, size: str) -> None:
    images("a.png")
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path", "--size", size)
    assert status == 2
    assert "image: size " in said
    assert "GB of memory per sample, and this machine has" in said


def test_a_length_beyond_the_memory_is_refused(run: Run) -> None:
    soundfile.write("a.wav", np.zeros(80), 8000)
    Path("list.csv").write_text("path,label\na.wav,1\n")
    flags = ["--input", "x=path", "--sample-rate", "8000", "--length", 10**15]
    status, said = run("import", "list.csv", "p.h5", *flags)
    assert status == 2
    assert "audio: length 1000000000000000 takes" in said


def test_files_beyond_the_memory_are_named(run: Run) -> None:
    images("a.png")
    # Wider than Pillow's images may be, whatever the memory.
    flags = ["--size", "1x600000000", "--channels", "gray", "--as-bytes"]
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path", *flags)
    assert status == 2
    assert "a.png: there isn't enough memory for the image at 1 × 600000000 pixels" in said
    with Path("a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)}
        )
    Path("list.csv").write_text("path,label\na.npy,1\n")
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path")
    assert status == 2
    assert "a.npy: there isn't enough memory for its array" in said


@pytest.mark.parametrize("flag", ["--mean", "--std", "--white"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_the_flags_fault(run: Run, flag: str, value: str) -> None:
    images("a.png")
    soundfile.write("a.wav", np.zeros(80), 8000)
    how = ["--input", "x=path", f"{flag}={value}"]
    status, said = run("import", "list.csv", "p.h5", *how)
    assert status == 2
    assert f"image: {flag.strip('-')} must be " in said
    assert value in said
    if flag != "--white":
        Path("list.csv").write_text("path,label\na.wav,1\n")
        status, said = run("import", "list.csv", "p.h5", *how, "--sample-rate", "8000")
        assert status == 2
        assert f"audio: {flag.strip('-')} must be finite, got {value}" in said


def test_a_path_in_several_rows_is_told_with_table_rows_and_flag(run: Run) -> None:
    images("a.png", "b.png", "c.png", "b.png")
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path")
    assert status == 2
    assert "list.csv: column path: 'b.png' is in rows 2, 4, and without --ids" in said
    assert "--ids COLUMN" in said
    Path("list.csv").write_text("path,name\na.png,u\nb.png,u\n")
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path", "--ids", "name")
    assert status == 2
    assert "list.csv: column name: 'u' is in rows 1, 2\n" in said
    Path("list.csv").write_text("path,name\na.png,u\na.png,v\n")
    assert run("import", "list.csv", "p.h5", "--input", "x=path", "--ids", "name")[0] == 0


def test_a_folder_without_annotations_is_told_what_it_needs(run: Run) -> None:
    Path("img").mkdir()
    for flags in ([], ["--input", "x=path"]):
        status, said = run("import", "img", "p.h5", *flags)
        assert status == 2
        assert "img: is an empty folder" in said
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("img/a.png")
    for flags in ([], ["--input", "x=path"]):
        status, said = run("import", "img", "p.h5", *flags)
        assert status == 2
        assert "img: holds no annotations of COCO or YOLO" in said
        assert "write a CSV with a column of their paths" in said
        assert "--input image=path --target label" in said
    Path("img/photos.csv").write_text("path,label\na.png,1\n")
    status, said = run("import", "img", "p.h5")
    assert status == 2
    assert f"Name the manifest, and its column of paths: {Path('img/photos.csv')} OUT" in said


@pytest.mark.usefixtures("permissions")
def test_files_one_may_not_read_are_said_to_be_so_once(run: Run) -> None:
    images("a.png")
    np.save("a.npy", np.zeros(3))
    soundfile.write("a.wav", np.zeros(80), 8000)
    for name in ("a.png", "a.npy", "a.wav"):
        Path(name).chmod(0)
        Path("list.csv").write_text(f"path,label\n{name},1\n")
        how = ["--input", "x=path", *(["--sample-rate", "8000"] if name == "a.wav" else [])]
        status, said = run("import", "list.csv", "p.h5", *how)
        path = Path(name).resolve()
        assert status == 2
        assert said == (
            f"calaudit: error: {path}: permission denied\n  → Make it readable: chmod u+r {path}.\n"
        )
    Path("list.csv").chmod(0)
    status, said = run("import", "list.csv", "p.h5", "--input", "x=path")
    assert (status, said.count("permission denied"), said.count("list.csv")) == (2, 1, 2)


@pytest.mark.usefixtures("permissions")
def test_a_pool_one_may_not_read_is_said_to_be_so(run: Run) -> None:
    Path("nb.h5").touch(mode=0)
    assert run("show", "nb.h5") == (
        2,
        "calaudit: error: nb.h5: permission denied\n  → Make it readable: chmod u+r nb.h5.\n",
    )
