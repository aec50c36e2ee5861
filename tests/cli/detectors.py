"""Small detectors with planted objects: a coloured cell of a grid is an object of its colour."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calaudit.runtime.objects import Objects

CELL, CELLS = 8, 4
SIDE = CELL * CELLS
CLASSES = ("red", "green", "blue")


def planted(n: int, seed: int = 0) -> tuple[np.ndarray, Objects]:
    """Images (n, 3, 32, 32) with noise, and the cells that have a colour; some have none."""
    random = np.random.default_rng(seed)
    images = random.uniform(0, 0.2, (n, 3, SIDE, SIDE)).astype(np.float32)
    boxes, labels = [], []
    for image in images:
        own, kinds = [], []
        for cell in random.choice(CELLS**2, random.integers(0, 6), replace=False):
            y, x = divmod(int(cell), CELLS)
            kind = int(random.integers(len(CLASSES)))
            low = np.array([x, y]) * CELL
            image[kind, low[1] : low[1] + CELL, low[0] : low[0] + CELL] += random.uniform(0.3, 0.8)
            own.append([*low, *(low + CELL)])
            kinds.append(kind)
        boxes.append(own)
        labels.append(kinds)
    return images, Objects.from_images(boxes, labels, classes=CLASSES)


def write_detector(path: Path, *, heads: int = 1) -> None:
    """Images → output0 (4 + 3, 16): YOLOv8's layout, its sizes left open; and logits (3,)."""
    n, cells = len(CLASSES), CELLS**2
    at = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), 0).reshape(2, cells)
    anchors = np.concatenate([(at + 0.5) * CELL, np.full((2, cells), CELL)])[None]
    colour = np.full((n, n), -0.5) + 1.5 * np.eye(n)
    weights = {
        "w_score": np.repeat(20 * colour[:, :, None] / CELL**2, CELL**2, 2).reshape(n, n, CELL, -1),
        "b_score": np.full(n, -3.0),
        "w_box": np.zeros((4, 3, CELL, CELL)),
        "anchors": anchors,
        "w_class": np.eye(n),
    }
    made = [numpy_helper.from_array(each.astype(np.float32), k) for k, each in weights.items()]
    flat = np.array([0, -1, cells], np.int64)
    made.append(numpy_helper.from_array(flat, "flat"))
    stride = {"kernel_shape": [CELL, CELL], "strides": [CELL, CELL]}
    nodes = [
        helper.make_node("Conv", ["images", "w_score", "b_score"], ["scored"], **stride),
        helper.make_node("Sigmoid", ["scored"], ["shares"]),
        helper.make_node("Reshape", ["shares", "flat"], ["scores"]),
        helper.make_node("Conv", ["images", "w_box"], ["moved"], **stride),
        helper.make_node("Reshape", ["moved", "flat"], ["moves"]),
        helper.make_node("Add", ["moves", "anchors"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", "width", "m"])]
    if heads > 1:
        nodes += [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
            helper.make_node("MatMul", ["means", "w_class"], ["logits"]),
        ]
        outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", n]))
    if heads > 2:
        nodes.append(helper.make_node("Identity", ["means"], ["embedding"]))
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", n]))
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "detector", [taken], outputs, made)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
