"""What a pool file holds and whether it hangs together: names, types, shapes, one N, classes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import polars as pl

from calaudit.formats.hdf5 import datasets_in, is_text, node_at
from calaudit.runtime.errors import FileFormatError, PoolError, Problem, near
from calaudit.runtime.pool import TensorSpec
from calaudit.runtime.words import counted

_SHOWN = 10

KIND = "pool"
VERSION = 2
"""Format history: 1, the first; 2, missing values of integer and boolean columns (/missing)
and class names (/classes)."""
IDS = "ids"
MISSING = "missing"
"""Group of masks, which mark the missing values of integer and boolean columns."""
CLASSES = "classes"
"""Group of the names of a target's classes, in the order of the model's outputs."""
ITEM_TARGETS = ("relevance", "exclude")
"""Targets whose second axis, when they have one, counts the items."""


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
        raise FileFormatError(
            f"can't be read: {error}", where=path, next_step="Give one class name per line."
        ) from None
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


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of a pool, by role and name."""

    n: int
    """Samples."""
    inputs: dict[str, TensorSpec]
    targets: dict[str, TensorSpec]
    meta: dict[str, TensorSpec]
    items: dict[str, TensorSpec]
    has_ids: bool
    masked: frozenset[str] = frozenset()
    """Paths of columns with missing values of which a mask tells: ``"meta/age"``."""
    classes: frozenset[str] = frozenset()
    """Targets whose classes have names."""

    def column_path(self, name: str) -> str | None:
        """Where a slice column is stored: ``"meta/snr_db"``; None when there is no such column."""
        if name in self.meta:
            return f"meta/{name}"
        if name in self.targets and self.targets[name].shape == ():
            return f"targets/{name}"
        return None

    def column_names(self) -> list[str]:
        """Metadata columns, then one-value-per-sample targets."""
        return [*self.meta, *(name for name, spec in self.targets.items() if spec.shape == ())]


def read_layout(file: h5py.File, path: Path) -> Layout:
    """Read and check the structure; no sample is read.

    Raises
    ------
    PoolError
        With every problem: nothing under /inputs, unsupported types, columns that aren't 1-D,
        differing N, item counts that disagree, a name that is both column and target.
    """
    check = _Check(path)
    groups = {role: datasets_in(file, role) for role in ("inputs", "targets", "meta", "items")}
    for role in groups:
        if isinstance(node_at(file, role), h5py.Dataset):
            check.add("is an array, not a group of arrays", f"/{role}", f"Store /{role}/<name>.")
    if not groups["inputs"]:
        check.add(
            "holds no /inputs", None, "Store each model input as /inputs/<name> with shape (N, …)."
        )
    specs = {
        role: {name: check.spec(role, name, dataset) for name, dataset in members.items()}
        for role, members in groups.items()
    }
    ids = node_at(file, IDS)
    if ids is not None and not (isinstance(ids, h5py.Dataset) and is_text(ids) and ids.ndim == 1):
        check.add("must be text of shape (N,)", "/ids", "Store one UTF-8 id per sample.")
        ids = None
    per_sample = {
        f"/{role}/{name}": dataset
        for role in ("inputs", "targets", "meta")
        for name, dataset in groups[role].items()
    }
    if ids is not None:
        per_sample["/ids"] = ids
    n = check.same_n(per_sample)
    check.items(groups["targets"], groups["items"])
    check.shared_names(specs["meta"], specs["targets"])
    masks = datasets_in(file, MISSING)
    check.masks(masks, groups)
    classes = datasets_in(file, CLASSES)
    check.classes(classes, groups["targets"])
    if check.problems:
        raise PoolError.of(check.problems)
    return Layout(
        n=n,
        has_ids=ids is not None,
        masked=frozenset(masks),
        classes=frozenset(classes),
        **specs,
    )


