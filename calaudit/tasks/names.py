"""Names: of units and items, what people know them by; of outputs, which one is meant."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted

Names = Callable[[Rows], list[str]]
"""Positions → what people know them by."""


def ids_of(pool: Pool, rows: Rows) -> Names:
    """Names of units that are the pool's `rows`."""

    def name(units: Rows) -> list[str]:
        order = np.argsort(rows[units])  # pools are read in ascending order
        found = np.empty(len(units), dtype=object)
        found[order] = pool.ids(rows[units][order])
        return [str(one) for one in found]

    return name


def texts_of(values: NDArray[Any] | list[Any]) -> Names:
    """Names of units or items that are listed in memory."""
    return lambda positions: [str(values[int(at)]) for at in positions]


def remembered(names: Names) -> Names:
    """The same names, each looked up once."""
    known: dict[int, str] = {}

    def name(positions: Rows) -> list[str]:
        new = np.array([at for at in positions.tolist() if at not in known], dtype=np.int64)
        if len(new):
            known.update(zip(new.tolist(), names(new), strict=True))
        return [known[at] for at in positions.tolist()]

    return name


def find_output(asked: str | None, known: Sequence[str], where: str) -> str:
    """The model's output of that name, or the only one. Raises `SettingsError`."""
    if asked is None and len(known) == 1:
        return known[0]
    if asked in known:
        return str(asked)
    raise SettingsError(
        f"the model has no output {asked!r}"
        if asked
        else f"the model has {counted(len(known), 'output')} ({', '.join(known)}); "
        "say which one this task judges",
        where=f"{where}.output",
        next_step=near(asked or "", known) if asked else 'Add output = "…".',
    )
