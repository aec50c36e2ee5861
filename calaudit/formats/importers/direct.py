"""Inputs written into the pool by the threads that read them."""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from calaudit.formats.array_stream import ReservedRows
from calaudit.formats.importers.spare import Spare
from calaudit.formats.pool_writer import PoolWriter


class DirectInputs:
    """Inputs of samples that are of one type and shape, each written where it belongs.

    One thread that gathers and writes what the others read would be what all wait for: for an image
    of 640 × 640 pixels it takes a fifth of the time that decoding does, so it keeps up with five
    cores.

    Parameters
    ----------
    spare : Spare
        Takes the arrays that are written.
    """

    def __init__(self, spare: Spare) -> None:
        self.spare = spare
        self._rows: dict[str, ReservedRows] = {}

    def open(self, pool: PoolWriter, inputs: Mapping[str, ArrayLike | None], n: int) -> None:
        """Make room in the pool for those of n samples, which are like these arrays.

        Not on systems where one thread's write moves the place of another's.
        """
        if hasattr(os, "pwrite"):
            self._rows = pool.reserve({name: np.asarray(each) for name, each in inputs.items()}, n)

    @property
    def is_open(self) -> bool:
        """Whether there is room; `write` does nothing before."""
        return bool(self._rows)

    def write(
        self, row: int, inputs: Mapping[str, ArrayLike | None]
    ) -> dict[str, ArrayLike | None]:
        """Write a sample's inputs, from any thread.

        Returns
        -------
        The same, with None in place of what is written now or was before. What isn't like the first
        sample's, or holds NaN or infinity, stays.
        """
        left = dict(inputs)
        for name, rows in self._rows.items():
            values = left.get(name)
            if isinstance(values, np.ndarray) and rows.write(row, values):
                self.spare.give_back(values)
                left[name] = None
        return left
