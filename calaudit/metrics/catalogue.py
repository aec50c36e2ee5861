"""The catalogue of metrics: what each name means, and which metric an unknown name may mean."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from calaudit.metrics.base import Definition, Metric, definition_in
from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.registry import BUILT_IN, Registry, remembered
from calaudit.runtime.user_code import find_function

_BEFORE: Final = re.compile(r"^(mean|avg|val|test|eval)")
_AFTER: Final = re.compile(r"(loss|metric|value|percent|pct)$")
_NAME: Final = re.compile(r"([^@\[]+)(?:\[(.+)\])?(?:@(\d+))?")
"""Family, class and cut: ``ap[person]``, ``ndcg@10``."""
_CLASS: Final = re.compile(r"\[.+\]")
_CUT: Final = re.compile(r"@\s*(\d+)|(?<=top)[\s_-]*(\d+)")


def _fits(found: Any) -> bool:
    return isinstance(found, ModuleType) or definition_in(found) is not None


METRICS: Final = Registry[Any](
    "calaudit.metrics",
    "metric",
    _fits,
    "a function under @calaudit.metric, or a module of such functions",
)
"""Functions by name; modules by a name that no metric is called by."""


@remembered
def _built_in() -> Mapping[str, Definition]:
    return dict(
        pair
        for entry, package in METRICS.offers()
        if package == BUILT_IN
        for pair in _offered(entry, package)
    )


@remembered
def _found() -> tuple[Mapping[str, Definition], Mapping[str, Problem], tuple[Problem, ...]]:
    """Metrics by name; what is wrong with names that two have; what keeps packages from loading."""
    found: dict[str, Definition] = dict(_built_in())
    clashes: dict[str, Problem] = {}
    broken: list[Problem] = []
    for entry, package in METRICS.offers():
        if package == BUILT_IN:
            continue
        try:
            offered = list(_offered(entry, package))
        except SettingsError as error:
            broken += error.problems
            continue
        for name, definition in offered:
            other = found.setdefault(name, definition)
            if other is not definition:
                clashes[name] = Problem(
                    f"{other.path} and {definition.path} are both called {name!r}",
                    next_step=f"Uninstall {package}, rename {name} there, or write a path.",
                )
    return found, clashes, tuple(broken)


def definitions() -> Mapping[str, Definition]:
    """Every metric that calaudit and other packages declare, by its name without a cut.

    Of two of one name the first, which is calaudit's where it has one; who asks for it is refused.
    Packages that can't be imported have none.
    """
    return _found()[0]


def _offered(entry: str, package: str) -> Iterator[tuple[str, Definition]]:
    member = METRICS.load(entry, package=package)
    if not isinstance(member, ModuleType):
        definition = definition_in(member)
        assert definition is not None
        yield entry, definition
        return
    for value in vars(member).values():
        definition = definition_in(value)
        if definition is not None and definition.function.__module__ == member.__name__:
            yield definition.name, definition


def known_metrics() -> list[str]:
    """Names that `parse_metric` reads, with k standing for a number, ``…`` for a class."""
    return [
        "topk"
        if family == "top"
        else f"{family}{'[…]' * definition.needs_class}{'@k' * definition.cut}"
        for family, definition in definitions().items()
    ]


def parse_metric(name: str) -> Metric:
    """The metric of that name: ``top1``, ``nll``, ``ndcg@10``, ``my_metrics:brier`` and so on.

    Where there is one for each class, the class stands in brackets: ``ap[person]``.

    Raises
    ------
    SettingsError
        The name isn't known, its cut or class is missing, superfluous or 0, or the user's own
        function can't serve as a metric.

    Examples
    --------
    >>> parse_metric("ndcg@10").title
    'nDCG@10'
    """
    if top := re.fullmatch(r"top[_@]?(\d+)", name):
        return _metric("top", f"top{int(top[1])}", int(top[1]))
    found = _NAME.fullmatch(name)
    family, class_name, k = (found[1], found[2], found[3]) if found else (name, None, None)
    if family == "top" or not _is_known(family):
        unknown = Problem(f"there is no metric {name!r}", next_step=suggest_metric(name))
        raise SettingsError.of([unknown, *_found()[2]])
    definition = _definition(family)
    if definition.cut and k is None:
        raise SettingsError(
            f"{name} needs the rank at which lists are cut", next_step=f"Write {name}@10."
        )
    if not definition.cut and k is not None:
        raise SettingsError(f"{family} takes no cut", next_step=f"Write {family}.")
    if class_name is not None and not definition.takes_class:
        raise SettingsError(f"{family} isn't made class by class", next_step=f"Write {family}.")
    if class_name is None and definition.needs_class:
        raise SettingsError(
            f"{name} needs the name of a class", next_step=f'Write "{family}[…]" with the class.'
        )
    written = family if class_name is None else f"{family}[{class_name}]"
    return _metric(
        family, written if k is None else f"{written}@{int(k)}", k and int(k), class_name
    )


def definition_of(metric: Metric) -> Definition:
    """How the metric is computed."""
    return _definition(metric.family)


def convention_of(metric: Metric) -> str:
    """The definition's choices in a sentence: what is averaged, ties, gain, what is left out."""
    return definition_of(metric).convention


