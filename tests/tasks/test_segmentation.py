"""Segmentation: which outputs and masks fit, what is kept of them, and what is refused."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import write_predictions
from calaudit.graph.model import ModelTensor
from calaudit.metrics.case import Case
from calaudit.metrics.scoring import score_all
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from calaudit.slices.evaluate import evaluate_slices
from calaudit.steps.agreement import compare_outputs
from calaudit.tasks.reading import parse_task, propose_tasks, read_eval_sets
from calaudit.tasks.reduction import Reading, kept_of

N, SIZE = 6, (4, 5)
NAMES = ("road", "sky", "car")
ROWS = np.arange(N)


def pool_of(folder: Path, masks=None, *, names=NAMES, ignored: int | None = 255) -> Path:
    """A pool with masks in which no pixel of the last class occurs in the first sample."""
    path = folder / "pool.h5"
    mask = true_masks() if masks is None else masks
    write_pool(
        path,
        inputs={"image": np.zeros((N, 3, *SIZE), np.float32)},
        targets={"mask": mask},
        ids=list("uvwxyz"),
        classes={"mask": names} if names else {},
        ignored={} if ignored is None else {"mask": ignored},
    )
    return path


def true_masks():
    mask = np.random.default_rng(0).integers(0, 3, (N, *SIZE)).astype(np.uint8)
    mask[0][mask[0] == 2] = 0
    mask[:, 0, 0] = 255
    return mask


def scores_for(mask, classes=3):
    """Logits (n, classes, height, width) whose highest is that of the mask."""
    logits = np.random.default_rng(1).normal(size=(len(mask), classes, *SIZE))
    chosen = np.where(mask < classes, mask, 0)[:, None]
    np.put_along_axis(logits, chosen, 9.0, axis=1)
    return logits.astype(np.float32)


def read(path: Path, output: np.ndarray | None = None, **keys):
    """The evaluation set, and what metrics say of an output; kept as it is and reduced alike."""
    with open_pool(path) as pool:
        task = parse_task({"kind": "segmentation", **keys}, where="a.toml", at="tasks[0]")
        shapes = {} if output is None else {"y": output.shape[1:]}
        (eval_set,) = read_eval_sets(
            task, pool, ROWS, evaluate_slices([], pool), ["y"], where="tasks[0]", shapes=shapes
        )
        eval_set.task.check(eval_set, None, pool)
        if output is None:
            return eval_set, {}
        outputs = {"y": output}
        kept = kept_of([Reading(eval_set.outputs, eval_set.reduction)])
        batches = [kept.batch({"y": output[rows]}, rows, None) for rows in (ROWS[:4], ROWS[4:])]
        found = []
        for name, given in (("kept", [outputs]), ("reduced", batches)):
            answers = write_predictions(path.parent / f"{name}.h5", ROWS, given)
            units = eval_set.answers(answers, answers)
            scores = score_all(eval_set.metrics, units, eval_set.truth, units)
            found.append({metric.name: each.value() for metric, each in scores.items()})
        assert answers.output_names == ()
        assert found[0] == found[1]
        return eval_set, found[0]


PERFECT = {
    "mean_iou": 1.0,
    "pixel_accuracy": 1.0,
    "pixel_agreement": 1.0,
    "mean_iou_agreement": 1.0,
}


@pytest.mark.parametrize(
    "laid",
    [
        scores_for,
        lambda mask: scores_for(mask).transpose(0, 2, 3, 1),
        lambda mask: np.where(mask < 3, mask, 0).astype(np.uint8),
        lambda mask: np.where(mask < 3, mask, 0).astype(np.int64)[:, None],
        lambda mask: np.where(mask < 3, mask, 0).astype(np.float32)[..., None],
    ],
    ids=["channels first", "channels last", "classes", "a channel of classes", "in float"],
)
def test_a_right_output_of_any_layout_is_perfect(tmp_path, laid):
    _, found = read(pool_of(tmp_path), laid(true_masks()))
    assert found == PERFECT


def test_metrics_are_named_by_class_and_a_star_stands_for_all_of_them(tmp_path):
    wrong = true_masks()
    wrong[wrong == 2] = 1
    _, found = read(pool_of(tmp_path), scores_for(wrong), metrics=["iou[*]", "mean_iou"])
    assert list(found) == ["iou[road]", "iou[sky]", "iou[car]", "mean_iou"]
    assert found["iou[road]"] == 1.0
    assert 0 < found["iou[sky]"] < 1
    assert found["iou[car]"] == 0.0
    with pytest.raises(SettingsError, match=r"iou\[cra\] names no class of the task") as error:
        read(tmp_path / "pool.h5", metrics=["iou[cra]"])
    assert "car" in (error.value.problems[0].next_step or "")


def test_where_classes_have_no_names_they_go_by_their_numbers(tmp_path):
    path = pool_of(tmp_path, names=None, ignored=None)
    eval_set, found = read(path, scores_for(true_masks()), ignore=255, metrics=["iou[2]"])
    assert eval_set.classes == ("0", "1", "2")
    assert found == {"iou[2]": 1.0}
    with pytest.raises(SettingsError, match=r"classes that iou\[\*\] stands for aren't known"):
        read(path, ignore=255, metrics=["iou[*]"])


def test_an_output_of_one_channel_is_cut_at_a_threshold(tmp_path):
    mask = (true_masks() % 2).astype(np.uint8)
    path = pool_of(tmp_path, mask, names=("nothing", "lesion"), ignored=None)
    logits = np.where(mask == 1, 0.7, -0.7).astype(np.float32)[:, None]
    _, found = read(path, logits, threshold=0.0, metrics=["mean_iou", "iou[lesion]"])
    assert found == {"mean_iou": 1.0, "iou[lesion]": 1.0}
    with pytest.raises(SettingsError, match="holds no class numbers") as error:
        read(path, logits)
    assert "threshold = 0.0 for logits" in str(error.value)


def test_units_that_cannot_be_judged_have_no_answer(tmp_path):
    logits = scores_for(true_masks())
    logits[2, 0, 1, 1] = np.nan
    path = pool_of(tmp_path)
    with open_pool(path) as pool:
        task = parse_task({"kind": "segmentation"}, where="a.toml", at="tasks[0]")
        slices = evaluate_slices([], pool)
        (eval_set,) = read_eval_sets(task, pool, ROWS, slices, ["y"], where="")
        masked = scores_for(true_masks())
        masked[:, 2] = np.where(masked[:, 2] == 9.0, 9.0, -np.inf)
        fp32 = write_predictions(tmp_path / "fp32.h5", ROWS, [{"y": masked}])
        broken = write_predictions(tmp_path / "broken.h5", ROWS, [{"y": logits}])
        same = write_predictions(tmp_path / "same.h5", ROWS, [{"y": masked.copy()}])
        assert [one is None for one in eval_set.answers(broken, broken)] == [
            row == 2 for row in range(N)
        ]
        # FP32's infinities are meant; an engine without them, or with others, has broken.
        assert all(one is not None for one in eval_set.answers(same, fp32))
        assert all(one is None for one in eval_set.answers(broken, fp32))


def test_backends_agree_by_the_share_of_the_pixels_that_both_give_one_class(tmp_path):
    mask = np.where(true_masks() < 3, true_masks(), 0)
    other = mask.copy()
    other[3, 2, 2] = (other[3, 2, 2] + 1) % 3
    with open_pool(pool_of(tmp_path)) as pool:
        task = parse_task({"kind": "segmentation"}, where="a.toml", at="tasks[0]")
        (eval_set,) = read_eval_sets(task, pool, ROWS, evaluate_slices([], pool), ["y"], where="")
        one, twin = (
            write_predictions(tmp_path / f"{name}.h5", ROWS, [{"y": each}])
            for name, each in (("one", mask), ("twin", other))
        )
        found = compare_outputs(eval_set, "a", one, "b", twin)
        shared = 1 - 1 / mask.size
        assert (found.metric, found.value) == ("pixel_agreement", pytest.approx(shared))
        assert compare_outputs(eval_set, "a", one, "b", one).value == 1.0


@pytest.mark.parametrize(
    ("change", "keys", "told", "step"),
    [
        ({"ignored": None}, {}, "holds 255 in u, which is none of the 3 classes", "ignore = 255"),
        ({"names": None}, {}, "nothing says how many classes", "classes ="),
        ({}, {"target": "maks"}, "there is no target 'maks'", "mask"),
        ({}, {"classes": ["a", "a"]}, "holds a name twice", ""),
        ({}, {"metrics": ["cosine"]}, "cosine compares numbers", "pixel_agreement"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, change, keys, told, step):
    names = change.get("names", NAMES)
    mask = true_masks()
    path = tmp_path / "pool.h5"
    write_pool(
        path,
        inputs={"image": np.zeros((N, 3, *SIZE), np.float32)},
        targets={"mask": mask},
        ids=list("uvwxyz"),
        classes={"mask": names} if names and "ignored" not in change else {},
        ignored={} if "ignored" in change else {"mask": 255},
    )
    if "ignored" in change:
        keys = {"classes": list(NAMES)}
    with pytest.raises(CalauditError, match=told) as error:
        read(path, **keys)
    assert step in str(error.value)


def test_a_target_that_holds_no_masks_is_refused(tmp_path):
    path = tmp_path / "pool.h5"
    write_pool(path, inputs={"x": np.zeros((N, 1), np.float32)}, targets={"mask": ROWS})
    with pytest.raises(PoolError, match=r"int64 of shape \(\), expected a whole number for each"):
        read(path)


def test_masks_of_another_size_than_the_output_are_told_with_what_to_do(tmp_path):
    path = pool_of(tmp_path)
    for output in (np.zeros((N, 3, 2, 2), np.float32), np.zeros((N, 2, 2, 3), np.float32)):
        size = "×".join(map(str, output.shape[1:]))
        with pytest.raises(SettingsError, match=f"y is {size} for a sample, the masks of") as e:
            read(path, output)
        assert "4×5" in str(e.value)
        assert 'Write resize = "bilinear" in the task' in str(e.value)
    with open_pool(path) as pool:  # a model that leaves its output's size open is found out by it
        task = parse_task({"kind": "segmentation"}, where="a.toml", at="tasks[0]")
        (eval_set,) = read_eval_sets(
            task, pool, ROWS, evaluate_slices([], pool), ["y"], where="tasks[0]"
        )
        kept = kept_of([Reading(eval_set.outputs, eval_set.reduction)])
        with pytest.raises(SettingsError, match=r"shape \(6, 3, 2, 2\), expected \(n, 3, 4, 5\)"):
            kept.batch({"y": np.zeros((N, 3, 2, 2), np.float32)}, ROWS, None)


@pytest.mark.parametrize("laid", ["first", "last"])
@pytest.mark.parametrize("small", [(2, 5), (8, 10), (2, 4)])
def test_a_resized_output_is_judged_at_the_masks_size_as_onnx_resizes_it(
    tmp_path: Path, small: tuple[int, int], laid: str
) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(N, 3, *small)).astype(np.float32)
    true, path = true_masks(), pool_of(tmp_path)
    whole = {
        "bilinear": by_onnx(logits, "linear").argmax(axis=1),
        "nearest": by_onnx(logits.argmax(axis=1)[:, None].astype(np.float32), "nearest")[:, 0],
    }
    given = logits if laid == "first" else np.moveaxis(logits, 1, 3)
    for how, mask in whole.items():
        eval_set, found = read(path, given, resize=how)
        assert eval_set.reduction is not None
        assert eval_set.reduction.key["resize"] == how
        assert found["pixel_accuracy"] == np.mean(mask[true < 3] == true[true < 3])


def by_onnx(values: np.ndarray, mode: str) -> np.ndarray:
    """Maps (n, c, h, w) resized to the masks' size by onnxruntime."""
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode=mode, nearest_mode="round_prefer_ceil",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    sizes = np.array([*values.shape[:2], *SIZE])
    graph = helper.make_graph(
        [node], "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes.tolist())],
        [numpy_helper.from_array(sizes, "sizes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(["y"], {"x": values})[0])


def test_a_threshold_is_applied_to_resized_scores_and_class_numbers_arent_averaged(
    tmp_path: Path,
) -> None:
    path = pool_of(tmp_path, (true_masks() == 1).astype(np.uint8), names=("no", "yes"))
    scores = np.random.default_rng(5).normal(size=(N, 1, 2, 5)).astype(np.float32)
    _, found = read(path, scores, resize="bilinear", threshold=0.0)
    with open_pool(path) as pool:
        true = pool.read_target("mask", ROWS)
    assert found["pixel_accuracy"] == np.mean((by_onnx(scores, "linear")[:, 0] > 0) == true)
    numbers = np.zeros((N, 2, 5), np.int64)
    with pytest.raises(SettingsError, match="holds class numbers, which can't be averaged"):
        read(path, numbers, resize="bilinear")
    _, found = read(path, numbers, resize="nearest")
    assert found["pixel_accuracy"] == np.mean(true == 0)


def test_scores_masked_by_infinity_stay_the_lowest_where_they_are_resized(tmp_path: Path) -> None:
    logits = np.zeros((N, 3, 2, 5), np.float32)
    logits[:, 0] = 1.0
    logits[:, 2] = -np.inf
    eval_set, _ = read(pool_of(tmp_path), logits, resize="bilinear")
    assert eval_set.reduction is not None
    with open_pool(tmp_path / "pool.h5") as pool:
        task = parse_task(
            {"kind": "segmentation", "resize": "bilinear"}, where="a.toml", at="tasks[0]"
        )
        (eval_set,) = read_eval_sets(
            task, pool, ROWS, evaluate_slices([], pool), ["y"], where="tasks[0]"
        )
        assert eval_set.reduction is not None
        answers = eval_set.reduction({"y": logits}, ROWS, None)
    assert not np.any(answers["mask"])


def test_init_proposes_to_resize_scores_of_named_classes_in_the_masks_shape(
    tmp_path: Path,
) -> None:
    with open_pool(pool_of(tmp_path)) as pool:
        small = ModelTensor("logits", np.dtype(np.float32), (3, 8, 10))
        (found,) = propose_tasks(pool, [small], lambda name: None)
        assert found.values["resize"] == "bilinear"
        assert "It is 3×8×10 for masks of 4×5" in found.remark


def test_an_output_of_other_classes_than_named_is_refused_before_any_work(tmp_path):
    with pytest.raises(SettingsError, match="3 classes are named, the output y scores 4"):
        read(pool_of(tmp_path), scores_for(true_masks(), classes=4))


def test_its_settings_are_part_of_what_answers_depend_on(tmp_path):
    path = pool_of(tmp_path, ignored=None, names=None)
    keys = {"classes": list(NAMES)}
    one, other = (
        read(path, ignore=255, **more)[0].reduction
        for more in (keys, {"classes": ["a", "b", "c", "d"]})
    )
    assert one.name == other.name
    assert one.key != other.key
    assert one.row_bytes > SIZE[0] * SIZE[1]


def test_who_always_answers_the_commonest_class_is_a_rival(tmp_path):
    eval_set, _ = read(pool_of(tmp_path), scores_for(true_masks()))
    counts = eval_set.truth.pixels.sum(axis=0)
    always = np.full((N, *SIZE), int(counts.argmax()), np.uint8)
    with open_pool(tmp_path / "pool.h5") as pool:
        task = eval_set.task
        (again,) = read_eval_sets(task, pool, ROWS, evaluate_slices([], pool), ["y"], where="")
        given = write_predictions(tmp_path / "always.h5", ROWS, [{"y": always}])
        answers = again.answers(given, given)
    dealt, commonest = task.rivals(Case(answers, again.truth, answers), 10)
    assert np.allclose(dealt.gains[0], 0)
    assert np.allclose(commonest.gains[0], 0)
    assert f"{counts.max() / counts.sum():.3f} of the pixels right" in commonest.name


def test_init_prefers_scores_of_the_masks_size_and_names_the_output(tmp_path):
    with open_pool(pool_of(tmp_path)) as pool:
        outputs = [
            ModelTensor("embedding", np.dtype(np.float32), (64,)),
            ModelTensor("classes", np.dtype(np.uint8), SIZE),
            ModelTensor("logits", np.dtype(np.float32), (3, *SIZE)),
        ]
        (found,) = propose_tasks(pool, outputs, lambda name: None)
        assert found.values["kind"] == "segmentation"
        assert found.values["output"] == "logits"
        assert found.values["metrics"][:2] == ["mean_iou", "iou[*]"]
        (only,) = propose_tasks(pool, outputs[:2], lambda name: None)
        assert only.values["output"] == "classes"
        with pytest.raises(PoolError, match="can't be inferred") as error:
            propose_tasks(
                pool, [ModelTensor("logits", np.dtype(np.float32), (3, 9, 9))], lambda name: None
            )
        assert "masks of the output's height and width" in str(error.value)


def test_pictures_show_the_three_masks_and_what_images_lost(tmp_path: Path) -> None:
    true = true_masks()
    fp32, engine = true.copy(), true.copy()
    fp32[fp32 == 255] = 1
    engine[engine == 255] = 2
    wrong = engine[3, 1:, :]
    engine[3, 1:, :] = (wrong + 1) % 3  # 15 of the 19 pixels that have a class
    eval_set, _ = read(pool_of(tmp_path), scores_for(fp32))
    given = []
    for name, mask in (("a", fp32), ("b", engine)):
        outputs = [{"y": scores_for(mask)}]
        given.append(write_predictions(tmp_path / f"{name}.h5", ROWS, outputs))
    units = np.array([1, 3])
    with open_pool(tmp_path / "pool.h5") as pool:
        task = parse_task({"kind": "segmentation"}, where="a.toml", at="tasks[0]")
        (eval_set,) = read_eval_sets(
            task, pool, ROWS, evaluate_slices([], pool), ["y"], where="tasks[0]",
            shapes={"y": (3, *SIZE)},
        )  # fmt: skip
        lost = task.losses(eval_set, units, *given)
        sides = task.depict(eval_set, units, *given)
    assert lost.by == "the share of their pixels that is right"
    assert lost.reference.tolist() == [1.0, 1.0]
    assert lost.lost.tolist() == pytest.approx([0.0, 15 / 19])
    for each, unit in zip(sides, units, strict=True):
        assert np.array_equal(each.truth.mask, true[unit])
    assert sides[1].truth.mask[0, 0] == 255
    assert np.array_equal(sides[1].fp32.mask, fp32[3])
    assert np.array_equal(sides[1].engine.mask, engine[3])
    assert {each.mask.dtype for each in (sides[0].truth, sides[0].engine)} == {np.dtype(np.uint8)}
