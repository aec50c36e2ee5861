"""Engines of the small world that onnxruntime's own quantizer made, and what they answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from calaudit.formats.pool import open_pool
from calaudit.slices.evaluate import select_rows


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime.quantization is untyped
    def __init__(self, x: NDArray[Any]) -> None:
        self._feeds: Iterator[dict[str, NDArray[Any]]] = iter([{"x": row[None]} for row in x])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next sample."""
        return next(self._feeds, None)


def inputs(folder: Path, where: str, limit: int | None = None) -> NDArray[Any]:
    """(n, 8) inputs of the world's samples."""
    with open_pool(folder / "pool.h5") as pool:
        rows = select_rows(where, pool, where="a test")[:limit]
        return pool.read_inputs(rows)["x"]


def ids(folder: Path, where: str) -> list[str]:
    """Ids of the world's samples."""
    with open_pool(folder / "pool.h5") as pool:
        return list(pool.ids(select_rows(where, pool, where="a test")).tolist())


def make_static(folder: Path, name: str, **options: Any) -> Path:
    """What ``quantize_static`` makes of the world's model on 40 samples."""
    samples = _Samples(inputs(folder, "split = 'calibration'", 40))
    quantize_static(str(folder / "model.onnx"), str(folder / name), samples, **options)
    return folder / name


def make_qoperator(folder: Path, name: str) -> Path:
    """In quantized operators with unsigned activations."""
    kinds = {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QUInt8}
    return make_static(folder, name, **kinds)


def make_dynamic(folder: Path, name: str) -> Path:
    """What ``quantize_dynamic`` makes of it."""
    quantize_dynamic(str(folder / "model.onnx"), str(folder / name))
    return folder / name


def answers(path: Path, x: NDArray[Any], size: int) -> NDArray[Any]:
    """What onnxruntime itself answers, `size` samples at a time."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pieces = [session.run(["y"], {"x": x[i : i + size]})[0] for i in range(0, len(x), size)]
    return np.concatenate(pieces)
