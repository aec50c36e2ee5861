"""The detector of blood cells in four lights, where its data is, beside pycocotools.

Of images, and object by object: what a set of dark images does to platelets in good light.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from calaudit.audit.run import run_audit
from calaudit.formats.answers import write_answers
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.metrics.detections import Detections
from calaudit.metrics.truth import ObjectTruth
from calaudit.results.comparison import Result
from calaudit.results.report import Report
from tests.metrics.coco import evaluated, of_class, of_images, summary
from tests.real_pools import DATA, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.data]

README = {
    "light = clean": (0.5035, 0.8561, 0.5282),
    "light = noise": (0.4932, 0.8539, 0.4932),
    "light = dark": (0.5037, 0.8565, 0.5392),
    "light = dark noise": (0.4855, 0.8426, 0.4788),
    "all": (0.4942, 0.8511, 0.5052),
}
"""FP32's AP, AP50 and AP75 by pycocotools, from the data's README."""
CLASSES = ("RBC", "WBC", "Platelets")
DARK, FOUR = "dark only/minmax", "four lights/minmax"
PLATELETS = "Platelets of the first photographs in clean light"
MORE_SLICES = f"""
[[slices]]
cross = ["object.size", "light"]

[[slices]]
name = "{PLATELETS}"
where = "object.class = 'Platelets' and light = 'clean' and photograph <= 200"
"""


@pytest.fixture(scope="module")
def images(real_pools: Callable[[str], Path]) -> Path:
    return real_pools("detection")


@pytest.fixture(scope="module")
def audited(detection_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """audits/detection.toml with one method and two of its sets, and slices of more objects."""
    folder = tmp_path_factory.mktemp("detection")
    text = (ROOT / "audits" / "detection.toml").read_text(encoding="utf-8")
    text = text.replace("../data/detection/model.onnx", str(DATA / "detection" / "model.onnx"))
    text = text.replace("../data/detection/pool.h5", str(detection_pool)).replace(', "mse"]', "]")
    text = text.replace("batch_size = 16", "batch_size = 16\ntune_samples = 32")
    before, _, after = text.partition('[[calibsets]]\nname = "clean only"')
    text = f"{before}[[calibsets]]{after.partition('[[calibsets]]')[2]}{MORE_SLICES}"
    (folder / "detection.toml").write_text(text, encoding="utf-8")
    report, written = run_audit(folder / "detection.toml")
    return written.parent, report


def result(report: Report, metric: str, where: str, cell: str) -> Result:
    (found,) = [r for r in report.results if (r.metric, r.slice, r.cell) == (metric, where, cell)]
    return found


class Again:
    """Detections of an engine, from its file, and pycocotools' numbers of any images."""

    def __init__(self, folder: Path, pool_file: Path) -> None:
        with open_pool(pool_file) as pool:
            columns = pool.columns(["split", "light"])
            self.rows = np.flatnonzero((columns["split"] == "evaluation").to_numpy())
            self.light = columns["light"].to_numpy()[self.rows]
            self.truth = ObjectTruth(pool.read_objects("objects", self.rows))
        self.folder = folder

    def outputs(self, file: str) -> NDArray[np.object_]:
        given = Predictions(self.folder / file)
        (name,) = given.answers
        parts = [given.read_ragged(name, each, self.rows) for each in ("boxes", "score", "label")]
        ends = np.cumsum(parts[0].counts)[:-1]
        found = np.empty(len(self.rows), dtype=object)
        for at, each in enumerate(zip(*(np.split(p.values, ends) for p in parts), strict=True)):
            found[at] = Detections(*each)
        return found

    def judged(self, outputs: NDArray[np.object_], parts: tuple[str, ...]) -> Iterator[COCOeval]:
        """Of each part of the images; each image is evaluated once, which takes the time."""
        judged = evaluated(self.truth, outputs)
        for where in parts:
            light = where.removeprefix("light = ")
            yield of_images(judged, np.flatnonzero((self.light == light) | (where == "all")))


def test_fp32_has_the_ap_that_the_data_says_in_every_light(audited: tuple[Path, Report]) -> None:
    _, report = audited
    for where, expected in README.items():
        for metric, value in zip(("ap", "ap50", "ap75"), expected, strict=True):
            found = result(report, metric, where, FOUR).reference
            assert found == pytest.approx(value, abs=1e-4), (where, metric)


