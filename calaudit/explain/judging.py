"""Experiments judged: the drop that is left under an engine, and what it takes back of another's.

Intervals hold for whichever engine is picked (Bonferroni over the most that an explanation may
judge): all of what is left at once, and all of what is taken back at once.
"""

from dataclasses import dataclass, field
from typing import Final

from calaudit.explain.engines import Experiments, Variant
from calaudit.explain.kept import output_values
from calaudit.explain.runs import Runs
from calaudit.explain.sensitivity import relative_error
from calaudit.explain.tuning import TuningSlice
from calaudit.formats.predictions import Predictions
from calaudit.metrics.unit_scores import Scores
from calaudit.results.drops import Part
from calaudit.runtime.pool import Rows

ENOUGH: Final = 0.8
"""Share of what can be taken back that counts as all of it."""
_FP32: Final = "fp32"


@dataclass(slots=True)
class Judge:
    """Judges engines on one slice's tuning rows."""

    place: TuningSlice
    runs: Runs
    experiments: Experiments
    level: float
    """Two-sided, of all engines' intervals at once."""
    at_once: int
    """The most engines that it will judge."""
    _scores: dict[str, Scores] = field(default_factory=dict)
    _lefts: dict[str, Part] = field(default_factory=dict)

    @property
    def each(self) -> float:
        """Level of one interval, so that all hold at once."""
        return 1.0 - (1.0 - self.level) / self.at_once

    @property
    def n(self) -> int:
        """Units that FP32 has a score of."""
        return self.place.n_scored(self.reference)

    @property
    def reference(self) -> Scores:
        """FP32's scores."""
        if _FP32 not in self._scores:
            answers = self._answers(self.experiments.fp32())
            self._scores[_FP32], _ = self.place.scores(answers, {})
        return self._scores[_FP32]

    def scores(self, variant: Variant) -> Scores:
        """One engine's scores."""
        if variant.name not in self._scores:
            fp32 = self._answers(self.experiments.fp32())
            _, own = self.place.scores(fp32, {variant.name: self._answers(variant)})
            self._scores[variant.name] = own[variant.name]
        return self._scores[variant.name]

    def left(self, variant: Variant) -> Part:
        """The drop from FP32."""
        if variant.name not in self._lefts:
            after = {variant.name: self.scores(variant)}
            self._lefts |= self.place.drops(self.reference, after, self.each)
        return self._lefts[variant.name]

    def removed(self, variant: Variant, cell: Variant) -> Part:
        """How much less than `cell` it loses, paired."""
        found = self.place.drops(self.scores(variant), {cell.name: self.scores(cell)}, self.each)
        return found[cell.name]

    def _answers(self, variant: Variant) -> Predictions:
        return self.runs.answers(variant.name, self.place.predicted, variant.load, variant.more)


def output_error(runs: Runs, outputs: str, fp32: Variant, variant: Variant, rows: Rows) -> float:
    """Squared error of a task's outputs over their variance, on some rows.

    NaN where an output isn't finite, and where none is of floats.

    Parameters
    ----------
    runs : Runs
    outputs : str
        As `EvalSet.output` has them.
    fp32, variant : Variant
    rows : int64 (n,)
        Pool rows, ascending.
    """
    exact, rounded = (
        runs.answers(each.name, rows, each.load, each.more) for each in (fp32, variant)
    )
    names = outputs.split(", ")
    before, after = (output_values(each, names, rows) for each in (exact, rounded))
    counted = [name for name in names if before[name].dtype.kind == "f"]
    return relative_error(after, before, counted) if counted else float("nan")


def is_there(part: Part) -> bool:
    """Whether it is more than nothing, beyond chance."""
    return part.low is not None and part.low > 0


def value(part: Part) -> float:
    """What was measured; 0 where nothing could be."""
    return part.value or 0.0
