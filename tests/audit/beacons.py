"""A small detector that embeds as well: beacons among black pixels, of which dim ones get lost.

Each image is 8 × 8 pixels with three beacons, red or green, dim or 260 times brighter. The model
gives a box for each pixel with a score per class, in YOLOv8's layout (``output0``), and an
embedding of the image. Calibrated on bright images only, a dim beacon is less than half a step: it
is rounded away. The embedding is normalised and doesn't depend on brightness.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects

SIDE, CLASSES, PER_IMAGE = 8, ("red", "green"), 3
DIM, BRIGHT, BOX = 0.38, 100.0, 1.0
AUDIT = """
[audit]
name = "beacons"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]
batch_size = 100

[[slices]]
by = "light"

[[slices]]
by = "object.class"

[[slices]]
cross = ["object.class", "light"]

[[calibsets]]
name = "bright only"
size = 40
candidates = "split = 'calibration' and light = 'bright'"

[[calibsets]]
name = "dim only"
size = 40
candidates = "split = 'calibration' and light = 'dim'"

[[tasks]]
kind = "detection"
format = "yolov8"
output = "output0"
metrics = ["ap50", "object_recall"]

[[tasks]]
kind = "retrieval"
output = "embedding"
target = "kind"
gallery = "split = 'gallery'"
metrics = ["recall@5"]

[[gates]]
metric = "object_recall"
slices = "light = *"
max_drop = 0.05
"""


def _constants() -> dict[str, np.ndarray]:
    """Weights: a beacon's class scores high; boxes around each pixel's centre."""
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[0, 0] = weight[1, 1] = 25.0
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    one = np.full(SIDE * SIDE, BOX)
    boxes = np.stack([column + 0.5, row + 0.5, one, one])[None].astype(np.float32)
    return {
        "w": weight,
        "b": np.full(2, -4.0, np.float32),
        "boxes": boxes,
        "none": np.zeros(1, np.float32),
        "flat": np.array([0, 2, SIDE * SIDE], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "e": np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32),
    }


def write_model(path: Path) -> None:
    """image → Conv, Sigmoid beside constant boxes → output0; its mean → MatMul → embedding."""
    nodes = [
        ("Conv", ["image", "w", "b"], ["scored"]),
        ("Sigmoid", ["scored"], ["chances"]),
        ("Reshape", ["chances", "flat"], ["scores"]),
        ("Slice", ["scores", "first", "second", "axis"], ["one"]),
        ("Mul", ["one", "none"], ["zero"]),
        ("Add", ["boxes", "zero"], ["placed"]),
        ("GlobalAveragePool", ["image"], ["mean"]),
        ("Flatten", ["mean"], ["color"]),
        ("LpNormalization", ["color"], ["tone"]),
        ("MatMul", ["tone", "e"], ["embedding"]),
    ]
    made = [helper.make_node(op, given, out, name=out[0]) for op, given, out in nodes]
    made.append(helper.make_node("Concat", ["placed", "scores"], ["output0"], axis=1))
    graph = helper.make_graph(
        made,
        "beacons",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 6, SIDE**2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in _constants().items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def make_beacons(folder: Path, *, n: int = 800) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    places = np.argsort(rng.random((n, SIDE * SIDE)), axis=1)[:, :PER_IMAGE]
    kind = rng.integers(0, 2, n)
    label = np.where(rng.random((n, PER_IMAGE)) < 0.9, kind[:, None], 1 - kind[:, None])
    bright = rng.random(n) < 0.5
    image = np.zeros((n, 3, SIDE * SIDE), np.float32)
    value = np.where(bright, BRIGHT, DIM)
    image[np.arange(n)[:, None], label, places] = value[:, None]
    row, column = np.divmod(places, SIDE)
    corner = np.stack([column, row], axis=2).astype(np.float64)
    write_pool(
        folder / "pool.h5",
        inputs={"image": image.reshape(n, 3, SIDE, SIDE)},
        targets={
            "beacons": Objects.from_images(
                np.concatenate([corner, corner + BOX], axis=2), label, classes=list(CLASSES)
            ),
            "kind": kind,
        },
        meta={
            "light": np.where(bright, "bright", "dim").tolist(),
            "split": rng.choice(["calibration", "gallery", "evaluation"], n, p=[0.25, 0.1, 0.65]),
        },
    )
    write_model(folder / "model.onnx")
    path = folder / "audit.toml"
    path.write_text(AUDIT, encoding="utf-8")
    return path
