"""``calaudit status`` and ``calaudit clean`` on a finished audit that is then tampered with."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from calaudit.audit.run import run_audit
from calaudit.audit.store import hold_lock
from tests.audit.world import make_world
from tests.cli.running import calaudit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_audit(make_world(folder, n=400))
    return folder


@pytest.fixture
def world(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished audit that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "world"))


def status(world: Path) -> dict[str, Any]:
    ended = calaudit("status", world / "audit.toml", "--json")
    assert (ended.status, ended.err) == (0, "")
    return dict(json.loads(ended.out))


def states(world: Path) -> dict[str, str]:
    return {each["file"]: each["state"] for each in status(world)["artefacts"]}


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_before_a_run_everything_is_left_to_make_and_nothing_is_written(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=400)
    ended = calaudit("status", audit)
    assert ended.status == 0
    assert "0 of 13 artefacts are made" in ended.out
    assert "Remaining: 2 calibration sets, 2 ranges, 5 predictions, 4 engines: 5 times" in ended.out
    assert not (tmp_path / "audit").exists()
    assert calaudit("compare", audit, "--dry-run").out == calaudit("status", audit, "--all").out
    assert "nothing to remove" in calaudit("clean", audit).err
    assert not (tmp_path / "audit").exists()


def test_after_a_run_nothing_is_left(world: Path) -> None:
    found = status(world)
    assert {each["state"] for each in found["artefacts"]} == {"made"}
    assert (found["running"], found["report"], found["earlier"], found["leftovers"]) == (
        False, True, [], [],
    )  # fmt: skip
    assert "Nothing remains to be built." in calaudit("status", world / "audit.toml").out
    assert "loud only/mse" in calaudit("status", world / "audit.toml", "--all").out


def test_damage_and_gaps_are_told_and_looking_changes_nothing(world: Path) -> None:
    engine, *_ = sorted((world / "audit" / "engines").glob("*.onnx"))
    engine.write_bytes(engine.read_bytes()[:-1])
    (ranges,) = (world / "audit" / "ranges").glob("ranges-*.h5")
    ranges.unlink()
    drawn, *_ = sorted((world / "audit" / "calibsets").glob("*.seal"))
    drawn.write_bytes(b"\xff\x00")
    before = everything(world)
    found = states(world)
    assert found[f"engines/{engine.name}"] == "damaged"
    assert found[f"ranges/{ranges.name}"] == "missing"
    assert found[f"calibsets/{drawn.stem}"] == "damaged"
    assert sorted(found.values()).count("made") == 10
    assert everything(world) == before


def test_a_run_at_work_is_told_and_a_second_one_refused(world: Path) -> None:
    with hold_lock(world / "audit"):
        assert status(world)["running"]
        for command in ("compare", "clean"):
            ended = calaudit(command, world / "audit.toml")
            assert (ended.status, ended.out) == (2, "")
            assert "lock held by another command that is at work on this folder" in ended.err
            assert {"compare": "compare --wait does", "clean": "then run calaudit clean again"}[
                command
            ] in ended.err
    assert not status(world)["running"]
    assert calaudit("compare", world / "audit.toml", "--formats", "none").status == 1


def test_clean_removes_what_the_audit_no_longer_uses(world: Path) -> None:
    before = everything(world / "audit")
    path = world / "audit.toml"
    path.write_text(path.read_text().replace('methods = ["minmax", "mse"]', 'methods = ["mse"]'))
    (world / "audit" / "engines" / "mine.onnx").write_bytes(b"mine")
    (world / "audit" / "engines" / ".x.onnx.0123abcd.part").write_bytes(b"half")
    earlier = {each["file"] for each in status(world)["earlier"]}
    assert len(earlier) == 2 * (2 + 1 + 2)  # two sets: engine, scales, predictions; seals
    assert {each["file"] for each in status(world)["leftovers"]} == {
        "engines/.x.onnx.0123abcd.part"
    }
    told = calaudit("clean", path, "--dry-run")
    assert len(told.out.splitlines()) == len(earlier) + 1
    assert set(before) < set(everything(world / "audit"))
    assert calaudit("clean", path).out == told.out
    after = everything(world / "audit")
    assert after == {
        **{name: content for name, content in before.items() if name not in earlier},
        "engines/mine.onnx": b"mine",
    }
    assert set(states(world).values()) == {"made"}


def test_clean_all_keeps_reports_and_needs_no_pool(world: Path) -> None:
    (world / "pool.h5").unlink()
    assert calaudit("clean", world / "audit.toml", "--all").status == 0
    assert sorted(everything(world / "audit")) == [
        "junit.xml", "metrics.prom", "report.html", "report.json", "summary.md",
    ]  # fmt: skip


def test_a_run_removes_what_a_killed_one_was_writing(world: Path) -> None:
    left = world / "audit" / "predictions" / ".fp32.h5.00ff00ff.part"
    left.write_bytes(b"half")
    run_audit(world / "audit.toml")
    assert not left.exists()


def test_a_report_is_rendered_into_no_folder_that_a_run_holds(world: Path, tmp_path: Path) -> None:
    report = world / "audit" / "report.json"
    before = everything(world)
    with hold_lock(world / "audit"):
        for out in ([], ["--out", world / "audit"]):
            ended = calaudit("report", "render", report, "--formats", "junit", *out)
            assert ended.status == 2
            assert "lock held by another command" in ended.err
            assert "then render again" in ended.err
        elsewhere = ["--formats", "junit", "--out", tmp_path / "site"]
        assert calaudit("report", "render", report, *elsewhere).status == 0
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["junit.xml"]
    assert everything(world) == before


def test_a_results_folder_that_is_a_file_is_told_by_every_command(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=400)
    audit = audit.rename(tmp_path / "model.onnx.toml")
    model = (tmp_path / "model.onnx").read_bytes()
    for command in (
        ["compare"],
        ["compare", "--dry-run"],
        ["status"],
        ["clean"],
        ["clean", "--all"],
    ):
        ended = calaudit(*command, audit)
        assert (ended.status, ended.out) == (2, ""), command
        assert f"{tmp_path / 'model.onnx'}: is a file, but results go to a folder" in ended.err
        assert "--out" in ended.err
    assert (tmp_path / "model.onnx").read_bytes() == model
    assert calaudit("status", audit, "--out", tmp_path / "out").status == 0


def test_another_audits_report_is_never_replaced(world: Path, tmp_path: Path) -> None:
    other = world / "other.toml"
    text = (world / "audit.toml").read_text()
    other.write_text(text.replace('name = "world"', 'name = "other"'))
    before = everything(world / "audit")
    for options in ([], ["--dry-run"]):
        ended = calaudit("compare", other, "--out", world / "audit", *options)
        assert (ended.status, ended.out) == (2, "")
        assert "is the report of another audit, 'world', which 'other' would replace" in ended.err
        assert "--out" in ended.err
    assert everything(world / "audit") == before
    # renamed, it is the same audit: the folder has its file's name
    (world / "audit.toml").write_text(other.read_text())
    assert calaudit("compare", world / "audit.toml", "--formats", "none").status == 1
    assert calaudit("compare", other, "--out", world / "audit", "--formats", "none").status == 1
