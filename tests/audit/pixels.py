"""A small world of images with a planted effect, and a model of several outputs.

Each pixel has four features, and the class to which a linear map gives most; bright images are
forty times larger. Calibrated on bright ones only, dim ones are left a few steps. The model gives
each pixel's scores (``logits``) and class (``mask``), the image's scores (``whole``) and an
embedding.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool

CHANNELS, SIZE = 4, 6
CLASSES = ("road", "sky", "car")
BRIGHTNESS = 40.0
IGNORED = 255
SEGMENTATION = """
[[tasks]]
kind = "segmentation"
output = "logits"
metrics = ["mean_iou", "iou[*]", "pixel_accuracy", "pixel_agreement", "mean_iou_agreement"]

[[gates]]
metric = "mean_iou"
slices = "light = *"
max_drop = 0.05
"""
CLASSIFICATION = """
[[tasks]]
kind = "classification"
output = "whole"
target = "kind"
metrics = ["top1", "nll"]
"""
RETRIEVAL = """
[[tasks]]
kind = "retrieval"
output = "embedding"
target = "kind"
gallery = "split = 'gallery'"
metrics = ["ndcg@5", "recall@5"]
"""
AUDIT = """
[audit]
name = "pixels"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]
batch_size = 100

[[slices]]
by = "light"

[[calibsets]]
name = "bright only"
size = 40
candidates = "split = 'calibration' and light = 'bright'"

[[calibsets]]
name = "both"
kind = "stratified"
allocation = "equal"
size = 40
strata = [{ by = "light" }]
"""


def kernel() -> np.ndarray:
    """(classes, channels) the linear map."""
    return np.random.default_rng(1).normal(size=(len(CLASSES), CHANNELS)).astype(np.float32)


def write_model(path: Path) -> None:
    """image → Conv 1×1 → logits, their ArgMax, their mean, and the mean of another Conv."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["logits"], name="conv"),
            helper.make_node("ArgMax", ["logits"], ["mask"], name="argmax", axis=1, keepdims=0),
            helper.make_node("GlobalAveragePool", ["logits"], ["mean"], name="pool"),
            helper.make_node("Flatten", ["mean"], ["whole"], name="flatten"),
            helper.make_node("MatMul", ["whole", "e"], ["embedding"], name="embed"),
        ],
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", CHANNELS, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, SIZE, SIZE]),
            helper.make_tensor_value_info("mask", TensorProto.INT64, ["n", SIZE, SIZE]),
            helper.make_tensor_value_info("whole", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 5]),
        ],
        [
            numpy_helper.from_array(kernel()[:, :, None, None], "w"),
            numpy_helper.from_array(
                np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32), "e"
            ),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def make_pixels(folder: Path, tasks: str = SEGMENTATION, *, n: int = 1000) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(n, CHANNELS, SIZE, SIZE)).astype(np.float32)
    logits = np.einsum("oc,nchw->nohw", kernel(), image)
    mask = logits.argmax(axis=1).astype(np.uint8)
    wrong = rng.random(mask.shape) < 0.05
    mask[wrong] = (mask[wrong] + 1) % 3
    mask[rng.random(mask.shape) < 0.05] = IGNORED
    bright = rng.random(n) < 0.5
    image[bright] *= np.float32(BRIGHTNESS)
    write_pool(
        folder / "pool.h5",
        inputs={"image": image},
        targets={"mask": mask, "kind": logits.mean(axis=(2, 3)).argmax(axis=1)},
        meta={
            "light": np.where(bright, "bright", "dim").tolist(),
            "split": rng.choice(["calibration", "gallery", "evaluation"], n, p=[0.25, 0.1, 0.65]),
        },
        classes={"mask": CLASSES},
        ignored={"mask": IGNORED},
    )
    write_model(folder / "model.onnx")
    path = folder / "audit.toml"
    path.write_text(AUDIT + tasks, encoding="utf-8")
    return path
