from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.graph.model import ModelTensor
from calaudit.runtime.errors import BackendError
from calaudit.runtime.pool import Rows
from calaudit.steps import predict as steps
from calaudit.steps.predict import predict


class Fixed:
    """An engine that gives what it was given."""

    def __init__(self, *outputs: np.ndarray) -> None:
        self.outputs = outputs
        self.done = 0

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        start, self.done = self.done, self.done + len(inputs["x"])
        return {f"y{i}": each[start : self.done] for i, each in enumerate(self.outputs)}


def predicted(folder: Path, *outputs: np.ndarray, reference: bool = True) -> list[np.ndarray]:
    n = len(outputs[0])
    write_pool(folder / "pool.h5", inputs={"x": np.zeros((n, 1), np.float32)})
    with open_pool(folder / "pool.h5") as pool:
        out = predict(
            Fixed(*outputs), pool, np.arange(n), folder / "out.h5",
            batch_size=2, what="fp32", is_reference=reference,
        )  # fmt: skip
    return [out.read(name) for name in out.output_names]


def test_outputs_are_kept_as_they_are_given(tmp_path: Path) -> None:
    given = (
        np.array([[np.nan, 1], [2, -np.inf], [np.inf, 1], [1, 1], [0, 3]], np.float32),
        np.array([2**62, 2**62 + 1, -(2**62), 0, 1]),
        np.array([1.5, 2.5, np.nan, 65504, 0], np.float16),
        np.array([True, False, True, True, False]),
    )
    for written, one in zip(predicted(tmp_path, *given), given, strict=True):
        assert written.dtype == one.dtype
        np.testing.assert_array_equal(written, one)


def test_a_reference_that_overflows_on_every_sample_is_refused(tmp_path: Path) -> None:
    nothing = np.full((5, 3), np.nan, np.float32)
    with pytest.raises(BackendError, match="NaN or infinite for all 5 samples, such as"):
        predicted(tmp_path, nothing)
    assert not (tmp_path / "out.h5").exists()
    predicted(tmp_path, nothing, reference=False)
    predicted(tmp_path, nothing, np.zeros(5, np.float32))  # another output is sound
    masked = np.zeros((5, 3), np.float32)
    masked[:, 0] = -np.inf
    predicted(tmp_path, masked)


@pytest.mark.parametrize("n", [1, 7, 64, 130])
def test_small_batches_are_read_several_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """Sizes of batches, and what they hold, don't change; reads are as many as bytes ask for."""
    monkeypatch.setattr(steps, "_READ_BYTES", 3 * 8 * 4)  # three batches of 8 numbers
    x = np.arange(140, dtype=np.float32)[:, None]
    write_pool(tmp_path / "pool.h5", inputs={"x": x}, meta={"a": x[:, 0]})
    rows = np.arange(5, 5 + n)
    with open_pool(tmp_path / "pool.h5") as pool:
        reads: list[int] = []
        read = pool.read_inputs

        def counted(some: Rows) -> dict[str, NDArray[Any]]:
            reads.append(len(some))
            return read(some)

        monkeypatch.setattr(pool, "read_inputs", counted)
        engine = Echo()
        found = predict(engine, pool, rows, tmp_path / "p.h5", batch_size=8, what="echo")
        np.testing.assert_array_equal(found.read("y"), x[rows])
    assert engine.sizes == [*[8] * (n // 8), *([n % 8] if n % 8 else [])]
    assert reads == [*[24] * (n // 24), *([n % 24] if n % 24 else [])]


class Echo:
    """Answers with its inputs, and remembers how many it was given at a time."""

    inputs: tuple[ModelTensor, ...] = ()
    outputs = ("y",)
    record: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.sizes.append(len(feeds["x"]))
        return {"y": feeds["x"].copy()}

    def close(self) -> None: ...
