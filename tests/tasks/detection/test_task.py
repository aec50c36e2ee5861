import numpy as np
import pytest

from calaudit.formats.given import Held
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import write_predictions
from calaudit.metrics.scoring import score
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from calaudit.runtime.objects import Objects
from calaudit.slices.sliceset import SliceSet
from calaudit.tasks.reading import parse_task, read_eval_sets
from calaudit.tasks.reduction import Reading, kept_of
from tests.tasks.worlds import WORLDS, N

CLASSES = tuple(f"kind {k}" for k in range(4))


@pytest.fixture(scope="module")
def world():
    return WORLDS["detection"]()


@pytest.fixture(scope="module")
def pool(world, tmp_path_factory):
    with open_pool(world.write(tmp_path_factory.mktemp("pool") / "pool.h5")) as opened:
        yield opened


def read(pool, outputs=("output0",), shapes=None, folder=None, **keys):
    task = parse_task({"kind": "detection", "format": "yolov8", **keys}, where="a.toml", at="t")
    rows = np.arange(len(pool))
    found, *_ = read_eval_sets(
        task, pool, rows, SliceSet(len(rows), ()), outputs, where="a.toml: tasks[0]",
        shapes=shapes, folder=folder,
    )  # fmt: skip
    return found


def problem(pool, *args, **keys):
    with pytest.raises(CalauditError) as error:
        read(pool, *args, **keys)
    (found,) = error.value.problems
    return found


def test_detections_made_batch_by_batch_are_those_of_the_whole_outputs(world, pool, tmp_path):
    eval_set = read(pool, nms_iou=0.5, max_detections=5)
    kept = kept_of([Reading(eval_set.outputs, eval_set.reduction)])
    rows = np.arange(N)
    batches = [
        kept.batch({"output0": world.outputs["output0"][at]}, at, None)
        for at in np.array_split(rows, 7)
    ]
    reduced = write_predictions(tmp_path / "reduced.h5", rows, batches)
    whole = write_predictions(tmp_path / "whole.h5", rows, [dict(world.outputs)])
    assert reduced.output_names == ()
    found = eval_set.answers(reduced, reduced)
    assert (found == eval_set.answers(whole, whole)).all()
    assert (found == eval_set.answers(Held(rows, world.outputs), whole)).all()
    some = np.array([3, 8, 200])
    assert (found[some] == eval_set.answers(reduced, reduced, some)).all()
    assert max(map(len, found)) == 5
    assert eval_set.reduction.row_bytes == 5 * 24 + 25


def test_an_image_whose_output_is_not_a_number_has_no_answer(world, pool, tmp_path):
    eval_set = read(pool)
    broken = world.outputs["output0"].copy()
    broken[4, 5, 0] = np.nan
    given = Held(np.arange(N), {"output0": broken})
    assert [at for at, each in enumerate(eval_set.answers(given, given)) if each is None] == [4]


@pytest.mark.parametrize(
    "keys",
    [
        {"score_threshold": 0.01}, {"nms_iou": 0.5}, {"max_detections": 30},
        {"box_format": "xyxy"}, {"normalised": True},
    ],
    ids=lambda keys: next(iter(keys)),
)  # fmt: skip
def test_what_detections_depend_on_is_in_the_key_of_predictions(pool, keys):
    assert read(pool).reduction.key != read(pool, **keys).reduction.key
    assert read(pool).reduction.key == read(pool, metrics=["ap50"]).reduction.key


def test_classes_in_another_order_number_the_objects_so(pool):
    plain, turned = read(pool), read(pool, classes=[*CLASSES[::-1], "more"])
    assert turned.classes == (*CLASSES[::-1], "more")
    assert (turned.truth.objects.label == 3 - plain.truth.objects.label).all()
    assert turned.reduction.layout.n_classes == 5
    found = problem(pool, classes=CLASSES[:3])
    assert "has the class 'kind 3', which the task's classes lack" in found.message
    assert f"The pool's classes are {', '.join(CLASSES)}: name all" in found.next_step


