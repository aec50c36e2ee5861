"""Cells whose ranges are given, sets with methods of their own, paths from another folder."""

import json
from pathlib import Path

import pytest

from calaudit.formats.scales import open_scales
from calaudit.formats.trt_cache import cache_of, write_trt_cache
from calaudit.formats.trt_header import TrtVersion
from calaudit.report.files import read_report
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

GIVEN = '\n[[scales]]\nname = "ours"\nfile = "ours.json"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit that has run, and the scale table of one of its cells."""
    audit = make_world(tmp_path_factory.mktemp("given"))
    assert calaudit("compare", audit, "--formats", "none").status in {0, 1}
    (table,) = (audit.parent / "audit" / "scales").glob("both-mse-*.json")
    (audit.parent / "ours.json").write_bytes(table.read_bytes())
    return audit.parent


def run(world: Path, name: str, text: str) -> Report:
    path = world / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    ended = calaudit("compare", path, "--formats", "markdown")
    assert ended.status in {0, 1, 3}, ended.err
    return read_report(world / name / "report.json")


def test_given_ranges_judge_as_the_cell_whose_table_they_are(world: Path) -> None:
    report = run(world, "beside", AUDIT + GIVEN)
    cell = next(each for each in report.cells if each.id == "ours/given")
    assert (cell.calibset, cell.method, cell.given_ranges) == (None, "given", "ours")
    assert cell.role == "candidate"
    assert cell.scales is not None
    assert (
        open_scales(world / "beside" / cell.scales).scales
        == open_scales(world / "ours.json").scales
    )
    of = {(r.cell, r.slice, r.metric): r for r in report.results}
    pairs = [
        (of["ours/given", r.slice, r.metric], r) for r in report.results if r.cell == "both/mse"
    ]
    assert len(pairs) == 16
    for mine, theirs in pairs:
        assert (mine.drop, mine.candidate, mine.flips) == (
            theirs.drop, theirs.candidate, theirs.flips
        )  # fmt: skip
    told = (world / "beside" / "summary.md").read_text(encoding="utf-8")
    assert "| `ours` |" in told


def test_given_ranges_need_no_calibration_set(world: Path) -> None:
    start, end = AUDIT.index("[[calibsets]]"), AUDIT.index("[[tasks]]")
    report = run(world, "alone", AUDIT[:start] + AUDIT[end:] + GIVEN)
    assert [each.id for each in report.cells] == ["ours/given"]
    assert report.calibsets == ()
    assert not list((world / "alone").glob("ranges/ranges-*"))
    assert report.harm is not None
    assert [each.cell for each in report.harm.cells] == ["ours/given"]
    status = calaudit("status", world / "alone.toml")
    assert status.status == 0
    assert "missing" not in status.out


def test_given_ranges_as_controls_are_shown_and_decide_nothing(world: Path) -> None:
    table = json.loads((world / "ours.json").read_text(encoding="utf-8"))
    for tap in table["taps"].values():
        tap["amax"], tap["scale"] = 127e-6, 1e-6
    (world / "narrow.json").write_text(json.dumps(table), encoding="utf-8")
    text = AUDIT.replace('"minmax", "mse"', '"mse"') + GIVEN
    text += '\n[[scales]]\nfile = "narrow.json"\nrole = "control"\n'
    report = run(world, "controls", text.replace('name = "loud only"', 'name = "loud"', 1))
    roles = {each.id: each.role for each in report.cells}
    assert roles["narrow/given"] == "control"
    verdicts = {r.verdict for r in report.results if r.cell == "narrow/given" and r.gate}
    assert "REGRESSED" in verdicts
    told = (world / "controls" / "summary.md").read_text(encoding="utf-8")
    assert "As a candidate, the control narrow would have regressed" in told


def test_a_calibration_cache_is_taken_as_a_table(world: Path) -> None:
    table = open_scales(world / "ours.json")
    cache = cache_of(table, TrtVersion.parse("8.6.1"), algorithm="EntropyCalibration2")
    write_trt_cache(world / "ours.cache", cache)
    report = run(world, "cached", AUDIT + GIVEN.replace("ours.json", "ours.cache"))
    cell = next(each for each in report.cells if each.id == "ours/given")
    assert cell.ranges_by == "tensorrt"
    drops = {(r.slice, r.metric): r.drop for r in report.results if r.cell == "both/mse"}
    found = {(r.slice, r.metric): r.drop for r in report.results if r.cell == "ours/given"}
    assert found == drops


