"""Audits in which one set is a control: the one that does harm in the planted world."""

import re
from pathlib import Path

import pytest

from calaudit.audit.config import read_audit
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.report.files import read_report
from calaudit.runtime.errors import SettingsError
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

CONTROLLED = (
    AUDIT.replace('name = "loud only"', 'name = "quiet only"\nrole = "control"')
    .replace("and loudness = 'loud'", "and loudness = 'quiet'")
    .replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
    .replace("max_drop = 0.05", 'slices = "loudness = loud"\nmax_drop = 0.05')
)
"""Calibrated on quiet samples alone, loud ones are clipped."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit that has been run, with its planted harm in a control."""
    audit = make_world(tmp_path_factory.mktemp("roles"), n=3000, audit=CONTROLLED)
    ended = calaudit("compare", audit)
    assert ended.status == 0, ended.out
    return audit.parent


def test_a_control_that_does_harm_is_shown_and_gates_nothing(world: Path) -> None:
    report = read_report(world / "audit" / "report.json")
    assert report.verdict == "PASS"
    assert {each.name: each.role for each in report.calibsets} == {
        "quiet only": "control", "both": "candidate",
    }  # fmt: skip
    assert {each.id: each.role for each in report.cells} == {
        "quiet only/minmax": "control", "both/minmax": "candidate",
    }  # fmt: skip
    verdicts = {r.verdict for r in report.results if r.cell == "quiet only/minmax" and r.gate}
    assert "REGRESSED" in verdicts
    assert 'failures="0"' in (world / "audit" / "junit.xml").read_text(encoding="utf-8")
    told = calaudit("report", "show", world / "audit" / "report.json")
    assert told.status == 0
    assert "As a candidate, the control “quiet only” would have regressed in" in told.out


def test_the_same_set_as_a_candidate_regresses_with_nothing_made_again(world: Path) -> None:
    other = world / "candidate.toml"
    other.write_text(CONTROLLED.replace('role = "control"\n', ""), encoding="utf-8")
    before = made(world)
    ended = calaudit("compare", other, "--out", world / "audit")
    assert ended.status == 1
    assert made(world) == before
    # and back, for the other tests
    assert calaudit("compare", world / "audit.toml").status == 0


def made(world: Path) -> dict[str, int]:
    """Artefact → when it was written."""
    folders = ("calibsets", "ranges", "engines", "predictions")
    found = [path for name in folders for path in (world / "audit" / name).iterdir()]
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_an_audit_of_controls_alone_is_inconclusive(world: Path) -> None:
    other = world / "controls.toml"
    both = CONTROLLED.replace('name = "both"', 'name = "both"\nrole = "control"')
    other.write_text(both, encoding="utf-8")
    ended = calaudit("compare", other, "--out", world / "audit", "--formats", "none")
    assert ended.status == 3
    assert re.search(r"Verdict: INCONCLUSIVE\s+\(every calibration set is a control", ended.out)
    assert calaudit("compare", world / "audit.toml").status == 0


def test_an_audit_without_gates_is_inconclusive(world: Path) -> None:
    other = world / "ungated.toml"
    other.write_text(CONTROLLED[: CONTROLLED.index("[[gates]]")], encoding="utf-8")
    ended = calaudit("compare", other, "--out", world / "audit", "--formats", "none")
    assert ended.status == 3
    assert re.search(r"Verdict: INCONCLUSIVE\s+\(nothing is gated", ended.out)
    assert calaudit("compare", world / "audit.toml").status == 0


def test_where_fp32_misses_its_floor_the_audit_is_inconclusive_and_says_so(world: Path) -> None:
    other = world / "floor.toml"
    other.write_text(f"{CONTROLLED}min_reference = 0.97\n", encoding="utf-8")
    ended = calaudit("compare", other, "--out", world / "audit")
    assert ended.status == 3
    assert "FP32 itself misses min_reference on 1 slice" in " ".join(ended.out.split())
    assert "FP32 itself has top-1 accuracy 0.9" in ended.out
    junit = (world / "audit" / "junit.xml").read_text(encoding="utf-8")
    assert "FP32 itself reaches 0.9" in junit
    assert calaudit("compare", world / "audit.toml").status == 0


def roles(folder: Path, *sets: str) -> dict[str, str]:
    text = CONTROLLED[: CONTROLLED.index("[[calibsets]]")]
    tables = "".join(f"[[calibsets]]\n{each}\n" for each in sets)
    path = folder / "audit.toml"
    path.write_text(text + tables + CONTROLLED[CONTROLLED.index("[[tasks]]") :], encoding="utf-8")
    config = read_audit(path)
    return {name: config.role_of(name) for name in config.calibsets}


def test_the_audit_file_goes_before_a_recipes_own_role(tmp_path: Path) -> None:
    for name, role in (("a", "control"), ("b", None)):
        text = f'name = "{name}"\nsize = 4\n' + (f'role = "{role}"\n' if role else "")
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    found = roles(
        tmp_path,
        'recipe = "a.toml"',
        'recipe = "a.toml"\nname = "a ships"\nrole = "candidate"',
        'recipe = "b.toml"',
        'recipe = "b.toml"\nname = "b aside"\nrole = "control"',
        'file = "given.h5"',
        'file = "given.h5"\nname = "last"\nrole = "control"',
    )
    assert found == {
        "a": "control", "a ships": "candidate", "b": "candidate", "b aside": "control",
        "given": "candidate", "last": "control",
    }  # fmt: skip


def test_every_draw_of_a_control_is_a_control(tmp_path: Path) -> None:
    text = CONTROLLED.replace("batch_size = 100", 'replicates = 2\nprecisions = ["int8", "fp16"]')
    audit = make_world(tmp_path, n=400, audit=text)
    with prepared_audit(audit, Overrides()) as prepared:
        found = {cell.id: cell.role for cell in prepared.plan.cells}
    assert found == {
        "quiet only/minmax": "control", "quiet only#2/minmax": "control",
        "both/minmax": "candidate", "both#2/minmax": "candidate", "fp16": "candidate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('name = "x"\nsize = 4\nrole = "kontrol"', "Did you mean control"),
        ('name = "x (control)"\nsize = 4', "looks like the mark of a control"),
    ],
)
def test_roles_and_names_that_would_mislead_are_refused(
    tmp_path: Path, line: str, told: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        roles(tmp_path, line)
