from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import BackendError
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
