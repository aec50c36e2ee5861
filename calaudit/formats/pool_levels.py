"""Inputs of a pool stored as bytes: a table says which of the model's numbers each stands for.

An image has 256 values per channel, whatever mean and deviation it is normalised with, and its
bytes take a quarter of float32's room. What is read are the numbers, to the bit those that an
import without bytes writes: calibration sets, digests and fingerprints know of nothing else.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import Problem
from calaudit.runtime.pool import TensorSpec

LEVELS: Final = "levels"
"""Group of the tables, one per input that is stored as bytes."""
BYTES: Final = 256
"""Values that a byte may have."""


def level_problems(
    levels: Mapping[str, h5py.Dataset], inputs: Mapping[str, h5py.Dataset], where: str
) -> list[Problem]:
    """What is wrong with tables: they are (256, …) finite floats of inputs in uint8."""
    found = []
    for name, table in levels.items():
        place, stored = f"{where}: /{LEVELS}/{name}", inputs.get(name)
        if stored is None or stored.dtype != np.uint8:
            message = f"says what bytes of /inputs/{name} stand for, which holds none"
            step = "Remove it, or store the input as uint8 (N, …)."
            found.append(Problem(message, place, step))
        elif table.dtype.kind != "f" or not _fits(table.shape, stored.shape[1:]):
            found.append(
                Problem(
                    f"is {table.dtype} of shape {table.shape} for samples of {stored.shape[1:]}",
                    place,
                    "Store floats of shape (256,), or (256, …) with the input's size on one axis "
                    "and 1 on the others: (256, 3, 1, 1) where channels come first.",
                )
            )
        elif not np.isfinite(table[...]).all():
            message = "holds NaN or infinity"
            found.append(Problem(message, place, "Store the finite number of every byte."))
    return found


def _fits(table: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    """Whether a table is of all values, or of those at each place of one axis."""
    if not table or table[0] != BYTES:
        return False
    own = table[1:]
    return not own or (
        len(own) == len(sample)
        and sum(size != 1 for size in own) <= 1
        and all(size in (1, wanted) for size, wanted in zip(own, sample, strict=True))
    )


def with_levels(
    specs: Mapping[str, TensorSpec], levels: Mapping[str, h5py.Dataset]
) -> dict[str, TensorSpec]:
    """Inputs as they are read: in their tables' type."""
    return {
        name: replace(spec, dtype=levels[name].dtype.newbyteorder("="), stored=spec.dtype)
        if name in levels
        else spec
        for name, spec in specs.items()
    }


def decoded(values: NDArray[np.uint8], table: NDArray[Any]) -> NDArray[Any]:
    """The numbers that bytes stand for.

    Parameters
    ----------
    values : uint8 (n, …)
    table : float (256,) or (256, …)
        Of sizes 1, but for one axis of the sample at most.

    Returns
    -------
    (n, …) in the table's type.
    """
    axes = [axis for axis, size in enumerate(table.shape) if axis and size != 1]
    flat = table.reshape(BYTES, -1)
    if not axes:
        return np.asarray(np.take(flat[:, 0], values))
    out = np.empty(values.shape, table.dtype)
    theirs, ours = np.moveaxis(out, axes[0], 0), np.moveaxis(values, axes[0], 0)
    for place in range(flat.shape[1]):
        theirs[place] = np.take(flat[:, place], ours[place])
    return out