def test_a_changed_table_is_another_engine(world: Path) -> None:
    run(world, "changing", AUDIT + GIVEN)
    before = set((world / "changing" / "engines").glob("ours-given-*.onnx"))
    table = json.loads((world / "ours.json").read_text(encoding="utf-8"))
    for tap in table["taps"].values():
        tap["amax"], tap["scale"] = 2 * tap["amax"], 2 * tap["scale"]
    (world / "twice.json").write_text(json.dumps(table), encoding="utf-8")
    run(world, "changing", AUDIT + GIVEN.replace("ours.json", "twice.json"))
    after = set((world / "changing" / "engines").glob("ours-given-*.onnx"))
    assert len(before) == 1
    assert len(after) == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"taps": {"y": {"amax": 127.0, "scale": 1.0}}}, "has no range for 1 tensor"),
        ({"model_fingerprint": "0123"}, "was made for another model (fingerprint 0123"),
        (
            {"model_fingerprint": "0123", "taps": {"y": {"amax": 127.0, "scale": 1.0}}},
            "was made for another model (fingerprint 0123",
        ),
        ({"calaudit_format": "pool"}, "isn't a scale table"),
    ],
)
def test_tables_that_do_not_fit_are_refused_before_any_work(
    world: Path, changed: dict[str, object], said: str
) -> None:
    table = json.loads((world / "ours.json").read_text(encoding="utf-8"))
    (world / "wrong.json").write_text(json.dumps(table | changed), encoding="utf-8")
    path = world / "refused.toml"
    path.write_text(AUDIT + GIVEN.replace("ours.json", "wrong.json"), encoding="utf-8")
    ended = calaudit("compare", path)
    assert ended.status == 2
    assert said in ended.err
    assert "wrong.json" in ended.err
    assert ended.err.count("calaudit: error: ") == 1  # one cause is told once
    assert not (world / "refused").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GIVEN.replace("ours.json", "none.json"), "none.json: there is no such file"),
        (GIVEN.replace('"ours"', '"both"'), "a calibration set is called 'both' as well"),
        (GIVEN + GIVEN, "two given ranges are called 'ours'"),
        ('\n[[scales]]\nname = "x"\n', "file: this key is missing"),
        (GIVEN.replace("file", "path"), "scales[0].path: unknown key"),
    ],
)
def test_what_cannot_be_meant_is_an_error(world: Path, text: str, said: str) -> None:
    path = world / "refused.toml"
    path.write_text(AUDIT + text, encoding="utf-8")
    ended = calaudit("compare", path)
    assert ended.status == 2
    assert said in ended.err


def test_a_set_may_have_methods_of_its_own(world: Path) -> None:
    text = AUDIT.replace('name = "both"\n', 'name = "both"\nmethods = ["mse"]\n')
    report = run(world, "methods", text)
    assert [each.id for each in report.cells] == [
        "loud only/minmax", "loud only/mse", "both/mse",
    ]  # fmt: skip


def test_a_sets_methods_are_among_the_audits(world: Path) -> None:
    path = world / "refused.toml"
    path.write_text(
        AUDIT.replace('name = "both"\n', 'name = "both"\nmethods = ["entropi"]\n'), encoding="utf-8"
    )
    ended = calaudit("compare", path)
    assert ended.status == 2
    assert "both: 'entropi' isn't among the audit's methods" in ended.err
    path.write_text(
        AUDIT.replace('name = "both"\n', 'name = "both"\nmethods = []\n'), encoding="utf-8"
    )
    assert "methods is empty" in calaudit("compare", path).err


def test_paths_may_be_relative_to_another_folder(world: Path) -> None:
    folder = world / "elsewhere"
    folder.mkdir()
    path = folder / "audit.toml"
    text = (AUDIT + GIVEN).replace('name = "world"\n', 'name = "world"\nrelative_to = ".."\n')
    path.write_text(text, encoding="utf-8")
    ended = calaudit("compare", path, "--formats", "none")
    assert ended.status in {0, 1}, ended.err
    assert (folder / "audit" / "report.json").exists()
