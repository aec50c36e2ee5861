"""YOLO's data sets become pools, and say the same as COCO's annotations of the same images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.formats.importers.annotated import import_annotated
from calaudit.formats.importers.samples import Imported
from calaudit.formats.importers.yolo import data_file, label_path, read_yolo
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, FileFormatError, PoolError
from tests.formats.boxes import BOXES, CLASSES, write_coco, write_yolo
from tests.formats.test_import_coco import codes, objects_of, settings
from tests.formats.test_import_coco import imported as imported_coco

LETTERBOX = {"image": {"size": [64, 64], "fit": "letterbox"}}


def imported(source: Path, out: Path, **values: Any) -> Imported:
    how = settings(**(LETTERBOX | values))
    return import_annotated(read_yolo(source, how), out, how)


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
def test_the_same_images_give_the_same_objects_as_coco(tmp_path: Path, fit: str) -> None:
    image = {"size": [40, 64], "fit": fit}
    imported(write_yolo(tmp_path / "yolo"), tmp_path / "a.h5", image=image)
    imported_coco(write_coco(tmp_path / "coco"), tmp_path / "b.h5", image=image)
    one, other = objects_of(tmp_path / "a.h5"), objects_of(tmp_path / "b.h5")
    assert one.classes == other.classes
    assert one.counts.tolist() == other.counts.tolist()
    assert one.label.tolist() == other.label.tolist()
    for part in ("boxes", "area", "unit_area"):
        np.testing.assert_allclose(getattr(one, part), getattr(other, part), rtol=1e-12, atol=1e-9)
    with open_pool(tmp_path / "a.h5") as pool, open_pool(tmp_path / "b.h5") as twin:
        rows = np.arange(4)
        np.testing.assert_array_equal(
            pool.read_inputs(rows)["images"], twin.read_inputs(rows)["images"]
        )


def test_splits_and_paths_are_kept_and_an_image_without_a_label_file_has_no_objects(
    tmp_path: Path,
) -> None:
    done = imported(write_yolo(tmp_path), tmp_path / "p.h5")
    assert codes(done) == ["no_labels", "resized"]
    assert "val: 1 of 2 images have no label file: they have no objects" in str(done.notices[0])
    with open_pool(tmp_path / "p.h5") as pool:
        rows = np.arange(4)
        assert pool.columns(["split"])["split"].to_list() == ["train"] * 2 + ["val"] * 2
        assert pool.ids(rows)[0] == "images/train/0.png"
    assert objects_of(tmp_path / "p.h5").counts.tolist() == [len(boxes) for boxes in BOXES]


@pytest.mark.parametrize(
    "names", ["[red, white, tiny]", "{0: red, 1: white, 2: tiny}", "{'2': tiny, 0: red, 1: white}"]
)
def test_names_may_be_a_list_or_numbered(tmp_path: Path, names: str) -> None:
    data = f"train: images/train\nval: images/val\nnames: {names}\nnc: 3\n"
    imported(write_yolo(tmp_path, data), tmp_path / "p.h5")
    assert objects_of(tmp_path / "p.h5").classes == CLASSES


@pytest.mark.parametrize(
    ("train", "n"),
    [
        ("images/train", 2),
        ("[images/train, more]", 3),
        ("list.txt", 1),
        ("../images/train", 2),  # as Roboflow writes it
    ],
)
def test_splits_are_folders_lists_or_several_of_them(tmp_path: Path, train: str, n: int) -> None:
    data = f"train: {train}\nvalid: images/val\nnames: [red, white, tiny]\n"
    source = write_yolo(tmp_path / "set", data)
    (tmp_path / "set" / "list.txt").write_text("./images/train/0.png\n\n")
    (tmp_path / "set" / "more").mkdir()
    (tmp_path / "set/images/val/2.png").rename(tmp_path / "set/more/2.png")
    imported(source, tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        splits = pool.columns(["split"])["split"].to_list()
    assert (splits.count("train"), splits.count("val")) == (n, 1)


def test_the_data_set_s_folder_may_lie_elsewhere_or_be_missing(tmp_path: Path) -> None:
    write_yolo(tmp_path / "sets" / "cells")
    (tmp_path / "own").mkdir()
    source = tmp_path / "own" / "cells.yaml"
    text = "train: images/train\nval: images/val\nnames: [red, white, tiny]\n"
    source.write_text("path: ../sets/cells\n" + text)
    assert imported(source, tmp_path / "p.h5").n == 4
    beside = tmp_path / "sets" / "cells" / "data.yaml"
    beside.write_text("path: datasets/cells\n" + text)
    assert imported(beside, tmp_path / "p.h5").n == 4


def test_an_image_of_two_splits_is_counted_once_in_the_one_that_is_evaluated(
    tmp_path: Path,
) -> None:
    data = "train: [images/train, images/val]\nval: images/val\nnames: [red, white, tiny]\n"
    done = imported(write_yolo(tmp_path, data), tmp_path / "p.h5")
    assert done.n == 4
    said = "\n".join(map(str, done.notices))
    assert "val: 2 images are also in train, and counted here alone: images/val/2.png" in said
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["split"])["split"].to_list().count("val") == 2


def test_a_split_without_any_labels_is_left_out_and_said(tmp_path: Path) -> None:
    data = "train: images/train\nval: images/val\ntest: images/test\nnames: [red, white, tiny]\n"
    source = write_yolo(tmp_path, data)
    (tmp_path / "images/test").mkdir()
    (tmp_path / "images/val/2.png").rename(tmp_path / "images/test/2.png")
    done = imported(source, tmp_path / "p.h5")
    assert done.n == 3
    assert "test: none of 1 image has a label file; left out" in str(done.notices[0])
    for path in (tmp_path / "labels").rglob("*.txt"):
        path.unlink()
    with pytest.raises(PoolError, match="there are no images with label files"):
        imported(source, tmp_path / "q.h5")


def write_labels(folder: Path, text: str, data: str | None = None) -> Path:
    source = write_yolo(folder, data)
    (folder / "labels/train/0.txt").write_text(text)
    return source


def test_polygons_become_boxes_and_lines_that_are_there_twice_count_once(tmp_path: Path) -> None:
    text = "1 0.25 0.5 0.75 0.25 0.5 0.75\n0 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.25\n"
    done = imported(write_labels(tmp_path, text), tmp_path / "p.h5")
    said = "\n".join(map(str, done.notices))
    assert "1 line holds a polygon" in said
    assert "1 line is there twice and left out once" in said
    first = objects_of(tmp_path / "p.h5").take(np.array([0]))
    # 64 × 48 pixels on 64 × 64: eight rows above.
    assert first.boxes.tolist() == [[16, 20, 48, 44], [16, 26, 48, 38]]
    assert first.area.tolist() == [32 * 24, 32 * 12]


def test_what_follows_a_box_is_keypoints_where_the_data_set_says_so(tmp_path: Path) -> None:
    data = "train: images/train\nval: images/val\nnames: [red, white, tiny]\nkpt_shape: [1, 2]\n"
    source = write_labels(tmp_path, "1 0.5 0.5 0.5 0.25 0.1 0.9\n", data)
    imported(source, tmp_path / "p.h5")
    first = objects_of(tmp_path / "p.h5").take(np.array([0]))
    assert first.boxes.tolist() == [[16, 26, 48, 38]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.5", "has 4 columns"),
        ("0 0.5 0.5 0.5 0.5 0.9", "has 6 columns, the last perhaps a confidence"),
        ("3 0.5 0.5 0.5 0.5", "there is no class 3, classes are 0 to 2"),
        ("0.5 0.5 0.5 0.5 0.5", "there is no class 0.5"),
        ("-1 0.5 0.5 0.5 0.5", "there is no class -1"),
        ("0 32 24 16 16", "its coordinates aren't fractions of the image, 0 to 1"),
        ("0 0.5 0.5 -0.5 0.5", "has a negative width or height"),
        ("0 nan 0.5 0.5 0.5", "isn't numbers"),
        ("red 0.5 0.5 0.5 0.5", "isn't numbers"),
        ("0 0.1 0.2 0.3 0.4 0.5 1.5", "its coordinates aren't fractions"),
    ],
)
def test_wrong_lines_are_told_with_their_file_and_number(
    tmp_path: Path, line: str, said: str
) -> None:
    source = write_labels(tmp_path, f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(PoolError) as caught:
        imported(source, tmp_path / "p.h5")
    assert f"labels/train/0.txt: line 2: {line!r}: {said}" in str(caught.value)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        ("a: [", FileFormatError, "data.yaml: line 1: isn't valid YAML: expected the node content"),
        ("names: [a]\nval:images", FileFormatError, "data.yaml: line 2: isn't valid YAML: "),
        (
            "names: [a]\nval:\timages\n\tx: y",
            FileFormatError,
            "line 2: isn't valid YAML: found a tab",
        ),
        ("names: [a\x01]", FileFormatError, "holds a control character"),
        ("- a", FileFormatError, "isn't a mapping"),
        ("val: images/val", FileFormatError, "has no names of classes"),
        ("val: images/val\nnames: [a, a]", FileFormatError, "several classes are called 'a'"),
        ("val: images/val\nnames: {0: a, 2: b}", FileFormatError, "names is {0: 'a', 2: 'b'}"),
        ("val: images/val\nnames: [a]\nnc: 2", FileFormatError, "nc is 2, and there are 1 names"),
        ("names: [a]", FileFormatError, "names no split"),
        ("val: 3\nnames: [a]", FileFormatError, "val is 3"),
        ("val: imgs/val\nnames: [a]", PoolError, "there is no 'imgs/val'"),
        ("val: labels\nnames: [a]", PoolError, "holds no images"),
        ("val: list.txt\nnames: [a]", PoolError, "list.txt: line 1: there is no image 'x.png'"),
    ],
)
def test_a_data_file_that_makes_no_sense_is_refused(
    tmp_path: Path, data: str, kind: type[CalauditError], said: str
) -> None:
    source = write_yolo(tmp_path, data)
    (tmp_path / "list.txt").write_text("x.png\n")
    with pytest.raises(kind) as caught:
        imported(source, tmp_path / "p.h5")
    assert said in str(caught.value)
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        ("a: {b: 1\nc: 2", 2, "expected ',' or '}', and there is ':'"),
        ("names: [a]\nval:images", 2, "there is no expected ':'"),
        ("a: b: c", 1, "there is a second key and colon in a line"),
        ("- a\nb: c", 2, "expected another line of the list, and there is a key"),
        ("a: 'x\n", 2, "found unexpected end of the file"),
        ("a:\n  b: 1\n c: 2", 3, "expected another line of the list"),
        ("%x", 1, "expected the start of the content, and there is the end of the file"),
    ],
)
def test_yaml_that_is_broken_is_told_by_its_line_in_plain_words(
    tmp_path: Path, data: str, line: int, said: str
) -> None:
    source = write_yolo(tmp_path, data)
    with pytest.raises(FileFormatError) as caught:
        imported(source, tmp_path / "p.h5")
    (problem,) = caught.value.problems
    assert problem.where == f"{source}: line {line}"
    assert problem.message.startswith(f"isn't valid YAML: {said}")
    assert not any(word in problem.message for word in ("<", "unicode string", "stream"))


def test_boxes_that_reach_beyond_their_image_are_counted(tmp_path: Path) -> None:
    text = "0 0.05 0.5 0.3 0.2\n0 0.5 0.95 0.2 0.3\n0 0.1 0.5 0.21 0.2\n1 0.5 0.5 0.2 0.2\n"
    done = imported(write_labels(tmp_path, text), tmp_path / "p.h5")
    said = "\n".join(map(str, done.notices))
    assert "2 boxes reach beyond the image, and stay as annotated" in said
    first = objects_of(tmp_path / "p.h5").take(np.array([0]))
    assert first.boxes[:, 0].min() == pytest.approx(-0.1 * 64)


def test_labels_without_images_shared_labels_and_copies_are_counted(tmp_path: Path) -> None:
    source = write_yolo(tmp_path)
    (tmp_path / "labels/train/gone.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "labels/train/classes.txt").write_text("red\n")
    with Image.open(tmp_path / "images/train/0.png") as image:
        image.save(tmp_path / "images/train/0.bmp")
    copy = tmp_path / "images/val/1.png"
    copy.write_bytes((tmp_path / "images/train/1.png").read_bytes())
    with Image.open(tmp_path / "images/val/3.png") as image:
        image.save(tmp_path / "images/val/0.png")
    done = imported(source, tmp_path / "p.h5")
    said = {each.code: each.message for each in done.notices}
    assert said["labels_alone"] == (
        f"1 label file has no image, left out: {tmp_path}/labels/train/gone.txt"
    )
    assert said["labels_shared"].startswith("2 images have their label file with another image")
    assert said["labels_shared"].endswith("images/train/0.bmp, images/train/0.png")
    assert said["copied"].startswith("1 image is the same file as one of the same name")
    assert said["copied"].endswith("images/val/1.png")
    assert done.n == 7


def test_messages_have_paths_as_the_data_set_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yolo(tmp_path)
    (tmp_path / "images/val/2.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoolError) as caught:
        imported(Path("data.yaml"), Path("p.h5"))
    assert "images/val/2.png" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_images_outside_of_the_data_set_need_leave(tmp_path: Path) -> None:
    write_yolo(tmp_path / "other")
    source = write_yolo(
        tmp_path / "set",
        f"train: {tmp_path}/other/images/train\nval: images/val\nnames: [red, white, tiny]\n",
    )
    with pytest.raises(PoolError, match="lies outside of the data set's folder"):
        imported(source, tmp_path / "p.h5")
    assert imported(source, tmp_path / "p.h5", outside=True).n == 4


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("set/images/val/a.b.jpg", "set/labels/val/a.b.txt"),
        ("images/set/images/a.png", "images/set/labels/a.txt"),
        ("val/a.png", "val/a.txt"),
    ],
)
def test_labels_lie_where_ultralytics_looks_for_them(image: str, labels: str) -> None:
    assert label_path(Path(image)) == Path(labels)


def test_a_folder_s_data_file_is_found(tmp_path: Path) -> None:
    assert data_file(tmp_path) is None
    (tmp_path / "cells.yaml").touch()
    assert data_file(tmp_path) == tmp_path / "cells.yaml"
    (tmp_path / "other.yaml").touch()
    assert data_file(tmp_path) is None
    (tmp_path / "data.yml").touch()
    assert data_file(tmp_path) == tmp_path / "data.yml"


def test_a_table_s_column_takes_the_place_of_the_split_and_says_so(tmp_path: Path) -> None:
    source = write_yolo(tmp_path)
    rows = ["file,split", *(f"{at}.png,{'evaluation' if at else 'calibration'}" for at in range(4))]
    (tmp_path / "images.csv").write_text("\n".join(rows))
    done = imported(source, tmp_path / "p.h5", meta="images.csv")
    assert "its columns split take the place of the annotations'" in "\n".join(
        map(str, done.notices)
    )
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["split"])["split"].to_list() == ["calibration"] + ["evaluation"] * 3
