"""Whoever reads a file writes its input into the pool; what can't be stored is told as before."""

import resource
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import calaudit
from calaudit.formats.importers import samples
from calaudit.formats.importers.direct import DirectInputs
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.importers.samples import Sample, write_samples
from calaudit.formats.importers.spare import Spare
from calaudit.formats.pool_writer import PoolWriter
from calaudit.runtime.errors import PoolError
from calaudit.runtime.settings import parse_settings


def save(folder: Path, pixels: np.ndarray) -> Path:
    names = [f"{number}.png" for number in range(len(pixels))]
    for name, each in zip(names, pixels, strict=True):
        Image.fromarray(each).save(folder / name)
    (folder / "list.csv").write_text("\n".join(["path", *names]))
    return folder / "list.csv"


def how(**image: Any) -> ManifestSettings:
    given = {"inputs": {"x": {"image": image, "column": "path"}}}
    return parse_settings(given, ManifestSettings, where="test")


def colours(n: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("cores", [1, 3])
def test_all_images_but_the_first_few_are_written_by_who_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(samples, "n_cores", lambda: cores)
    gathered: list[int] = []
    stack = samples._stack
    monkeypatch.setattr(samples, "_stack", lambda *given: gathered.append(1) or stack(*given))
    pixels = colours(100)
    source = save(tmp_path, pixels)
    import_manifest(source, tmp_path / "x.h5", how(divide_by=1.0))
    assert gathered == []
    with calaudit.open_pool(tmp_path / "x.h5") as pool:
        found = pool.read_inputs(np.arange(100))["x"]
    np.testing.assert_array_equal(found, np.moveaxis(pixels, -1, 1).astype(np.float32))


@pytest.mark.parametrize("compress", [False, True])
def test_compressed_or_not_a_pool_holds_the_same(tmp_path: Path, compress: bool) -> None:
    source = save(tmp_path, colours(100, side=40))
    out = tmp_path / "x.h5"
    import_manifest(source, out, how(as_bytes=True), compress=compress)
    import_manifest(source, tmp_path / "float.h5", how())
    with calaudit.open_pool(out) as one, calaudit.open_pool(tmp_path / "float.h5") as other:
        assert one.fingerprint() == other.fingerprint()
    with h5py.File(out) as file:
        assert file["inputs/x"].compression == ("gzip" if compress else None)


@pytest.mark.parametrize("cores", [1, 4])
def test_samples_that_overflow_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(samples, "n_cores", lambda: cores)
    pixels = np.zeros((90, 8, 8, 3), np.uint8)
    pixels[[30, 31, 80]] = 200
    source = save(tmp_path, pixels)
    with pytest.raises(PoolError) as caught:
        import_manifest(source, tmp_path / "x.h5", how(std=[1e-38, 1e-38, 1e-39], divide_by=1e-3))
    assert [each.message for each in caught.value.problems] == [
        "holds NaN or infinity in 2 samples: 30.png, 31.png"
    ]
    assert str(caught.value.problems[0].where).endswith("x.h5: /inputs/x")
    assert not (tmp_path / "x.h5").exists()


def test_a_first_sample_that_overflows_is_named(tmp_path: Path) -> None:
    source = save(tmp_path, np.full((3, 8, 8, 3), 200, np.uint8))
    with pytest.raises(PoolError, match=r"in 1 sample: 0\.png"):
        import_manifest(source, tmp_path / "x.h5", how(std=[1e-38], divide_by=1e-3))


def test_what_is_written_is_given_back_once(tmp_path: Path) -> None:
    spare = Spare()
    direct = DirectInputs(spare)
    values, _ = (spare.take((4,), np.float32) for _ in range(2))
    values[:] = 1
    assert direct.write(0, {"x": values}) == {"x": values}  # there is no room yet
    with PoolWriter(tmp_path / "x.h5") as pool:
        direct.open(pool, {"x": values}, 2)
        odd = np.ones(5, np.float32)
        assert direct.write(1, {"x": odd})["x"] is odd
        left = direct.write(0, {"x": values})
        assert left == {"x": None}
        assert direct.write(0, left) == {"x": None}
        direct.write(1, {"x": np.zeros(4, np.float32)})
        pool.append({}, {"y": [0, 1]})
    taken = [spare.take((4,), np.float32) for _ in range(3)]
    assert sum(np.shares_memory(each, values) for each in taken) == 1


def test_a_full_disk_met_by_a_reader_is_told_of_the_pool(tmp_path: Path) -> None:
    source = save(tmp_path, colours(200, side=64))
    script = (
        "import resource, sys\n"
        "from calaudit.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))\n"
        "main()\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x.h5"
    command = ["pool", "import", source, target, "--input", "image=path"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{target}: can't be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_who_reads_has_stopped_before_the_pool_is_closed_whatever_ends_it(tmp_path: Path) -> None:
    left: list[Path] = []

    def samples() -> Generator[Sample, None, None]:
        try:
            yield Sample({"x": np.zeros(3, np.float32)}, meta={"a": 1})
            yield Sample({"x": np.zeros(3, np.float32)}, meta={"b": 1})
        finally:  # where threads that read, and write into the pool, are waited for
            left.extend(tmp_path.rglob("*"))

    with pytest.raises(PoolError):
        write_samples(tmp_path / "pool.h5", samples(), total=2)
    assert left
    assert not list(tmp_path.iterdir())
