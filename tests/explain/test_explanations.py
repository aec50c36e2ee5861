"""Explanations of whole audits of the small world: other ways to INT8, and what isn't tried."""

from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.results.explanation import Cause
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice, SettingsError
from tests.audit.world import AUDIT, make_world

GUILTY = (
    AUDIT.replace('name = "loud only"', 'name = "loud only"\nrole = "control"')
    .replace(
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
    .replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
)
GUILTY += 'slices = "loudness = quiet"\n'


def explained(folder: Path, audit: str, **asked: object) -> Report:
    path = make_world(folder, n=2400, audit=audit)
    report, _ = explain_audit(path, formats="none", **asked)
    return report


def test_fused_kernels_are_explained_by_engines_of_their_own(tmp_path: Path) -> None:
    report = explained(tmp_path, GUILTY.replace("batch_size", 'kernels = "fused"\nbatch_size'))
    (one,) = report.explanations
    assert (one.cause, one.taps, one.backend) == (Cause.RANGES, ("x",), "onnxruntime, fused")


def test_of_implicit_engines_it_is_said_that_experiments_were_explicit(tmp_path: Path) -> None:
    report = explained(tmp_path, GUILTY.replace("batch_size", 'int8 = "implicit"\nbatch_size'))
    (one,) = report.explanations
    assert (one.cause, one.taps) == (Cause.RANGES, ("x",))
    assert one.sentence.endswith("the engine in implicit quantization.")


def test_a_cell_without_ranges_is_told_of_once(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=1200, audit=AUDIT.replace(
        'methods = ["minmax", "mse"]', 'methods = ["minmax"]\nprecisions = ["int8", "fp16"]'
    ))  # fmt: skip
    report, _ = explain_audit(path, formats="none", cells=["fp16"], every=True, most=5)
    for one in report.explanations:
        assert one.cause is Cause.NOT_TRIED
        assert "FP16 engines have no ranges" in one.sentence
    assert len(report.explanations) <= 1


def test_rows_that_are_few_arent_searched(tmp_path: Path) -> None:
    few = GUILTY.replace("methods", "tune = \"split = 'calibration' and margin > 2.4\"\nmethods")
    report = explained(tmp_path, few)
    assert report.explanations
    for one in report.explanations:
        assert one.cause in {Cause.TOO_FEW_ROWS, Cause.NOT_ON_TUNING_ROWS}
        assert one.n_tuning < 100


def test_nothing_harmed_is_nothing_explained(tmp_path: Path) -> None:
    quiet = GUILTY.replace("max_drop = 0.05", "max_drop = 0.9")
    path = make_world(tmp_path, n=1200, audit=quiet)
    plain, _ = run_audit(path, formats="none")
    told: list[Notice] = []
    report, _ = explain_audit(path, formats="none", tell=told.append)
    assert report.explanations == ()
    assert report.warnings == plain.warnings
    assert ["nothing regressed" in str(each) and "--all" in str(each) for each in told] == [True]


@pytest.mark.parametrize(
    ("asked", "told"), [({"cells": "a"}, "list of names"), ({"most": 0}, "at least 1")]
)
def test_values_that_cant_be_meant_are_refused(tmp_path: Path, asked: dict, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        explain_audit(tmp_path / "audit.toml", **asked)
