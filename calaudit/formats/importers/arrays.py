"""Arrays as model inputs, in the element type that the model takes; single .npy files.

Pickled objects are refused, never loaded.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError, Problem, SettingsError, near
from calaudit.formats.importers.settings import ArraySettings

EVERY = "*"
"""Name that stands for every input that isn't named itself."""


def check_named(dtypes: Mapping[str, str], inputs: Iterable[str], *, where: object) -> None:
    """Refuse an element type for an input that isn't there. Raises `SettingsError`."""
    known = list(inputs)
    unknown = [name for name in dtypes if name not in {EVERY, *known}]
    if unknown:
        raise SettingsError.of(
            Problem(f"--dtype: there is no input {name!r}", str(where), near(name, known))
            for name in unknown
        )


def read_npy(path: Path, settings: ArraySettings) -> NDArray[Any]:
    """Read one array.

    Raises
    ------
    PoolError
        The file isn't an .npy of numbers, is damaged, or holds pickled objects.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        pickled = "allow_pickle" in str(error)
        raise PoolError(
            "holds pickled Python objects, which are never loaded"
            if pickled
            else f"isn't a readable .npy file: {error}",
            where=path,
            next_step="Save it as an array of numbers with numpy.save.",
        ) from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise PoolError("isn't an array of numbers", where=path, next_step="Save it as numbers.")
    return values if settings.dtype is None else converted(values, settings.dtype, where=path)


def as_asked(
    name: str, values: NDArray[Any], dtypes: Mapping[str, str], *, where: object
) -> NDArray[Any]:
    """An input in the element type that was asked for it, or as it is; see `converted`."""
    dtype = dtypes.get(name, dtypes.get(EVERY))
    return values if dtype is None else converted(values, dtype, where=where)


def converted(values: NDArray[Any], dtype: str, *, where: object) -> NDArray[Any]:
    """Values of another element type: integers unchanged, floats rounded.

    Raises
    ------
    PoolError
        A value doesn't fit: a fraction or a large number in integers, a number too large for the
        floats.
    """
    wanted = np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(wanted)
        if wanted.kind == "f":
            lost = np.isinf(made) & np.isfinite(values)
        else:
            # Both are compared as the wider of the two kinds, where a wrap shows.
            lost = (
                made != values if values.dtype.kind != "f" else made.astype(values.dtype) != values
            )
            lost |= (values < 0) != (made < 0)
    if lost.any():
        raise PoolError(
            f"{values[lost].flat[0]} doesn't fit {wanted}",
            where=where,
            next_step="Choose another --dtype, or scale the values as the model expects them.",
        )
    return made
