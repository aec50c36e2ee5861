"""Files of answers that hold what tasks can do with in place of outputs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.formats.answers import write_answers
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, FileFormatError, SettingsError
from tests.audit.detector import make_detector
from tests.audit.pixels import IGNORED, make_pixels
from tests.audit.world import AUDIT, make_world

CELL = "theirs"


def with_engine(audit: Path, name: str, file: str, text: str | None = None) -> Path:
    """The audit with one engine more, in a file of its own."""
    path = audit.parent / f"{name}.toml"
    engine = f'\n[[engines]]\nname = "{CELL}"\nfile = "{file}"\n'
    path.write_text((text or audit.read_text(encoding="utf-8")) + engine, encoding="utf-8")
    return path


def predictions(audit: Path, report: Report, cell: str) -> Predictions:
    (record,) = (each for each in report.cells if each.id == cell)
    assert record.predictions is not None
    return Predictions(audit.with_suffix("") / record.predictions)


def numbers(report: Report, cell: str) -> dict[tuple[str, str], tuple[float | None, ...]]:
    return {
        (r.slice, r.metric): (r.reference, r.candidate, r.low, r.high)
        for r in report.results
        if r.cell == cell
    }


def ids(audit: Path, rows: np.ndarray) -> list[str]:
    with open_pool(audit.parent / "pool.h5") as pool:
        return pool.ids(rows).tolist()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_world(tmp_path_factory.mktemp("world"))
    text = AUDIT.replace('"nll", ', '"top2", ')
    audit.write_text(text, encoding="utf-8")
    return audit, run_audit(audit)[0]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_detector(tmp_path_factory.mktemp("detector"))
    return audit, run_audit(audit)[0]


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_pixels(tmp_path_factory.mktemp("pixels"))
    return audit, run_audit(audit)[0]


def test_the_highest_classes_are_judged_as_the_outputs_that_have_them(
    world: tuple[Path, Report],
) -> None:
    audit, report = world
    twin = predictions(audit, report, "loud only/minmax")
    top = np.argsort(-twin.read("y"), axis=1, kind="stable")[:, :2]
    order = np.random.default_rng(0).permutation(len(top))
    names = np.array(ids(audit, twin.rows))[order]
    write_answers(audit.parent / "top.npz", names.tolist(), {"top": top[order]})
    found = run_audit(with_engine(audit, "top", "top.npz"))[0]
    assert numbers(found, CELL) == numbers(report, "loud only/minmax")
    assert len(numbers(found, CELL)) == 16


def test_metrics_that_the_highest_classes_dont_tell_are_named(world: tuple[Path, Report]) -> None:
    audit, report = world
    rows = predictions(audit, report, "both/mse").rows
    top = np.zeros((len(rows), 1), np.int64)
    write_answers(audit.parent / "one.h5", ids(audit, rows), {"top": top})
    with pytest.raises(SettingsError, match="top doesn't tell nll") as refused:
        run_audit(with_engine(audit, "one", "one.h5", AUDIT))
    assert "Give the output y as the engine gave it" in str(refused.value)
    with pytest.raises(FileFormatError, match="names 1 class, in 911 samples of 911"):
        run_audit(with_engine(audit, "one", "one.h5"))


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ([[0, 4]], "top names 4 in 911 samples of 911, which is none of the 4 classes, 0 to 3"),
        ([[1, 1]], "top names a class twice in 911 samples"),
        ([[0.0, 1.0]], "top isn't a list of whole numbers for each sample"),
        ([[0, -1]], "top names -1 in 911 samples"),
    ],
)
def test_lists_of_classes_that_make_no_sense_are_refused(
    world: tuple[Path, Report], top: list[list[float]], said: str
) -> None:
    audit, report = world
    rows = predictions(audit, report, "both/mse").rows
    values = np.repeat(np.array(top), len(rows), axis=0)
    write_answers(audit.parent / "odd.npz", ids(audit, rows), {"top": values})
    with pytest.raises(FileFormatError, match=said):
        run_audit(with_engine(audit, "odd", "odd.npz"))


def test_a_sample_without_a_list_has_no_answer(world: tuple[Path, Report]) -> None:
    audit, report = world
    twin = predictions(audit, report, "both/mse")
    top = np.argsort(-twin.read("y"), axis=1)[:, :2]
    top[:30] = -1
    write_answers(audit.parent / "silent.npz", ids(audit, twin.rows), {"top": top})
    found = run_audit(with_engine(audit, "silent", "silent.npz"))[0]
    assert any(e.code == "output_not_finite" and CELL in str(e.where) for e in found.warnings)
    (result,) = (r for r in found.results if (r.cell, r.slice, r.metric) == (CELL, "all", "top1"))
    assert (result.n, result.n_broken) == (len(top) - 30, 30)


def found_boxes(given: Predictions) -> dict[str, np.ndarray]:
    columns = {c: given.read_ragged("detections", c) for c in ("boxes", "score", "label")}
    return {
        **{name: each.values for name, each in columns.items()},
        "offsets": columns["boxes"].offsets,
    }


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("told", ["offsets", "image"])
def test_given_detections_are_judged_as_the_detector_that_found_them(
    detector: tuple[Path, Report], suffix: str, told: str
) -> None:
    audit, report = detector
    twin = predictions(audit, report, "dark only/minmax")
    names, found = np.array(ids(audit, twin.rows)), found_boxes(twin)
    offsets = found.pop("offsets")
    if told == "offsets":
        found["offsets"] = offsets
    else:
        image = np.repeat(np.arange(len(names)), np.diff(offsets))
        # by images in random order: of equal scores the order in the file counts
        order = np.argsort(np.random.default_rng(1).permutation(len(names))[image], kind="stable")
        found["image"] = names[image]
        found = {name: values[order] for name, values in found.items()}
        names = names[::-1]
    file = f"{told}.{suffix}"
    write_answers(audit.parent / file, names.tolist(), found)
    theirs = run_audit(with_engine(audit, f"{told}-{suffix}", file))[0]
    assert numbers(theirs, CELL) == numbers(report, "dark only/minmax")
    assert "given_detections" not in {each.code for each in theirs.warnings}
    assert any(each.metric == "object_recall" for each in theirs.results if each.cell == CELL)


def test_detections_that_dont_count_are_counted(detector: tuple[Path, Report]) -> None:
    audit, report = detector
    twin = predictions(audit, report, "both/minmax")
    names, found = ids(audit, twin.rows), found_boxes(twin)
    n = len(found["score"])
    low = {"boxes": found["boxes"][:7], "score": np.full(7, 0.001), "label": found["label"][:7]}
    images = np.concatenate([np.repeat(names, np.diff(found.pop("offsets"))), [names[5]] * 7])
    both = {name: np.concatenate([found[name], low[name]]) for name in low}
    both["boxes"][0] = np.nan
    write_answers(audit.parent / "more.h5", names, {**both, "image": images})
    theirs = run_audit(with_engine(audit, "more", "more.h5"))[0]
    said = " ".join(e.message for e in theirs.warnings if e.code == "given_detections")
    assert f"of {n + 7:,} don't count: their score is at most 0.001" in said
    assert ("output_not_finite", f"cell {CELL}") in {(e.code, e.where) for e in theirs.warnings}


def odd_boxes(**changed: object) -> Mapping[str, np.ndarray]:
    good = {"boxes": [[2, 2, 9, 9.0]], "score": [0.5], "label": [0], "image": ["1-b"]}
    return {name: np.array(values) for name, values in {**good, **changed}.items()}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (odd_boxes(label=[2]), "label is 2 in 1 of 1 detection, which is none of the 2 classes"),
        (odd_boxes(label=[0.0]), "label holds no whole numbers"),
        (odd_boxes(boxes=[[9, 2, 2, 9]]), "1 of 1 detection have a right edge left of the left"),
        (odd_boxes(boxes=[[0.1, 0.2, 0.3, 0.4]]), "they seem to run from 0 to 1"),
        (odd_boxes(boxes=[[1, 2, 3]]), r"boxes has shape \(1, 3\), expected \(detections, 4\)"),
        (odd_boxes(image=["who"]), "image names 1 sample that ids doesn't: 'who'"),
        (odd_boxes(score=[0.5, 0.4]), "score has shape 2, not one row for each of 320 ids, or of"),
        (odd_boxes(offsets=[0, 1]), "has both image and offsets"),
    ],
)
def test_detections_that_make_no_sense_are_refused(
    detector: tuple[Path, Report], columns: Mapping[str, np.ndarray], said: str
) -> None:
    audit, report = detector
    names = ids(audit, predictions(audit, report, "both/minmax").rows)
    path = audit.parent / "odd.npz"
    path.unlink(missing_ok=True)
    np.savez(path, ids=np.array(names), **columns)
    with pytest.raises(FileFormatError, match=said):
        run_audit(with_engine(audit, "odd", "odd.npz"))


def test_offsets_and_missing_columns_are_checked(detector: tuple[Path, Report]) -> None:
    audit, report = detector
    names = ids(audit, predictions(audit, report, "both/minmax").rows)
    columns = {k: v for k, v in odd_boxes().items() if k != "image"}
    path = audit.parent / "odd.npz"
    np.savez(path, ids=np.array(names), offsets=np.array([0, 1]), **columns)
    with pytest.raises(FileFormatError, match="offsets doesn't say where the values of 320"):
        run_audit(with_engine(audit, "odd", "odd.npz"))
    np.savez(path, ids=np.array(names), score=np.zeros(len(names)))
    with pytest.raises(CalauditError, match="has no output 'output0'") as refused:
        run_audit(with_engine(audit, "odd", "odd.npz"))
    assert "boxes, score and label with offsets or image" in str(refused.value)


def test_given_masks_are_judged_as_the_model_that_drew_them(pixels: tuple[Path, Report]) -> None:
    audit, report = pixels
    twin = predictions(audit, report, "bright only/minmax")
    mask = twin.read_answers("masks of logits", "mask")
    write_answers(audit.parent / "masks.npz", ids(audit, twin.rows), {"mask": mask})
    found = run_audit(with_engine(audit, "masks", "masks.npz"))[0]
    assert numbers(found, CELL) == numbers(report, "bright only/minmax")
    assert any(metric == "pixel_agreement" for _, metric in numbers(found, CELL))


def confusion(audit: Path, given: Predictions) -> np.ndarray:
    with open_pool(audit.parent / "pool.h5") as pool:
        true = pool.read_target("mask", given.rows)
    mask = given.read_answers("masks of logits", "mask")
    return np.array(
        [
            [[np.sum((t == a) & (m == b) & (t != IGNORED)) for b in range(3)] for a in range(3)]
            for t, m in zip(true, mask, strict=True)
        ]
    )


def test_confusion_counts_are_judged_but_for_likeness(pixels: tuple[Path, Report]) -> None:
    audit, report = pixels
    twin = predictions(audit, report, "bright only/minmax")
    counts, path = confusion(audit, twin), audit.parent / "counts.npz"
    write_answers(path, ids(audit, twin.rows), {"confusion": counts})
    with pytest.raises(SettingsError, match="confusion doesn't tell pixel_agreement, mean_iou_"):
        run_audit(with_engine(audit, "counts", "counts.npz"))
    text = audit.read_text(encoding="utf-8")
    text = text.replace(', "pixel_agreement", "mean_iou_agreement"', "")
    found = run_audit(with_engine(audit, "counts", "counts.npz", text))[0]
    theirs, ours = numbers(found, CELL), numbers(report, "bright only/minmax")
    assert theirs == {key: ours[key] for key in theirs}
    assert {metric for _, metric in theirs} >= {"mean_iou", "iou[road]", "pixel_accuracy"}
    write_answers(path, ids(audit, twin.rows), {"confusion": counts.transpose(0, 2, 1)})
    with pytest.raises(FileFormatError, match="doesn't add up to the pixels") as refused:
        run_audit(with_engine(audit, "counts", "counts.npz", text))
    assert "Its axes are turned" in str(refused.value)


def test_masks_of_another_size_or_without_a_class_are_refused(pixels: tuple[Path, Report]) -> None:
    audit, report = pixels
    twin = predictions(audit, report, "both/minmax")
    names, path = ids(audit, twin.rows), audit.parent / "small.npz"
    write_answers(path, names, {"mask": np.zeros((len(names), 3, 3), np.uint8)})
    with pytest.raises(FileFormatError, match="mask is 3×3 for a sample, the pool's masks are 6×6"):
        run_audit(with_engine(audit, "small", "small.npz"))
    write_answers(path, names, {"mask": np.full((len(names), 6, 6), 9, np.uint8)})
    with pytest.raises(FileFormatError, match="no pixel of mask holds one of the 3 classes"):
        run_audit(with_engine(audit, "small", "small.npz"))
    mask = twin.read_answers("masks of logits", "mask").copy()
    mask[0, 0] = 7
    write_answers(path, names, {"mask": mask})
    found = run_audit(with_engine(audit, "small", "small.npz"))[0]
    (said,) = (each.message for each in found.warnings if each.code == "given_masks")
    assert f"6 of {mask.size:,} pixels hold no class" in said
