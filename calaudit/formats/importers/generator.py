"""Pools from a Python function that yields samples: ``module:function``."""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

from calaudit.errors import PoolError, Problem, SettingsError, near
from calaudit.formats.importers.arrays import as_asked, check_named
from calaudit.formats.importers.samples import Classes, Imported, Sample, write_samples
from calaudit.formats.pool_columns import whole

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KEYS = ("inputs", "targets", "meta", "id")


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
        There is no such module or function.
    PoolError
        It yields something else, or reports an `OSError`.
    OutputError
        `out` can't be written.
    """
    produced = _call(reference)
    total = len(produced) if isinstance(produced, Sized) else None
    samples = _samples(produced, reference, dtypes or {})
    n = write_samples(out, samples, total=total, classes=classes, compress=compress)
    return Imported(n)


def _call(reference: str) -> Iterable[Any]:
    module_name, _, name = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"there is no module {error.name!r}",
            where=reference,
            next_step="Run from the folder that holds it, or install it.",
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise SettingsError(
            f"module {module_name!r} has no function {name!r}",
            where=reference,
            next_step=near(name, known),
        )
    produced = function()
    if not isinstance(produced, Iterable):
        raise PoolError(
            f"returned {type(produced).__name__}, not samples one after another",
            where=reference,
            next_step="Yield one mapping per sample.",
        )
    return produced


def _samples(
    produced: Iterable[Any], reference: str, dtypes: Mapping[str, str]
) -> Iterator[Sample]:
    # An OSError that crossed the writer would be taken for a full disk.
    try:
        for number, item in enumerate(produced):
            where = f"{reference}: sample {number}"
            sample = _sample(item, where)
            yield _converted(sample, dtypes, where) if dtypes else sample
    except OSError as error:
        raise PoolError(
            f"failed: {error}", where=reference, next_step="Mend the function."
        ) from error


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
