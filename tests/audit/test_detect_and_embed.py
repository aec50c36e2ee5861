"""A detector that embeds: two tasks on one model, and what is found of a detector's harm."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.predictions import Predictions
from calaudit.recommend.run import recommend_audit
from calaudit.results.comparison import Result
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError
from tests.audit.beacons import make_beacons
from tests.audit.pixels import make_pixels

BRIGHT, DIM = "bright only/minmax", "dim only/minmax"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_beacons(tmp_path_factory.mktemp("beacons"))
    report, _ = run_audit(audit, formats="none")
    return audit, report


def result(report: Report, metric: str, where: str, cell: str) -> Result:
    return next(r for r in report.results if (r.metric, r.slice, r.cell) == (metric, where, cell))


def test_dim_objects_are_lost_and_the_embedding_is_not(finished: tuple[Path, Report]) -> None:
    _, report = finished
    lost = result(report, "object_recall", "light = dim", BRIGHT)
    assert (lost.reference, lost.candidate, lost.verdict) == (1.0, 0.0, "REGRESSED")
    kept = result(report, "object_recall", "light = bright", BRIGHT)
    assert (kept.reference, kept.drop) == (1.0, 0.0)
    found = result(report, "ap50", "light = dim", BRIGHT)
    assert found.drop is not None
    assert found.drop > 0.9
    units = {each.name: each.per for each in report.metrics}
    assert units == {"ap50": "image", "object_recall": "object", "recall@5": "query"}


def test_objects_are_sliced_by_class_and_by_the_light_of_their_image(
    finished: tuple[Path, Report],
) -> None:
    _, report = finished
    for name in ("red", "green"):
        where = next(
            s.name for s in report.slices if f"class = {name}" in s.name and "dim" in s.name
        )
        assert result(report, "object_recall", where, BRIGHT).drop == pytest.approx(1.0)


def test_answers_of_one_task_and_outputs_of_the_other_are_kept(
    finished: tuple[Path, Report],
) -> None:
    audit, _ = finished
    paths = list((audit.with_suffix("") / "predictions").glob("*.h5"))
    assert len(paths) == 3
    for path in paths:
        kept = Predictions(path)
        assert kept.output_names == ("embedding",)
        assert len(kept.answers) == 1


def test_what_objects_lose_is_explained_and_a_better_set_recommended(
    finished: tuple[Path, Report],
) -> None:
    audit, _ = finished
    explained, _ = explain_audit(audit, formats="none")
    found = [one for one in explained.explanations if one.cell == BRIGHT]
    assert {(one.metric, one.slice) for one in found} >= {("object_recall", "light = dim")}
    told, _ = recommend_audit(audit, formats="none")
    assert told.recommendation is not None
    assert not told.recommendation.winner.startswith("bright only")


@pytest.mark.parametrize(
    ("make", "metric"),
    [(make_beacons, "boxes_kept"), (partial(make_pixels, n=400), "pixel_agreement")],
    ids=["boxes", "masks"],
)
def test_boxes_and_masks_of_two_targets_are_compared_by_what_they_share(
    make: Callable[[Path], Path], metric: str, tmp_path: Path
) -> None:
    audit = make(tmp_path)
    text = audit.read_text(encoding="utf-8").replace(
        "[audit]\n", '[audit]\nagree_with = ["other"]\n', 1
    )
    text += '\n[[targets]]\nname = "other"\nbackend = "onnxruntime"\nkernels = "fused"\n'
    audit.write_text(text, encoding="utf-8")
    report, _ = run_audit(audit, formats="none")
    compared = {one.cell: one for one in report.agreement if one.metric is not None}
    assert {one.metric for one in compared.values()} == {metric}
    assert compared["fp32/other"].value == 1.0
    assert all(one.value is not None and one.value > 0.95 for one in compared.values())
    assert all(one.max_abs_diff is None for one in compared.values())
    assert len(compared) == 3


def test_detection_tasks_of_different_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    audit = make_beacons(tmp_path)
    more = """
[[tasks]]
kind = "detection"
format = "yolov8"
output = "output0"
nms_iou = 0.3
metrics = ["ap75"]
"""
    audit.write_text(audit.read_text(encoding="utf-8") + more, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"different settings: .*nms_iou"):
        run_audit(audit, formats="none")
    assert not list(tmp_path.glob("audit/engines/*"))
