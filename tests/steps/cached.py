"""A model of twelve taps among 38 tensors, and calibration caches for it."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.trt_cache import cache_of, write_trt_cache
from calaudit.formats.trt_header import TrtVersion
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.graph.taps import with_taps
from tests.graph import models
from tests.graph.running import run

V8 = TrtVersion(8, 6, 1)


def write_model(path: Path) -> Path:
    """Twelve convolutions on a (b, 4, 6, 6) input ``x``."""
    onnx.save(models.stacked(["conv", "norm", "relu", "conv", "relu", "skip"] * 6), str(path))
    return path


def smooth(n: int = 16) -> NDArray[np.float32]:
    """Flat images of many brightnesses, as no random generator makes them."""
    levels = np.random.default_rng(0).random((n, 4, 1, 1)) * 30
    return np.broadcast_to(levels, (n, 4, 6, 6)).astype(np.float32)


def table_for(model_path: Path, x: NDArray[np.float32] | None = None) -> ScaleTable:
    """Min-max scales of every tensor of TensorRT's network on `x`."""
    network = import_network(load_model(model_path))
    feeds = {"x": smooth() if x is None else x}
    values = run(with_taps(network.model, network.names), feeds)
    amaxes = {name: float(np.abs(values[name]).max()) for name in network.names}
    taps = {name: TapScale(amax, scale_of(amax)) for name, amax in amaxes.items()}
    return ScaleTable(taps, "minmax", "some", model_fingerprint=network.given.fingerprint)


def write_cache(path: Path, table: ScaleTable) -> Path:
    write_trt_cache(path, cache_of(table, V8))
    return path


def edit(path: Path, old: str, new: str) -> Path:
    """Replace text in a cache that must hold it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path
