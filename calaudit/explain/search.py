"""What predictions miss, searched for: by the error of the outputs, on rows that judge nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.explain.engines import Variant
from calaudit.explain.halving import halve
from calaudit.explain.judging import output_error
from calaudit.explain.ops import FINALISTS
from calaudit.explain.runs import Runs
from calaudit.explain.suspects import Ranges
from calaudit.explain.transplants import Patient
from calaudit.explain.tuning import TuningSlice
from calaudit.runtime.pool import Rows

MOST_SEARCHED: Final = 4
"""Taps that a search hands on to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Finds what brings the outputs of a cell's engine nearest to FP32's."""

    patient: Patient
    runs: Runs
    place: TuningSlice
    """Whose task says which outputs count."""
    rows: Rows
    """To search on, ascending."""
    seed: int

    def donor(self, choices: Mapping[str, Ranges]) -> str | None:
        """Whose ranges, taken whole, do most; None where the cell's own are the best."""
        if not choices:
            return None
        (best,) = self._best(
            {name: self.patient.given(each, tuple(each)) for name, each in choices.items()}, 1
        )
        own = self._error(self.patient.engine, self.rows)
        other = self._error(self.patient.given(choices[best], tuple(choices[best])), self.rows)
        return best if other < own else None

    def taps(self, donor: Ranges) -> list[str]:
        """The taps at which the donor's ranges, exchanged alone, do most; the best first."""
        own = self.patient.ranges
        differing = [tap for tap in own if donor[tap] != own[tap]]
        return self._best(
            {tap: self.patient.given(donor, (tap,)) for tap in differing}, MOST_SEARCHED
        )

    def ops(self) -> list[str]:
        """The products that, alone in float, do most; the best first."""
        return self._best({op: self.patient.with_float(op) for op in self.products}, FINALISTS)

    @property
    def products(self) -> list[str]:
        """Those that the cell runs in INT8, in graph order."""
        patient = self.patient
        return [op for op in patient.experiments.products if op not in patient.float_ops]

    def _best(self, variants: Mapping[str, Variant], keep: int) -> list[str]:
        def loss(name: str, taken: NDArray[np.int64]) -> float:
            return self._error(variants[name], self.rows[taken])

        return halve(list(variants), loss, len(self.rows), keep=keep, seed=self.seed)

    def _error(self, variant: Variant, rows: Rows) -> float:
        fp32 = self.patient.experiments.fp32()
        return output_error(self.runs, self.place.eval_set.output, fp32, variant, rows)
