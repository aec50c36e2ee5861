"""A user's own metric: a function that gives each unit its score, and a kind.

```

@metric("mean", higher_is_better=False)
def brier(outputs, target): ...
```

An audit names it ``"module:function"``, or by the name that a package registers it under in the
entry point group ``calaudit.metrics``.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Definition, Kind
from calaudit.metrics.case import Case
from calaudit.metrics.truth import Labels, Relevance, Texts, Truth, Values
from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.user_code import blamed, file_of, find_function

GROUP = "calaudit.metrics"
"""Entry point group."""

PARAMETERS = ("outputs", "target", "reference", "exclude", "popularity", "tail")
"""What a function may ask for by naming its parameters so.

outputs
    What the engine gave, (n, …); of a sequence task, the texts.
target
    What it should have given: labels (n,), values (n, …), texts (n,), relevance (n, items).
reference
    What FP32 gave, of the outputs' shape.
exclude, popularity, tail
    Of a ranking: (n, items) what is never shown, (items,) interactions, (items,) long tail; None
    where the pool doesn't say.
"""

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "calaudit_metric"
_ORDINARY = ("binary", "mean", "ratio")


@dataclass(frozen=True, slots=True)
class _Facts:
    kind: Kind
    higher_is_better: bool
    title: str | None
    unit: str
    span: float | None
    agreement: bool | None


def metric(
    kind: Kind,
    *,
    higher_is_better: bool = True,
    title: str | None = None,
    unit: str = "fraction",
    span: float | None = None,
    agreement: bool | None = None,
) -> Callable[[F], F]:
    """Make a metric of a function that scores every unit.

    Parameters
    ----------
    kind : str
        ``"binary"``: the function returns (n,) booleans; ``"mean"``: (n,) numbers, NaN for a unit
        that is left out; ``"ratio"``: two (n,) arrays, numerators and denominators of a ratio of
        sums.
    higher_is_better : bool
    title : str, optional
        For people; by default the function's name.
    unit : str
        Of the metric. ``"fraction"`` runs from 0 to 1 and is shown in points.
    span : float, optional
        The most that one unit's score can change, where there is a bound: with it a slice in which
        hardly a unit changes can pass too.
    agreement : bool, optional
        Whether it measures likeness to FP32, which is then perfect. By default, whether the
        function asks for `reference`.

    Raises
    ------
    SettingsError
        Another kind.
    """
    if kind not in _ORDINARY:
        raise SettingsError(
            f"a metric of one's own can't be of kind {kind!r}",
            next_step=near(kind, _ORDINARY if kind in get_args(Kind) else get_args(Kind)),
        )
    facts = _Facts(kind, higher_is_better, title, unit, span, agreement)

    def mark(function: F) -> F:
        setattr(function, _MARK, facts)
        return function

    return mark


def make_importable(folder: Path) -> None:
    """Let metrics be imported from `folder`, after everything that is installed."""
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


def registered() -> Mapping[str, str]:
    """Names that installed packages register, with their ``module:function``."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


@cache
def own_definition(path: str) -> Definition:
    """The definition that the function at ``module:function`` makes.

    Raises
    ------
    SettingsError
        No such module or function, a module that can't be imported, a function that isn't marked
        as a metric, or one that asks for something that there isn't.
    """
    function = find_function(
        path,
        next_step="Put the file beside the audit file, or install its package.",
        offered=lambda value: hasattr(value, _MARK),
    )
    facts: _Facts | None = getattr(function, _MARK, None)
    name = path.rpartition(":")[2]
    if facts is None:
        raise SettingsError(
            f"{path} has no kind",
            next_step=f'Write @calaudit.metric("mean") above def {name}.',
        )
    asked = tuple(inspect.signature(function).parameters)
    strange = [parameter for parameter in asked if parameter not in PARAMETERS]
    if strange:
        raise SettingsError(
            f"{path} asks for {strange[0]!r}, which a metric isn't given",
            next_step=near(strange[0], PARAMETERS),
        )
    default = "reference" in asked
    return Definition(
        title=facts.title or name.replace("_", " ").capitalize(),
        kind=facts.kind,
        needs="own",
        direction="higher_is_better" if facts.higher_is_better else "lower_is_better",
        unit=facts.unit,
        span=1.0 if facts.kind == "binary" else facts.span,
        agreement=default if facts.agreement is None else facts.agreement,
        compute=partial(_scores, function, path, facts.kind, asked),
        convention=(inspect.getdoc(function) or f"the user's own {path}").splitlines()[0],
    )


def _scores(
    function: Callable[..., Any], path: str, kind: Kind, asked: tuple[str, ...], case: Case
) -> NDArray[Any]:
    given = {name: _argument(name, case) for name in asked}
    n = len(case.outputs)
    with blamed(path, "failed", SettingsError, file=file_of(function)):
        returned = function(**given)
        if kind == "ratio" and isinstance(returned, tuple) and len(returned) == 2:
            returned = np.stack([np.asarray(part, dtype=np.float64) for part in returned], axis=-1)
        values = np.asarray(returned)
    wanted = (n, 2) if kind == "ratio" else (n,)
    if values.shape != wanted or values.dtype.kind not in "biuf":
        raise SettingsError(
            f"{path} returned {values.dtype} of shape {values.shape}, "
            f"expected {'two numbers' if kind == 'ratio' else 'one number'} for each of {n} units"
        )
    if kind == "binary":
        unknown = np.isnan(values)
        if not np.isin(values[~unknown], (0, 1)).all():
            raise SettingsError(f"{path} is binary, but returned something else than 0 and 1")
        return np.where(unknown, np.nan, values) if unknown.any() else values.astype(bool)
    scores = values.astype(np.float64)
    scores[~np.isfinite(scores)] = np.nan
    if kind == "ratio":
        scores[:, 1] = np.nan_to_num(scores[:, 1])
        if (scores[:, 1] < 0).any():
            raise SettingsError(f"{path} returned a denominator below 0")
    return scores


def _argument(name: str, case: Case) -> Any:
    match name:
        case "outputs":
            return case.outputs
        case "target":
            return _target(case.truth)
        case "reference":
            return case.reference()
        case _:
            return getattr(case.truth, name, None)


def _target(truth: Truth | None) -> NDArray[Any] | None:
    match truth:
        case Labels():
            return truth.label
        case Values():
            return truth.value
        case Texts():
            return truth.text
        case Relevance():
            return truth.relevance
        case _:
            return None
