"""What a metric is, and how a function becomes one.

```

@metric("mean", higher_is_better=False, span=2.0)
def brier(outputs, target): ...
```

A metric's function and its facts stand together, under `metric`. It gives each unit (a sample, or a
query) its score by one engine; parameters are given what their names say. An audit names it
``"module:function"``, or by the name under which a package declares it in the entry point group
``calaudit.metrics``: the function itself, or a module that holds several.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.case import Case
from calaudit.metrics.guard import check_kind, held_parts, held_scores
from calaudit.metrics.set_statistics import Functional, Reach, SetStatistics, Sums
from calaudit.metrics.truth import Truth
from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.lent import lent
from calaudit.runtime.user_code import blamed, file_of

Kind = Literal["binary", "mean", "ratio", "set"]
"""How per-unit scores become the metric, hence which interval fits.

``binary``: the share of units that are right; ``mean``: the mean of one number per unit;
``ratio``: the sum of one number per unit over the sum of another (word errors over words);
``set``: a function of sums over the units (balanced accuracy, coverage, Gini), or of what else all
of them together have (average precision).
"""

Direction = Literal["higher_is_better", "lower_is_better"]

PARAMETERS: Final = (
    "outputs",
    "target",
    "reference",
    "exclude",
    "popularity",
    "tail",
    "k",
    "class_name",
    "case",
)
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
k
    The rank at which lists are cut. Audits then name the metric with it: ``"name@10"``.
class_name
    The class that the metric is of. Audits name it in brackets: ``"name[person]"``; where the
    parameter has a default, the metric is known without a class as well.
case
    All of it, with what metrics share: `calaudit.metrics.case.Case`.
"""

PerUnit = NDArray[Any] | sparse.csr_array | Sums | SetStatistics
"""By the metric's kind: binary (n,) bool, or float64 with NaN; mean (n,) float64; ratio (n, 2)
float64, numerator and denominator; set (n, m) additive statistics, or what a metric has in their
place. NaN: the unit has no score."""

Bounds = Callable[..., tuple[NDArray[Any], NDArray[Any]]]
"""case (and k) → per-unit scores with every tie broken (against, for) quality."""

SetInfluence = Callable[[int | None, NDArray[np.float64], int], float]
"""k, summed statistics, n → the most that one of n units can move a set metric."""

