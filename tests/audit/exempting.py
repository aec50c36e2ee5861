"""A world whose last product needs float: one channel that it reads is far larger than the rest."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool

FEATURES, HIDDEN, CLASSES = 8, 16, 4
LARGE = 2000.0
BODY_MACS, HEAD_MACS = FEATURES * HIDDEN, HIDDEN * CLASSES
AUDIT = """
[audit]
name = "needs float"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]

[[slices]]
by = "half"

[[calibsets]]
name = "both"
size = 60

[[tasks]]
kind = "classification"

[[gates]]
metric = "top1"
max_drop = 0.08
"""
HEAD = """
[[exemptions]]
name = "head"
float_ops = ["/head/*"]
"""


def head_model() -> onnx.ModelProto:
    """x (b, 8) → Gemm, Relu → one channel × `LARGE` → Gemm, which divides its weight: y (b, 4)."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(FEATURES, HIDDEN)).astype(np.float32)
    second = rng.normal(size=(HIDDEN, CLASSES)).astype(np.float32)
    factors = np.ones(HIDDEN, np.float32)
    factors[0] = LARGE
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1"], ["h"], name="/body/fc/Gemm"),
            helper.make_node("Relu", ["h"], ["r"], name="/body/relu"),
            helper.make_node("Mul", ["r", "factors"], ["m"], name="/body/scale"),
            helper.make_node("Gemm", ["m", "w2"], ["y"], name="/head/fc/Gemm"),
        ],
        "needs float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        [
            numpy_helper.from_array(first, "w1"),
            numpy_helper.from_array(factors, "factors"),
            numpy_helper.from_array(second / factors[:, None], "w2"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def head_world(folder: Path, audit: str = AUDIT, *, n: int = 1600) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last. FP32 is always right."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(head_model(), str(folder / "model.onnx"))
    weights = {t.name: numpy_helper.to_array(t) for t in head_model().graph.initializer}
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, FEATURES)).astype(np.float32)
    hidden = np.maximum(x @ weights["w1"], 0) * weights["factors"]
    write_pool(
        folder / "pool.h5",
        inputs={"x": x},
        targets={"label": np.argmax(hidden @ weights["w2"], axis=1)},
        meta={
            "half": np.where(rng.random(n) < 0.5, "a", "b").tolist(),
            "split": np.where(rng.random(n) < 0.25, "calibration", "evaluation").tolist(),
        },
    )
    path = folder / "audit.toml"
    path.write_text(audit, encoding="utf-8")
    return path
