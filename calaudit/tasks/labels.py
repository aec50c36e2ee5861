"""The class of each sample, as a number among the model's outputs, from numbers or names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.truth import Labels
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted, first_of

_SHOWN = 5
_EXACT = 2**53
"""From here on a float doesn't hold every whole number."""


def holds_names(pool: Pool, target: str) -> bool:
    """Whether a target is text of one per sample."""
    spec = pool.targets.get(target)
    return spec is not None and spec.shape == () and spec.dtype.kind in "UT"


def read_labels(
    pool: Pool, target: str, rows: Rows, *, classes: Sequence[str] | None = None, where: str
) -> Labels:
    """Class numbers of some rows.

    Parameters
    ----------
    pool : Pool
    target : str
        Class numbers (whole numbers, of any type), or class names.
    rows : int64 (n,)
        Ascending.
    classes : sequence of str, optional
        Names in the order of the model's outputs; by default those that the pool keeps.
    where : str
        Place that may name the classes, for messages.

    Raises
    ------
    SettingsError
        Names are given for a target of numbers.
    PoolError
        There is no such target, a label is missing or no class, or nothing says which class a
        name stands for.
    """
    values = pool.read_target(target, rows)
    place = f"{pool.label}: /targets/{target}"
    if values.dtype.kind == "f" and values.ndim == 1:
        _check_complete(np.isnan(values), pool, rows, place)
    if not holds_names(pool, target):
        if classes is not None:
            raise SettingsError(
                f"the target {target} holds numbers, which are the classes already",
                where=f"{where}.classes",
                next_step="Leave classes out.",
            )
        return Labels(_as_integers(values, pool, rows, place))
    names = list(classes or pool.class_names(target))
    _check_complete(values == "", pool, rows, place)
    different, codes = np.unique(values, return_inverse=True)
    if not names:
        shown = ", ".join(map(repr, different[:_SHOWN].tolist()))
        raise PoolError(
            f"holds {counted(len(different), 'name')} "
            f"({shown}{', …' if len(different) > _SHOWN else ''}), "
            "and nothing says which of the model's outputs each is",
            where=place,
            next_step='Add classes = ["first", "second", …] to the task, in the order of the '
            "model's outputs, or import the pool again with --classes.",
        )
    numbers = {name: number for number, name in enumerate(names)}
    strange = [name for name in different.tolist() if name not in numbers]
    if strange:
        raise PoolError.of(
            Problem(
                f"{name!r} is not among the {counted(len(names), 'class', 'classes')}",
                place,
                near(name, names),
            )
            for name in strange[:_SHOWN]
        )
    return Labels(np.array([numbers[name] for name in different.tolist()], np.int64)[codes])


def _as_integers(values: NDArray[Any], pool: Pool, rows: Rows, place: str) -> NDArray[Any]:
    """Class numbers that are stored as floats, as integers; a part of a class is refused."""
    if values.dtype.kind != "f" or values.ndim != 1:
        return values
    with np.errstate(invalid="ignore"):
        whole = (values == np.rint(values)) & (np.abs(values) < _EXACT)
    if whole.all():
        return values.astype(np.int64)
    at = np.flatnonzero(~whole)
    shown = [
        f"{values[i]:g} for sample {name}"
        for i, name in zip(at[:_SHOWN], pool.ids(rows[at[:_SHOWN]]), strict=True)
    ]
    raise PoolError(
        f"{len(at):,} of {len(rows):,} labels are no class numbers: {first_of(shown, len(at))}",
        where=place,
        next_step="Store class numbers from 0, or use another kind of task.",
    )


def _check_complete(missing: NDArray[np.bool_], pool: Pool, rows: Rows, place: str) -> None:
    if missing.any():
        at = np.flatnonzero(missing)
        shown = first_of(pool.ids(rows[at[:_SHOWN]]), len(at))
        raise PoolError(
            f"{len(at):,} of {len(rows):,} labels are missing: {shown}",
            where=place,
            next_step="Fill them in, or leave these samples out of the audit's evaluate.",
        )