_MARK = "calaudit_metric"
_OURS = __name__.rpartition(".")[0]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, made by `calaudit.metrics.catalogue.parse_metric`; two with one name are equal."""

    name: str
    """As written in an audit: ``"ndcg@10"``."""
    family: str
    """The name without its cut: ``"ndcg"``."""
    k: int | None
    """The cut of a top-k metric."""
    title: str
    """For people: ``"nDCG@10"``."""
    kind: Kind
    direction: Direction
    unit: str
    """``"fraction"``, ``"nats"``, ``"bits"``, ``"interactions"``, ``"output"`` or ``"target"`` (the
    model output's and the target's own unit), or ``"index"``."""
    span: float | None
    """Largest change that one unit's score can show; None where there is no bound."""
    is_agreement: bool = False
    """Whether it measures likeness to FP32."""
    worst: float | None = None
    """The value than which no engine can do worse; None where there is none, or none is known."""
    perfect: float | None = None
    """What an engine that equals FP32 has in a metric of likeness; None: what it scores."""
    quality: bool = False
    """Whether it says how good answers are, so that who knows nothing has nothing to lose by it."""
    class_name: str | None = None
    """The class that it is of; None: of all."""
    task: str | None = None
    """Name of the task that it is of, where the audit file gives it one."""

    def of_task(self, task: str) -> "Metric":
        """The metric of a named task: ``boxes2/ap``."""
        return replace(self, name=f"{task}/{self.name}", title=f"{self.title} ({task})", task=task)

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value means more quality."""
        return self.direction == "higher_is_better"

    def to_lose(self, reference: float) -> float:
        """The most that any engine can lose where FP32 reaches `reference`."""
        return math.inf if self.worst is None else abs(reference - self.worst)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A family of metrics: a function and its facts; see `metric`."""

    function: Callable[..., Any]
    name: str
    kind: Kind
    title: str
    direction: Direction
    unit: str
    span: float | None
    worst: float | None
    agreement: bool
    perfect: float | None
    quality: bool
    needs: type[Truth] | None
    shown_only: bool
    functional: Functional | None
    influence: SetInfluence
    reach: Reach | None
    bounds: Bounds | None
    convention: str
    synonyms: tuple[str, ...]
    asked: tuple[str, ...]
    """The function's parameters."""

    @property
    def path(self) -> str:
        """``module:function``."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @property
    def is_ours(self) -> bool:
        """Whether it is calaudit's own."""
        return self.function.__module__.startswith(f"{_OURS}.")

    @property
    def cut(self) -> bool:
        """Whether lists are cut at a rank k."""
        return "k" in self.asked

    @property
    def takes_class(self) -> bool:
        """Whether there is one for each class."""
        return "class_name" in self.asked

    @property
    def needs_class(self) -> bool:
        """Whether there is none but for each class."""
        given = inspect.signature(self.function).parameters.get("class_name")
        return given is not None and given.default is inspect.Parameter.empty

    def metric(
        self, name: str, family: str, k: int | None = None, class_name: str | None = None
    ) -> Metric:
        """The metric of that name, cut at k, of a class."""
        title = self.title.replace("{k}", str(k))
        return Metric(
            name=name,
            family=family,
            k=k,
            class_name=class_name,
            title=title if class_name is None else f"{title} of {class_name}",
            kind=self.kind,
            direction=self.direction,
            unit=self.unit,
            span=self.span,
            is_agreement=self.agreement,
            worst=self.worst,
            perfect=self.perfect,
            quality=self.quality,
        )

    def scores(self, case: Case, metric: Metric) -> PerUnit:
        """Per-unit scores of a case by one of its metrics.

        Raises
        ------
        SettingsError
            A function of another package failed, or returned something that is no score.
        """
        given = {name: _argument(name, case, metric) for name in self.asked}
        if self.is_ours:
            ours: PerUnit = self.function(**given)
            return ours
        with blamed(self.path, "failed", SettingsError, file=file_of(self.function)):
            returned = self.function(**lent(given))
            return held_scores(returned, self.path, self.kind, len(case.outputs))

    def check(self) -> None:
        """Refuse parameters that no metric is given. Raises `SettingsError`."""
        strange = [parameter for parameter in self.asked if parameter not in PARAMETERS]
        if strange:
            raise SettingsError(
                f"{self.path} asks for {strange[0]!r}, which a metric isn't given",
                next_step=near(strange[0], PARAMETERS),
            )


def unbounded(_: int | None, __: NDArray[np.float64], ___: int) -> float:
    """Infinity: nothing bounds how far one unit moves the metric."""
    return math.inf


