"""What predictions keep: answers of a task that reduces outputs, in their place or beside them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.predictions import Predictions
from calaudit.recommend.run import recommend_audit
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world
from tests.packages import installed, package_of

REDUCING = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from calaudit.formats.given import Ragged
from calaudit.metrics.truth import Labels
from calaudit.runtime.settings import setting
from calaudit.tasks.base import Task
from calaudit.tasks.reduction import Reduction

@dataclass(frozen=True)
class Best(Reduction):
    """The highest class, and the classes above a threshold."""

    threshold: float
    output: str
    name: str = "best"
    against_reference: bool = False

    @property
    def key(self):
        return {"threshold": self.threshold, "output": self.output}

    @property
    def row_bytes(self):
        return 40

    def __call__(self, outputs, rows, reference):
        y = outputs[self.output]
        found = y > self.threshold
        answers = {
            "class": y.argmax(axis=1).astype(np.int32),
            "above": Ragged(np.nonzero(found)[1].astype(np.int16), found.sum(axis=1)),
        }
        if reference is not None:
            theirs = reference.read(self.output, rows)
            answers["error"] = np.abs(theirs - y).max(axis=1)
        return answers

@setting
class Reducing(Task):
    kind: ClassVar[str] = "reducing"
    truth: ClassVar[type] = Labels
    target: str = "label"
    output: str | None = None
    threshold: float = 0.0
    against: bool = False
    metrics: tuple[str, ...] = ("top1",)

    def reduces(self, samples):
        return Best(self.threshold, samples.output, against_reference=self.against)

    def read(self, samples):
        def answer(given, reference, units):
            rows = samples.evaluated[units]
            if samples.output in given.output_names:
                best = given.read(samples.output, rows).argmax(axis=1)
            else:
                best = given.read_answers("best", "class", rows)
            return np.eye(4, dtype=np.float32)[best]

        truth = Labels(samples.target(self.target))
        return samples.eval_set(self, truth, target=self.target, answer=answer)
'''
TEXT = AUDIT.replace('"classification"', '"reducing"').replace(
    '["top1", "nll", "balanced_accuracy", "top1_agreement"]',
    '["top1", "balanced_accuracy", "top1_agreement"]',
)


@pytest.fixture
def reducing(tmp_path: Path) -> Iterator[None]:
    members = {"calaudit.tasks": {"reducing": "Reducing"}}
    made = package_of(tmp_path / "package", "reducing", members, REDUCING)
    with installed(made, tmp_path / "metadata"):
        yield


def drops(report: Report) -> dict[tuple[str, str, str], tuple[float | None, ...]]:
    return {
        (r.cell, r.slice, r.metric): (r.reference, r.candidate, r.low, r.high)
        for r in report.results
    }


def files(folder: Path) -> dict[str, Predictions]:
    return {p.name.partition("-")[0]: Predictions(p) for p in folder.rglob("predictions/*.h5")}


@pytest.mark.usefixtures("reducing")
@pytest.mark.parametrize("against", [False, True])
def test_answers_are_kept_in_place_of_outputs_and_give_the_same_numbers(
    tmp_path: Path, against: bool
) -> None:
    (tmp_path / "plain").mkdir()
    plain, _ = run_audit(
        make_world(tmp_path / "plain", audit=TEXT.replace("reducing", "classification")),
        formats="none",
    )
    text = TEXT.replace('"reducing"', f'"reducing"\nagainst = {str(against).lower()}')
    audit = make_world(tmp_path, audit=text)
    report, _ = run_audit(audit, formats="none")
    assert drops(report) == drops(plain)
    kept = files(tmp_path / "audit")
    assert kept["fp32"].output_names == (("y",) if against else ())
    assert kept["fp32"].answers == ({} if against else {"best": ("above", "class")})
    error = ("error",) if against else ()
    for name in ("loud_only", "both"):
        assert kept[name].output_names == ()
        assert kept[name].answers == {"best": ("above", "class", *error)}
    # another threshold is another file; slices and gates aren't
    before = set(tmp_path.glob("audit/predictions/*.h5"))
    for old, new, same in (
        ("max_drop = 0.05", "max_drop = 0.07", True),
        ('"reducing"\n', '"reducing"\nthreshold = 0.5\n', False),
        ("batch_size = 100", "batch_size = 100\nkeep_outputs = true", False),
    ):
        audit.write_text(text.replace(old, new))
        run_audit(audit, formats="none")
        now = set(tmp_path.glob("audit/predictions/*.h5"))
        assert (now == before) == same, new
        before = now


@pytest.mark.usefixtures("reducing")
def test_outputs_are_kept_beside_answers_where_the_audit_says_so(tmp_path: Path) -> None:
    audit = make_world(
        tmp_path, audit=TEXT.replace("batch_size = 100", "batch_size = 100\nkeep_outputs = true")
    )
    run_audit(audit, formats="none")
    kept = files(tmp_path / "audit")
    assert set(kept) == {"fp32", "loud_only", "both"}
    for each in kept.values():
        assert each.output_names == ("y",)
        best = each.read_answers("best", "class")
        np.testing.assert_array_equal(best, each.read("y").argmax(axis=1))


@pytest.mark.usefixtures("reducing")
@pytest.mark.parametrize("against", [False, True])
def test_drops_of_reduced_answers_are_explained_and_recommended_for(
    tmp_path: Path, against: bool
) -> None:
    text = TEXT.replace('"reducing"', f'"reducing"\nagainst = {str(against).lower()}')
    audit = make_world(tmp_path, audit=text)
    report, _ = run_audit(audit, formats="none")
    assert report.harm is not None
    assert {e for c in report.harm.cells for e in c.output_error} == {None}
    explained, _ = explain_audit(audit, formats="none")
    assert explained.explanations
    found, _ = recommend_audit(audit, formats="none")
    assert found.recommendation is not None


def wide(tmp_path: Path, name: str, text: str) -> tuple[Report, Path]:
    (tmp_path / name).mkdir()
    path = make_world(tmp_path / name, audit=text)
    return run_audit(path, formats="json,html,junit")[0], path


def test_wide_outputs_are_scored_while_engines_run_and_reports_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = wide(tmp_path, "plain", AUDIT)
    monkeypatch.setattr("calaudit.steps.scores_reduction.WIDE", 1)
    report, path = wide(tmp_path, "wide", AUDIT)
    assert report.results == plain.results
    assert report.harm == plain.harm
    assert report.exemplars == plain.exemplars
    assert report.warnings == plain.warnings
    kept = files(path.with_suffix(""))
    assert kept["fp32"].output_names == ("y",)
    assert kept["fp32"].answers == {}
    assert kept["both"].output_names == ()
    assert set(kept["both"].answers) == {"scores of tasks[0]"}
    before = set(path.with_suffix("").glob("predictions/*.h5"))
    path.write_text(AUDIT.replace('"nll"', '"ece"'))
    run_audit(path, formats="none")
    now = set(path.with_suffix("").glob("predictions/*.h5"))
    assert {each.name for each in now & before if each.name.startswith("fp32")}
    assert len(now - before) == 4  # every engine again, FP32 not


def test_an_audit_of_scores_is_explained_and_recommended_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calaudit.steps.scores_reduction.WIDE", 1)
    _, path = wide(tmp_path, "wide", AUDIT)
    explained, _ = explain_audit(path, formats="none")
    assert explained.explanations
    found, _ = recommend_audit(path, formats="none")
    assert found.recommendation is not None