@dataclass(slots=True)
class _Check:
    path: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, message: str, place: str | None, next_step: str) -> None:
        where = str(self.path) if place is None else f"{self.path}: {place}"
        self.problems.append(Problem(message, where, next_step))

    def spec(self, role: str, name: str, dataset: h5py.Dataset) -> TensorSpec:
        """The spec of one dataset; adds a problem when its type or rank isn't usable."""
        place = f"/{role}/{name}"
        if not dataset.shape:  # () is one value, None is no value at all
            self.add("is a single value, not an array over samples", place, "Store (N, …).")
            return TensorSpec(name, np.dtype(dataset.dtype), ())
        shape = tuple(int(size) for size in dataset.shape[1:])
        if is_text(dataset):
            if role == "inputs" or shape:
                self.add(
                    f"holds text of shape {dataset.shape}",
                    place,
                    "Text belongs in /meta, /targets or /items, one per row.",
                )
            return TensorSpec(name, np.dtype("U"), shape)
        if dataset.dtype.kind not in "biuf":
            self.add(
                f"has element type {dataset.dtype}",
                place,
                "Store booleans, integers, floats or UTF-8 text.",
            )
        elif (role == "meta" and shape) or (role == "items" and len(shape) > 1):
            self.add(
                f"has shape {dataset.shape}, but a column is one value per row",
                place,
                "Split it into several columns, or store it under /targets.",
            )
        return TensorSpec(name, np.dtype(dataset.dtype).newbyteorder("="), shape)

    def same_n(self, per_sample: dict[str, h5py.Dataset]) -> int:
        """The N of most datasets; adds one problem that lists all others."""
        sizes = {place: int(d.shape[0]) for place, d in per_sample.items() if d.ndim}
        if not sizes:
            return 0
        n = Counter(sizes.values()).most_common(1)[0][0]
        differing = [f"{place} has {size}" for place, size in sizes.items() if size != n]
        if differing:
            agreeing = sum(size == n for size in sizes.values())
            self.add(
                f"arrays differ in their number of samples: {', '.join(differing)}, "
                f"but {n} in {agreeing} other{'s' if agreeing > 1 else ''} "
                f"({', '.join(place for place, size in sizes.items() if size == n)})",
                None,
                "Store one row per sample in every array.",
            )
        elif n == 0:
            self.add("holds no samples: N is 0", None, "Import at least one sample.")
        return n

    def items(self, targets: dict[str, h5py.Dataset], items: dict[str, h5py.Dataset]) -> None:
        """The number of items must agree among item columns and listwise targets."""
        sizes = {f"/items/{name}": int(d.shape[0]) for name, d in items.items() if d.ndim}
        for name in ITEM_TARGETS:
            if name in targets and targets[name].ndim == 2:
                sizes[f"/targets/{name}"] = int(targets[name].shape[1])
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{place} has {size}" for place, size in sizes.items())
            self.add(
                f"arrays differ in their number of items: {listed}",
                None,
                "Store one value per item in /items/*, and one column per item in the targets.",
            )

    def masks(
        self, masks: dict[str, h5py.Dataset], groups: dict[str, dict[str, h5py.Dataset]]
    ) -> None:
        """A mask is booleans over a column of integers or booleans."""
        for path, mask in masks.items():
            role, _, name = path.partition("/")
            column = groups.get(role, {}).get(name) if role != "inputs" else None
            if column is None or column.ndim != 1 or column.dtype.kind not in "biu":
                self.add(
                    f"marks missing values of /{path}, which isn't a column of integers or "
                    "booleans",
                    f"/{MISSING}/{path}",
                    "Remove it; NaN and empty text are missing without a mask.",
                )
            elif mask.shape != column.shape or mask.dtype.kind != "b":
                self.add(
                    f"is {mask.dtype} of shape {mask.shape} for a column of shape {column.shape}",
                    f"/{MISSING}/{path}",
                    "Store one boolean per value, True where it is missing.",
                )

    def classes(self, classes: dict[str, h5py.Dataset], targets: dict[str, h5py.Dataset]) -> None:
        """Names of classes belong to a target of text, which holds some of them."""
        for name, names in classes.items():
            target = targets.get(name)
            if target is None or target.ndim != 1 or not is_text(target):
                self.add(
                    f"names the classes of /targets/{name}, which isn't text of one per sample",
                    f"/{CLASSES}/{name}",
                    "Store the names in /targets as well, or remove this.",
                )
            elif not is_text(names) or names.ndim != 1 or not names.shape[0]:
                self.add(
                    "must be text of shape (classes,)",
                    f"/{CLASSES}/{name}",
                    "Store one name per output of the model.",
                )

    def shared_names(self, meta: dict[str, TensorSpec], targets: dict[str, TensorSpec]) -> None:
        """A slice column must have one meaning."""
        for name in sorted(set(meta) & {n for n, spec in targets.items() if spec.shape == ()}):
            self.add(
                f"the column {name!r} is in both /meta and /targets",
                None,
                "Rename or remove one of the two.",
            )
