"""The real detector beside pycocotools and the numbers of the data's README."""

import csv
import json

import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.detections import detections_of
from calaudit.metrics.scoring import score_all
from calaudit.metrics.truth import ObjectTruth
from calaudit.runtime.objects import Objects
from calaudit.tasks.detection.decoders import Layout
from calaudit.tasks.detection.detecting import Detecting
from tests.metrics.coco import SUMMARY, evaluated, of_class, summary
from tests.real_pools import DATA

LIGHT, OF_README = "clean", (0.5035, 0.8561, 0.5282)
"""The other lights, and engines, are compared in tests/audit/test_real_detection.py."""
CLASSES = ("RBC", "WBC", "Platelets")
LAYOUT = Layout(
    n_classes=3, size=(240, 320), score_threshold=0.01, box_format="cxcywh", normalised=False,
    first_class=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(real_pools):
    return real_pools("detection")


def truth_of(folder, numbers):
    known = json.loads((folder / "annotations.json").read_text())
    assert tuple(each["name"] for each in known["categories"]) == CLASSES
    number = {each["id"]: place for place, each in enumerate(known["categories"])}
    of_image = {each: ([], []) for each in numbers}
    for each in known["annotations"]:
        if each["image_id"] in of_image:
            x, y, width, height = each["bbox"]
            boxes, labels = of_image[each["image_id"]]
            boxes.append([x, y, x + width, y + height])
            labels.append(number[each["category_id"]])
    boxes, labels = zip(*of_image.values(), strict=True)
    return ObjectTruth(Objects.from_images(boxes, labels, classes=CLASSES))


def detections_in(folder, paths):
    onnxruntime = pytest.importorskip("onnxruntime")
    image = pytest.importorskip("PIL.Image")
    model = onnxruntime.InferenceSession(DATA / "detection" / "model.onnx")
    detecting = Detecting("yolov8", ("output0",), LAYOUT, 0.6, 100, "here")
    found = []
    for path in paths:
        pixels = np.asarray(image.open(folder / path), np.float32).transpose(2, 0, 1) / 255
        (output,) = model.run(None, {"images": pixels[None]})
        columns = detecting({"output0": output}, np.zeros(1, np.int64), None)
        parts = [columns[name] for name in ("boxes", "score", "label")]
        found.append(detections_of(*(each.values for each in parts), parts[0].offsets))
    return np.concatenate(found)


@pytest.mark.slow
@pytest.mark.data
def test_fp32_has_the_readmes_numbers_and_pycocotools(folder):
    with open(folder / "images.csv", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["split"], row["light"]) == ("evaluation", LIGHT)
        ]
    truth = truth_of(folder, [int(row["image_id"]) for row in rows])
    outputs = detections_in(folder, [row["path"] for row in rows])
    metrics = [parse_metric(name) for name in (*SUMMARY, *(f"ap[{name}]" for name in CLASSES))]
    found = {m.name: each.value() for m, each in score_all(metrics, outputs, truth).items()}
    judged = evaluated(truth, outputs)
    expected = summary(judged) | {
        f"ap[{name}]": of_class(judged, number) for number, name in enumerate(CLASSES)
    }
    assert found == pytest.approx(expected, abs=1e-9)
    numbers = [found[name] for name in ("ap", "ap50", "ap75")]
    assert numbers == pytest.approx(OF_README, abs=1e-4)
    by_class = [found[f"ap[{name}]"] for name in CLASSES]
    assert by_class == pytest.approx([0.392, 0.702, 0.416], abs=1e-3)
