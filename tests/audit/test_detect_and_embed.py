"""A detector that embeds: two tasks on one model, and what is found of a detector's harm."""

from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.predictions import Predictions
from calaudit.recommend.run import recommend_audit
from calaudit.results.comparison import Result
from calaudit.results.report import Report
from tests.audit.beacons import make_beacons

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
