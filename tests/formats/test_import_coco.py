"""COCO's annotations become pools: boxes, classes, columns, metadata, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.formats.importers.annotated import import_annotated
from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.coco import read_coco
from calaudit.formats.importers.samples import Imported
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, FileFormatError, PoolError, SettingsError
from calaudit.runtime.objects import Objects
from calaudit.runtime.settings import parse_settings
from tests.formats.boxes import BOXES, CLASSES, SIZES, coco, save_images, write_coco

Changes = dict[str, Any]


def settings(**values: Any) -> AnnotatedSettings:
    return parse_settings(values, AnnotatedSettings, where="test")


def imported(source: Path, out: Path, **values: Any) -> Imported:
    how = settings(**({"image": {"size": [64, 64], "fit": "letterbox"}} | values))
    return import_annotated(read_coco(source, how), out, how)


def objects_of(out: Path) -> Objects:
    with open_pool(out) as pool:
        return pool.read_objects("objects", np.arange(len(pool)))


def codes(done: Imported) -> list[str]:
    return [notice.code for notice in done.notices]


def test_boxes_come_with_their_images_in_the_order_of_the_categories(tmp_path: Path) -> None:
    done = imported(write_coco(tmp_path), tmp_path / "p.h5")
    assert (done.n, codes(done)) == (4, ["resized"])
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.class_names("objects") == CLASSES
        assert pool.ids(np.arange(4)).tolist() == [f"{at}.png" for at in range(4)]
        assert pool.inputs["images"].shape == (3, 64, 64)
        assert pool.column_names() == []
    found = objects_of(tmp_path / "p.h5")
    assert found.counts.tolist() == [len(boxes) for boxes in BOXES]
    assert found.label.tolist() == [label for boxes in BOXES for label, _ in boxes]


def test_areas_and_sizes_are_those_of_the_image_as_annotated(tmp_path: Path) -> None:
    imported(write_coco(tmp_path), tmp_path / "p.h5")
    found = objects_of(tmp_path / "p.h5")
    own = [(x2 - x1) * (y2 - y1) for boxes in BOXES for _, (x1, y1, x2, y2) in boxes]
    np.testing.assert_allclose(found.area, own)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    scaled = sides.prod(axis=1) * found.unit_area[found.image]
    np.testing.assert_allclose(scaled, own, rtol=1e-12)


def test_letterboxed_boxes_lie_where_the_image_lies(tmp_path: Path) -> None:
    imported(write_coco(tmp_path), tmp_path / "p.h5")
    first = objects_of(tmp_path / "p.h5").take(np.array([0]))
    own = np.array([box for _, box in BOXES[0]])
    wanted = own + np.array([0, 8, 0, 8])  # 64 × 48 on 64 × 64: eight rows above
    np.testing.assert_array_equal(first.boxes, wanted)


def test_stretched_boxes_are_scaled_by_side(tmp_path: Path) -> None:
    imported(write_coco(tmp_path), tmp_path / "p.h5", image={"size": [96, 64]})
    found = objects_of(tmp_path / "p.h5")
    for at, (width, height) in enumerate(SIZES):
        own = np.array([box for _, box in BOXES[at]]).reshape(-1, 4)
        scale = np.array([64 / width, 96 / height] * 2)
        np.testing.assert_allclose(found.take(np.array([at])).boxes, own * scale, rtol=1e-12)


def test_cut_boxes_are_clipped_and_those_beyond_are_left_out_and_counted(tmp_path: Path) -> None:
    content = coco()
    done = imported(
        write_coco(tmp_path, content), tmp_path / "p.h5", image={"size": [48, 28], "fit": "crop"}
    )
    found = objects_of(tmp_path / "p.h5")
    # Of 64 × 48 the middle 28 columns stay, 18 to 46.
    assert found.take(np.array([0])).boxes.tolist() == [[0, 4, 2, 16], [12, 8, 28, 40]]
    assert found.area[:2].tolist() == pytest.approx([2 * 12, 16 * 32])
    said = str(done.notices[-1])
    assert "4 of the boxes were cut with their images, 1 more were in what was cut away" in said


def test_images_without_a_size_keep_theirs_and_must_agree(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    with pytest.raises(PoolError, match="Bring all samples to one shape"):
        imported(source, tmp_path / "p.h5", image={})
    save_images(tmp_path, ["1.png", "3.png"], [SIZES[0]] * 2)
    content = coco()
    for image in content["images"]:
        image |= {"width": 64, "height": 48}
    content["annotations"] = content["annotations"][:2]
    source.write_text(json.dumps(content))
    assert codes(imported(source, tmp_path / "p.h5", image={})) == []
    assert objects_of(tmp_path / "p.h5").unit_area.tolist() == [1.0] * 4


def test_crowds_attributes_and_other_keys_are_kept(tmp_path: Path) -> None:
    content = coco()
    first, second, third, *_ = content["annotations"]
    first |= {"iscrowd": 1, "segmentation": {"counts": [1], "size": [1, 1]}, "area": 7.5}
    second |= {"attributes": {"occluded": True, "stain": "blue"}}
    third |= {"occluded": False, "score": 3}
    imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    found = objects_of(tmp_path / "p.h5")
    assert found.crowd.tolist() == [True] + [False] * 5
    assert found.area[0] == 7.5
    assert found.columns["occluded"].tolist() == ["", "true", "false", "", "", ""]
    assert found.columns["stain"].tolist() == ["", "blue", "", "", "", ""]
    np.testing.assert_array_equal(found.columns["score"], [np.nan] * 2 + [3] + [np.nan] * 3)


def test_what_images_say_of_themselves_is_metadata(tmp_path: Path) -> None:
    content = coco()
    for at, image in enumerate(content["images"]):
        image |= {"split": "train" if at else "val", "license": 1, "extra": {"a": 1}}
    content["images"][2]["lux"] = 3.5
    imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        shown = pool.columns(pool.column_names()).to_dict(as_series=False)
    assert shown == {"lux": [None, None, 3.5, None], "split": ["val"] + ["train"] * 3}


@pytest.mark.parametrize(
    ("header", "name", "column"),
    [
        ("image_id", lambda at: 100 + at, "by the images' numbers"),
        ("name", lambda at: f"{at}.png", "by the images' paths"),
        ("file", lambda at: f"set/{at}.png", "by the images' paths"),
        ("path", lambda at: f"elsewhere/{at}.png", "by the names of the images' files"),
        ("image", lambda at: at, "by the names of the images' files"),
    ],
)
def test_a_table_s_rows_are_found_in_any_order(
    tmp_path: Path, header: str, name: Any, column: str
) -> None:
    source = write_coco(tmp_path / "set")
    rows = [f"{name(at)},{at / 2},{'day' if at % 2 else 'night'}" for at in (3, 0, 2, 1)]
    (tmp_path / "images.csv").write_text("\n".join([f"{header},lux,light", *rows, "no,1,dusk"]))
    done = imported(source, tmp_path / "p.h5", meta=str(tmp_path / "images.csv"))
    assert codes(done) == ["rows_found", "left_out", "resized"]
    assert f"rows are found by the column {header}, {column}" in str(done.notices[0])
    with open_pool(tmp_path / "p.h5") as pool:
        shown = pool.columns(pool.column_names()).to_dict(as_series=False)
    assert shown == {"light": ["night", "day"] * 2, "lux": [0, 0.5, 1, 1.5]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["file,light", "0.png,a", "1.png,b"], "2 of 4 images have no row: '2.png', '3.png'"),
        (["light", "a", "b"], "no column tells which row is of which image"),
        (["file,light", "0.png,a", "0.png,b"], "no column tells which row is of which image"),
    ],
)
def test_a_table_that_lacks_images_is_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    source = write_coco(tmp_path)
    (tmp_path / "images.csv").write_text("\n".join(lines))
    with pytest.raises(PoolError) as caught:
        imported(source, tmp_path / "p.h5", meta="images.csv")
    assert said in str(caught.value)


def test_columns_of_a_table_are_chosen_and_renamed(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    rows = [f"{at}.png,{at},{at % 2}" for at in range(4)]
    (tmp_path / "images.csv").write_text("\n".join(["file,lux,sensor", *rows]))
    how = {"meta": "images.csv", "columns": {"brightness": "lux"}}
    imported(source, tmp_path / "p.h5", **how)
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.column_names() == ["brightness"]
    with pytest.raises(SettingsError, match="there is no column 'lxu'"):
        imported(source, tmp_path / "p.h5", meta="images.csv", columns={"brightness": "lxu"})


@pytest.mark.parametrize(
    ("place", "images"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/a.json", "images"),
        ("a.json", "images"),
        ("valid/_annotations.coco.json", "valid"),
    ],
)
def test_images_are_found_where_such_data_sets_have_them(
    tmp_path: Path, place: str, images: str
) -> None:
    write_coco(tmp_path / images)
    source = tmp_path / place
    source.parent.mkdir(exist_ok=True)
    (tmp_path / images / "annotations.json").rename(source)
    assert imported(source, tmp_path / "p.h5").n == 4


def test_images_elsewhere_are_told_where_they_were_looked_for(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "pictures")
    source = source.rename(tmp_path / "a.json")
    with pytest.raises(PoolError) as caught:
        imported(source, tmp_path / "p.h5")
    assert f"there is no image '0.png' in {tmp_path}, {tmp_path}/images" in str(caught.value)
    assert "--images FOLDER" in str(caught.value)
    assert imported(source, tmp_path / "p.h5", images="pictures").n == 4


def test_a_folder_with_a_file_per_split_is_one_pool(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        source = write_coco(tmp_path / split)
        source.rename(source.parent / "_annotations.coco.json")
    assert imported(tmp_path, tmp_path / "p.h5").n == 8
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["split"])["split"].to_list() == ["train"] * 4 + ["valid"] * 4
        assert pool.ids(np.array([0, 4])).tolist() == ["train/0.png", "valid/0.png"]
    imported(tmp_path, tmp_path / "p.h5", splits=["valid"], most={"*": 2})
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.ids(np.arange(len(pool))).tolist() == ["valid/0.png", "valid/3.png"]
    with pytest.raises(SettingsError, match="there is no split 'vali'"):
        imported(tmp_path, tmp_path / "q.h5", splits=["vali"])


def test_images_keep_their_order_whatever_their_splits_are(tmp_path: Path) -> None:
    content = coco()
    for at, image in enumerate(content["images"]):
        image["split"] = "train" if at % 2 else "val"
    imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.ids(np.arange(4)).tolist() == [f"{at}.png" for at in range(4)]
    imported(tmp_path / "annotations.json", tmp_path / "p.h5", most={"val": 1})
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.ids(np.arange(3)).tolist() == ["0.png", "1.png", "3.png"]


def test_a_category_that_only_stands_above_the_others_is_left_out(tmp_path: Path) -> None:
    content = coco()
    content["categories"].append({"id": 0, "name": "cell", "supercategory": "none"})
    done = imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    assert codes(done) == ["left_out", "resized"]
    assert objects_of(tmp_path / "p.h5").classes == CLASSES


def test_classes_may_be_named_in_the_model_s_order(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    imported(source, tmp_path / "p.h5", classes=["nothing", "white", "red", "tiny"])
    found = objects_of(tmp_path / "p.h5")
    assert [found.classes[label] for label in found.label] == [
        CLASSES[label] for boxes in BOXES for label, _ in boxes
    ]
    with pytest.raises(PoolError, match="category 'tiny' is not among the classes"):
        imported(source, tmp_path / "p.h5", classes=["red", "white"])


def changed(index: int = 0, **values: Any) -> dict[str, Any]:
    content = coco()
    content["annotations"][index] |= values
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(image_id=5), "annotation 40 (image 5): there is no such image"),
        (changed(category_id=4), "annotation 40 (image 100): there is no category 4"),
        (changed(category_id=[3]), "annotation 40 (image 100): there is no category [3]"),
        (changed(bbox=[1, 2, -3, 4]), "bbox [1, 2, -3, 4] has a negative size"),
        (changed(bbox=[1, 2, float("nan"), 4]), "bbox is [1, 2, NaN, 4]"),
        (changed(bbox=[1, 2, 3]), "bbox is [1, 2, 3]"),
        (changed(bbox=None), "bbox is null"),
        (changed(bbox=[70, 2, 3, 4]), "lies outside of its image of 64 × 48 pixels"),
        (changed(area=-1), "area is -1"),
        (changed(1, id=40), "annotation 40 (image 100): an annotation before it has the same id"),
        (coco(images=[{"file_name": "0.png"}], annotations=[]), "images[0]: has no id"),
        (coco(images=[{"id": 100, "file_name": "0.png"}] * 2, annotations=[]), "has the id 100"),
        (coco(images=[{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": "9.png"}],
              annotations=[]), "there is no file '9.png'"),
        (coco(images=[{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": "../9.png"}],
              annotations=[]), "'../9.png' leaves the images' folder"),
        (coco(categories=[{"id": 3, "name": "a"}, {"id": 7, "name": "a"}, {"id": 90, "name": "b"}]),
         "several categories are called 'a'"),
    ],
)  # fmt: skip
def test_annotations_that_make_no_sense_are_named(
    tmp_path: Path, content: dict[str, Any], said: str
) -> None:
    source = write_coco(tmp_path, content)
    with pytest.raises(PoolError) as caught:
        imported(source, tmp_path / "p.h5")
    assert said in str(caught.value)
    assert str(source) in str(caught.value)
    assert not (tmp_path / "p.h5").exists()


def test_of_many_problems_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    content = coco()
    content["annotations"] *= 5
    with pytest.raises(PoolError) as caught:
        imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    assert len(caught.value.problems) == 11
    assert "and 14 more problems like these" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "can't be read as JSON: Expecting property name"),
        ("[]", "has no list images and no list annotations and no list categories"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no images"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "has no file_name"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FileFormatError) as caught:
        imported(tmp_path / "a.json", tmp_path / "p.h5")
    assert said in str(caught.value)


def test_odd_boxes_are_counted_and_kept(tmp_path: Path) -> None:
    content = changed(bbox=[4, 4, 80, 16])
    content["annotations"][1] |= {"bbox": [30, 8, 0, 32]}
    del content["annotations"][2]["area"]
    done = imported(write_coco(tmp_path, content), tmp_path / "p.h5")
    said = "\n".join(map(str, done.notices))
    assert "1 box reaches beyond the image, and stays as annotated" in said
    assert "1 box has no width or no height" in said
    assert "1 box has no area: width × height" in said
    found = objects_of(tmp_path / "p.h5")
    assert found.boxes[0].tolist() == [4, 12, 84, 28]
    assert found.area[2] == 6


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    save_images(tmp_path, ["1.png"], [(41, 60)])
    with pytest.raises(PoolError, match="is 41 × 60 pixels, annotated as 40 × 60"):
        imported(source, tmp_path / "p.h5")
    image = Image.open(tmp_path / "0.png").resize((60, 40))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "1.png", exif=exif)
    assert Image.open(tmp_path / "1.png").size == (60, 40)  # upright: 40 × 60, as annotated
    imported(source, tmp_path / "p.h5")
    content = coco()
    content["images"][1] |= {"width": 60, "height": 40}
    source.write_text(json.dumps(content))
    with pytest.raises(PoolError, match="its camera orientation turns it"):
        imported(source, tmp_path / "p.h5")


def refused(error: type[CalauditError], **values: Any) -> str:
    with pytest.raises(error) as caught:
        settings(**values)
    return str(caught.value)


def test_settings_that_make_no_sense_are_refused() -> None:
    assert "classes holds a name twice" in refused(SettingsError, classes=["a", "a"])
    assert "most must be at least 1, got 0 for val" in refused(SettingsError, most={"val": 0})


def test_a_file_that_is_listed_twice_is_told_with_both_images(tmp_path: Path) -> None:
    images = coco()["images"]
    images[3]["file_name"] = "1.png"
    with pytest.raises(PoolError) as refused:
        imported(write_coco(tmp_path, coco(images=images)), tmp_path / "p.h5")
    assert "image 103: has the file_name '1.png', as image 101 has" in str(refused.value)