def test_every_engines_numbers_are_pycocotools(
    audited: tuple[Path, Report], detection_pool: Path
) -> None:
    folder, report = audited
    again = Again(folder, detection_pool)
    files = {cell.id: cell.predictions for cell in report.cells}

    def numbers(file: str, parts: tuple[str, ...]) -> dict[str, dict[str, float]]:
        found = {}
        for where, judged in zip(parts, again.judged(again.outputs(file), parts), strict=True):
            by_class = {f"ap[{name}]": of_class(judged, n) for n, name in enumerate(CLASSES)}
            found[where] = {**summary(judged), **by_class}
        return found

    asked = {DARK: ("light = clean", "light = dark noise", "all"), FOUR: ("all",)}
    theirs = numbers(str(report.reference.predictions), asked[DARK])
    for cell, parts in asked.items():
        for where, found_by_them in numbers(str(files[cell]), parts).items():
            for metric, value in found_by_them.items():
                if metric in {"ar@1", "ar@10"}:
                    continue
                found = result(report, metric, where, cell)
                assert found.candidate == pytest.approx(value, abs=1e-6), (cell, where, metric)
                assert found.reference == pytest.approx(theirs[where][metric], abs=1e-6)


def test_a_dark_set_costs_good_light_and_nobody_else(audited: tuple[Path, Report]) -> None:
    _, report = audited
    clean, dark = (result(report, "ap", f"light = {light}", DARK) for light in ("clean", "dark"))
    assert clean.drop is not None
    assert clean.low is not None
    assert clean.drop > 0.25
    assert clean.low > 0.2
    assert result(report, "ap", "all", DARK).verdict == "REGRESSED"
    assert dark.drop == pytest.approx(0, abs=0.01)
    for light in ("light = clean", "light = noise", "light = dark", "light = dark noise"):
        found = result(report, "ap", light, FOUR)
        assert found.drop == pytest.approx(0, abs=0.01)
        assert result(report, "object_recall", light, FOUR).verdict == "PASS"
    assert report.verdict == "PASS"  # the dark set is a control


def test_platelets_in_clean_light_are_a_slice_of_objects_that_the_dark_set_loses(
    audited: tuple[Path, Report],
) -> None:
    _, report = audited
    where = "object.class = Platelets & light = clean"
    lost = result(report, "object_recall", where, DARK)
    assert lost.verdict == "REGRESSED"
    assert lost.drop is not None
    assert lost.drop > 0.3
    kept = result(report, "object_recall", where, FOUR)
    assert kept.drop is not None
    assert abs(kept.drop) < 0.05
    assert lost.n == kept.n == 128


def test_pictures_show_boxes_that_fp32_finds_and_the_dark_set_loses(
    audited: tuple[Path, Report],
) -> None:
    folder, report = audited
    by = {each.metric: each for each in report.pictures}
    assert set(by) == {"ap", "object_recall"}
    first = by["object_recall"].shown[0]
    assert first.cell.startswith("dark only/")
    assert by["object_recall"].by == "objects found"
    assert "light = clean" in first.slice
    assert (first.width, first.height) == (320, 240)
    assert (folder / "pictures" / str(first.file)).is_file()
    missed = [each for each in first.truth.boxes if each.matched is False]
    assert len(missed) >= 3
    assert {each.label for each in first.fp32.boxes} <= set(CLASSES)
    assert {each.label for each in by["ap"].shown[0].truth.boxes} <= set(CLASSES)


def test_detections_from_a_file_are_judged_as_the_engine_that_found_them(
    audited: tuple[Path, Report], detection_pool: Path, tmp_path: Path
) -> None:
    folder, report = audited
    text = folder.with_suffix(".toml").read_text(encoding="utf-8")
    text = f"{text.partition('[[calibsets]]')[0]}[[tasks]]{text.partition('[[tasks]]')[2]}"
    before, _, after = text.partition("metrics = [")  # fewer, since each costs seconds
    rest = after.partition("]\n")[2]
    text = f'{before}metrics = ["ap", "ap50", "ar@100", "object_recall"]\n{rest}'
    text += '\n[[engines]]\nname = "phone"\nfile = "phone.npz"\nmaker = "the phone"\n'
    (tmp_path / "phone.toml").write_text(text, encoding="utf-8")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "predictions").symlink_to(folder / "predictions")
    (file,) = (cell.predictions for cell in report.cells if cell.id == DARK)
    given = Predictions(folder / str(file))
    (name,) = given.answers
    columns = {each: given.read_ragged(name, each) for each in ("boxes", "score", "label")}
    with open_pool(detection_pool) as pool:
        ids = pool.ids(given.rows)
    detections = {column: each.values for column, each in columns.items()}
    image = np.repeat(ids, columns["score"].counts)
    write_answers(tmp_path / "phone.npz", ids.tolist(), {**detections, "image": image})
    again, _ = run_audit(tmp_path / "phone.toml")
    for where, metric in (
        ("all", "ap"),
        ("light = clean", "ap50"),
        ("light = dark", "object_recall"),
    ):
        ours, theirs = (result(r, metric, where, c) for r, c in ((report, DARK), (again, "phone")))
        assert (theirs.candidate, theirs.drop, theirs.low) == (ours.candidate, ours.drop, ours.low)


