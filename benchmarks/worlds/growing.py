"""Audits that grow: a pool of any number of rows, a chain of any number of products, any slices.

All of it is cheap to compute, so that what calaudit itself costs shows.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import PoolWriter

WIDTH = 8
CHUNK = 250_000
METHODS = ("minmax", "entropy", "percentile", "mse")
SPLIT = "split = 'evaluation'"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Growing:
    """What an audit is of."""

    rows: int = 3000
    """That are evaluated; a tenth as many more, 2,000 at least, may be drawn."""
    slices: int = 8
    """About: two columns of as many values each, and their cross."""
    engines: int = 1
    """INT8: each of a calibration set and a method."""
    methods: int = 1
    """Of each calibration set."""
    taps: int = 10
    """Tensors whose ranges are observed: the inputs of as many products in a chain."""
    classes: int = 10

    @property
    def candidates(self) -> int:
        """Rows that aren't evaluated."""
        return max(2000, self.rows // 10)

    @property
    def values(self) -> int:
        """Of each of the two columns."""
        return max(2, round(math.sqrt(self.slices + 1)) - 1)


def teacher(classes: int) -> Floats:
    """The weights (WIDTH, classes) that labels come from."""
    return np.random.default_rng(1).normal(size=(WIDTH, classes)).astype(np.float32)


def write_pool(path: Path, world: Growing) -> None:
    """The world's pool, in pieces: memory holds the columns and one piece."""
    rng, true = np.random.default_rng(0), teacher(world.classes)
    names = pl.Series([f"v{number:03}" for number in range(world.values)])
    splits = pl.Series(["evaluation", "calibration"])
    levels = np.array([0.3, 1.0, 3.0], np.float32)
    total = world.rows + world.candidates
    with PoolWriter(path) as writer:
        for start in range(0, total, CHUNK):
            place = np.arange(start, min(start + CHUNK, total))
            n = len(place)
            level = rng.choice(levels, n)
            x = rng.normal(size=(n, WIDTH)).astype(np.float32) * level[:, None]
            noise = rng.gumbel(size=(n, world.classes)).astype(np.float32)
            writer.append(
                {"x": x},
                {"label": (x @ true + noise / 3).argmax(axis=1)},
                {
                    "left": names.gather(rng.integers(0, world.values, n)),
                    "right": names.gather(rng.integers(0, world.values, n)),
                    "level": level,
                    "loss": rng.lognormal(size=n).astype(np.float32),
                    "split": splits.gather((place >= world.rows).astype(np.int64)),
                },
            )


def write_model(path: Path, world: Growing) -> None:
    """Turns, which lose nothing, then the teacher as it is after them."""
    rng = np.random.default_rng(2)
    nodes, weights, given = [], [], "x"
    turned = np.eye(WIDTH)
    for number in range(max(1, world.taps) - 1):
        turn = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
        turned = turned @ turn
        weights.append(numpy_helper.from_array(turn.astype(np.float32), f"turn{number}"))
        nodes.append(helper.make_node("MatMul", [given, f"turn{number}"], [f"t{number}"]))
        given = f"t{number}"
    last = (turned.T @ teacher(world.classes)).astype(np.float32)
    weights.append(numpy_helper.from_array(last, "teacher"))
    nodes.append(helper.make_node("MatMul", [given, "teacher"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "growing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", world.classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def write_audit(folder: Path, world: Growing) -> Path:
    """Pool, model and audit file; the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pool(folder / "pool.h5", world)
    write_model(folder / "model.onnx", world)
    methods = METHODS[: world.methods]
    sets, left = divmod(world.engines, len(methods))
    if left:
        raise ValueError(f"{world.engines} engines are no multiple of {len(methods)} methods")
    lines = [
        "[audit]",
        'name = "growing"',
        'model = "model.onnx"',
        'pool = "pool.h5"',
        f"evaluate = {json.dumps(SPLIT)}",
        "calibrate = \"split = 'calibration'\"",
        f"methods = {json.dumps(methods)}",
        "batch_size = 1024",
        "[[slices]]",
        'by = "left"',
        "[[slices]]",
        'by = "right"',
        "[[slices]]",
        'cross = ["left", "right"]',
        "[[tasks]]",
        'kind = "classification"',
        'output = "logits"',
        "[[gates]]",
        'metric = "top1"',
        "max_drop = 0.05",
    ]
    for number in range(sets):
        lines += ["[[calibsets]]", f'name = "set {number}"', 'kind = "uniform"', "size = 128"]
    path = folder / "growing.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
