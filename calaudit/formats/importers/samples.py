"""Samples one by one, gathered into batches and written as a pool; files read by threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.importers.direct import DirectInputs
from calaudit.formats.importers.spare import Spare
from calaudit.formats.pool_columns import whole
from calaudit.formats.pool_writer import PoolWriter
from calaudit.formats.rows import not_finite_problem
from calaudit.runtime.compiled import n_cores
from calaudit.runtime.errors import Notice, PoolError, Problem
from calaudit.runtime.objects import Objects, join_objects
from calaudit.runtime.progress import Counter, counter

BATCH = 64
"""Most samples gathered before they are written."""
_BATCH_BYTES = 8 << 20
"""Size at which fewer samples are written: what is stacked then stays near the processor."""
_FIRST_BYTES = 64 << 20
"""Size of the first batch, which decides the element types, at which it has fewer samples."""
_AHEAD = 4
"""Samples per core that are read before they are wanted, so that no core waits for the writing."""

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

    inputs: Mapping[str, ArrayLike | None]
    """Model input name to one sample's value, without the leading N; None where it is written."""
    targets: Mapping[str, "ArrayLike | Objects | None"] = field(default_factory=dict)
    """Target name to a number, text, array, or the objects of one image."""
    meta: Mapping[str, Scalar] = field(default_factory=dict)
    """Column name to one number or text; None where it is missing."""
    id: str | None = None


def write_samples(
    out: Path,
    samples: Generator[Sample, None, None],
    *,
    total: int | None,
    classes: Classes | None = None,
    ignored: Mapping[str, int] | None = None,
    levels: Mapping[str, NDArray[np.floating]] | None = None,
    compress: bool = False,
    notices: Sequence[Notice] = (),
    settled: bool = False,
    direct: DirectInputs | None = None,
) -> int:
    """Write samples as a pool, whole or not at all, in bounded memory.

    Parameters
    ----------
    out : Path
        The pool.
    samples : generator of Sample
        Closed at the end, whatever ends it.
    total : int or None
        How many there are, for the progress bar.
    classes, ignored, levels, compress, notices
        See `PoolWriter`.
    settled : bool
        Whether arrays have the same type in every sample. Otherwise many samples are gathered
        before the first are written, and decide it.
    direct : DirectInputs, optional
        For inputs whose type is the same in every sample, and a known number of samples: whoever
        reads them writes them, once the first sample is here. Not where they are compressed.

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
    with (
        counter(total, what="import") as done,  # to be seen until the pool is on the disk
        PoolWriter(
            out, classes=classes, ignored=ignored, levels=levels, compress=compress, notices=notices
        ) as pool,
        closing(samples),  # before the pool: threads that read write into it
    ):
        batch = _next_batch(samples, 0 if settled else _FIRST_BYTES, done)
        first = batch[0] if batch else Sample({})
        if direct is not None and total is not None and batch and not compress:
            direct.open(pool, first.inputs, total)
        while batch:
            _append(pool, batch, first, direct, where=str(out))
            written = direct is not None and direct.is_open
            batch = _next_batch(samples, _BATCH_BYTES, done, written=written)
        if not len(pool):
            raise PoolError(
                "there are no samples to write", where=out, next_step="Check the source."
            )
        return len(pool)


def _next_batch(
    samples: Iterator[Sample], most: int, done: Counter, *, written: bool = False
) -> list[Sample]:
    """The next samples that are written together, of `most` bytes or a little more, if any.

    Where inputs are `written` by who reads them, their size doesn't count: whether one is by now
    depends on chance.
    """
    batch: list[Sample] = []
    size = 0
    for sample in islice(samples, BATCH):
        batch.append(sample)
        done.advance(1)
        arrays = [*sample.targets.values(), *(() if written else sample.inputs.values())]
        size += sum(each.nbytes for each in arrays if isinstance(each, np.ndarray))
        if size >= most:
            break
    return batch


def read_each(n: int, read: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    """What `read` gives for 0 to n - 1, in order, by a thread per core.

    Decoders run outside Python's lock. Samples are read while those before them are written, and
    `_AHEAD` per core at most are held at a time. After a first problem nothing more is given, but
    the rest is read until there are `_MOST_PROBLEMS`, so that a user sees more than one of them.

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
    threads = ThreadPoolExecutor(n_cores())
    try:
        waiting = iter(range(n))
        ahead = deque(threads.submit(tried, each) for each in islice(waiting, _AHEAD * n_cores()))
        for number in range(n):
            found = ahead.popleft().result()
            ahead.extend(threads.submit(tried, each) for each in islice(waiting, 1))
            if isinstance(found, PoolError):
                problems.extend(found.problems)
            elif not problems:
                yield number, found
            if len(problems) >= _MOST_PROBLEMS:
                break
    finally:
        threads.shutdown(cancel_futures=True)
    if problems:
        raise PoolError.of(problems)


