"""Single products in float, and alone in INT8."""

from collections.abc import Sequence
from typing import Final

from calaudit.explain.judging import Judge
from calaudit.explain.transplants import Patient
from calaudit.results.explanation import OpTrial

FINALISTS: Final = 2
"""Products that are judged."""


def tried(judge: Judge, patient: Patient, ops: Sequence[str]) -> tuple[OpTrial, ...]:
    """Each op alone in float, and alone in INT8."""
    kinds = patient.experiments.products
    return tuple(
        OpTrial(op, kinds[op], judge.left(patient.with_float(op)), judge.left(patient.alone(op)))
        for op in ops
    )
