"""A small detector with a planted effect: photographs in two lights, and cells that are objects.

An image is a grid of cells; an object brightens one channel of its cell, by its class. Bright
images are ten times brighter: ranges of dark ones alone clip them, and nothing is found.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects

CELL, ROWS, COLUMNS = 8, 4, 6
CLASSES = ("red", "green")
DETECTOR = """
[audit]
name = "detector"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]
cluster_by = "photograph"

[[slices]]
by = "light"

[[slices]]
by = "object.class"
name = "class"

[[slices]]
cross = ["class", "light"]

[[slices]]
name = "crowded, bright"
where = "object.per_image >= 5 and light = 'bright'"

[[calibsets]]
name = "dark only"
size = 40
candidates = "split = 'calibration' and light = 'dark'"

[[calibsets]]
name = "both"
kind = "stratified"
allocation = "equal"
size = 40
strata = [{ by = "light" }]

[[tasks]]
kind = "detection"
format = "yolov8"
metrics = ["ap", "object_recall", "object_precision", "boxes_kept"]

[[gates]]
metric = "object_recall"
slices = "class = * & light = *"
max_drop = 0.05

[[gates]]
metric = "object_recall"
slices = "crowded, bright"
max_drop = 0.05

[[gates]]
metric = "ap"
slices = "light = *"
max_drop = 0.1
"""


def write_detector(path: Path) -> None:
    """images (n, 3, 32, 48) → output0 (n, 4 + 2, 24), as YOLOv8's exports have it."""
    row, column = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    centre = [(column + 0.5) * CELL, (row + 0.5) * CELL]
    boxes = np.stack([*centre, *np.full((2, ROWS * COLUMNS), CELL)]).reshape(1, 4, ROWS, COLUMNS)
    weights = 200 * np.array([[1, 0, -1.4], [0, 1, -1.4]]).reshape(2, 3, 1, 1)
    constants = {
        "w": weights.astype(np.float32),
        "nothing": np.zeros((1, 3, 1, 1), np.float32),
        "axes": np.array([1]),
        "grid": boxes.astype(np.float32),
        "of_scores": np.array([0, 2, ROWS * COLUMNS]),
        "of_boxes": np.array([0, 4, ROWS * COLUMNS]),
    }
    made = helper.make_node
    nodes = [
        made("AveragePool", ["images"], ["p"], kernel_shape=[CELL] * 2, strides=[CELL] * 2),
        made("Conv", ["p", "w"], ["logits"], name="head"),
        made("Sigmoid", ["logits"], ["s"]),
        made("Reshape", ["s", "of_scores"], ["scores"]),
        made("Mul", ["p", "nothing"], ["zero"]),
        made("ReduceSum", ["zero", "axes"], ["zeros"], keepdims=1),
        made("Add", ["zeros", "grid"], ["g"]),
        made("Reshape", ["g", "of_boxes"], ["boxes"]),
        made("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    shape = ["n", 3, ROWS * CELL, COLUMNS * CELL]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 6, ROWS * COLUMNS])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def make_detector(folder: Path, audit: str = DETECTOR, *, photographs: int = 240) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images, boxes, labels = [], [], []
    for _ in range(photographs):
        n = int(rng.integers(1, 9))
        cells = rng.permutation(ROWS * COLUMNS)[:n]
        label = rng.integers(0, 2, n)
        shown = np.ones((3, ROWS, COLUMNS))
        shown.reshape(3, -1)[label, cells] = np.where(rng.random(n) < 0.9, 1.8, 1.0)
        row, column = np.divmod(cells, COLUMNS)
        corner = np.stack([column, row], axis=1) * CELL + rng.uniform(-0.5, 0.5, (n, 2))
        for light in (0.5, 0.05):
            images.append(light * np.kron(shown, np.ones((1, CELL, CELL))))
            boxes.append(np.concatenate([corner, corner + CELL], axis=1))
            labels.append(label)
    pixels = np.stack(images) * rng.uniform(0.95, 1.05, (2 * photographs, 3, 1, 1))
    photograph = np.repeat(np.arange(photographs), 2)
    write_pool(
        folder / "pool.h5",
        inputs={"images": pixels.astype(np.float32)},
        targets={"objects": Objects.from_images(boxes, labels, classes=CLASSES)},
        meta={
            "light": ["bright", "dark"] * photographs,
            "photograph": photograph,
            "split": np.where(photograph % 3 == 0, "calibration", "evaluation").tolist(),
        },
        ids=[f"{at // 2}-{'bd'[at % 2]}" for at in range(2 * photographs)],
    )
    write_detector(folder / "model.onnx")
    path = folder / "audit.toml"
    path.write_text(audit, encoding="utf-8")
    return path
