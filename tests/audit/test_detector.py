"""A small detector audited whole: images by AP, objects by recall, each on slices of its own."""

from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.report.headline import headline
from calaudit.results.report import Report
from tests.audit.detector import make_detector


@pytest.fixture(scope="module")
def audit(tmp_path_factory) -> Path:
    return make_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def report(audit) -> Report:
    return run_audit(audit)[0]


def result(report: Report, calibset: str, name: str, metric: str = "object_recall"):
    (found,) = (
        r for r in report.results
        if (r.cell, r.slice, r.metric) == (f"{calibset}/minmax", name, metric)
    )  # fmt: skip
    return found


def test_objects_are_lost_in_the_light_that_the_set_lacks_and_nowhere_else(report):
    for name in ("red", "green"):
        lost = result(report, "dark only", f"class = {name} & light = bright")
        assert lost.reference == pytest.approx(0.9, abs=0.03)
        assert lost.candidate == 0
        assert lost.verdict == "REGRESSED"
        kept = result(report, "dark only", f"class = {name} & light = dark")
        assert (kept.drop, kept.flips.lost, kept.verdict) == (0, 0, "PASS")
        assert result(report, "both", f"class = {name} & light = bright").verdict == "PASS"
    assert result(report, "dark only", "crowded, bright").verdict == "REGRESSED"
    assert result(report, "dark only", "light = bright", "ap").verdict == "REGRESSED"
    assert result(report, "both", "light = bright", "ap").verdict == "PASS"
    assert "object" in headline(report)


def test_objects_of_a_photograph_belong_together_in_both_lights(report):
    one = result(report, "dark only", "all")
    assert one.n_clusters == 160
    assert one.n > 4 * 2 * 160
    assert result(report, "dark only", "all", "ap").n == 2 * 160
    assert one.interval == "tango-clustered"


def test_likeness_to_fp32_tells_what_became_of_its_boxes(report):
    assert result(report, "dark only", "light = dark", "boxes_kept").candidate == 1
    assert result(report, "dark only", "light = bright", "boxes_kept").candidate == 0
    assert result(report, "dark only", "light = dark", "object_precision").reference == 1


def test_what_flips_is_named_by_image_number_and_class(report):
    (told,) = (each for each in report.exemplars if each.metric == "object_recall")
    assert told.unit == "object"
    # lost under one of two engines: under no more than half of them
    assert told.flipping == 0


@pytest.mark.slow
def test_the_drop_on_a_slice_of_objects_is_explained_by_the_input_range(audit):
    explained, _ = explain_audit(audit, cells=("dark only*",), slices=("class = red & *",))
    (one,) = explained.explanations
    assert one.slice == "class = red & light = bright"
    assert "tuning objects" in one.sentence
    assert one.taps or one.ops
