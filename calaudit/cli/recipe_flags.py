"""Recipes on the command line: files, or flags that say the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calaudit.runtime.errors import Problem, SettingsError

if TYPE_CHECKING:
    from calaudit.sampling.recipe import Recipe
    from calaudit.slices.dimension import Dimension


def _flag(flag: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel="Recipe by flags")


Size = Annotated[int | None, _flag("--size", "Samples to draw.")]
Name = Annotated[str | None, _flag("--name", "Name; default: the kind. It enters the seed.")]
Kind = Annotated[
    str | None,
    _flag(
        "--kind",
        "uniform, stratified, skewed, coverage, ids, or one that another package adds; default: "
        "what the flags imply.",
    ),
]
CandidatesFlag = Annotated[
    str | None,
    _flag("--candidates", "Samples to draw from; default: all that aren't evaluated.", "SQL"),
]
Stratify = Annotated[
    list[str] | None,
    _flag("--stratify", "Strata, written as for --by; several are crossed.", "COLUMN[:KEY=VALUE]"),
]
AllocationFlag = Annotated[
    str | None, _flag("--allocation", "Strata: proportional (default), equal or neyman.")
]
Deviation = Annotated[
    str | None, _flag("--deviation", "For neyman: a numeric column, or fp32-loss.", "COLUMN")
]
LossFlag = Annotated[
    str | None,
    _flag("--loss", "For fp32-loss: the output, and the target if needed.", "OUTPUT[,TARGET]"),
]
Floor = Annotated[int | None, _flag("--floor", "Minimum per stratum (default 1).")]
Cap = Annotated[int | None, _flag("--cap", "Maximum per stratum.")]
Only = Annotated[
    list[str] | None, _flag("--only", "Draw only from this slice. Repeatable.", "SLICE|SQL")
]
Without = Annotated[
    list[str] | None, _flag("--without", "Exclude this slice. Repeatable.", "SLICE|SQL")
]
Share = Annotated[
    list[str] | None,
    _flag("--share", "Share of the set from a slice. Repeatable.", "SLICE=SHARE"),
]
Column = Annotated[
    str | None,
    _flag("--embedding", "Coverage of an input, a target, or numeric columns.", "NAME[,NAME...]"),
]
Pca = Annotated[int | None, _flag("--pca", "Coverage of this many principal components.", "N")]
Tap = Annotated[str | None, _flag("--tap", "Coverage of a tensor inside the model.", "TENSOR")]
Algorithm = Annotated[str | None, _flag("--algorithm", "Coverage: k-center (default) or herding.")]
Option = Annotated[
    list[str] | None,
    _flag("--option", "Any other key of the kind, as a recipe file has it.", "KEY=VALUE"),
]
Start = Annotated[
    str | None, _flag("--start", "Coverage: the first sample is random (default) or the mean.")
]

RECIPE_FLAGS = (
    "size", "name", "kind", "candidates", "stratify", "allocation", "deviation", "loss", "floor",
    "cap", "only", "without", "share", "column", "pca", "tap", "algorithm", "start", "option",
)  # fmt: skip
"""Parameters of the command that describe a recipe."""

_WITH_FILES = frozenset({"size"})
"""Those that may also change a recipe that is read from a file."""


def read_recipes(
    files: Sequence[Path],
    flags: Mapping[str, Any],
    strata: Sequence["Dimension"],
    named: Sequence["Dimension"],
) -> list["Recipe"]:
    """Recipes from files, or one from flags.

    Parameters
    ----------
    files : sequence of Path
    flags : mapping
        Flag to value, for flags that were given; keys among `RECIPE_FLAGS`.
    strata : sequence of Dimension
        Those of ``--stratify``.
    named : sequence of Dimension
        Those of ``--by``, ``--where`` and ``--cross``: a skewed recipe takes them along, so that
        the names of its slices have a meaning.

    Raises
    ------
    SettingsError
        A recipe that can't be read, flags beside files, or two recipes of one name.
    """
    import dataclasses

    from calaudit.sampling.kinds import read_recipe

    if not files:
        return [_recipe_of_flags(dict(flags), strata, named)]
    beside = sorted(set(flags) - _WITH_FILES)
    if beside:
        raise SettingsError(
            f"--{beside[0].replace('column', 'embedding')} describes a recipe, "
            "and recipe files are given",
            next_step="Give either files or flags; of the flags only --size goes with files.",
        )
    recipes = [dataclasses.replace(read_recipe(path), **flags) for path in files]
    names = [recipe.name for recipe in recipes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError.of(
            Problem(f'two recipes are called "{name}"', None, "Rename one.") for name in twice
        )
    return recipes


def _recipe_of_flags(
    flags: dict[str, Any], strata: Sequence["Dimension"], named: Sequence["Dimension"]
) -> "Recipe":
    from calaudit.runtime.settings import as_values
    from calaudit.sampling.kinds import parse_recipe

    options = _options(flags.pop("option", ()))
    if "size" not in flags and not options:
        raise SettingsError(
            "neither a recipe nor --size is given",
            next_step="Name a recipe file, or say how many samples: --size 128.",
        )
    flags.pop("stratify", None)
    embedding = {key: flags.pop(key) for key in ("column", "pca", "tap") if key in flags}
    if "column" in embedding:
        embedding["column"] = tuple(embedding["column"].split(","))
    if "loss" in flags:
        parts = flags["loss"].split(",", maxsplit=1)
        flags["loss"] = dict(zip(("output", "target"), parts, strict=False))
    shares = _shares(flags.pop("share", ()))
    skewed = bool(shares or "only" in flags or "without" in flags)
    implied = (
        "stratified" if strata else "skewed" if skewed else "coverage" if embedding else "uniform"
    )
    kind = flags.setdefault("kind", implied)
    flags.setdefault("name", kind)
    chosen = strata or (named if kind == "skewed" else ())
    values = {**flags, **options}
    if chosen:
        values["strata"] = [as_values(each) for each in chosen]
    if shares:
        values["shares"] = shares
    if embedding:
        values["embedding"] = embedding
    return parse_recipe(values, where="recipe")


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Keys and their values: numbers, lists, tables and true or false as in TOML, else text."""
    import tomllib

    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise SettingsError(
                f"{text!r} isn't a key with its value",
                where="--option",
                next_step="Write --option KEY=VALUE, such as --option ids=list.txt.",
            )
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value
    return options


def _shares(texts: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    problems = []
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            problems.append(
                Problem(
                    f'"{share}" isn\'t a share', f"--share {text}", "Write --share 'SLICE=0.6'."
                )
            )
    if problems:
        raise SettingsError.of(problems)
    return shares
