"""Sanity checks: what is odd about a model and its samples, whatever INT8 does to them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calaudit.metrics.case import Case
from calaudit.metrics.truth import Labels
from calaudit.runtime.errors import Notice
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import first_of
from calaudit.statistics.baselines import (
    ClassOrder,
    Rival,
    find_class_order,
    is_quality,
)
from calaudit.steps.clusters import Clusters, clusters_of
from calaudit.steps.input_ranges import describe_inputs
from calaudit.tasks.base import EvalSet

if TYPE_CHECKING:
    from calaudit.steps.score import Scored

_SHOWN = 5
"""Classes that a notice lists."""
_LOOK = 2**26
"""Bytes of inputs that are looked at to tell their ranges."""


def rivals_in(eval_set: EvalSet, case: Callable[[], Case], *, constant: bool) -> tuple[Rival, ...]:
    """Whom FP32 should be better than; nobody where no metric says how good it is.

    Parameters
    ----------
    eval_set : EvalSet
    case : callable
        Gives FP32's answers to all units.
    constant : bool
        Whether these are all the same.
    """
    quality = [metric for metric in eval_set.metrics if is_quality(metric)]
    if not quality or constant:
        return ()
    cuts = [metric.k for metric in quality if metric.k is not None]
    return tuple(eval_set.task.rivals(case(), cuts[0] if cuts else 10))


@dataclass(frozen=True, slots=True)
class BaselineFailure:
    """An evaluation set at which FP32 is not significantly better than a rival."""

    eval_set: EvalSet
    rival: Rival | None
    """None: its output doesn't vary at all."""

    @property
    def knows_nothing(self) -> bool:
        """Whether FP32 has nothing to lose, so that nothing can pass."""
        return self.rival is None or self.rival.knows_nothing

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics by which nothing can pass, if FP32 knows nothing."""
        return frozenset(metric.name for metric in self.eval_set.metrics if is_quality(metric))


def baseline_failures(
    scored: "Sequence[Scored]", clusters: Clusters | None
) -> list[BaselineFailure]:
    """The first rival of each evaluation set that FP32 isn't shown to beat."""
    found = []
    for one in scored:
        if one.constant:
            found.append(BaselineFailure(one.eval_set, None))
            continue
        code = clusters_of(clusters, one.eval_set)
        beaten = next((each for each in one.rivals if not each.beaten(code)), None)
        if beaten is not None:
            found.append(BaselineFailure(one.eval_set, beaten))
    return found


def baseline_notices(
    not_better: Iterable[BaselineFailure], pool: Pool, evaluated: Rows
) -> Iterator[Notice]:
    """What is doubtful about FP32, with the ranges of its inputs and what to look at."""
    not_better = list(not_better)
    if not not_better:
        return
    ranges = "; ".join(each.shown() for each in describe_inputs(pool, evaluated, most_bytes=_LOOK))
    for each in not_better:
        where = f"output {each.eval_set.output}"
        advice = (
            f"the inputs range over {ranges}: compare this with the training preprocessing "
            "(normalisation, channel order, layout), and the labels with the model's outputs"
        )
        if each.rival is None:
            told = "FP32's output is constant, whatever the input"
            yield Notice("reference_constant", f"{told}, so nothing can pass; {advice}", where)
            continue
        told = f"FP32 is not significantly better than {each.rival.name}"
        if each.knows_nothing:
            names = ", ".join(sorted(each.metrics))
            told += f", so no drop can be measured, and no engine passes by {names}"
            yield Notice("reference_chance", f"{told}; {advice}", where)
        else:
            hint = "a metric such as balanced_accuracy or nll may be more informative"
            if each.eval_set.unit == "query":
                hint = "compare it with a popularity baseline"
            yield Notice("reference_weak", f"{told}: {hint}", where)


def order_notices(scored: "Iterable[Scored]", clusters: Clusters | None) -> Iterator[Notice]:
    """Labels in another order than the model was trained with, as far as FP32's answers show it."""
    for one in scored:
        if one.answer is None or not isinstance(one.eval_set.truth, Labels):
            continue
        kept = one.answer >= 0
        code = clusters_of(clusters, one.eval_set)
        code = None if code is None else code[kept]
        found = find_class_order(one.eval_set.truth.label[kept], one.answer[kept], code)
        if found is not None:
            yield Notice("class_order", _of_order(found, one.eval_set), one.eval_set.target)


def _of_order(found: ClassOrder, eval_set: EvalSet) -> str:
    names = eval_set.classes
    told = [
        f"output {output} ({names[output]}) for {names[true]}"
        if names
        else f"output {output} for class {true}"
        for output, true in found.meant[:_SHOWN]
    ]
    advice = (
        "write classes = [...] in the task, with the names in the order the model was trained with"
        if names
        else "number the labels in the order the model was trained with"
    )
    return (
        f"the classes seem to be in another order than the model's outputs: of {found.n:,} "
        f"samples FP32 is right for {found.right:.3f}, and would be for {found.right_so:.3f} if "
        f"outputs stood for other classes ({first_of(told, len(found.meant))}); {advice}"
    )


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
            message = f"its output {one.eval_set.output} is constant, unlike FP32's"
            yield Notice("output_constant", message, f"cell {cell}")
    floating = [one for one in scored if one.floating]
    if not floating:
        return
    same = frozenset.intersection(*(one.identical for one in floating)) & quantized
    for cell in sorted(same):
        message = (
            "its outputs are bit-identical to FP32's on every sample: nothing relevant runs in "
            "INT8; calaudit build MODEL --explain says what stays float"
        )
        yield Notice("engine_identical", message, f"cell {cell}")
