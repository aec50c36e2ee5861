"""``[[calibsets]]`` of an audit file: recipes, recipes in files of their own, sets drawn before."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calaudit.runtime.errors import Problem, SettingsError
from calaudit.runtime.settings import keys_of, parse_settings, setting
from calaudit.sampling.kinds import parse_recipe, read_recipe
from calaudit.sampling.recipe import Recipe, Role


@setting
class SetFile:
    """A calibration set that exists already."""

    file: str
    name: str | None = None
    role: Role | None = None


@setting
class RecipeFile:
    """A recipe kept in a file of its own, such as those of calibsets/."""

    recipe: str
    name: str | None = None
    role: Role | None = None
    """None: as the recipe's file says."""


CalibsetEntry = Recipe | SetFile


def name_problems(names: Sequence[str], path: Path) -> Iterator[Problem]:
    """What is wrong with the calibration sets' names."""
    where = f"{path}: calibsets"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f"two calibration sets are called {name!r}", where, "Rename one.")
    for name in names:
        if re.fullmatch(r".+#\d+", name):
            yield Problem(
                f"{name!r} looks like a repeated draw of another set",
                where,
                "Rename it: a number after # is given to replicates.",
            )
    for name in names:
        if name.endswith("(control)"):
            yield Problem(
                f"{name!r} looks like the mark of a control",
                where,
                'Rename it: reports add (control) to the sets of role = "control".',
            )


def _check_pointer(values: Mapping[str, Any], key: str, where: str) -> None:
    """Refuse what describes a recipe beside the name of a file that holds one, or a set."""
    kept = keys_of(SetFile if key == "file" else RecipeFile)
    recipes = keys_of(Recipe)
    foreign = [each for each in values if each in recipes and each not in kept]
    if foreign:
        raise SettingsError(
            f"{' and '.join(foreign)} can't stand beside {key}, which is of a "
            f"{'set that is drawn already' if key == 'file' else 'recipe in a file of its own'}",
            where=where,
            next_step=f"Drop {' and '.join(foreign)}, or describe a recipe without {key}.",
        )


def read_entry(values: Mapping[str, Any], path: Path, at: str) -> tuple[str, CalibsetEntry]:
    """Name and content of one table of ``[[calibsets]]``, read from `path` at `at`.

    Raises
    ------
    SettingsError
        It is described in two ways, or wrongly, or its recipe's file is.
    """
    kinds = [key for key in ("file", "recipe", "kind") if key in values]
    if len(kinds) > 1:
        raise SettingsError(
            f"is described by {' and '.join(kinds)}",
            where=f"{path}: {at}",
            next_step="Name a file, or a recipe, or describe a recipe here: one of the three.",
        )
    if "file" in values or "recipe" in values:
        _check_pointer(values, kinds[0], f"{path}: {at}")
    if "file" in values:
        entry = parse_settings(values, SetFile, where=path, at=at)
        return entry.name or Path(entry.file).stem, entry
    if "recipe" in values:
        pointer = parse_settings(values, RecipeFile, where=path, at=at)
        try:
            recipe = read_recipe(path.parent / pointer.recipe)
        except SettingsError as error:
            raise SettingsError.of(
                replace(each, where=f"{path}: {at}: {each.where}") for each in error.problems
            ) from None
        return pointer.name or recipe.name, replace(recipe, role=pointer.role or recipe.role)
    recipe = parse_recipe(values, where=path, at=at, folder=path.parent)
    return recipe.name, recipe
