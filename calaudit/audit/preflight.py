"""What can be refused of an audit before any work: nothing is written and no model is run."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from rich.filesize import decimal

from calaudit.audit.entries import SetFile
from calaudit.audit.prepare import Audit
from calaudit.audit.store import check_owner, leftovers
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.formats.calibset import open_calibset
from calaudit.runtime.errors import (
    BackendError,
    CalauditError,
    DrawError,
    OutputError,
    PoolError,
    Problem,
    SliceError,
)
from calaudit.runtime.words import counted
from calaudit.sampling.recipe import Recipe
from calaudit.steps.leak import check_leak, content_digests
from calaudit.steps.sample import check_recipe

_FILLED_BINS: Final = 1_000
"""Of one histogram, as a rule; each takes a place and a count."""
_ATOMS_PER_SET: Final = 3
"""Full ones, as a rule: what several sets share is little, and fills few bins."""
_SHARE: Final = 1.02
"""HDF5's own part."""


def expected_sizes(audit: Audit) -> dict[Path, int]:
    """Planned artefact → bytes, about: exact for outputs and drawn inputs, a rule for the others.

    Of answers that outputs are reduced to, what they take at most. Where the model leaves the size
    of an output open, it is run on one sample to see it.
    """
    rows = len(audit.predicted)
    of_outputs = _bytes_per_sample(audit)
    one_input = sum(math.prod(s.shape) * s.dtype.itemsize for s in audit.pool.inputs.values())
    sizes = {}
    for planned in audit.plan.calibsets:
        entry = audit.config.calibsets[planned.recipe]
        if not isinstance(entry, SetFile):
            sizes[planned.path] = int(entry.size * one_input * _SHARE)
    n_sets = len(audit.plan.calibsets)
    atoms = min(2**n_sets - 1, _ATOMS_PER_SET * n_sets)
    element = np.dtype(np.int64).itemsize + np.dtype(np.int32).itemsize
    observed = {audit.plan.ranges: len(audit.qdq.taps)}
    if audit.plan.network_ranges is not None and audit.network is not None:
        observed[audit.plan.network_ranges] = len(audit.network.tensors)
    again = n_sets * N_EQUAL * np.dtype(np.uint32).itemsize
    if audit.plan.slice_ranges is not None:
        n_groups = sum(
            n > 0 for n in audit.pool_slices.take(audit.tuning.observed).counts().values()
        )
        sizes[audit.plan.slice_ranges] = len(audit.qdq.taps) * n_groups * _FILLED_BINS * element
    for path, n_taps in observed.items():
        sizes[path] = n_taps * atoms * _FILLED_BINS * element
        sizes[path] += n_taps * again if audit.config.audit.counts_again else 0
    for cell in (audit.plan.reference, *audit.plan.cells):
        kept = audit.kept(cell)
        one = sum(each.row_bytes for each in kept.reductions)
        one += sum(
            n for name, n in of_outputs.items() if kept.outputs is None or name in kept.outputs
        )
        sizes[cell.predictions] = int(rows * (8 + one) * _SHARE)
        if cell.engine is not None:
            sizes[cell.engine] = audit.folded.n_bytes
    return sizes


def check_room(audit: Audit) -> None:
    """Refuse an audit whose missing artefacts can't fit where they are to lie.

    Raises
    ------
    OutputError
        Predictions and drawn inputs alone need more than is free.
    """
    sizes = expected_sizes(audit)
    kept = [cell.predictions for cell in (audit.plan.reference, *audit.plan.cells)]
    kept += [planned.path for planned in audit.plan.calibsets]
    needed = sum(sizes.get(path, 0) for path in kept if not path.exists())
    # what a killed run was writing is removed first
    free = free_bytes(audit.folder) + sum(p.lstat().st_size for p in leftovers(audit.folder))
    if needed > free:
        raise OutputError(
            f"not enough disk space: this audit needs {decimal(needed)} more (predictions of "
            f"{len(audit.plan.cells) + 1} engines for "
            f"{counted(len(audit.predicted), 'sample')}), and {decimal(free)} free",
            where=audit.folder,
            next_step="Free space, name another folder with --out, or let evaluate, methods or "
            "calibsets ask for less.",
        )


def free_bytes(folder: Path) -> int:
    """What may still be written to a folder, or to the one that it will be made in."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _bytes_per_sample(audit: Audit) -> dict[str, int]:
    """Output → bytes."""
    sizes = {
        output.name: math.prod(size for size in output.shape if size is not None)
        * output.dtype.itemsize
        for output in audit.model.outputs
    }
    if not any(None in output.shape for output in audit.model.outputs):
        return sizes
    try:
        found = audit.backend.load(audit.model).run(audit.pool.read_inputs(audit.predicted[:1]))
    except (BackendError, PoolError):
        return {}  # what is wrong is told when the engine is run
    return {name: values[0].nbytes for name, values in found.items() if len(values)}


def check_before_run(audit: Audit) -> None:
    """Refuse an audit that can't be carried out, as far as that shows without running a model.

    Raises
    ------
    CalauditError
        Recipes that ask for what isn't there, given sets that can't be used, too little room, a
        folder that holds another audit's report.
    """
    check_results(audit)
    problems: list[Problem] = []
    kinds: list[type[CalauditError]] = []
    for entry in audit.config.calibsets.values():
        if isinstance(entry, SetFile):
            continue
        try:
            with placed_in(audit, entry):
                check_recipe(
                    audit.pool,
                    entry,
                    evaluate=audit.predicted,
                    candidates=audit.config.audit.calibrate,
                    slices=audit.pool_slices,
                )
        except (DrawError, SliceError) as error:
            problems += error.problems
            kinds.append(type(error))
    if problems:
        raise kinds[0].of(problems)
    _check_given(audit)
    check_room(audit)


def check_results(audit: Audit) -> None:
    """Refuse to replace another audit's report. Raises `OutputError`.

    The folder that an audit file's own name gives is its own, whatever the audit was called before.
    """
    if audit.folder.absolute() != audit.config.folder.absolute():
        check_owner(audit.folder, audit.config.audit.name)


@contextmanager
def placed_in(audit: Audit, recipe: Recipe) -> Iterator[None]:
    """Say where in the audit file a recipe is that can't be carried out."""
    try:
        yield
    except (DrawError, SliceError) as error:
        raise type(error).of(
            Problem(
                p.message, f"{audit.config.path}: calibsets: {p.where or recipe.name}", p.next_step
            )
            for p in error.problems
        ) from None


def _check_given(audit: Audit) -> None:
    paths = [
        audit.config.resolve(entry.file)
        for entry in audit.config.calibsets.values()
        if isinstance(entry, SetFile)
    ]
    given = [open_calibset(path) for path in paths]
    digests = content_digests(audit.pool, audit.predicted) if given else None
    for each in given:
        check_leak(each, audit.pool, audit.predicted, digests=digests)
