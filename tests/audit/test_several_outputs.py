"""Models with several outputs: tasks name those that they need, and what is kept is theirs."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import Predictions
from calaudit.recommend.run import recommend_audit
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError
from tests.audit.pixels import (
    CLASSES,
    CLASSIFICATION,
    IGNORED,
    RETRIEVAL,
    SEGMENTATION,
    make_pixels,
)


def files(audit: Path) -> dict[str, Predictions]:
    folder = audit.with_suffix("") / "predictions"
    return {path.name.partition("-")[0]: Predictions(path) for path in folder.glob("*.h5")}


def numbers(report: Report) -> dict[tuple[str, str, str], tuple[float | None, ...]]:
    return {
        (r.cell, r.slice, r.metric): (r.reference, r.candidate, r.low, r.high)
        for r in report.results
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_pixels(tmp_path_factory.mktemp("pixels"))
    report, _ = run_audit(audit)
    return audit, report


def test_a_set_of_bright_images_alone_is_blamed_for_what_dim_masks_lose(
    finished: tuple[Path, Report],
) -> None:
    _, report = finished
    verdicts = {(r.cell, r.slice): r for r in report.results if r.verdict is not None}
    harmed = verdicts["bright only/minmax", "light = dim"]
    assert harmed.verdict == "REGRESSED"
    assert harmed.drop is not None
    assert harmed.drop > 0.1
    assert verdicts["bright only/minmax", "light = bright"].verdict == "PASS"
    assert report.metrics[0].per == "image"
    assert {m.name for m in report.metrics} >= {f"iou[{name}]" for name in CLASSES}
    blamed = {each for one in report.attribution for each in one.findings}
    assert blamed


def test_mean_iou_is_that_of_the_masks_by_scikit_learn(finished: tuple[Path, Report]) -> None:
    audit, report = finished
    fp32 = files(audit)["fp32"]
    with open_pool(audit.parent / "pool.h5") as pool:
        true = pool.read_target("mask", fp32.rows)
        light = pool.columns(["light"])["light"].to_numpy()[fp32.rows]
    masks = fp32.read_answers("masks of logits", "mask")
    for where, rows in (("all", light != ""), ("light = dim", light == "dim")):
        kept = true[rows] != IGNORED
        expected = jaccard_score(true[rows][kept], masks[rows][kept], average=None)
        found = {
            r.metric: r.reference
            for r in report.results
            if r.slice == where and r.cell == "both/minmax"
        }
        assert found["mean_iou"] == pytest.approx(expected.mean())
        assert [found[f"iou[{name}]"] for name in CLASSES] == pytest.approx(expected)


def test_masks_are_kept_in_place_of_scores_and_outputs_beside_them_where_asked_for(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    audit, report = finished
    for each in files(audit).values():
        assert each.output_names == ()
        assert set(each.answers) == {"masks of logits"}
    other = make_pixels(tmp_path)
    other.write_text(
        other.read_text().replace("batch_size = 100", "batch_size = 37\nkeep_outputs = true")
    )
    again, _ = run_audit(other, formats="none")
    assert numbers(again) == numbers(report)
    for each in files(other).values():
        assert set(each.output_names) == {"logits", "mask", "whole", "embedding"}
        mask = each.read_answers("masks of logits", "mask")
        np.testing.assert_array_equal(mask, each.read("mask"))


def test_the_output_of_classes_gives_the_numbers_of_that_of_scores(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    _, report = finished
    tasks = SEGMENTATION.replace('output = "logits"', 'output = "mask"')
    found, _ = run_audit(make_pixels(tmp_path, tasks), formats="none")
    assert numbers(found) == numbers(report)


def test_several_tasks_judge_one_run_of_each_engine(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    audit = make_pixels(tmp_path, SEGMENTATION + CLASSIFICATION + RETRIEVAL)
    report, _ = run_audit(audit)
    kept = files(audit)
    assert set(kept) == {"fp32", "bright_only", "both"}
    for each in kept.values():
        assert set(each.output_names) == {"whole", "embedding"}
        assert set(each.answers) == {"masks of logits"}
    alone = numbers(finished[1])
    together = numbers(report)
    assert {key: together[key] for key in alone} == alone
    for metric, task in (("top1", CLASSIFICATION), ("ndcg@5", RETRIEVAL)):
        own, _ = run_audit(make_pixels(tmp_path / metric, task), formats="none")
        single = {key: value for key, value in numbers(own).items() if key[2] == metric}
        assert single == {key: value for key, value in together.items() if key[2] == metric}


def test_a_task_that_does_not_say_which_output_is_refused_with_their_names(tmp_path: Path) -> None:
    audit = make_pixels(tmp_path, SEGMENTATION.replace('output = "logits"\n', ""))
    with pytest.raises(SettingsError, match=r"4 outputs .logits, mask, whole, emb") as error:
        run_audit(audit)
    assert "tasks[0].output" in str(error.value)


def test_what_masks_lose_is_explained_and_a_better_set_recommended(
    finished: tuple[Path, Report],
) -> None:
    audit, _ = finished
    explained, _ = explain_audit(audit, formats="none")
    assert explained.explanations
    (found,) = [one for one in explained.explanations if one.slice == "light = dim"]
    assert found.metric == "mean_iou"
    assert found.cell == "bright only/minmax"
    told, _ = recommend_audit(audit, formats="none")
    assert told.recommendation is not None
    assert not told.recommendation.winner.startswith("bright only")


def test_a_resized_output_is_judged_as_at_its_own_size(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    audit, report = finished
    with open_pool(audit.parent / "pool.h5") as pool:
        rows = np.arange(len(pool))
        mask = pool.read_target("mask", rows)
        write_pool(
            tmp_path / "pool.h5",
            inputs=pool.read_inputs(rows),
            targets={"mask": mask.repeat(2, axis=1).repeat(2, axis=2)},
            meta={name: pool.columns([name])[name].to_list() for name in pool.meta},
            ids=pool.ids(rows).tolist(),
            classes={"mask": pool.class_names("mask")},
            ignored={"mask": IGNORED},
        )
    text = audit.read_text(encoding="utf-8").replace("model.onnx", str(audit.parent / "model.onnx"))
    text = text.replace('output = "logits"', 'output = "logits"\nresize = "nearest"')
    (tmp_path / "audit.toml").write_text(text, encoding="utf-8")
    larger, written = run_audit(tmp_path / "audit.toml")
    ours, theirs = numbers(report), numbers(larger)
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        assert theirs[key][:2] == pytest.approx(value[:2]), key
    assert written.is_file()
    assert any(each.shown for each in larger.pictures)