def make_importable(folder: Path) -> None:
    """Let metrics be imported from `folder`, after everything that is installed."""
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


def _metric(family: str, name: str, k: int | str | None, class_name: str | None = None) -> Metric:
    cut = None if k is None else int(k)
    if cut == 0:
        raise SettingsError(f"{name} shows nothing", next_step="Choose k ≥ 1.")
    return _definition(family).metric(name, family, cut, class_name)


def _is_known(family: str) -> bool:
    return (":" in family and "@" not in family) or family in _built_in() or family in definitions()


def _definition(family: str) -> Definition:
    """Of calaudit's own, found without an import of any other package, or another's."""
    if ":" in family:
        found = _at_path(family)
    else:
        _refuse_clash(family)
        found = _built_in().get(family) or definitions()[family]
    found.check()
    return found


@remembered
def _others() -> Mapping[str, str]:
    """Name → the first other package that offers it."""
    offers = [(name, who) for name, who in METRICS.offers() if who != BUILT_IN]
    return dict(reversed(offers))


def _refuse_clash(family: str) -> None:
    """Refuse a name that two packages offer; calaudit's own need no import of other packages'."""
    owned = family in _built_in()
    other = _others().get(family)
    if owned and other is not None:
        raise SettingsError(
            f"calaudit and {other} both offer the metric {family!r}",
            next_step=f"Uninstall {other}, or rename {family} in its pyproject.toml; or write "
            "module:function for its own.",
        )
    if not owned and family in _found()[1]:
        raise SettingsError.of([_found()[1][family]])


@cache
def _at_path(path: str) -> Definition:
    """The definition of the function at ``module:function``.

    Raises
    ------
    SettingsError
        No such module or function, a module that can't be imported, or a function that isn't marked
        as a metric.
    """
    function = find_function(
        path,
        next_step="Put the file beside the audit file, or install its package.",
        offered=lambda value: definition_in(value) is not None,
    )
    found = definition_in(function)
    if found is None:
        raise SettingsError(
            f"{path} has no kind",
            next_step=f'Write @calaudit.metric("mean") above def {path.rpartition(":")[2]}.',
        )
    return found


def suggest_metric(name: str, among: Sequence[Metric] | None = None) -> str:
    """A next step for a name that isn't a metric's: the one it means in plain usage, or is like.

    Parameters
    ----------
    name : str
        ``"Accuracy"``, ``"acc@5"``, ``"top-1"``, ``"WER %"``, ``"hit rate@10"``.
    among : sequence of Metric, optional
        What there is to choose from; by default every metric.

    Examples
    --------
    >>> suggest_metric("acc@5")
    'Did you mean top5?'
    """
    meant = _meant(name)
    if among is not None:
        families = {parse_metric(each).family for each in meant}
        missing = meant
        meant = [metric.name for metric in among if metric.family in families]
        if missing and not meant:
            there = ", ".join(metric.name for metric in among)
            return f"Did you mean {' or '.join(missing)}? No task names it. Known: {there}."
    if meant:
        return f"Did you mean {' or '.join(meant)}?"
    if among is not None:
        return near(name, [metric.name for metric in among])
    known = ["top1", "top5", *(family for family in definitions() if family != "top")]
    # Names are short: of those less alike than this, none is meant.
    told = near(name.partition("@")[0], known, cutoff=0.7)
    return (
        told
        if told.startswith("Did")
        else (f"{told} docs/metrics.md also describes custom metrics.")
    )


def _meant(name: str) -> list[str]:
    """Metrics that `name` means in plain usage, spelled as `parse_metric` reads them."""
    found = _CUT.search(_CLASS.sub("", name).casefold())
    k = int(found[1] or found[2]) if found else None
    of = _CLASS.search(name)
    plain = _plain(_CUT.sub("", _CLASS.sub("", name).casefold()))
    called = _called()
    bare = _BEFORE.sub("", plain)
    tries = (plain, bare, _AFTER.sub("", plain), _AFTER.sub("", bare))
    families: list[str] = next(filter(None, map(called.get, tries)), [])
    if k is not None:
        families = [each for each in families if definitions()[each].cut] or families
        # mAP@50 may cut no list: the number belongs to the name then.
        families = [*called.get(_plain(_CLASS.sub("", name)), []), *families]
    return [_spelled(each, k, of[0] if of else "") for each in dict.fromkeys(families)]


def _called() -> dict[str, list[str]]:
    """Every name that a family goes by, in letters and digits alone."""
    called: dict[str, list[str]] = {}
    for family, definition in definitions().items():
        names = [family, definition.title.replace("{k}", ""), *definition.synonyms]
        for plain in dict.fromkeys(map(_plain, names)):
            if plain:
                called.setdefault(plain, []).append(family)
    return called


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _spelled(family: str, k: int | None, of: str) -> str:
    if family == "top":
        return f"top{k or 1}"
    definition = definitions()[family]
    kept = of if definition.takes_class else ""
    spelled = family + (kept or "[…]" * definition.needs_class)
    return f"{spelled}@{k or 10}" if definition.cut else spelled
