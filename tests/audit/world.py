"""A small world with a planted effect: quiet and loud samples, and a model that reads both.

Loud samples are forty times larger. Calibrated on loud ones only, a per-tensor scale leaves the
quiet ones a few steps; calibrated on quiet ones only, loud ones are clipped.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool

N_FEATURES, N_CLASSES = 8, 4
LOUDNESS = 40.0
AUDIT = """
[audit]
name = "world"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax", "mse"]
batch_size = 100

[[slices]]
by = "loudness"

[[slices]]
name = "hard"
where = "margin < 0.5"

[[calibsets]]
name = "loud only"
size = 40
candidates = "split = 'calibration' and loudness = 'loud'"

[[calibsets]]
name = "both"
kind = "stratified"
allocation = "equal"
size = 40
strata = [{ by = "loudness" }]

[[tasks]]
kind = "classification"
metrics = ["top1", "nll", "balanced_accuracy", "top1_agreement"]

[[gates]]
metric = "top1"
max_drop = 0.05
"""


def weights(seed: int = 1) -> NDArray[np.float32]:
    """(N_FEATURES, N_CLASSES): the true classes are the largest of ``x @ weights``."""
    return np.random.default_rng(seed).normal(size=(N_FEATURES, N_CLASSES)).astype(np.float32)


def write_model(path: Path) -> None:
    """x (b, 8) → MatMul, Add → y (b, 4): a linear classifier."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="matmul"),
            helper.make_node("Add", ["h", "b"], ["y"], name="add"),
        ],
        "world",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N_FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", N_CLASSES])],
        [
            numpy_helper.from_array(weights(), "w"),
            numpy_helper.from_array(np.zeros(N_CLASSES, np.float32), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def make_world(folder: Path, *, n: int = 1200, seed: int = 0, audit: str = AUDIT) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
    loud = rng.random(n) < 0.5
    x[loud] *= np.float32(LOUDNESS)
    logits = np.sort(x @ weights(), axis=1)
    margin = (logits[:, -1] - logits[:, -2]) / np.where(loud, LOUDNESS, 1.0)
    label = np.argmax(x @ weights(), axis=1)
    wrong = rng.random(n) < 0.05
    label[wrong] = (label[wrong] + 1) % N_CLASSES
    write_pool(
        folder / "pool.h5",
        inputs={"x": x},
        targets={"label": label},
        meta={
            "loudness": np.where(loud, "loud", "quiet").tolist(),
            "margin": margin.astype(np.float64),
            "split": np.where(rng.random(n) < 0.25, "calibration", "evaluation").tolist(),
        },
    )
    write_model(folder / "model.onnx")
    path = folder / "audit.toml"
    path.write_text(audit, encoding="utf-8")
    return path