def _append(
    pool: PoolWriter,
    batch: list[Sample],
    first: Sample,
    direct: DirectInputs | None,
    *,
    where: str,
) -> None:
    """Write a batch whose samples are like the pool's first one."""
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
    if len(ids) != (0 if first.id is None else len(batch)):
        problems.append(
            Problem(
                "some samples have an id, others don't", where, "Give all of them one, or none."
            )
        )
    if problems:
        raise PoolError.of(problems)
    names = [_called(sample, len(pool) + i) for i, sample in enumerate(batch)]
    told = _Told(names, _called(first, 0), where)
    spare = Spare() if direct is None else direct.spare
    inputs: dict[str, NDArray[Any]] = {}
    if direct is not None and direct.is_open:
        left = [direct.write(len(pool) + i, sample.inputs) for i, sample in enumerate(batch)]
        _refuse(left, first, told, [s.id or str(len(pool) + i) for i, s in enumerate(batch)])
    else:
        inputs = {
            key: _stack(key, [s.inputs[key] for s in batch], value, told, spare)
            for key, value in first.inputs.items()
        }
    targets = {
        key: _target(key, [s.targets[key] for s in batch], value, told, spare)
        for key, value in first.targets.items()
    }
    meta = {key: [sample.meta[key] for sample in batch] for key in first.meta}
    pool.append(inputs, targets, meta, ids or None)
    spare.give_back(*inputs.values(), *targets.values())
    if direct is not None and inputs:
        spare.give_back(*(values for sample in batch for values in sample.inputs.values()))


def _refuse(
    left: Sequence[Mapping[str, Any]], first: Sample, told: "_Told", ids: Sequence[str]
) -> None:
    """Say why inputs weren't written with the others.

    Raises
    ------
    PoolError
        They have another shape than the first, or hold NaN or infinity.
    """
    problems: list[Problem] = []
    for key, like in first.inputs.items():
        odd = [place for place, inputs in enumerate(left) if inputs[key] is not None]
        if odd:
            values = [left[place][key] for place in odd]
            names = replace(told, samples=[told.samples[place] for place in odd])
            stacked = _stack(key, values, like, names, Spare())
            named = partial(_chosen, [ids[place] for place in odd])
            problem = not_finite_problem(stacked, named, f"{told.where}: /inputs/{key}")
            if problem is None:
                raise ValueError(f"{key} is of another type in {', '.join(names.samples)}")
            problems.append(problem)
    if problems:
        raise PoolError.of(problems)


def _chosen(texts: Sequence[str], places: NDArray[np.int64]) -> list[str]:
    return [texts[place] for place in places]


@dataclass(frozen=True, slots=True)
class _Told:
    """What messages on a batch call things."""

    samples: list[str]
    first: str
    """The pool's first sample."""
    where: str


def _target(
    name: str, values: list[Any], like: Any, told: _Told, spare: Spare
) -> NDArray[Any] | list[Any] | Objects:
    objects = [isinstance(value, Objects) for value in values]
    if all(objects):
        return join_objects(values)
    if any(objects):
        raise PoolError(
            f"{name!r} holds objects in some samples and not in "
            f"{told.samples[objects.index(False)]}",
            where=told.where,
            next_step="Give objects for every sample; without boxes where there are none.",
        )
    if all(np.ndim(value) == 0 for value in values if value is not None):
        return list(values)
    return _stack(name, values, like, told, spare)


def _stack(name: str, values: list[Any], like: Any, told: _Told, spare: Spare) -> NDArray[Any]:
    """Values of a batch of samples (n, …); `like` is the pool's first one."""
    arrays = [
        whole(value, f"{name!r} in {sample}", where=told.where)
        for sample, value in zip(told.samples, values, strict=True)
    ]
    common, shape = np.result_type(*arrays), np.shape(like)
    for sample, array in zip(told.samples, arrays, strict=True):
        if array.shape != shape:
            raise PoolError(
                f"{name!r} has shape {array.shape} in {sample}, {shape} in {told.first}",
                where=told.where,
                next_step="Bring all samples to one shape: declare a size or length.",
            )
        if array.dtype.kind not in "biuf":
            raise PoolError(
                f"{name!r} holds {array.dtype} values in {sample}",
                where=told.where,
                next_step="Give arrays of numbers.",
            )
        if array.dtype.kind in "iu" and common.kind == "f" and (np.abs(array) > _EXACT).any():
            raise PoolError(
                f"{name!r} is {array.dtype} in {sample} and {common} with others, which would "
                "round it",
                where=told.where,
                next_step="Give every sample the same element type.",
            )
    return np.stack(arrays, out=spare.take((len(arrays), *shape), common))


def _called(sample: Sample, number: int) -> str:
    return f"sample {number}" if sample.id is None else f"sample {sample.id!r}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"
