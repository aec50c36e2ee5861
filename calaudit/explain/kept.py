"""What experiments on tuning rows keep: outputs, and of large ones what tasks make of them.

Searches ask how far outputs are from FP32's. Of outputs that a task reduces, some thousand values,
always the same ones, tell that as well as all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Audit
from calaudit.formats.given import Column, Given
from calaudit.formats.predictions import Predictions
from calaudit.runtime.pool import Rows
from calaudit.tasks.reduction import Kept, Reduction

MOST_VALUES: Final = 4096
"""Of one sample's output."""


@dataclass(frozen=True, slots=True)
class SampledValues(Reduction):
    """Values of one output at places drawn once: all where it has few."""

    output: str

    @property
    def name(self) -> str:
        """By the output."""
        return f"values of {self.output}"

    @property
    def key(self) -> Mapping[str, object]:
        """How many, at most."""
        return {"output": self.output, "values": MOST_VALUES}

    @property
    def row_bytes(self) -> int:
        """Of float32."""
        return 4 * MOST_VALUES

    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], rows: Rows, reference: Given | None
    ) -> Mapping[str, Column]:
        """(b, m) of a batch."""
        values = outputs[self.output].reshape(len(rows), -1)
        size = values.shape[1]
        if size > MOST_VALUES:
            drawn = np.random.default_rng(size).choice(size, MOST_VALUES, replace=False)
            values = values[:, np.sort(drawn)]
        return {"value": values}


def kept_of_experiments(audit: Audit) -> Kept:
    """Answers of tasks that reduce outputs, with a sample of these; the others' outputs."""
    reductions: dict[str, Reduction] = {}
    outputs: list[str] = []
    for one in audit.eval_sets:
        reduction = one.reduction
        if reduction is None or reduction.against_reference:
            outputs += one.outputs
            continue
        reductions[reduction.name] = reduction
        for name in one.outputs:
            sampled = SampledValues(name)
            reductions[sampled.name] = sampled
    if not reductions:
        return Kept()
    return Kept(tuple(dict.fromkeys(outputs)), tuple(reductions.values()))


def output_values(
    predictions: Predictions, outputs: Iterable[str], rows: Rows
) -> dict[str, NDArray[Any]]:
    """Output → (n, …) its values for some rows, or the sample of them that is kept."""
    return {
        name: predictions.read(name, rows)
        if name in predictions.output_names
        else predictions.read_answers(SampledValues(name).name, "value", rows)
        for name in outputs
    }