def test_a_metric_of_a_class_that_is_not_there_is_refused_before_any_work(pool):
    found = problem(pool, metrics=["ap", "ap[kind 9]"])
    assert found.message == "ap[kind 9] names no class of the task"
    assert found.where == "a.toml: tasks[0].metrics"
    assert all(name in found.next_step for name in CLASSES)
    assert f"Known: {', '.join(CLASSES)}." in problem(pool, metrics=["ap[person]"]).next_step
    assert read(pool, metrics=["ap[kind 1]", "ar[kind 2]@10"]).metrics[1].k == 10


def test_a_metric_may_stand_for_every_class_by_its_name(pool):
    assert [each.name for each in read(pool, metrics=["ap", "ap50[*]"]).metrics] == [
        "ap", *(f"ap50[{name}]" for name in CLASSES),
    ]  # fmt: skip
    turned = read(pool, metrics=["ap[*]"], classes=[*CLASSES[::-1], "more"])
    assert [each.class_name for each in turned.metrics] == [*CLASSES[::-1], "more"]


def test_a_layout_that_does_not_fit_the_models_shapes_is_refused_before_any_work(pool):
    shapes = {"output0": (9, 8)}
    found = problem(pool, shapes=shapes, format="yolov8", classes=(*CLASSES, "a", "b"))
    assert found.message == (
        "an output is 9×8 for an image, expected 10×boxes of 6 classes in the layout of yolov8"
    )
    assert found.where == "a.toml: tasks[0]"
    assert 'classes = ["…"]' in found.next_step
    found = problem(pool, shapes={"output0": (9, 30)}, format="yolov8")
    assert found.next_step == 'This fits format = "yolov5" with as many classes.'
    for wrong in ("yolov5", "end-to-end"):
        found = problem(pool, shapes={"output0": (8, 30)}, format=wrong)
        assert found.next_step == 'This fits format = "yolov8" with as many classes.'
    found = problem(pool, format="yolov5", shapes={"output0": (300, 6)}, classes=(*CLASSES, "x"))
    assert found.next_step == 'This fits format = "end-to-end" with as many classes.'
    assert read(pool, shapes=shapes, format="yolov5").reduction.nms_iou == 0.6
    assert read(pool, shapes={"output0": (None, 8)}).reduction.nms_iou == 0.7


def test_outputs_are_found_by_their_roles_and_names(pool):
    names = ("num_dets", "det_boxes", "det_scores", "det_classes")
    keys = {"format": "end-to-end"}
    assert read(pool, names[1:], boxes="det_boxes", **keys).outputs == names[1:]
    assert read(pool, names, boxes="det_boxes", counts="num_dets", **keys).outputs == (
        *names[1:],
        "num_dets",
    )
    assert read(pool, ("logits", "pred_boxes"), format="detr").outputs == ("pred_boxes", "logits")
    found = problem(pool, ("a", "b"), format="detr")
    assert found.message == "the model has 2 outputs (a, b); say which one holds the boxes"
    assert found.where == "a.toml: tasks[0].boxes"
    found = problem(pool, format="detr")
    assert "the model has one output (output0)" in found.message
    assert '"yolov8" or "yolov5" or "end-to-end"' in found.next_step
    assert found.where == "a.toml: tasks[0].format"
    found = problem(pool, format="end-to-end", boxes="output0")
    assert "the model has one output (output0)" in found.message
    found = problem(pool, scores="output0")
    assert found.message == "the format 'yolov8' has no output of scores"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "yolo8"}, "there is no format 'yolo8'"),
        ({"nms_iou": 1.5}, "nms_iou must lie between 0 and 1"),
        ({"score_threshold": 2.0}, "score_threshold must lie between 0 and 1 (got 2.0)"),
        ({"score_threshold": 1.0}, "score_threshold = 1 drops every box"),
        ({"score_threshold": 0.5}, "working_score is 0.25 (the default)"),
        ({"score_threshold": 0.5, "working_score": 0.3}, "working_score is 0.3"),
        ({"max_detections": 0}, "max_detections must be at least 1"),
        ({"classes": ["a", "a"]}, "classes holds a name twice"),
    ],
)
def test_settings_that_mean_nothing_are_refused(pool, keys, message):
    found = problem(pool, **keys)
    assert message in found.message
    if "format" in keys:
        assert "yolov8" in found.next_step
        assert "module:function" in found.next_step
    if "2.0" in message:
        assert found.next_step == "Give score_threshold a number from 0 to 1."


