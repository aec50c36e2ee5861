"""``calaudit explain`` and ``calaudit compare --explain``."""

import json
from pathlib import Path

import pytest

from calaudit.explain import explanations
from calaudit.results.explanation import Cause
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

SETS = AUDIT.replace('name = "loud only"', 'name = "loud only"\nrole = "control"').replace(
    """name = "both"
kind = "stratified"
allocation = "equal"
size = 40
strata = [{ by = "loudness" }]
""",
    """name = "quiet only"
size = 40
candidates = "split = 'calibration' and loudness = 'quiet'"
""",
)
SETS += 'slices = "loudness = quiet"\n'


@pytest.fixture(autouse=True)
def unexplained(request: pytest.FixtureRequest) -> None:
    """Each test starts from a report without explanations, which later runs would keep."""
    if "world" in request.fixturenames:
        folder = request.getfixturevalue("world").with_suffix("")
        folder.joinpath("report.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loud inputs are forty times as large: calibrated on them, quiet ones are left a few steps."""
    folder = tmp_path_factory.mktemp("world")
    path = make_world(folder, n=3000, audit=SETS)
    assert calaudit("compare", path, "--formats", "none").status == 0
    return path


def report_of(audit: Path) -> dict:
    return json.loads(audit.with_suffix("").joinpath("report.json").read_text("utf-8"))


def results_told(explanations: list[dict]) -> list[tuple[str, str]]:
    return sorted(
        (each["cell"], each["slice"]) for one in explanations for each in (one, *one["alike"])
    )


def test_a_control_is_explained_and_the_exit_status_is_the_audits(world: Path) -> None:
    ended = calaudit("explain", world, "--formats", "markdown")
    assert ended.status == 0, ended.err
    told = report_of(world)["explanations"]
    assert {one["cause"] for one in told} == {Cause.RANGES}
    assert {tuple(one["taps"]) for one in told} == {("x",)}
    assert all(one["cell"].startswith("loud only/") for one in told)
    summary = world.with_suffix("").joinpath("summary.md").read_text("utf-8")
    assert "the range of x that" in summary
    assert "the range of x that" in " ".join(ended.out.split())


def test_compare_explain_is_the_same(world: Path) -> None:
    calaudit("explain", world, "--formats", "none")
    first = report_of(world)
    ended = calaudit("compare", world, "--explain", "--formats", "none")
    assert ended.status == 0
    second = report_of(world)
    assert second["explanations"] == first["explanations"] != []
    assert "explanations" in second["timings"]


def test_a_later_compare_and_a_narrower_explain_keep_what_was_explained(world: Path) -> None:
    calaudit("explain", world, "--formats", "none")
    whole = report_of(world)["explanations"]
    ended = calaudit("compare", world, "--formats", "none")
    assert report_of(world)["explanations"] == whole != []
    assert "explained" not in ended.err
    calaudit("explain", world, "--cell", "*/mse", "--formats", "none")
    assert results_told(report_of(world)["explanations"]) == results_told(whole)


def test_what_no_longer_holds_is_dropped_with_a_note(world: Path) -> None:
    calaudit("explain", world, "--formats", "none")
    n = len(results_told(report_of(world)["explanations"]))
    ended = calaudit("compare", world, "--seed", "5", "--formats", "none")
    assert report_of(world)["explanations"] == []
    assert f"{n} results that the report of an earlier run explained aren't" in ended.err
    ended = calaudit("compare", world, "--formats", "none")
    assert "an earlier run explained" not in ended.err


def test_the_choice_can_be_narrowed(world: Path) -> None:
    ended = calaudit(
        "explain", world, "--cell", "*/mse", "--slice", "loudness = quiet", "--formats", "none"
    )
    assert ended.status == 0
    told = report_of(world)["explanations"]
    assert {(one["cell"], one["slice"]) for one in told} == {("loud only/mse", "loudness = quiet")}
    assert not any(one["alike"] for one in told)


def test_what_is_left_is_counted_in_a_warning(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "_alike", lambda *_: [])  # else one stands for both
    calaudit("explain", world, "--most", "1", "--formats", "none")
    found = report_of(world)
    assert len(found["explanations"]) == 1
    (told,) = [w["message"] for w in found["warnings"] if w["code"] == "explanations_left"]
    assert "1 harmed result of 2 isn't explained" in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--cell", "loud onyl/mse"], "--cell: no engine is called 'loud onyl/mse'"),
        (["--slice", "loudness = qiet"], "--slice: "),
        (["--most", "0"], "--most"),
    ],
)
def test_what_matches_nothing_ends_with_status_2(world: Path, flags: list[str], told: str) -> None:
    ended = calaudit("explain", world, *flags, "--formats", "none")
    assert ended.status == 2
    assert told in ended.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--cell", "loud onyl/mse"], "--cell: no engine is called 'loud onyl/mse'"),
        (["--slice", "loudness = qiet"], "--slice: "),
    ],
)
def test_what_matches_nothing_is_refused_before_anything_is_made(
    tmp_path: Path, flags: list[str], told: str
) -> None:
    audit = make_world(tmp_path, n=400)
    ended = calaudit("explain", audit, *flags, "--formats", "none")
    assert ended.status == 2
    assert told in ended.err
    assert not audit.with_suffix("").exists()


def test_a_report_in_place_of_the_audit_file_is_recognised(world: Path) -> None:
    calaudit("compare", world, "--formats", "none")
    report = world.with_suffix("") / "report.json"
    ended = calaudit("explain", report)
    assert ended.status == 2
    assert f"{report}: is JSON, such as a report, and no TOML file" in ended.err
    assert "Give the TOML file" in ended.err