def metric(
    kind: Kind,
    *,
    higher_is_better: bool = True,
    title: str | None = None,
    unit: str = "fraction",
    span: float | None = None,
    worst: float | None = None,
    agreement: bool | None = None,
    perfect: float | None = None,
    quality: bool = False,
    needs: type[Truth] | None = None,
    shown_only: bool = False,
    functional: Functional | None = None,
    influence: SetInfluence = unbounded,
    reach: Reach | None = None,
    sums: bool = True,
    bounds: Bounds | None = None,
    convention: str | None = None,
    synonyms: str = "",
    name: str | None = None,
) -> Callable[[F], F]:
    """Make a metric of a function that scores every unit.

    Parameters
    ----------
    kind : str
        ``"binary"``: the function returns (n,) booleans; ``"mean"``: (n,) numbers, NaN for a unit
        that is left out; ``"ratio"``: two (n,) arrays, numerators and denominators of a ratio of
        sums; ``"set"``: an (n, m) array, dense or sparse, of statistics that add up over units.
    higher_is_better : bool
    title : str, optional
        For people, ``{k}`` standing for the cut; by default the function's name.
    unit : str
        Of the metric. ``"fraction"`` runs from 0 to 1 and is shown in points.
    span : float, optional
        The most that one unit's score can change, where there is a bound: with it a slice in which
        hardly a unit changes can pass too.
    worst : float, optional
        The value than which no engine can do worse; known without of fractions of span 1.
    agreement : bool, optional
        Whether it measures likeness to FP32. By default, whether `perfect` is given or the function
        asks for `reference`.
    perfect : float, optional
        Of a metric of likeness: what FP32 itself has. By default, what it scores.
    quality : bool
        Whether it says how good answers are: where FP32 is no better than chance, nothing passes by
        it.
    needs : type, optional
        The class of the truth it reads, from `calaudit.metrics.truth` or a package's own.
    shown_only : bool
        Whether it adds up, over the items shown, a value of the item times a weight of its place
        (or is a function of such sums over queries): what the analysis of rankings can split.
    functional : callable, optional
        Of a set metric: sums of the statistics (…, m) → the metric (…), NaN where it isn't defined.
    influence : callable
        Of a set metric: k (None without), sums (m,), n → the most that one of n units can move it.
    reach : callable, optional
        Of a set metric whose units are of very different weight, in place of `influence`: sums
        (m,), units' own statistics (n, m) → the most that each of them can move it, (n,).
    sums : bool
        Of a set metric: whether it is a function of sums. One that isn't has no functional; its
        function returns a `calaudit.metrics.set_statistics.SetStatistics`.
    bounds : callable, optional
        case (and k) → scores with every tie broken (against, for) quality.
    convention : str, optional
        The definition in a sentence: what is averaged, ties, what is left out. By default the first
        line of the docstring.
    synonyms : str
        What it is called elsewhere, separated by commas, for those who look for it.
    name : str, optional
        What audits call it, where that isn't the function's name. An entry point for the function
        itself decides for itself.

    Raises
    ------
    SettingsError
        There is no such kind, or a set metric without a functional.
    """

    def mark(function: F) -> F:
        check_kind(kind, get_args(Kind), (functional, sums), function)
        asked = tuple(inspect.signature(function).parameters)
        own = function.__name__
        bound = 1.0 if kind == "binary" else span
        direction: Direction = "higher_is_better" if higher_is_better else "lower_is_better"
        told = (inspect.getdoc(function) or f"the user's own {own}").splitlines()[0]
        likeness = perfect is not None or "reference" in asked if agreement is None else agreement
        least = 0.0 if higher_is_better else 1.0
        held = functional, influence, reach, bounds
        if not function.__module__.startswith(f"{_OURS}."):
            path = f"{function.__module__}:{function.__qualname__}"
            held = held_parts(path, needs, held, cut="k" in asked)
        definition = Definition(
            function=function,
            name=name or own,
            kind=kind,
            title=title or own.replace("_", " ").capitalize(),
            direction=direction,
            unit=unit,
            span=bound,
            worst=least if worst is None and unit == "fraction" and bound == 1.0 else worst,
            agreement=likeness,
            perfect=perfect,
            quality=quality,
            needs=needs,
            shown_only=shown_only,
            functional=held[0],
            influence=held[1],
            reach=held[2],
            bounds=held[3],
            convention=convention or told,
            synonyms=tuple(filter(None, (each.strip() for each in synonyms.split(",")))),
            asked=asked,
        )
        setattr(function, _MARK, definition)
        return function

    return mark


def definition_in(value: object) -> Definition | None:
    """The definition that a function under `metric` carries; None of anything else."""
    found = getattr(value, _MARK, None)
    return found if isinstance(found, Definition) else None


def _argument(name: str, case: Case, metric: Metric) -> Any:
    match name:
        case "outputs":
            return case.outputs
        case "reference":
            return case.reference()
        case "case":
            return case
        case "k":
            return metric.k
        case "class_name":
            return metric.class_name
        case _:
            return getattr(case.truth, name, None)
