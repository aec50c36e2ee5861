"""What kinds of task of other packages are held to: what their methods give, and their answers."""

from collections.abc import Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.metrics.base import Metric
from calaudit.runtime.errors import Notice, SettingsError
from calaudit.runtime.outside import ANYTHING, Contract, Gives, asked, hold, offer_of
from calaudit.runtime.pool import Rows
from calaudit.runtime.settings import check_settings, keys_of
from calaudit.runtime.user_code import file_of
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import Answer, EvalSet, Proposed, Task
from calaudit.tasks.depiction import Losses
from calaudit.tasks.names import Names
from calaudit.tasks.reduced import Reduced
from calaudit.tasks.reduction import Reduction

_METHODS: Final[Contract] = {
    "read": Gives("an EvalSet, or a tuple of them", (EvalSet, tuple)),
    "outputs": Gives("names of outputs", (str,), each=True),
    "more_rows": Gives("rows or None", (np.ndarray, NoneType)),
    "reduces": Gives("a Reduction or None", (Reduction, NoneType)),
    "reduced": Gives("values of Reduced", (Reduced,), each=True),
    "class_names": Gives("names", (str,), each=True),
    "check": Gives("nothing", (NoneType,)),
    "rivals": Gives("values of Rival", (Rival,), each=True),
    "gives_probabilities": Gives("true or false", (bool, np.bool_)),
    "losses": Gives("Losses or None", (Losses, NoneType)),
    "depict": Gives("a list of Sides or None", (list, NoneType)),
    "computed": Gives("a Metric", (Metric,)),
    "notices": Gives("values of Notice", (Notice,), each=True),
    "propose": Gives("Proposed or None", (Proposed, NoneType)),
    "hint": Gives("text", (str,)),
}
_NEXT: Final = "Fix the package: the head of calaudit/tasks/base.py says what a kind of task gives."


def hold_task(kind: type[Task], offer: str) -> type[Task]:
    """Hold a kind of task of another package to its contract.

    Raises
    ------
    SettingsError
        It lacks something that every kind has.
    """
    check_settings(kind, offer)
    lacking = [name for name in ("kind", "truth") if not hasattr(kind, name)]
    lacking += sorted({"metrics", "output"} - keys_of(kind))
    if lacking:
        raise SettingsError(f"{offer} lacks {', '.join(lacking)}", next_step=_NEXT)
    hold(kind, offer, _METHODS)
    return kind


def held_outputs(task: Task, outputs: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The outputs that a task names, each of them one of the model's. Raises `SettingsError`."""
    offer = offer_of(type(task))
    if offer is not None:
        strange = [name for name in outputs if name not in known]
        if strange or not outputs:
            told = f"{strange[0]!r}, which is no output of the model" if strange else "no output"
            raise SettingsError(f"{offer} gave {told} from outputs", next_step=_NEXT)
    return tuple(outputs)


def held_eval_sets(
    task: Task, found: EvalSet | tuple[EvalSet, ...], n_evaluated: int
) -> tuple[EvalSet, ...]:
    """Evaluation sets whose answers and ids are checked whenever they are asked for.

    Of several those without a metric are left out.

    Parameters
    ----------
    task : Task
        Of another package; calaudit's own are left as they are.
    found : EvalSet, or tuple of them
    n_evaluated : int
        Rows that are judged.

    Raises
    ------
    SettingsError
        Units, truth, slices and metrics don't belong together.
    """
    offer = offer_of(type(task))
    eval_sets = found if isinstance(found, tuple) else (found,)
    if offer is not None and not all(isinstance(each, EvalSet) for each in eval_sets):
        raise SettingsError(
            f"{offer} gave a tuple from read that holds something else than values of EvalSet",
            next_step=_NEXT,
        )
    if isinstance(found, tuple) and any(each.metrics for each in found):
        eval_sets = tuple(each for each in found if each.metrics)
    if offer is None:
        return eval_sets
    return tuple(_held_eval_set(offer, each, n_evaluated) for each in eval_sets)


def _held_eval_set(offer: str, eval_set: EvalSet, n_evaluated: int) -> EvalSet:
    if offer_of(type(eval_set.truth)) is not None:
        truth = type(eval_set.truth)
        hold(truth, f"the truth of {offer}", {
            "__len__": ANYTHING, "target": ANYTHING, "take": Gives(truth.__name__, (truth,)),
        })  # fmt: skip
    wrong = _wrong(eval_set, n_evaluated)
    if wrong:
        raise SettingsError(f"{offer} read an EvalSet that {wrong}", next_step=_NEXT)
    return replace(
        eval_set,
        answer=_held_answer(offer, eval_set.answer),
        ids=_held_names(offer, "ids", eval_set.ids),
        items=None if eval_set.items is None else _held_names(offer, "items", eval_set.items),
    )


def _wrong(eval_set: EvalSet, n_evaluated: int) -> str:
    slices: Any = eval_set.slices
    metrics: tuple[Any, ...] = eval_set.metrics
    if not metrics or not all(isinstance(each, Metric) for each in metrics):
        return "has no metrics, or something else among them"
    if not isinstance(slices, SliceSet):
        return f"has slices of type {type(slices).__name__}, expected a SliceSet"
    n = len(eval_set.truth)
    if n != slices.n_rows:
        return f"has a truth of {n} units and slices of {slices.n_rows}"
    if eval_set.row_of_unit is not None:
        return _rows_wrong(eval_set.row_of_unit, n, n_evaluated)
    if eval_set.unit_of_row is None:
        return "" if n == n_evaluated else f"has {n} units for {n_evaluated} rows, no unit_of_row"
    return _units_wrong(eval_set.unit_of_row, n, n_evaluated)


def _rows_wrong(rows: Any, n: int, n_evaluated: int) -> str:
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.shape != (n,):
        return f"has a row_of_unit that isn't an array of {n} whole numbers"
    if n and not 0 <= rows.min() <= rows.max() < n_evaluated:
        return f"has a row_of_unit that names rows beyond the {n_evaluated} evaluated ones"
    return ""


def _units_wrong(units: Any, n: int, n_evaluated: int) -> str:
    if not isinstance(units, np.ndarray) or units.dtype.kind not in "iu":
        return "has a unit_of_row that isn't an array of whole numbers"
    if units.shape != (n_evaluated,):
        return f"has a unit_of_row of shape {units.shape}, expected ({n_evaluated},)"
    if not np.array_equal(np.unique(units), np.arange(n)):
        return f"has a unit_of_row that doesn't name each of the {n} units"
    return ""


def _held_answer(offer: str, answer: Answer) -> Answer:
    gives = Gives("an array", (np.ndarray,))

    def held(given: Given, reference: Given, units: NDArray[np.int64]) -> NDArray[Any]:
        found: NDArray[Any] = asked(
            offer, "answer", gives, file_of(answer), answer, given, reference, units
        )
        if found.ndim == 0 or len(found) != len(units) or found.dtype.kind not in "biufO":
            raise SettingsError(
                f"{offer} gave {found.dtype} of shape {found.shape} from answer, expected numbers "
                f"or objects for each of {len(units)} units",
                next_step=_NEXT,
            )
        return found

    return held


def _held_names(offer: str, what: str, names: Names) -> Names:
    gives = Gives("texts", (str,), each=True)

    def held(positions: Rows) -> list[str]:
        found = list(asked(offer, what, gives, file_of(names), names, positions))
        if len(found) != len(positions):
            raise SettingsError(
                f"{offer} gave {len(found)} {what} for {len(positions)}", next_step=_NEXT
            )
        return found

    return held
