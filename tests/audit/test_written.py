"""One run writes every form of its report while it holds the results folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calaudit.audit.run import run_audit
from calaudit.audit.store import is_locked
from calaudit.report.files import read_report
from calaudit.report.forms import FORMS, Evidence, FormsError
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError
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


def failing(name: str, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    """Let a form fail as on a full disk, or with an error."""
    load = type(FORMS).load

    def write(*_: object) -> None:
        raise error or OSError(28, "No space left on device")

    def loaded(registry: Registry[Any], asked: str, **options: Any) -> Any:
        found = load(registry, asked, **options)
        return replace(found, write=write) if registry is FORMS and asked == name else found

    monkeypatch.setattr(type(FORMS), "load", loaded)


def test_a_form_that_cannot_be_written_hides_neither_verdict_nor_other_forms(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = audit.with_suffix("")
    run_audit(audit)
    (folder / "summary.md").unlink()
    failing("junit", monkeypatch)
    with pytest.raises(FormsError, match="No space left") as caught:
        run_audit(audit)
    assert caught.value.report == read_report(folder / "report.json")
    assert files(folder) == [name for name in USUAL if name != "junit.xml"]
    assert not is_locked(folder)
    done = calaudit("compare", audit)
    assert done.status == 2
    assert "Verdict: REGRESSED" in done.out
    assert f"{folder / 'junit.xml'}: can't be written: No space left on device" in done.err
    assert f"calaudit report render {folder / 'report.json'}" in done.err
    assert f"wrote {folder / 'metrics.prom'}" in done.err
    rendered = calaudit("report", "render", folder / "report.json", "--out", folder / "site")
    assert rendered.status == 2
    assert files(folder / "site") == ["metrics.prom", "report.html", "summary.md"]
    assert f"wrote {folder / 'site' / 'metrics.prom'}" in rendered.err


def test_a_run_that_is_ended_between_its_forms_leaves_none_of_an_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_world(tmp_path, n=400)
    folder = made.with_suffix("")
    before, _ = run_audit(made)
    made.write_text(made.read_text().replace("max_drop = 0.05", "max_drop = 0.99"))
    failing("html", monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_audit(made)
    assert read_report(folder / "report.json").verdict != before.verdict
    assert files(folder) == ["report.json"]


@pytest.mark.parametrize("formats", ["html", "none"])
def test_no_form_of_an_earlier_report_stays(tmp_path: Path, formats: str) -> None:
    made = make_world(tmp_path, n=400)
    folder = made.with_suffix("")
    folder.mkdir()
    (folder / "junit.xml").write_text("another tool's")
    run_audit(made, formats="html,markdown")
    assert (folder / "junit.xml").read_text() == "another tool's"
    run_audit(made)
    made.write_text(made.read_text().replace("max_drop = 0.05", "max_drop = 0.99"))
    done = calaudit("compare", made, "--formats", formats)
    assert "REGRESSED" not in done.out
    left = {"html": ["report.html", "report.json"], "none": ["report.json"]}[formats]
    assert files(folder) == left
    (note,) = [line for line in done.err.splitlines() if line.startswith("calaudit: note: deleted")]
    assert "junit.xml" in note
    assert "summary.md" in note
    assert "calaudit report render" in note


def test_python_users_are_warned_of_forms_that_go(tmp_path: Path) -> None:
    made = make_world(tmp_path, n=400)
    run_audit(made, formats=["markdown", "junit"])
    assert files(made.with_suffix("")) == ["junit.xml", "report.json", "summary.md"]
    with pytest.warns(UserWarning, match="deleted.*junit.xml"):
        run_audit(made, formats=["markdown"])
    assert files(made.with_suffix("")) == ["report.json", "summary.md"]


@pytest.mark.parametrize("formats", [3, ["html", 3], [], ["none", "html"]])
def test_formats_that_are_none_are_refused(tmp_path: Path, formats: Any) -> None:
    with pytest.raises(SettingsError, match=r"names of forms|no format|combined"):
        run_audit(tmp_path / "none.toml", formats=formats)