def test_a_task_without_a_format_is_told_which_there_are():
    with pytest.raises(SettingsError) as error:
        parse_task({"kind": "detection"}, where="a.toml", at="tasks[0]")
    (found,) = error.value.problems
    assert found.message == "this key is missing"
    assert found.where == "a.toml: tasks[0].format"
    assert found.next_step == (
        "Add it, as one of yolov8, yolov5, end-to-end, detr, module:function."
    )


OWN = """
import numpy as np

def decode(outputs, height, width):
    found = []
    for image in outputs["output0"]:
        centre, size = image[:2].T, image[2:4].T
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        found.append((boxes, image[4:].max(axis=0), image[4:].argmax(axis=0)))
    return found

def careless(outputs, height, width):
    return [(np.zeros((2, 4)), np.zeros(3), np.zeros(2))] * len(outputs["output0"])

def of_nobody(outputs, height, width):
    return [(np.zeros((1, 4)), np.ones(1), np.array([7]))] * len(outputs["output0"])
"""


def test_a_function_of_ones_own_may_decode(world, pool, tmp_path):
    (tmp_path / "own_boxes.py").write_text(OWN)
    given = Held(np.arange(N), world.outputs)
    own = read(pool, format="own_boxes:decode", folder=tmp_path, nms_iou=0.7)
    assert "function" in own.reduction.key
    ap = own.metrics[0]
    mine = score(ap, own.answers(given, given), own.truth).value()
    usual = read(pool)
    theirs = score(ap, usual.answers(given, given), usual.truth).value()
    assert mine == pytest.approx(theirs, abs=0.05)
    for name, message in (
        ("careless", r"of shapes \(2, 4\), \(3,\) and \(2,\) for image 0"),
        ("of_nobody", "gave class 7; there are 4, from 0"),
    ):
        eval_set = read(pool, format=f"own_boxes:{name}", folder=tmp_path)
        with pytest.raises(SettingsError, match=message) as error:
            eval_set.answers(given, given)
        assert error.value.problems[0].where == "a.toml: tasks[0].format"


def test_a_pool_without_boxes_or_with_several_targets_of_them_is_told_so(tmp_path):
    images = {"x": np.zeros((2, 3, 8, 8), np.float32)}
    boxes = Objects.from_images([[[0, 0, 4, 4]], []], [[0], []], classes=["a"])
    none = Objects.from_images([[], []], [[], []], classes=["a"])
    for targets, keys, message in (
        ({"label": [0, 1]}, {}, r"has 0 targets of objects \(none\)"),
        ({"one": boxes, "two": boxes}, {}, r"has 2 targets of objects \(one, two\)"),
        ({"one": boxes}, {"target": "tow"}, "has no objects 'tow'"),
    ):
        path = tmp_path / "pool.h5"
        write_pool(path, inputs=images, targets=targets)
        with open_pool(path) as opened, pytest.raises(PoolError, match=message):
            read(opened, **keys)
    write_pool(tmp_path / "empty.h5", inputs=images, targets={"objects": none})
    with open_pool(tmp_path / "empty.h5") as opened:
        eval_set = read(opened)
        with pytest.raises(PoolError, match="no evaluated image has an object"):
            eval_set.task.check(eval_set, None, opened)
