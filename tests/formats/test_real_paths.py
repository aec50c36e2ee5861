"""Files of a list are found where links lead, as pathlib finds them."""

import os
from pathlib import Path

import pytest

from calaudit.formats.importers.real_paths import RealPaths, is_within

NAMES = [
    "a.png", "in/a.png", "in/../a.png", "in/./a.png", "./in//a.png", "in/a.png/", "", ".", "..",
    "in/..", "linked/a.png", "in/link.png", "out.png", "linked/../a.png", "absent/a.png",
    "in/absent.png", "broken.png", "linked",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "real" / "data"
    (data / "in").mkdir(parents=True)
    for name in ("a.png", "in/a.png", "../a.png"):
        (data / name).touch()
    (data / "linked").symlink_to(data / "in")
    (data / "in" / "link.png").symlink_to("../a.png")
    (data / "out.png").symlink_to(tmp_path / "real" / "a.png")
    (data / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "data").symlink_to(data)
    return tmp_path / "data"


def test_paths_are_those_of_pathlib(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_paths = RealPaths()
    for _ in range(2):  # a folder that is known, too
        for name in NAMES:
            path = os.path.join(folder, name)
            assert real_paths.of(path) == str(Path(path).resolve()), name
    monkeypatch.chdir(folder)
    for name in NAMES:
        assert RealPaths().of(name) == str(Path(name).resolve()), name
    assert RealPaths().of(Path("in/a.png")) == str(Path("in/a.png").resolve())


@pytest.mark.parametrize(
    ("real", "root", "within"),
    [
        ("/data/a.png", "/data", True),
        ("/data", "/data", True),
        ("/data/in/a.png", "/data", True),
        ("/data2/a.png", "/data", False),
        ("/dat", "/data", False),
        ("/a.png", "/", True),
        ("/", "/", True),
    ],
)
def test_a_path_within_a_folder_is_told_as_pathlib_does(real: str, root: str, within: bool) -> None:
    assert is_within(real, root) is within
    assert Path(real).is_relative_to(root) is within
