"""No command writes its result over what it is made from."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from calaudit.demo.digits import DEMO_MODEL, build_digits_pool
from tests.cli.running import calaudit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_digits_pool(tmp_path / "pool.h5")
    shutil.copy(DEMO_MODEL, tmp_path / "m.onnx")
    calaudit("sample", tmp_path / "pool.h5", "--size", 8, "--out", tmp_path / "set.h5")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2), np.float32))
    (tmp_path / "r.toml").write_text('name = "r"\nsize = 4\n')
    (tmp_path / "list.csv").write_text("path,label\na.png,0\n")
    return tmp_path


COMMANDS = {
    "sample, the pool": ("pool.h5", "sample pool.h5 --size 8 --out pool.h5"),
    "sample, the recipe": ("r.toml", "sample pool.h5 r.toml --out r.toml"),
    "calibrate, the set": ("set.h5", "calibrate m.onnx set.h5 --out set.h5"),
    "calibrate, the model": ("m.onnx", "calibrate m.onnx set.h5 --out m.onnx"),
    "import, the arrays": ("a.npz", "pool import a.npz a.npz --input x"),
    "import, the manifest": ("list.csv", "pool import list.csv list.csv --input image=path"),
    "another spelling": ("pool.h5", "sample pool.h5 --size 8 --out ./x/../pool.h5"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_an_input_is_never_overwritten(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, command = COMMANDS[case]
    monkeypatch.chdir(folder)
    os.mkdir("x")
    before = (folder / name).read_bytes()
    ended = calaudit(*command.split())
    assert ended.status == 2
    assert "would be overwritten" in ended.err
    assert (folder / name).read_bytes() == before


def test_the_model_is_not_overwritten_by_its_engine(folder: Path) -> None:
    calaudit(
        "calibrate", folder / "m.onnx", folder / "set.h5", "--out", folder / "r.h5",
        "--method", "mse", "--scales", folder / "scales",
    )  # fmt: skip
    scales = next((folder / "scales").iterdir())
    before = (folder / "m.onnx").read_bytes()
    ended = calaudit("build", folder / "m.onnx", "--scales", scales, "--out", folder / "m.onnx")
    assert (ended.status, (folder / "m.onnx").read_bytes()) == (2, before)


def test_a_folder_is_no_file_to_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ended = calaudit("pool", "import", "a.npz", ".", "--input", "x")
    assert ended.status == 2
    assert "is a folder" in ended.err
