"""Samples one by one, gathered into batches and written as a pool; files read by threads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.pool_columns import whole
from calaudit.formats.pool_writer import PoolWriter
from calaudit.runtime.errors import Notice, PoolError, Problem
from calaudit.runtime.objects import Objects, join_objects
from calaudit.runtime.progress import counter

BATCH = 64
"""Samples gathered before they are written."""

_MOST_PROBLEMS = 10
"""Unreadable files after which an import gives up."""

_EXACT = 2**53
"""Beyond it a float doesn't hold every whole number."""

Classes = Mapping[str, Sequence[str]]
"""Target name → its class names, in the order of the model's outputs."""

T = TypeVar("T")
Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    n: int
    """Samples written."""
    notices: tuple[Notice, ...] = ()
    """What was left out of the source, and what was assumed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample on its way into a pool."""

    inputs: Mapping[str, ArrayLike]
    """Model input name to one sample's value, without the leading N."""
    targets: Mapping[str, "ArrayLike | Objects | None"] = field(default_factory=dict)
    """Target name to a number, text, array, or the objects of one image."""
    meta: Mapping[str, Scalar] = field(default_factory=dict)
    """Column name to one number or text; None where it is missing."""
    id: str | None = None


def write_samples(
    out: Path,
    samples: Iterable[Sample],
    *,
    total: int | None,
    classes: Classes | None = None,
    ignored: Mapping[str, int] | None = None,
    levels: Mapping[str, NDArray[np.floating]] | None = None,
    compress: bool = False,
    notices: Sequence[Notice] = (),
) -> int:
    """Write samples as a pool, whole or not at all, in bounded memory.

    Parameters
    ----------
    out : Path
        The pool.
    samples : iterable of Sample
        Consumed once.
    total : int or None
        How many there are, for the progress bar.
    classes, ignored, levels, compress, notices
        See `PoolWriter`.

    Returns
    -------
    Number of samples written.

    Raises
    ------
    PoolError
        Samples whose names, types or shapes differ, NaN inputs, repeated ids, no samples at all.
    OutputError
        `out` can't be written.
    """
    stream = iter(samples)
    with (
        PoolWriter(
            out, classes=classes, ignored=ignored, levels=levels, compress=compress, notices=notices
        ) as pool,
        counter(total, what="import") as done,
    ):
        while batch := list(islice(stream, BATCH)):
            _append(pool, batch, where=str(out))
            done.advance(len(batch))
        if not len(pool):
            raise PoolError(
                "there are no samples to write", where=out, next_step="Check the source."
            )
        return len(pool)


def read_each(n: int, read: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    """What `read` gives for 0 to n - 1, in order, by several threads.

    After a first problem nothing more is given, but the rest is read until there are
    `_MOST_PROBLEMS`, so that a user sees more than one of them.

    Raises
    ------
    PoolError
        What `read` raised, all of it.
    """

    def tried(number: int) -> T | PoolError:
        try:
            return read(number)
        except PoolError as error:
            return error

    problems: list[Problem] = []
    with ThreadPoolExecutor() as threads:
        for start in range(0, n, BATCH):
            numbers = range(start, min(start + BATCH, n))
            # Decoding runs outside Python's lock, so threads share the work; order is kept.
            for number, found in zip(numbers, threads.map(tried, numbers), strict=True):
                if isinstance(found, PoolError):
                    problems.extend(found.problems)
                elif not problems:
                    yield number, found
            if len(problems) >= _MOST_PROBLEMS:
                break
    if problems:
        raise PoolError.of(problems)


def _append(pool: PoolWriter, batch: list[Sample], *, where: str) -> None:
    first = batch[0]
    problems = [
        Problem(
            f"{_called(sample, len(pool) + i)} has {role} {_listed(mine)}, "
            f"others {_listed(theirs)}",
            where,
            "Give every sample the same names; None where a value is missing.",
        )
        for i, sample in enumerate(batch)
        for role, mine, theirs in (
            ("inputs", sample.inputs, first.inputs),
            ("targets", sample.targets, first.targets),
            ("meta", sample.meta, first.meta),
        )
        if set(mine) != set(theirs)
    ]
    ids = [sample.id for sample in batch if sample.id is not None]
    if 0 < len(ids) < len(batch):
        problems.append(
            Problem(
                "some samples have an id, others don't", where, "Give all of them one, or none."
            )
        )
    if problems:
        raise PoolError.of(problems)
    names = [_called(sample, len(pool) + i) for i, sample in enumerate(batch)]
    pool.append(
        {key: _stack(key, [s.inputs[key] for s in batch], names, where) for key in first.inputs},
        {key: _target(key, [s.targets[key] for s in batch], names, where) for key in first.targets},
        {key: [sample.meta[key] for sample in batch] for key in first.meta},
        ids or None,
    )


def _target(
    name: str, values: list[Any], samples: list[str], where: str
) -> NDArray[Any] | list[Any] | Objects:
    objects = [isinstance(value, Objects) for value in values]
    if all(objects):
        return join_objects(values)
    if any(objects):
        raise PoolError(
            f"{name!r} holds objects in some samples and not in {samples[objects.index(False)]}",
            where=where,
            next_step="Give objects for every sample; without boxes where there are none.",
        )
    if all(np.ndim(value) == 0 for value in values if value is not None):
        return list(values)
    return _stack(name, values, samples, where)


def _stack(name: str, values: list[Any], samples: list[str], where: str) -> NDArray[Any]:
    arrays = [
        whole(value, f"{name!r} in {sample}", where=where)
        for sample, value in zip(samples, values, strict=True)
    ]
    common = np.result_type(*arrays)
    for sample, array in zip(samples, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise PoolError(
                f"{name!r} has shape {array.shape} in {sample}, {arrays[0].shape} in {samples[0]}",
                where=where,
                next_step="Bring all samples to one shape: declare a size or length.",
            )
        if array.dtype.kind not in "biuf":
            raise PoolError(
                f"{name!r} holds {array.dtype} values in {sample}",
                where=where,
                next_step="Give arrays of numbers.",
            )
        if array.dtype.kind in "iu" and common.kind == "f" and (np.abs(array) > _EXACT).any():
            raise PoolError(
                f"{name!r} is {array.dtype} in {sample} and {common} with others, which would "
                "round it",
                where=where,
                next_step="Give every sample the same element type.",
            )
    return np.stack(arrays)


def _called(sample: Sample, number: int) -> str:
    return f"sample {number}" if sample.id is None else f"sample {sample.id!r}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"
