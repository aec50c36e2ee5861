"""Where ranges come from, as an audit file says it: ``[[calibsets]]`` and ``[[scales]]``.

Recipes, recipes in files of their own, sets drawn before; scale tables and calibration caches.
"""

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


@setting
class ScalesFile:
    """Ranges that are given: a scale table, or a TensorRT calibration cache."""

    file: str
    name: str | None = None
    """Default: the file's name without its suffix."""
    role: Role | None = None


@setting
class _Limits:
    """What an audit says of a calibration set beside how it is drawn."""

    methods: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.methods is not None and len(set(self.methods)) < max(1, len(self.methods)):
            raise SettingsError(
                "methods is empty or names one twice",
                next_step="Name some of the audit's methods, or drop the key.",
            )


CalibsetEntry = Recipe | SetFile


def name_problems(names: Sequence[str], path: Path, key: str) -> Iterator[Problem]:
    """What is wrong with the names of calibration sets, or of given ranges.

    Parameters
    ----------
    names : sequence of str
    path : Path
        The audit file.
    key : str
        ``"calibsets"`` or ``"scales"``.
    """
    where, what = f"{path}: {key}", "calibration sets" if key == "calibsets" else "given ranges"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f"two {what} are called {name!r}", where, "Rename one.")
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


def read_entry(
    values: Mapping[str, Any], path: Path, at: str, folder: Path
) -> tuple[str, CalibsetEntry, tuple[str, ...] | None]:
    """One table of ``[[calibsets]]``: its name, its content, and the methods tried on it.

    Parameters
    ----------
    values : mapping
    path : Path
        The audit file.
    at : str
        Place of the table in it.
    folder : Path
        What paths are relative to.

    Returns
    -------
    str, Recipe or SetFile, tuple of str or None
        Methods are None where all of the audit's are tried.

    Raises
    ------
    SettingsError
        It is described in two ways, or wrongly, or its recipe's file is.
    """
    own = {key: value for key, value in values.items() if key in keys_of(_Limits)}
    limits = parse_settings(own, _Limits, where=path, at=at)
    name, entry = _source({k: v for k, v in values.items() if k not in own}, path, at, folder)
    return name, entry, limits.methods


def read_scales(values: Mapping[str, Any], path: Path, at: str) -> tuple[str, ScalesFile]:
    """The name of given ranges, and their file. Raises `SettingsError`."""
    entry = parse_settings(values, ScalesFile, where=path, at=at)
    return entry.name or Path(entry.file).stem, entry


def _source(
    values: Mapping[str, Any], path: Path, at: str, folder: Path
) -> tuple[str, CalibsetEntry]:
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
            recipe = read_recipe(folder / pointer.recipe)
        except SettingsError as error:
            raise SettingsError.of(
                replace(each, where=f"{path}: {at}: {each.where}") for each in error.problems
            ) from None
        return pointer.name or recipe.name, replace(recipe, role=pointer.role or recipe.role)
    recipe = parse_recipe(values, where=path, at=at, folder=folder)
    return recipe.name, recipe
