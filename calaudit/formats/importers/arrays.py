"""Single .npy files as model inputs. Pickled objects are refused, never loaded."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import PoolError
from calaudit.formats.importers.settings import ArraySettings


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
    return values if settings.dtype is None else values.astype(settings.dtype)
