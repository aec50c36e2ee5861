"""Blood cells in four lights, object by object: what a set of dark images does to platelets."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from calaudit.audit.run import run_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.report.headline import headline
from calaudit.results.report import Report
from tests.cli.running import calaudit
from tests.real_pools import DATA

pytestmark = [pytest.mark.slow, pytest.mark.data]
PLATELETS = "Platelets in clean light"
AUDIT = """
[audit]
name = "cells"
model = "{model}"
pool = "cells.h5"
evaluate = "split = 'evaluation' and light in ('clean', 'dark') and photograph <= 200"
calibrate = "split = 'calibration'"
methods = ["minmax"]
cluster_by = "photograph"

[[slices]]
by = "light"

[[slices]]
by = "object.class"
name = "class"

[[slices]]
by = "object.size"
name = "size"

[[slices]]
cross = ["size", "light"]

[[slices]]
name = "Platelets in clean light"
where = "object.class = 'Platelets' and light = 'clean'"

[[calibsets]]
name = "dark only"
size = 64
candidates = "split = 'calibration' and light = 'dark'"

[[calibsets]]
name = "each light"
kind = "stratified"
allocation = "equal"
size = 64
strata = [{{ by = "light" }}]

[[tasks]]
kind = "detection"
format = "yolov8"
score_threshold = 0.01
nms_iou = 0.6
metrics = ["object_recall", "object_precision", "boxes_kept"]

[[gates]]
metric = "object_recall"
slices = "Platelets in clean light"
max_drop = 0.1

[[gates]]
metric = "object_recall"
slices = "light = *"
max_drop = 0.05
"""


@pytest.fixture(scope="module")
def images(real_pools: Callable[[str], Path]) -> Path:
    return real_pools("detection")


@pytest.fixture(scope="module")
def audit(images, tmp_path_factory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("cells")
    made = calaudit(
        "pool", "import", images / "annotations.json", folder / "cells.h5",
        "--images", images / "images", "--meta", images / "images.csv",
    )  # fmt: skip
    assert made.status == 0, made.err
    path = folder / "audit.toml"
    path.write_text(AUDIT.format(model=DATA / "detection" / "model.onnx"), encoding="utf-8")
    report, _ = run_audit(path)
    return path, report


def result(report: Report, name: str, metric: str = "object_recall", calibset: str = "dark only"):
    (found,) = (
        r for r in report.results
        if (r.slice, r.metric) == (name, metric) and r.cell.startswith(f"{calibset}/")
    )  # fmt: skip
    return found


def found_by_pycocotools(path: Path, images: Path, name: str) -> tuple[int, int]:
    """Platelets in clean light: those found at the working point, and all, by pycocotools."""
    predictions = Predictions(path.with_suffix("") / name)
    known = COCO(str(images / "annotations.json"))
    columns = np.genfromtxt(images / "images.csv", delimiter=",", names=True, dtype=None)
    light = dict(zip(columns["image_id"].tolist(), columns["light"].tolist(), strict=True))
    names = {each["file_name"]: each["id"] for each in known.dataset["images"]}
    with open_pool(path.parent / "cells.h5") as pool:
        ids = np.array([names[each] for each in pool.ids(predictions.rows)])
    score = predictions.read_ragged("detections", "score")
    boxes = predictions.read_ragged("detections", "boxes").values
    label = predictions.read_ragged("detections", "label").values
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
            image[kept], label[kept], score.values[kept], boxes[kept].astype(float), strict=True
        )
    ]  # fmt: skip
    judged = COCOeval(known, known.loadRes(shown), "bbox")
    judged.params.imgIds = [int(i) for i in ids if light[int(i)] == "clean"]
    judged.params.catIds = [3]
    judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
    judged.params.iouThrs = np.array([0.5])
    judged.evaluate()
    hits = [np.asarray(each["gtMatches"][0]) > 0 for each in judged.evalImgs if each is not None]
    return int(sum(each.sum() for each in hits)), sum(map(len, hits))


def test_platelets_in_clean_light_are_found_as_pycocotools_finds_them(audit, images):
    path, report = audit
    one = result(report, PLATELETS)
    cells = {each.id: each for each in report.cells}
    fp32 = found_by_pycocotools(path, images, str(report.reference.predictions))
    int8 = found_by_pycocotools(path, images, str(cells[one.cell].predictions))
    assert one.n == fp32[1] == int8[1]
    assert one.reference == pytest.approx(fp32[0] / fp32[1])
    assert one.candidate == pytest.approx(int8[0] / int8[1])


def test_a_set_of_dark_images_loses_them_and_one_of_each_light_does_not(audit):
    _, report = audit
    lost = result(report, PLATELETS)
    assert lost.verdict == "REGRESSED"
    assert lost.low > 0.3
    assert lost.interval == "tango-clustered"
    assert lost.n_clusters < lost.n
    kept = result(report, PLATELETS, calibset="each light")
    assert kept.verdict != "REGRESSED"
    assert abs(kept.drop) < 0.03
    dark = result(report, "light = dark")
    assert dark.verdict == "PASS"
    assert result(report, "size = small & light = clean").drop > 0.4
    assert "recall of objects" in headline(report)


def test_objects_and_images_are_counted_apart(audit, images):
    _, report = audit
    annotations = json.loads((images / "annotations.json").read_text())
    of_class = [each for each in annotations["annotations"] if each["category_id"] == 3]
    units = {each.name: (each.unit, each.n) for each in report.slices}
    assert units["all"] == ("image", 2 * units["light = clean"][1])
    assert units[PLATELETS][0] == "object"
    assert units["class = Platelets"][1] == 2 * units[PLATELETS][1] < len(of_class)
    assert result(report, "light = clean").n > 10 * units["light = clean"][1]


def test_likeness_and_precision_are_of_whole_images(audit):
    _, report = audit
    kept = result(report, "light = clean", "boxes_kept")
    assert (kept.n, kept.reference) == (result(report, "light = dark", "boxes_kept").n, 1.0)
    assert kept.candidate < 0.5
    assert result(report, "light = dark", "boxes_kept").candidate > 0.9
    precision = result(report, "light = clean", "object_precision")
    assert 0 < precision.candidate < precision.reference < 1
    assert not [r for r in report.results if r.slice == PLATELETS and r.metric == "boxes_kept"]
