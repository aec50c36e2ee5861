"""Sanity before blame: what is odd about a model and its samples, whatever INT8 does to them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import Notice
from calaudit.evaluate.metrics.case import Case
from calaudit.evaluate.standing import Rival, is_constant, is_quality, rivals_of
from calaudit.pool import Pool, Rows
from calaudit.steps.clusters import Clusters
from calaudit.steps.exam import Exam
from calaudit.steps.input_ranges import describe_inputs

if TYPE_CHECKING:
    from calaudit.steps.score import Scored

_PIECE = 1024
_LOOK = 2**26
"""Bytes of inputs that are looked at to tell their ranges."""


def rivals_in(exam: Exam, case: Case) -> tuple[Rival, ...]:
    """Whom FP32 should be better than at an exam; nobody where no metric says how good it is."""
    quality = [metric for metric in exam.metrics if is_quality(metric)]
    if not quality or is_constant(case.outputs):
        return ()
    cuts = [metric.k for metric in quality if metric.k is not None]
    return tuple(rivals_of(case, cuts[0] if cuts else 10))


@dataclass(frozen=True, slots=True)
class Doubt:
    """An exam at which FP32 isn't shown to be better than a rival."""

    exam: Exam
    rival: Rival | None
    """None: its output doesn't vary at all."""

    @property
    def knows_nothing(self) -> bool:
        """Whether FP32 has nothing to lose, so that nothing can pass."""
        return self.rival is None or self.rival.knows_nothing

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics by which nothing can pass, if FP32 knows nothing."""
        return frozenset(metric.name for metric in self.exam.metrics if is_quality(metric))


def doubts_of(scored: "Sequence[Scored]", clusters: Clusters | None) -> list[Doubt]:
    """The first rival of each exam that FP32 isn't shown to beat."""
    found = []
    for one in scored:
        if one.constant:
            found.append(Doubt(one.exam, None))
            continue
        code = None if clusters is None else clusters.of(one.exam)
        beaten = next((each for each in one.rivals if not each.beaten(code)), None)
        if beaten is not None:
            found.append(Doubt(one.exam, beaten))
    return found


def doubt_notices(doubts: Iterable[Doubt], pool: Pool, evaluated: Rows) -> Iterator[Notice]:
    """What is doubtful about FP32, with the ranges of its inputs and what to look at."""
    doubts = list(doubts)
    if not doubts:
        return
    ranges = "; ".join(each.shown() for each in describe_inputs(pool, evaluated, most_bytes=_LOOK))
    for each in doubts:
        where = f"output {each.exam.output}"
        advice = (
            f"the inputs range over {ranges}: hold that against what the model was trained on "
            "(normalisation, channel order, layout), and the labels against its outputs"
        )
        if each.rival is None:
            told = "FP32's output is the same for every sample, whatever the input"
            yield Notice("reference_constant", f"{told}, so nothing can pass; {advice}", where)
            continue
        told = f"FP32 isn't shown to be better than {each.rival.name}"
        if each.knows_nothing:
            names = ", ".join(sorted(each.metrics))
            told += f", so no engine can lose anything, and none passes by {names}"
            yield Notice("reference_chance", f"{told}; {advice}", where)
        else:
            hint = "a metric such as balanced_accuracy or nll may tell more"
            if each.exam.unit == "query":
                hint = "look at what it adds to popularity"
            yield Notice("reference_weak", f"{told}: {hint}", where)


def cell_notices(scored: "Iterable[Scored]", quantized: frozenset[str]) -> Iterator[Notice]:
    """Engines whose outputs don't vary, and INT8 engines that differ from FP32 in no bit.

    Parameters
    ----------
    scored : iterable of Scored
    quantized : set of str
        INT8 cells.
    """
    scored = list(scored)
    for one in scored:
        for cell in one.constant_cells:
            message = f"its output {one.exam.output} is the same for every sample, FP32's isn't"
            yield Notice("output_constant", message, f"cell {cell}")
    floating = [one for one in scored if one.floating]
    if not floating:
        return
    same = frozenset.intersection(*(one.identical for one in floating)) & quantized
    for cell in sorted(same):
        message = (
            "its outputs equal FP32's on every sample, to the bit: nothing that matters runs in "
            "INT8; calaudit build MODEL --explain says what stays float"
        )
        yield Notice("engine_identical", message, f"cell {cell}")


def is_identical(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two engines gave the same numbers, NaN for NaN."""
    if one.shape != other.shape or one.dtype.kind != "f":
        return False
    return all(
        np.array_equal(one[at : at + _PIECE], other[at : at + _PIECE], equal_nan=True)
        for at in range(0, len(one), _PIECE)
    )
