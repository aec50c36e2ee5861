"""A detector's objects as units of their own."""

from dataclasses import replace

import numpy as np
import pytest

from calaudit.formats.given import Held
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.metrics.objects import found_objects
from calaudit.metrics.scoring import score
from calaudit.runtime.errors import SettingsError
from calaudit.slices.dimension import Dimension
from calaudit.slices.objects import slice_pool
from calaudit.tasks.reading import parse_task, read_eval_sets
from tests.tasks.worlds import WORLDS, N

ROWS = np.arange(0, N, 3)
"""Evaluated ones."""


@pytest.fixture(scope="module")
def world():
    return WORLDS["detection"]()


@pytest.fixture(scope="module")
def pool(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.h5"
    objects = world.targets["objects"]
    crowd = np.random.default_rng(1).random(len(objects.label)) < 0.2
    write_pool(
        path,
        inputs={"x": np.zeros((N, 3, 96, 128), np.float32)},
        targets={"objects": replace(objects, crowd=crowd)},
        meta={"half": np.where(np.arange(N) < N / 2, "first", "second")},
        ids=[f"image {row}" for row in range(N)],
    )
    with open_pool(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def given(world):
    return Held(np.arange(N), world.outputs)


def read(pool, *dimensions, **keys):
    task = parse_task({"kind": "detection", "format": "yolov8", **keys}, where="a.toml", at="t")
    whole = slice_pool(dimensions, pool, where="slices")
    return read_eval_sets(
        task, pool, ROWS, whole.samples.take(ROWS), ("output0",), where="a.toml: tasks[0]",
        object_slices=whole,
    )  # fmt: skip


def test_units_are_the_objects_that_are_no_crowds_in_the_order_of_images(pool):
    images, objects = read(pool)
    kept = ~images.truth.objects.crowd
    assert (images.unit, objects.unit) == ("image", "object")
    assert len(objects.truth) == np.count_nonzero(kept) < len(kept)
    assert (objects.row_of_unit == images.truth.objects.image[kept]).all()
    assert (objects.truth.label == images.truth.objects.label[kept]).all()
    assert [metric.name for metric in objects.metrics] == ["object_recall"]


def test_answers_to_some_objects_are_those_of_all(pool, given):
    _, objects = read(pool, working_score=0.6, working_iou=0.7)
    whole = objects.answers(given, given)
    assert 0.3 < whole["found"].mean() < 1
    for some in (np.array([0]), np.array([5, 6, 7, 90]), np.arange(1, len(whole), 2)):
        assert (objects.answers(given, given, some) == whole[some]).all()


def test_what_is_found_is_what_the_images_detections_find(pool, given):
    images, objects = read(pool, working_score=0.6, working_iou=0.7)
    found = found_objects(images.truth, images.answers(given, given))
    kept = ~images.truth.objects.crowd
    assert images.truth.working_score == 0.6
    assert (objects.answers(given, given) == found[kept]).all()
    lower, _ = read(pool)
    assert (
        found["found"].sum()
        < found_objects(lower.truth, lower.answers(given, given))["found"].sum()
    )


def test_objects_have_slices_of_their_own_and_those_of_their_images(pool, given):
    dimensions = Dimension(by="half"), Dimension(by="object.class", name="class")
    images, objects = read(pool, *dimensions, working_score=0.7)
    assert images.slices.names == ["all", "half = first", "half = second"]
    counts = objects.slices.counts()
    of_class = {name: n for name, n in counts.items() if name.startswith("class")}
    assert sum(of_class.values()) == counts["half = first"] + counts["half = second"]
    (recall,) = objects.metrics
    scores = score(recall, objects.answers(given, given), objects.truth)
    rows = objects.slices.rows("class = kind 2")
    assert (objects.truth.label[rows] == 2).all()
    assert scores.value(rows) == objects.answers(given, given)["found"][rows].mean()


def test_objects_are_called_by_image_number_and_class(pool):
    images, objects = read(pool)
    units = np.array([0, 4, 3])
    names = objects.ids(units)
    for unit, name in zip(units, names, strict=True):
        row = int(ROWS[objects.row_of_unit[unit]])
        assert name.startswith(f"image {row} #")
        assert name.endswith(f"({images.classes[objects.truth.label[unit]]})")
    assert len(set(objects.ids(np.arange(len(objects.truth))))) == len(objects.truth)


def test_an_image_without_an_answer_leaves_its_objects_without_a_score(pool, world):
    broken = world.outputs["output0"].copy()
    broken[3, 5, 0] = np.nan
    _, objects = read(pool)
    whole = Held(np.arange(N), world.outputs)
    answers = objects.answers(Held(np.arange(N), {"output0": broken}), whole)
    (recall,) = objects.metrics
    scores = score(recall, answers, objects.truth, objects.answers(whole, whole))
    assert (~scores.present == (objects.row_of_unit == 1)).all()


def test_objects_are_read_only_where_a_metric_scores_them(pool):
    (images,) = read(pool, metrics=["ap", "object_precision", "boxes_kept"])
    assert images.unit == "image"
    (objects,) = read(pool, metrics=["object_recall"])
    assert objects.unit == "object"


def test_the_working_point_is_checked():
    values = {"kind": "detection", "format": "yolov8", "working_score": 0.05}
    with pytest.raises(SettingsError, match=r"score_threshold = 0\.1 .* working_score is 0\.05"):
        parse_task({**values, "score_threshold": 0.1}, where="a.toml", at="t")
    with pytest.raises(SettingsError, match="working_iou must lie between 0 and 1"):
        parse_task({**values, "working_iou": 1.5}, where="a.toml", at="t")
