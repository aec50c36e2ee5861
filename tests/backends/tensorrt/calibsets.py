"""Small calibration sets in files, as `calaudit sample` would write them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset, DrawnSet, write_calibset
from calaudit.sampling.kinds import make_recipe
from calaudit.slices.sliceset import SliceSet


def make_calibset(path: Path, inputs: dict[str, NDArray[Any]], name: str = "drawn") -> Calibset:
    n = len(next(iter(inputs.values())))
    drawn = DrawnSet(
        recipe=make_recipe(name=name, size=n),
        seed=0,
        pool_label="pool.h5",
        pool_fingerprint="0f" * 16,
        rows=np.arange(n),
        ids=np.array([f"sample-{at}" for at in range(n)]),
        weights=np.ones(n),
        slices=SliceSet(n, ()),
        composition=(),
        strata=(),
    )
    return write_calibset(path, drawn, [inputs])


def two_inputs(n: int) -> dict[str, NDArray[Any]]:
    """What `tests.graph.models.embedding` takes; the first column of x numbers the samples."""
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    x[:, 0] = np.arange(n)
    return {"item": np.arange(n, dtype=np.int64) % 10, "x": x}


def damage(calibset: Calibset, name: str, at: int) -> None:
    """Change one sample's content behind its digest's back."""
    with h5py.File(calibset.path, "r+") as file:
        file[f"inputs/{name}"][at] = np.asarray(file[f"inputs/{name}"][at]) + 1