def found_by_pycocotools(predictions: Predictions, images: Path, pool_file: Path):
    """Of those platelets: how many are found at the working point, and all, by pycocotools."""
    known = COCO(str(images / "annotations.json"))
    columns = np.genfromtxt(images / "images.csv", delimiter=",", names=True, dtype=None)
    asked = columns[(columns["light"] == "clean") & (columns["photograph"] <= 200)]
    names = {each["file_name"]: each["id"] for each in known.dataset["images"]}
    with open_pool(pool_file) as pool:
        ids = np.array([names[each] for each in pool.ids(predictions.rows)])
    (name,) = predictions.answers
    score, boxes, label = (
        predictions.read_ragged(name, each) for each in ("score", "boxes", "label")
    )
    image = np.repeat(ids, score.counts)
    category = {1: "RBC", 2: "WBC", 3: "Platelets"}
    assert {each["id"]: each["name"] for each in known.dataset["categories"]} == category
    kept = score.values >= 0.25
    shown = [
        {
            "image_id": int(i), "category_id": int(k) + 1, "score": float(s),
            "bbox": [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])],
        }
        for i, k, s, b in zip(
            image[kept], label.values[kept], score.values[kept], boxes.values[kept].astype(float),
            strict=True,
        )
    ]  # fmt: skip
    judged = COCOeval(known, known.loadRes(shown), "bbox")
    judged.params.imgIds = sorted({*ids.tolist()} & {*asked["image_id"].tolist()})
    judged.params.catIds = [3]
    judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
    judged.params.iouThrs = np.array([0.5])
    judged.evaluate()
    hits = [np.asarray(each["gtMatches"][0]) > 0 for each in judged.evalImgs if each is not None]
    return int(sum(each.sum() for each in hits)), sum(map(len, hits))


def test_platelets_in_clean_light_are_found_as_pycocotools_finds_them(
    audited: tuple[Path, Report], images: Path, detection_pool: Path
) -> None:
    folder, report = audited
    one = result(report, "object_recall", PLATELETS, DARK)
    files = {each.id: each.predictions for each in report.cells}
    fp32, int8 = (
        found_by_pycocotools(Predictions(folder / str(file)), images, detection_pool)
        for file in (report.reference.predictions, files[DARK])
    )
    assert one.n == fp32[1] == int8[1]
    assert one.reference == pytest.approx(fp32[0] / fp32[1])
    assert one.candidate == pytest.approx(int8[0] / int8[1])
    assert one.low is not None
    assert one.low > 0.3
    assert one.interval == "tango-clustered"
    assert one.n_clusters is not None
    assert one.n_clusters < one.n < 128


def test_a_set_of_dark_images_loses_small_objects_and_one_of_each_light_does_not(
    audited: tuple[Path, Report],
) -> None:
    _, report = audited
    small = "object.size = small & light = clean"
    lost, kept = (result(report, "object_recall", small, cell) for cell in (DARK, FOUR))
    assert lost.drop is not None
    assert lost.drop > 0.4
    assert kept.drop is not None
    assert abs(kept.drop) < 0.03
    assert kept.verdict != "REGRESSED"
    assert result(report, "object_recall", "light = dark", DARK).verdict == "PASS"


def test_objects_and_images_are_counted_apart(audited: tuple[Path, Report], images: Path) -> None:
    _, report = audited
    annotations = json.loads((images / "annotations.json").read_text())
    of_class = [each for each in annotations["annotations"] if each["category_id"] == 3]
    units = {each.name: (each.unit, each.n) for each in report.slices}
    clean = "object.class = Platelets & light = clean"
    assert units["all"] == ("image", 4 * units["light = clean"][1])
    assert units[PLATELETS][0] == units[clean][0] == "object"
    assert units["object.class = Platelets"][1] == 4 * units[clean][1] < len(of_class)
    by_object = result(report, "object_recall", "light = clean", DARK)
    assert by_object.n > 10 * units["light = clean"][1]


def test_likeness_and_precision_are_of_whole_images(audited: tuple[Path, Report]) -> None:
    _, report = audited
    kept, in_dark = (
        result(report, "boxes_kept", f"light = {light}", DARK) for light in ("clean", "dark")
    )
    assert (kept.n, kept.reference) == (in_dark.n, 1.0)
    assert kept.candidate is not None
    assert kept.candidate < 0.5
    assert in_dark.candidate is not None
    assert in_dark.candidate > 0.9
    precision = result(report, "object_precision", "light = clean", DARK)
    assert precision.candidate is not None
    assert precision.reference is not None
    assert 0 < precision.candidate < precision.reference < 1
    assert not [r for r in report.results if r.slice == PLATELETS and r.metric == "boxes_kept"]
