"""Samples one by one, gathered into batches and written as a pool.

They come from a manifest, or from a Python function that yields them: ``module:function``.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.importers.media import as_asked, check_named
from calaudit.formats.pool_columns import whole
from calaudit.formats.pool_writer import PoolWriter
from calaudit.runtime.errors import Notice, PoolError, Problem, near
from calaudit.runtime.progress import counter
from calaudit.runtime.user_code import blamed, file_of, find_function

BATCH = 64
"""Samples gathered before they are written."""

_EXACT = 2**53
"""Beyond it a float doesn't hold every whole number."""

Classes = Mapping[str, Sequence[str]]
"""Target name → its class names, in the order of the model's outputs."""

Scalar = bool | int | float | str | None

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KEYS = ("inputs", "targets", "meta", "id")
_END = object()


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
    targets: Mapping[str, ArrayLike | None] = field(default_factory=dict)
    """Target name to a number, text or array."""
    meta: Mapping[str, Scalar] = field(default_factory=dict)
    """Column name to one number or text; None where it is missing."""
    id: str | None = None


def write_samples(
    out: Path,
    samples: Iterable[Sample],
    *,
    total: int | None,
    classes: Classes | None = None,
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
    classes, compress, notices
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
        PoolWriter(out, classes=classes, compress=compress, notices=notices) as pool,
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
    name: str, values: list[ArrayLike | None], samples: list[str], where: str
) -> NDArray[Any] | list[Any]:
    if all(np.ndim(value) == 0 for value in values if value is not None):
        return list(values)
    return _stack(name, values, samples, where)


def _stack(
    name: str, values: list[ArrayLike | None], samples: list[str], where: str
) -> NDArray[Any]:
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


def is_reference(source: str) -> bool:
    """Whether a text has the form ``module:function``."""
    return _REFERENCE.fullmatch(source) is not None


def import_generator(
    reference: str,
    out: Path,
    *,
    dtypes: Mapping[str, str] | None = None,
    classes: Classes | None = None,
    compress: bool = False,
) -> Imported:
    """Call ``module:function`` and write the samples it yields.

    Parameters
    ----------
    reference : str
        ``"package.module:function"``; the current folder is searched first. The function takes no
        arguments and returns an iterable of mappings with ``inputs`` (name → array of one sample),
        and optionally ``targets`` (name → number or array), ``meta`` (name → number or text) and
        ``id`` (text). A length, where the iterable has one, serves the progress bar.
    out : Path
        The pool.
    dtypes : mapping, optional
        Element types of inputs, by name or ``"*"``; by default as they are yielded.
    classes, compress
        See `PoolWriter`.

    Raises
    ------
    SettingsError
        There is no such module or function, or the module can't be imported.
    PoolError
        It yields something else, or raises.
    OutputError
        `out` can't be written.
    """
    function = _find(reference)
    produced = _call(function, reference)
    total = len(produced) if isinstance(produced, Sized) else None
    samples = _samples(produced, reference, dtypes or {}, file_of(function))
    n = write_samples(out, samples, total=total, classes=classes, compress=compress)
    return Imported(n)


def _find(reference: str) -> Callable[..., Any]:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return find_function(
        reference, next_step="Run from the folder that holds it, or install its package."
    )


def _call(function: Callable[..., Any], reference: str) -> Iterable[Any]:
    with blamed(reference, "failed", PoolError, file=file_of(function)):
        produced = function()
    if not isinstance(produced, Iterable):
        raise PoolError(
            f"returned {type(produced).__name__}, not samples one after another",
            where=reference,
            next_step="Yield one mapping per sample.",
        )
    return produced


def _samples(
    produced: Iterable[Any], reference: str, dtypes: Mapping[str, str], file: str | None
) -> Iterator[Sample]:
    stream: Iterator[Any] | None = None
    for number in count():
        # An OSError that crossed the writer would be taken for a full disk.
        with blamed(reference, f"failed at sample {number}", PoolError, file=file):
            stream = iter(produced) if stream is None else stream
            item = next(stream, _END)
            if item is _END:
                return
            where = f"{reference}: sample {number}"
            sample = _sample(item, where)
            converted = _converted(sample, dtypes, where) if dtypes else sample
        yield converted


def _converted(sample: Sample, dtypes: Mapping[str, str], where: str) -> Sample:
    check_named(dtypes, sample.inputs, where=where)
    inputs = {
        name: as_asked(name, whole(values, repr(name), where=where), dtypes, where=where)
        for name, values in sample.inputs.items()
    }
    return replace(sample, inputs=inputs)


def _sample(item: Any, where: str) -> Sample:
    if not isinstance(item, Mapping):
        raise PoolError(
            f"is {type(item).__name__}, not a mapping",
            where=where,
            next_step="Yield {'inputs': {…}, 'targets': {…}, 'meta': {…}, 'id': '…'}.",
        )
    problems = [
        Problem(f"unknown key {key!r}", where, near(str(key), _KEYS))
        for key in item
        if key not in _KEYS
    ]
    if not item.get("inputs"):
        problems.append(Problem("has no inputs", where, "Yield at least one input."))
    problems += [
        Problem(f"{role} is {type(item[role]).__name__}, not a mapping", where, "Name the values.")
        for role in _KEYS[:3]
        if role in item and not isinstance(item[role], Mapping)
    ]
    if problems:
        raise PoolError.of(problems)
    given = item.get("id")
    return Sample(
        inputs=item["inputs"],
        targets=item.get("targets", {}),
        meta=item.get("meta", {}),
        id=None if given is None else str(given),
    )
