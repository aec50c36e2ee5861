"""The real detection and segmentation data, imported as COCO's, YOLO's and a manifest's."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calaudit.formats.importers.annotated import import_annotated
from calaudit.formats.importers.manifest import import_manifest
from calaudit.formats.importers.manifest_settings import ManifestSettings
from calaudit.formats.importers.yolo import read_yolo
from calaudit.formats.pool import open_pool
from calaudit.runtime.settings import parse_settings
from tests.formats.test_import_coco import objects_of, settings
from tests.real_pools import DATA

pytestmark = [pytest.mark.slow, pytest.mark.data]


@pytest.fixture(scope="module")
def folder(real_pools: Callable[[str], Path]) -> Path:
    return real_pools("detection")


def test_the_pool_holds_the_images_boxes_and_metadata_as_annotated(
    folder: Path, detection_pool: Path
) -> None:
    known = json.loads((folder / "annotations.json").read_text())
    rows = list(csv.DictReader((folder / "images.csv").open(newline="")))
    with open_pool(detection_pool) as pool:
        assert pool.ids(np.arange(len(pool))).tolist() == [i["file_name"] for i in known["images"]]
        names = ["light", "photograph", "split"]
        shown = pool.columns(names).to_dicts()
        assert shown == [
            {**{n: r[n] for n in names}, "photograph": int(r["photograph"])} for r in rows
        ]
        (pixels,) = pool.read_inputs(np.array([5])).values()
    with Image.open(folder / rows[5]["path"]) as opened:
        wanted = np.asarray(opened, np.float32).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(pixels[0], wanted)
    found = objects_of(detection_pool)
    place = {image["id"]: at for at, image in enumerate(known["images"])}
    order = sorted(known["annotations"], key=lambda each: place[each["image_id"]])
    assert found.image.tolist() == [place[each["image_id"]] for each in order]
    x, y, width, height = np.array([each["bbox"] for each in order]).T
    np.testing.assert_array_equal(found.boxes, np.stack([x, y, x + width, y + height], axis=1))
    assert found.area.tolist() == [each["area"] for each in order]
    assert found.classes == ("RBC", "WBC", "Platelets")


def test_the_same_data_in_yolo_s_format_has_the_same_objects(
    folder: Path, detection_pool: Path, tmp_path: Path
) -> None:
    known = json.loads((folder / "annotations.json").read_text())
    images = known["images"][::8]
    lines: dict[int, list[str]] = {image["id"]: [] for image in known["images"]}
    number = {each["id"]: at for at, each in enumerate(known["categories"])}
    for each in known["annotations"]:
        x, y, width, height = each["bbox"]
        shares = (x + width / 2) / 320, (y + height / 2) / 240, width / 320, height / 240
        label = number[each["category_id"]]
        lines[each["image_id"]].append(" ".join(map(str, (label, *(f"{s:.6f}" for s in shares)))))
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for image in images:
        name = Path(image["file_name"])
        (tmp_path / "images" / name).symlink_to(folder / "images" / name)
        (tmp_path / "labels" / name.with_suffix(".txt")).write_text("\n".join(lines[image["id"]]))
    names = [each["name"] for each in known["categories"]]
    (tmp_path / "data.yaml").write_text(f"val: images\nnames: {json.dumps(names)}\n")
    how = settings(outside=True)
    import_annotated(read_yolo(tmp_path / "data.yaml", how), tmp_path / "p.h5", how)
    one, other = (
        objects_of(tmp_path / "p.h5"),
        objects_of(detection_pool).take(np.arange(0, len(known["images"]), 8)),
    )
    with open_pool(tmp_path / "p.h5") as pool:
        ids = [Path(each).name for each in pool.ids(np.arange(len(pool)))]
    order = np.array([ids.index(image["file_name"]) for image in images])
    one = one.take(order)
    assert one.label.tolist() == other.label.tolist()
    np.testing.assert_allclose(one.boxes, other.boxes, atol=4e-4)  # six digits of 320 pixels


def test_masks_come_with_their_frames(tmp_path: Path) -> None:
    source = DATA / "segmentation" / "frames.csv"
    if not source.exists():
        pytest.skip("the segmentation data isn't there (set CALAUDIT_DATA)")
    values = {
        "inputs": {"image": {"image": {}}},
        "targets": {"mask": {"column": "mask", "mask": {"ignore": 11}}},
    }
    how = parse_settings(values, ManifestSettings, where="test")
    assert import_manifest(source, tmp_path / "p.h5", how).n == 360
    rows = list(csv.DictReader(source.open(newline="")))
    with open_pool(tmp_path / "p.h5") as pool:
        masks = pool.read_target("mask", np.array([0, 359]))
        assert pool.column_names() == ["light", "sequence", "split"]
    for mask, row in zip(masks, (rows[0], rows[359]), strict=True):
        with Image.open(source.parent / row["mask"]) as opened:
            np.testing.assert_array_equal(mask, np.asarray(opened))
