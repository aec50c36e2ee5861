"""What a pool file holds and whether it hangs together: names, types, shapes, one N, classes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import h5py
import numpy as np

from calaudit.formats.hdf5 import datasets_in, is_text, node_at
from calaudit.formats.pool_levels import LEVELS, level_problems, with_levels
from calaudit.formats.pool_objects import UNIT_AREA, Members, apart, check_objects, spec_of
from calaudit.runtime.errors import PoolError, Problem
from calaudit.runtime.pool import ObjectsSpec, TensorSpec

KIND = "pool"
VERSION = 4
"""Format history: 1, the first; 2, missing values of integer and boolean columns (/missing)
and class names (/classes); 3, objects (groups under /targets), class names of objects and masks,
and the number that is no class in masks (/ignored); 4, inputs stored as bytes (/levels)."""
IDS = "ids"
MISSING = "missing"
"""Group of masks, which mark the missing values of integer and boolean columns."""
CLASSES = "classes"
"""Group of the names of a target's classes, in the order of the model's outputs."""
IGNORED = "ignored"
"""Group of the numbers, one per target of masks, that stand where a mask says nothing."""
ITEM_TARGETS = ("relevance", "exclude")
"""Targets whose second axis, when they have one, counts the items."""


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
    objects: dict[str, ObjectsSpec] = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
    """Paths of columns with missing values of which a mask tells: ``"meta/age"``."""
    classes: frozenset[str] = frozenset()
    """Targets whose classes have names."""
    ignored: frozenset[str] = frozenset()
    """Targets whose masks say nothing of some pixels."""
    levels: frozenset[str] = frozenset()
    """Inputs that are stored as bytes."""

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
    groups["targets"], objects = apart(file, groups["targets"])
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
    for name, members in objects.items():
        check.problems += check_objects(name, members, where=str(path))
        if UNIT_AREA in members:
            per_sample[f"/targets/{name}/{UNIT_AREA}"] = members[UNIT_AREA]
    n = check.same_n(per_sample)
    check.items(groups["targets"], groups["items"])
    check.shared_names(specs["meta"], specs["targets"])
    masks = datasets_in(file, MISSING)
    check.masks(masks, groups)
    classes = datasets_in(file, CLASSES)
    check.classes(classes, groups["targets"], objects)
    ignored = datasets_in(file, IGNORED)
    check.ignored(ignored, groups["targets"])
    levels = datasets_in(file, LEVELS)
    check.problems += level_problems(levels, groups["inputs"], str(path))
    if check.problems:
        raise PoolError.of(check.problems)
    return Layout(
        n=n,
        has_ids=ids is not None,
        objects={name: spec_of(name, members) for name, members in objects.items()},
        masked=frozenset(masks),
        classes=frozenset(classes),
        ignored=frozenset(ignored),
        levels=frozenset(levels),
        **{**specs, "inputs": with_levels(specs["inputs"], levels)},
    )


def holds_masks(target: h5py.Dataset | None) -> bool:
    """Whether a target is (N, height, width) whole numbers: a class per pixel."""
    return target is not None and target.ndim == 3 and target.dtype.kind in "iu"


def check_name(key: str, where: str) -> None:
    """Refuse what can't be a path in HDF5. Raises `PoolError`."""
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise PoolError(
            f"{key!r} can't be a name in HDF5",
            where=where,
            next_step="Use names without empty parts between slashes, '.' and '..'.",
        )


def check_apart(names: Iterable[str], where: str) -> None:
    """A name with slashes lies in groups, which can't be arrays as well. Raises `PoolError`."""
    known = set(names)
    for name in sorted(known):
        for above in accumulate(name.split("/")[:-1], "{}/{}".format):
            if above in known:
                raise PoolError(
                    f"{above!r} and {name!r} can't both be names in HDF5",
                    where=where,
                    next_step=f"Rename one of them: {name!r} would lie in {above!r}.",
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

    def classes(
        self,
        classes: dict[str, h5py.Dataset],
        targets: dict[str, h5py.Dataset],
        objects: Mapping[str, Members],
    ) -> None:
        """Names of classes belong to masks, to objects, or to text, which holds some of them."""
        for name, names in classes.items():
            target = targets.get(name)
            texts = target is not None and target.ndim == 1 and is_text(target)
            if not (texts or holds_masks(target) or name in objects):
                self.add(
                    f"names the classes of /targets/{name}, which isn't text of one per sample, "
                    "masks or objects",
                    f"/{CLASSES}/{name}",
                    "Store the names in /targets as well, or remove this.",
                )
            elif not is_text(names) or names.ndim != 1 or not names.shape[0]:
                self.add(
                    "must be text of shape (classes,)",
                    f"/{CLASSES}/{name}",
                    "Store one name per output of the model.",
                )
        for name in objects:
            if name not in classes:
                self.add(
                    "holds objects whose classes have no names",
                    f"/targets/{name}",
                    f"Store the names in /{CLASSES}/{name}, in the order of the model's outputs.",
                )

    def ignored(self, ignored: dict[str, h5py.Dataset], targets: dict[str, h5py.Dataset]) -> None:
        """A number that is no class belongs to masks."""
        for name, number in ignored.items():
            if not holds_masks(targets.get(name)):
                self.add(
                    f"says which number is no class in /targets/{name}, which holds no masks",
                    f"/{IGNORED}/{name}",
                    "Remove it, or store masks of whole numbers (N, height, width).",
                )
            elif number.shape != (1,) or number.dtype.kind not in "iu":
                self.add(
                    f"is {number.dtype} of shape {number.shape}",
                    f"/{IGNORED}/{name}",
                    "Store one whole number, of shape (1,).",
                )

    def shared_names(self, meta: dict[str, TensorSpec], targets: dict[str, TensorSpec]) -> None:
        """A slice column must have one meaning."""
        for name in sorted(set(meta) & {n for n, spec in targets.items() if spec.shape == ()}):
            self.add(
                f"the column {name!r} is in both /meta and /targets",
                None,
                "Rename or remove one of the two.",
            )
