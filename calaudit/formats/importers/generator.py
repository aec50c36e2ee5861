"""Samples from a Python function that yields them: ``module:function``."""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from calaudit.formats.importers.media import as_asked, check_named
from calaudit.formats.importers.samples import Classes, Imported, Sample, write_samples
from calaudit.formats.pool_columns import whole
from calaudit.runtime.errors import PoolError, Problem, near
from calaudit.runtime.objects import Objects
from calaudit.runtime.user_code import blamed, file_of, find_function

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KEYS = ("inputs", "targets", "meta", "id")
_OBJECT_KEYS = ("boxes", "label", "crowd", "area", "unit_area", "columns")
_END = object()


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
        and optionally ``targets`` (name → number or array, or a mapping of an image's objects:
        boxes, label, and optionally crowd, area, columns), ``meta`` (name → number or text) and
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
    samples = _samples(produced, reference, dtypes or {}, classes or {}, file_of(function))
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
    produced: Iterable[Any],
    reference: str,
    dtypes: Mapping[str, str],
    classes: Classes,
    file: str | None,
) -> Generator[Sample, None, None]:
    stream: Iterator[Any] | None = None
    for number in count():
        # An OSError that crossed the writer would be taken for a full disk.
        with blamed(reference, f"failed at sample {number}", PoolError, file=file):
            stream = iter(produced) if stream is None else stream
            item = next(stream, _END)
            if item is _END:
                return
            where = f"{reference}: sample {number}"
            sample = _sample(item, classes, where)
            converted = _converted(sample, dtypes, where) if dtypes else sample
        yield converted


def _converted(sample: Sample, dtypes: Mapping[str, str], where: str) -> Sample:
    check_named(dtypes, sample.inputs, where=where)
    inputs = {
        name: as_asked(name, whole(values, repr(name), where=where), dtypes, where=where)
        for name, values in sample.inputs.items()
    }
    return replace(sample, inputs=inputs)


def _sample(item: Any, classes: Classes, where: str) -> Sample:
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
        targets={
            name: _objects(name, value, classes, where) if isinstance(value, Mapping) else value
            for name, value in item.get("targets", {}).items()
        },
        meta=item.get("meta", {}),
        id=None if given is None else str(given),
    )


def _objects(name: str, value: Mapping[str, Any], classes: Classes, where: str) -> Objects:
    """The objects of one image, from what a function yields of them."""
    problems = [
        Problem(f"targets: {name}: unknown key {key!r}", where, near(str(key), _OBJECT_KEYS))
        for key in value
        if key not in _OBJECT_KEYS
    ]
    problems += [
        Problem(f"targets: {name} has no {key}", where, "Yield boxes (k, 4) and label (k,).")
        for key in _OBJECT_KEYS[:2]
        if key not in value
    ]
    if name not in classes:
        step = f"Name them in the order of the model's outputs: --classes {name}=cat,dog."
        problems.append(Problem(f"the classes of {name} have no names", where, step))
    if problems:
        raise PoolError.of(problems)
    given = {key: [value[key]] for key in _OBJECT_KEYS[:4] if key in value}
    columns = {column: [values] for column, values in value.get("columns", {}).items()}
    unit_area = value.get("unit_area", 1.0)
    try:
        return Objects.from_images(
            **given, classes=classes[name], unit_area=unit_area, columns=columns
        )
    except (PoolError, ValueError, TypeError) as error:
        raise PoolError(
            f"targets: {name}: {error}",
            where=where,
            next_step="Yield boxes (k, 4) and label (k,) of numbers.",
        ) from None
