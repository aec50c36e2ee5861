"""Files are read on all cores, and what comes of it is the same on any number of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from calaudit.formats.importers import samples
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.importers.samples import read_each
from calaudit.runtime.errors import PoolError, Problem
from calaudit.runtime.settings import parse_settings

RUN = "import sys; from calaudit.cli import main; main()"
HOW = {
    "inputs": {
        "image": {"image": {"size": [96, 96], "mean": [0.5], "std": [0.2]}, "column": "image"},
        "wave": {"audio": {"sample_rate": 8000, "length": 4000}, "column": "wave"},
    },
    "targets": {"mask": {"mask": {"ignore": 255}, "column": "mask"}},
    "ids": "image",
}


def save_files(folder: Path, n: int) -> Path:
    """Images, recordings and masks that take unlike times to decode, and their manifest."""
    rng = np.random.default_rng(0)
    rows = ["image,wave,mask,number"]
    for i in range(n):
        side = int(rng.integers(20, 200))
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        Image.fromarray(pixels[..., 0] % 3).save(folder / f"{i}.mask.png")
        wave = rng.normal(0, 0.1, int(rng.integers(2_000, 20_000)))
        soundfile.write(folder / f"{i}.flac", wave, 16_000 if i % 2 else 8_000)
        rows.append(f"{i}.png,{i}.flac,{i}.mask.png,{i}")
    (folder / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "list.csv"


def how() -> ManifestSettings:
    return parse_settings(HOW, ManifestSettings, where="test")


def test_a_pool_has_the_same_bytes_on_any_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_files(tmp_path, 100)
    made = {}
    for cores in (1, 2, 7):
        monkeypatch.setattr(samples, "n_cores", lambda cores=cores: cores)
        import_manifest(source, tmp_path / "pool.h5", how())
        made[cores] = (tmp_path / "pool.h5").read_bytes()
    assert made[1] == made[2]
    assert made[1] == made[7]


@pytest.mark.parametrize("cores", [1, 5])
def test_damaged_files_are_named_in_their_order_whatever_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    source = save_files(tmp_path, 60)
    damaged = ["7.png", "9.flac", "8.mask.png", "55.png"]
    for name in damaged:
        (tmp_path / name).write_bytes(b"no picture and no sound")
    monkeypatch.setattr(samples, "n_cores", lambda: cores)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PoolError) as caught:
        import_manifest(source, tmp_path / "pool.h5", how())
    named = [Path(str(each.where)).name for each in caught.value.problems]
    assert named == ["7.png", "8.mask.png", "9.flac", "55.png"]
    assert sorted(tmp_path.iterdir()) == before


def test_after_ten_unreadable_files_the_rest_is_not_read() -> None:
    read: list[int] = []

    def refuse(number: int) -> None:
        read.append(number)
        raise PoolError.of([Problem("isn't readable", str(number))])

    with pytest.raises(PoolError) as caught:
        list(read_each(10_000, refuse))
    assert [each.where for each in caught.value.problems] == [str(i) for i in range(10)]
    assert len(read) < 1_000


def test_few_samples_are_read_before_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "n_cores", lambda: 3)
    started: list[int] = []
    before = threading.active_count()
    found = read_each(1_000, lambda number: started.append(number) or number)
    for wanted in range(50):
        assert next(found) == (wanted, wanted)
        time.sleep(0.002)  # the readers could run far ahead meanwhile
        assert len(started) <= wanted + 1 + 3 * samples._AHEAD
    assert threading.active_count() == before + 3
    found.close()
    assert threading.active_count() == before
    assert len(started) < 100


def test_the_threads_end_where_the_pool_refuses_a_sample(tmp_path: Path) -> None:
    source = save_files(tmp_path, 40)
    sizes = parse_settings(
        {"inputs": {"image": {"image": {}, "column": "image"}}}, ManifestSettings, where="test"
    )
    before = threading.active_count()
    with pytest.raises(PoolError, match=r"has shape .* in sample .*, .* in sample '0\.png'"):
        import_manifest(source, tmp_path / "pool.h5", sizes)
    assert threading.active_count() == before


def photographs(folder: Path, n: int) -> Path:
    """`n` names of one photograph of 512 × 512 pixels, which an import takes as many."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(folder / "0.png")
    for i in range(1, n):
        os.link(folder / "0.png", folder / f"{i}.png")
    (folder / "list.csv").write_text("path\n" + "".join(f"{i}.png\n" for i in range(n)))
    return folder / "list.csv"


def test_ctrl_c_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    source = photographs(tmp_path, 2_000)
    before = sorted(tmp_path.iterdir())
    arguments = ["pool", "import", source, tmp_path / "out" / "pool.h5", "--input", "image=path"]
    command = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any(each.stat().st_size > 20 << 20 for each in tmp_path.glob("out/.pool.h5.*.part")):
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out"])
    with pytest.raises(ProcessLookupError):  # nobody is left of the command's group
        os.killpg(command.pid, 0)


MEASURED = """
import re, sys
from pathlib import Path
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.runtime.settings import parse_settings
how = {"inputs": {"image": {"image": {}, "column": "path"}}}
settings = parse_settings(how, ManifestSettings, where="test")
import_manifest(Path(sys.argv[1]), Path(sys.argv[2]), settings)
# ru_maxrss would be that of the process which started this one, where it is larger
print(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    most = {}
    for n in (60, 300):  # 188 and 943 MB of float32
        folder = tmp_path / str(n)
        folder.mkdir()
        source = photographs(folder, n)
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, source, folder / "pool.h5"],
            capture_output=True,
            text=True,
            check=True,
        )
        most[n] = int(ended.stdout) << 10
        (folder / "pool.h5").unlink()
    assert max(most.values()) < 450 << 20, most  # 100 MB are the libraries
    assert most[300] - most[60] < 64 << 20, most
