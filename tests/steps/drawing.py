"""A small pool to draw from, and a stand-in for a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.pool import Pool, Rows

N = 300
EVALUATE = "split = 'evaluation'"
CALIBRATE = "split = 'calibration'"


def write_small_pool(path: Path, **meta: Any) -> Path:
    """300 samples: 200 to calibrate on, then 100 to evaluate; noise 0, 1, 2 in turn."""
    generator = np.random.default_rng(0)
    noise = np.arange(N) % 3
    write_pool(
        path,
        inputs={"x": generator.normal(size=(N, 4)).astype(np.float32) * (1 + noise[:, None])},
        targets={
            "label": np.arange(N) % 5,
            "vector": generator.normal(size=(N, 2)).astype(np.float32),
        },
        meta={
            "noise": noise,
            "level": np.where(noise == 2, np.nan, noise * 10.0),
            "speaker": [("theo", "lucas", "yweweler")[i % 7 % 3] for i in range(N)],
            "split": ["calibration"] * 200 + ["evaluation"] * 100,
            **meta,
        },
        ids=[f"sample-{i:03d}" for i in range(N)],
    )
    return path


class FakeModel:
    """``logits``: the label, with a confidence that falls with noise; ``inner``: the input."""

    outputs = ("logits",)

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.calls: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, rows: Rows, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        self.calls.append((len(rows), tuple(names)))
        label = self.pool.read_target("label", rows)
        noise = self.pool.columns(["noise"], rows)["noise"].to_numpy()
        confidence = np.where(noise == 2, np.where(rows % 2, 9.0, 0.0), 5.0)
        logits = np.zeros((len(rows), 5))
        logits[np.arange(len(rows)), label] = confidence
        tensors = {
            "logits": logits,
            "inner": self.pool.read_inputs(rows)["x"],
        }
        return {name: tensors[name] for name in names}

    def by_sample(self, rows: Rows, tap: str) -> NDArray[Any]:
        return self(rows, [tap])[tap].reshape(len(rows), -1)
