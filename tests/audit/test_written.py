"""One run writes every form of its report while it holds the results folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calaudit.audit.run import run_audit
from calaudit.audit.store import is_locked
from calaudit.report import forms
from calaudit.report.files import read_report
from calaudit.report.forms import FORMS, Evidence
from calaudit.results.report import Report
from calaudit.runtime.errors import OutputError, SettingsError
from calaudit.runtime.registry import Registry
from tests.audit.world import make_world
from tests.cli.running import calaudit

USUAL = ["junit.xml", "metrics.prom", "report.html", "report.json", "summary.md"]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_world(tmp_path_factory.mktemp("world"), n=400)
    run_audit(made)
    return made


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix)


def test_python_users_get_the_files_that_the_command_writes(audit: Path) -> None:
    folder = audit.with_suffix("")
    assert files(folder) == USUAL
    by_python = (folder / "summary.md").read_bytes()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The ranges file wasn" not in page
    done = calaudit("compare", audit)
    assert done.status == 1
    assert done.err.splitlines()[-5:] == [
        f"wrote {folder / name}"
        for name in ("report.json", "report.html", "junit.xml", "summary.md", "metrics.prom")
    ]
    assert files(folder) == USUAL
    assert (folder / "summary.md").read_bytes() == by_python


def test_forms_are_written_while_the_folder_is_held_and_after_the_report(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = audit.with_suffix("")
    seen: list[tuple[bool, bool, bool]] = []
    load = type(FORMS).load

    def watched(registry: Registry[Any], name: str, **options: Any) -> Any:
        form = load(registry, name, **options)
        if registry is not FORMS:
            return form

        def write(report: Report, evidence: Evidence, path: Path) -> None:
            stored = read_report(folder / "report.json")
            seen.append((is_locked(folder), stored == report, evidence.observation is not None))
            assert evidence.pool is not None
            assert evidence.pool.fingerprint() == report.audit.pool.fingerprint
            form.write(report, evidence, path)

        return replace(form, write=write)

    monkeypatch.setattr(type(FORMS), "load", watched)
    run_audit(audit, formats="junit,markdown")
    assert seen == [(True, True, True)] * 2
    assert not is_locked(folder)


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    made = make_world(tmp_path, n=400)
    _, path = run_audit(made, formats="none")
    assert files(path.parent) == ["report.json"]
    run_audit(made, formats="svg,json")
    assert files(path.parent) == ["report.json", "report.svg"]


def test_an_unknown_form_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    made = make_world(tmp_path, n=400)
    with pytest.raises(SettingsError, match="there is no format 'htm'"):
        run_audit(made, formats="htm")
    assert not made.with_suffix("").exists()


def test_a_form_that_cannot_be_written_leaves_the_report_and_ends_with_2(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = audit.with_suffix("")
    before = (folder / "summary.md").read_bytes()

    def full(*_: object, **__: object) -> list[Path]:
        raise OutputError("can't be written: No space left on device", where="summary.md")

    (folder / "report.json").unlink()
    monkeypatch.setattr(forms, "write_forms", full)
    with pytest.raises(OutputError, match="No space left"):
        run_audit(audit)
    assert read_report(folder / "report.json").verdict == "REGRESSED"
    assert (folder / "summary.md").read_bytes() == before
    assert not is_locked(folder)
