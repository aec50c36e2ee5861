"""Two tasks of one kind in one audit: names tell their metrics apart, everywhere."""

from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.answers import write_answers
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError
from tests.audit.detector import DETECTOR, make_detector
from tests.audit.pixels import SEGMENTATION, make_pixels

LAX = """
[[tasks]]
kind = "detection"
name = "lax"
format = "yolov8"
metrics = ["ap", "object_recall"]
"""
STRICT = """
[[tasks]]
kind = "detection"
name = "strict"
format = "yolov8"
working_score = 0.9
max_detections = 2
metrics = ["ap", "object_recall"]
"""
GATES = """
[[gates]]
metric = "strict/object_recall"
slices = "light = *"
max_drop = 0.05

[[gates]]
metric = "lax/ap"
slices = "light = *"
max_drop = 0.1
"""


def world_text(*parts: str) -> str:
    return DETECTOR.partition("[[tasks]]")[0] + "".join(parts)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_detector(
        tmp_path_factory.mktemp("named"), world_text(LAX, STRICT, GATES), photographs=150
    )
    return audit, run_audit(audit)[0]


def numbers(report: Report, task: str) -> dict[tuple[str, str, str], tuple[float | None, ...]]:
    return {
        (r.cell, r.slice, r.metric.removeprefix(f"{task}/")): (r.reference, r.candidate, r.low)
        for r in report.results
        if r.metric.startswith(f"{task}/") or not task
    }


@pytest.mark.parametrize(("name", "table"), [("lax", LAX), ("strict", STRICT)])
def test_each_task_has_the_numbers_that_it_has_alone(
    audited: tuple[Path, Report], name: str, table: str
) -> None:
    audit, report = audited
    alone = audit.with_name(f"{name}.toml")
    alone.write_text(world_text(table.replace(f'name = "{name}"\n', "")), encoding="utf-8")
    found, _ = run_audit(alone, formats="none")
    assert numbers(report, name) == numbers(found, "")
    assert numbers(report, "lax") != numbers(report, "strict")


def test_metrics_say_their_task_in_every_form_of_the_report(audited: tuple[Path, Report]) -> None:
    audit, report = audited
    told = {each.name: (each.title, each.task) for each in report.metrics}
    assert told["lax/ap"] == ("AP (lax)", "lax")
    assert told["strict/object_recall"][1] == "strict"
    folder = audit.with_suffix("")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Recall of objects (strict)" in page
    assert "AP (lax)" in page
    assert "AP (lax)" in (folder / "summary.md").read_text(encoding="utf-8")
    assert "strict/object_recall" in (folder / "junit.xml").read_text(encoding="utf-8")
    assert 'metric="lax/ap"' in (folder / "metrics.prom").read_text(encoding="utf-8")


def test_gates_hold_on_the_task_that_they_name(audited: tuple[Path, Report]) -> None:
    _, report = audited
    gated = {
        (r.metric, r.slice): r.verdict
        for r in report.results
        if r.verdict is not None and r.cell == "dark only/minmax"
    }
    places = {"light = bright", "light = dark"}
    assert set(gated) == {(m, s) for m in ("lax/ap", "strict/object_recall") for s in places}
    assert gated["strict/object_recall", "light = bright"] == "REGRESSED"


def test_explanations_are_of_the_task_whose_metric_lost(audited: tuple[Path, Report]) -> None:
    audit, _ = audited
    report, _ = explain_audit(audit)
    assert {each.metric for each in report.explanations} <= {"lax/ap", "strict/object_recall"}
    assert any(each.metric == "strict/object_recall" for each in report.explanations)


def test_a_file_of_answers_may_hold_detections_of_each_task(audited: tuple[Path, Report]) -> None:
    audit, report = audited
    (file,) = (e.predictions for e in report.cells if e.id == "dark only/minmax")
    given = Predictions(audit.with_suffix("") / str(file))
    with open_pool(audit.parent / "pool.h5") as pool:
        ids = pool.ids(given.rows).tolist()
    columns = {}
    for task, part in (("lax", ""), ("strict", "strict/")):
        own = {
            c: given.read_ragged(f"detections of {task}", c) for c in ("boxes", "score", "label")
        }
        columns |= {f"{part}{name}": each.values for name, each in own.items()}
        columns[f"{part}image"] = np.repeat(ids, own["score"].counts)
    write_answers(audit.parent / "both.h5", ids, columns)
    path = audit.with_name("both.toml")
    engine = '\n[[engines]]\nname = "theirs"\nfile = "both.h5"\n'
    sets, tasks = world_text(LAX, STRICT, engine).split("[[calibsets]]", 1)
    path.write_text(f"{sets}[[tasks]]{tasks.split('[[tasks]]', 1)[1]}", encoding="utf-8")
    found, _ = run_audit(path, formats="none")
    for task in ("lax", "strict"):
        ours = {k[1:]: v for k, v in numbers(report, task).items() if k[0] == "dark only/minmax"}
        assert ours == {k[1:]: v for k, v in numbers(found, task).items() if k[0] == "theirs"}


def test_two_segmentations_of_one_output_keep_masks_of_their_own(tmp_path: Path) -> None:
    first = SEGMENTATION.partition("[[gates]]")[0]
    second = first.replace(
        'kind = "segmentation"', 'kind = "segmentation"\nname = "all"\nignore = 9'
    )
    audit = make_pixels(tmp_path, first, n=400)
    one, _ = run_audit(audit, formats="none")
    with open_pool(tmp_path / "pool.h5") as pool:
        assert pool.ignored_class("mask") == 255
    audit.write_text(
        audit.read_text(encoding="utf-8") + second.replace("ignore = 9", "ignore = 255"),
        encoding="utf-8",
    )
    both, _ = run_audit(audit, formats="none")
    assert numbers(both, "all") == numbers(one, "")
    assert {each.task for each in both.metrics} == {None, "all"}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            LAX.replace('name = "lax"\n', "") * 2,
            'metric ap belongs to two tasks\n  → Give one of them a name: name = "b" calls its own',
        ),
        (LAX * 2, "two tasks are called 'lax'"),
        (LAX.replace('"lax"', '"a/b"'), "'a/b' can't be a task's name"),
        (LAX.replace('"lax"', "3"), "3 can't be a task's name"),
        (
            LAX + STRICT + GATES.replace("lax/ap", "ap"),
            "no task computes 'ap'\n  → Did you mean lax/ap or strict/ap",
        ),
    ],
)
def test_what_is_wrong_with_names_is_said(
    audited: tuple[Path, Report], tables: str, said: str
) -> None:
    audit, _ = audited
    path = audit.with_name("refused.toml")
    path.write_text(world_text(tables), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        run_audit(path)
    assert said in str(refused.value)
