"""Names of classes: in files, for numbers of a target, and what masks may hold."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.errors import FileFormatError, PoolError, Problem, near, unreadable
from calaudit.runtime.words import counted, first_of

_SHOWN = 10


def as_names(column: pl.Series, names: Sequence[str], *, where: str) -> pl.Series:
    """A target's values as class names; missing ones stay missing.

    Numbers are places among the names, unless the names are numbers themselves.

    Raises
    ------
    PoolError
        Values that are no class, with the near ones.
    """
    if column.dtype == pl.Boolean or (
        column.dtype.is_float() and (column == column.round()).all()  # beside missing ones
    ):
        column = column.cast(pl.Int64)
    numbered = column.dtype.is_integer() and not all(name.isdecimal() for name in names)
    if numbered:
        texts = column.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
    else:
        texts = column.cast(pl.String)
        texts = texts.set(~texts.is_in(list(names)).fill_null(True), None)
    strange = column.filter(texts.is_null() & column.is_not_null()).unique().sort()
    strange = strange.filter(strange != "") if strange.dtype == pl.String else strange
    if len(strange):
        span = f"0 to {len(names) - 1}" if numbered else None
        raise PoolError.of(
            Problem(
                f"{value!r} is not among the {counted(len(names), 'class', 'classes')}",
                where,
                f"Classes are numbered {span}." if span else near(str(value), names),
            )
            for value in strange.head(_SHOWN)
        )
    return texts


def check_classes(classes: Mapping[str, Sequence[str]], *, where: str) -> Iterator[Problem]:
    """What is wrong with the names of classes by target."""
    for target, names in classes.items():
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            yield Problem(
                f"classes of {target}: {', '.join(map(repr, twice[:_SHOWN]))} occur twice",
                where,
                "Name each class once, in the order of the model's outputs.",
            )
        if not names or not all(names):
            yield Problem(
                f"classes of {target}: a name is empty" if names else f"{target} has no classes",
                where,
                "Name every class, in the order of the model's outputs.",
            )


def read_names(path: Path) -> tuple[str, ...]:
    """Class names in a file: one a line, a JSON list, or a JSON mapping of names to numbers.

    Raises
    ------
    FileFormatError
        It can't be read, or doesn't name the classes from 0.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        problem = unreadable(error, path, "can't be read", "Give one class name per line.")
        raise FileFormatError.of([problem]) from None
    if isinstance(content, dict):
        if all(key.isdecimal() for key in content):  # {"0": "cat"}, as transformers has it
            content = {name: int(key) for key, name in content.items()}
        numbers = {number: name for name, number in content.items()}
        if sorted(map(str, numbers)) == sorted(map(str, range(len(content)))):
            content = [numbers[place] for place in range(len(content))]
    names = content if isinstance(content, list) else []
    while names and names[-1] == "":
        names.pop()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise FileFormatError(
            "doesn't give one name for each class from 0",
            where=path,
            next_step="Give one name per line, a JSON list, or a JSON mapping of names to numbers.",
        )
    return tuple(names)


def mask_problems(
    masks: NDArray[np.integer], n_classes: int, ignored: int | None, *, where: str
) -> Iterator[Problem]:
    """Numbers in masks (n, height, width) that are neither a class nor the ignored one."""
    lowest, highest = (int(masks.min()), int(masks.max())) if masks.size else (0, 0)
    if ignored is None and lowest >= 0 and highest < n_classes:
        return
    values = np.unique(masks)
    strange = values[((values < 0) | (values >= n_classes)) & (values != ignored)]
    if len(strange):
        listed = first_of(map(str, strange[:_SHOWN].tolist()), len(strange))
        yield Problem(
            f"masks hold {listed}, and there are {counted(n_classes, 'class', 'classes')}, "
            f"0 to {n_classes - 1}" + ("" if ignored is None else f", and {ignored} for none"),
            where,
            "Name all classes, or say which number stands where a mask says nothing.",
        )
