"""A calibration set as other tools read it: an .npz of its inputs, and a list of ids."""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from calaudit.formats.calibset import Calibset
from calaudit.formats.writing import atomic_write, write_text
from calaudit.runtime.errors import OutputError

_ROWS: Final = 256
"""Samples that are read at a time."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold: the same set gives the same bytes."""


def write_npz(path: Path, drawn: Calibset) -> None:
    """Write a set's inputs as ``numpy.load`` reads them: input name → (n, …), in the set's order.

    Not compressed, and never as a whole in memory.

    Raises
    ------
    OutputError
        The file can't be written.
    FileFormatError, PoolError
        The set was damaged.
    """
    with atomic_write(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, spec in drawn.inputs.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(spec.dtype),
                "fortran_order": False,
                "shape": (len(drawn), *spec.shape),
            }
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array_header_2_0(file, header)
                for batch in drawn.batches(_ROWS):
                    file.write(np.ascontiguousarray(batch[name]).tobytes())


def write_ids(path: Path, drawn: Calibset) -> None:
    """Write a set's sample ids, one per line, as recipes of the kind ``ids`` read them.

    Raises
    ------
    OutputError
        The file can't be written, or an id can't stand on a line of its own.
    """
    for one in drawn.ids.tolist():
        if one.strip().splitlines() != [one]:
            raise OutputError(
                f"the sample id {one!r} can't stand on a line of its own",
                where=path,
                next_step="Give the pool's samples ids without line breaks and blanks at the ends.",
            )
    write_text(path, "".join(f"{one}\n" for one in drawn.ids))
