"""A convolutional model, and pools to calibrate it on: loud and quiet samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calaudit.calibration.methods import ALL_METHODS
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import Calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.sampling.kinds import make_recipe
from calaudit.slices.dimension import Dimension
from calaudit.steps.sample import draw_calibset
from tests.graph import models

LOUDNESS = Dimension(by="loudness")
EVERY = ALL_METHODS


def write_model(path: Path, proto: onnx.ModelProto | None = None) -> Path:
    """Seven taps behind a (b, 3, 8, 8) input ``x``."""
    onnx.save(models.residual() if proto is None else proto, str(path))
    return path


def images(n: int, *, seed: int = 0, width: int = 8) -> NDArray[np.float32]:
    """(n, 3, 8, width); every third is loud: six times larger."""
    random = np.random.default_rng(seed)
    factor = np.where(np.arange(n) % 3 == 0, 6, 1).reshape(n, 1, 1, 1)
    return (random.standard_normal((n, 3, 8, width)) * factor).astype(np.float32)


def write_images(
    path: Path, x: NDArray[np.float32], ids: Sequence[str] | None = None, **meta: Any
) -> Path:
    """A pool of `x`, with the column ``loudness``."""
    n = len(x)
    loud = np.abs(x).reshape(n, -1).mean(axis=1) > 2
    write_pool(
        path,
        inputs={"x": x},
        targets={"label": np.zeros(n, np.int64)},
        meta={"number": np.arange(n), "loudness": np.where(loud, "loud", "quiet"), **meta},
        ids=[f"s{number:03d}" for number in range(n)] if ids is None else ids,
    )
    return path


def draw(pool: Path, out: Path, name: str, size: int, **recipe: Any) -> Calibset:
    """Draw a set called `name` and write it."""
    with open_pool(pool) as opened:
        return draw_calibset(opened, make_recipe(name=name, size=size, **recipe), out)


def chosen(tables: Sequence[ScaleTable]) -> dict[tuple[str, str], dict[str, float]]:
    """(group, method) → tap → amax."""
    return {
        (table.calibset, table.method): {tap: each.amax for tap, each in table.taps.items()}
        for table in tables
    }
