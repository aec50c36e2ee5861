"""Kinds of recipe, by name, and recipes of any kind from files, flags and Python."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Final

import numpy as np

from calaudit.runtime.errors import DrawError, Problem, SettingsError
from calaudit.runtime.outside import Contract, Gives, hold
from calaudit.runtime.registry import Registry
from calaudit.runtime.settings import check_settings, parse_settings, read_toml
from calaudit.sampling.recipe import Choice, Needs, Recipe

_CONTRACT: Final[Contract] = {
    "choose": Gives("a Choice", (Choice,), error=DrawError),
    "check": Gives("nothing", (NoneType,), error=DrawError),
    "settled": Gives("true or false", (bool, np.bool_), error=DrawError),
    "needs": Gives("Needs", (Needs,)),
    "problems": Gives("values of Problem", (Problem,), each=True),
    "details": Gives("text", (str,)),
    "completed": Gives("a mapping", (Mapping,)),
}


def _hold(kind: type[Recipe], offer: str) -> type[Recipe]:
    check_settings(kind, offer)
    hold(kind, offer, _CONTRACT)
    return kind


KINDS: Final[Registry[type[Recipe]]] = Registry(
    "calaudit.recipes",
    "kind of recipe",
    lambda found: isinstance(found, type) and issubclass(found, Recipe),
    "a subclass of calaudit.sampling.recipe.Recipe",
    _hold,
    called="kind",
    meant={"random": "uniform", "simple": "uniform", "srs": "uniform", "list": "ids"},
)
DEFAULT_KIND = "uniform"


def find_kind(name: object, *, where: object) -> type[Recipe]:
    """The class of a kind of recipe.

    Raises
    ------
    SettingsError
        There is no such kind, or the package that offers it is broken.
    """
    if not isinstance(name, str):
        raise SettingsError(
            f"should be text (got {name!r})", where=where, next_step="Name a kind of recipe."
        )
    return KINDS.load(name, where=where)


def parse_recipe(
    values: Mapping[str, Any], *, where: object, at: str = "", folder: Path | None = None
) -> Recipe:
    """A recipe of any kind from a mapping.

    Parameters
    ----------
    values : mapping
        As TOML gives it.
    where : object
        File or flag the values came from, for messages.
    at : str
        Place of the values in the file, such as ``"calibsets[2]"``.
    folder : Path, optional
        What paths in the recipe are relative to; default: the working directory.

    Raises
    ------
    SettingsError
        With one problem per wrong, missing or unknown key.
    """
    place = ".".join(filter(None, (at, "kind")))
    kind = find_kind(values.get("kind", DEFAULT_KIND), where=f"{where}: {place}")
    given = {key: value for key, value in values.items() if key != "kind"}
    foreign = list(_foreign(given, kind, f"{where}: {at}" if at else str(where)))
    own = {key: value for key, value in given.items() if key not in {each for each, _ in foreign}}
    problems = [problem for _, problem in foreign]
    try:
        with _placed(f"{where}: {at}" if at else str(where)):
            completed = kind.completed(own, folder or Path())
        recipe = parse_settings(completed, kind, where=where, at=at)
    except SettingsError as error:
        raise SettingsError.of([*problems, *error.problems]) from None
    if problems:
        raise SettingsError.of(problems)
    return recipe


def make_recipe(*, kind: str = DEFAULT_KIND, **settings: Any) -> Recipe:
    """A recipe from Python: the keys of a recipe file, as keyword arguments.

    Raises
    ------
    SettingsError
        There is no such kind, or keys or values that a recipe file couldn't have either.

    Examples
    --------
    >>> make_recipe(name="random", size=64).kind
    'uniform'
    """
    return parse_recipe({**settings, "kind": kind}, where="recipe")


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe file (TOML). Raises `SettingsError` with every problem."""
    path = Path(path)
    return parse_recipe(read_toml(path), where=path, folder=path.parent)


def recipe_from_json(text: str, *, where: object) -> Recipe:
    """A recipe from :meth:`Recipe.to_json`. Raises `SettingsError`, also where it isn't JSON."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"the recipe isn't JSON: {error}", where=where) from None
    if not isinstance(values, Mapping):
        raise SettingsError("the recipe isn't a JSON object", where=where)
    return parse_recipe(values, where=where)


def kind_in_json(text: str) -> str | None:
    """The kind that a stored recipe names; None where it names none."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return None
    kind = values.get("kind") if isinstance(values, Mapping) else None
    return kind if isinstance(kind, str) else None


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Say which recipe names a file that something is wrong with."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError.of(
            replace(each, where=place if each.where is None else f"{place}: {each.where}")
            for each in error.problems
        ) from None


def _foreign(
    values: Mapping[str, Any], kind: type[Recipe], where: str
) -> Iterator[tuple[str, Problem]]:
    """Keys that belong to other kinds."""
    unknown = set(values) - _keys(kind)
    if not unknown:
        return
    kinds = {}
    for name in KINDS.names():
        with suppress(SettingsError):  # one that can't be loaded has no part in this recipe
            if name != kind.kind:
                kinds[name] = _keys(KINDS.load(name))
    for key in sorted(unknown, key=list(values).index):
        owners = [name for name, keys in kinds.items() if key in keys]
        if owners:
            other = " or ".join(f'kind = "{name}"' for name in owners)
            message = f'{key} doesn\'t go with kind = "{kind.kind}"'
            yield key, Problem(message, where, f"Drop it, or write {other}.")


def _keys(kind: type[Recipe]) -> set[str]:
    return {field.name for field in fields(kind)}
