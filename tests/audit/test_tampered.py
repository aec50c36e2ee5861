"""Whatever happened to an artefact, the next run finds out, fixes it, and reports the same."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calaudit.audit.run import run_audit
from calaudit.results.document import to_document, without_times
from tests.audit.world import make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("finished")
    report, _ = run_audit(make_world(folder, n=400))
    return folder, without_times(to_document(report))


def cut(path: Path, _other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, _other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path: Path, other: Path) -> None:
    """Two artefacts with their seals, as if someone had renamed them."""
    for one, two in ((path, other), (seal(path), seal(other))):
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)


def seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def unseal(path: Path, _other: Path) -> None:
    seal(path).write_bytes(b"\xff" * 9)


@pytest.mark.parametrize("damage", [cut, flip, swap, unseal])
@pytest.mark.parametrize("kind", ["calibsets", "ranges", "engines", "predictions"])
def test_tampering_is_found_and_mended(
    finished: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    kind: str,
    damage: Callable[[Path, Path], None],
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "world"))
    files = sorted(p for p in (folder / "audit" / kind).iterdir() if p.suffix in {".h5", ".onnx"})
    if damage is swap and len(files) == 1:
        files.append(min((folder / "audit" / "calibsets").glob("*.h5")))
    damage(files[0], files[-1] if damage is swap else files[0])
    touched = {files[0], files[-1]} if damage is swap else {files[0]}
    report, _ = run_audit(folder / "audit.toml")
    found = without_times(to_document(report))
    remade = [each for each in found["warnings"] if each["code"] == "artefact_remade"]
    assert {each["where"] for each in remade} == {f"{p.parent.name}/{p.name}" for p in touched}
    found["warnings"] = [each for each in found["warnings"] if each not in remade]
    assert found == finished[1]
    again, _ = run_audit(folder / "audit.toml")
    assert without_times(to_document(again)) == finished[1]


def test_scales_and_the_report_are_written_anew_each_time(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "world"))
    spoiled = [folder / "audit" / "report.json", *(folder / "audit" / "scales").iterdir()]
    kept = {path: path.read_bytes() for path in spoiled[1:]}
    for path in spoiled:
        path.write_bytes(b"{")
    report, _ = run_audit(folder / "audit.toml")
    assert without_times(to_document(report)) == finished[1]
    assert {path: path.read_bytes() for path in kept} == kept
