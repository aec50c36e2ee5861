"""Sample ids: text, one per sample, each once."""

from typing import Any

import polars as pl
from numpy.typing import NDArray

from calaudit.errors import PoolError

_SHOWN = 5


def check_ids(ids: pl.Series | NDArray[Any], *, where: str) -> None:
    """Refuse ids that aren't text, are empty, or occur twice.

    Raises
    ------
    PoolError
        They are; with the first few of them.
    """
    if not isinstance(ids, pl.Series):
        raise PoolError("ids must be text", where=where, next_step="Write ids as text.")
    empty = int((ids == "").sum())
    if empty:
        raise PoolError(
            f"{empty} of {len(ids)} ids are empty",
            where=where,
            next_step="Give every sample an id, or give none at all.",
        )
    # Hashes are compared first: a quarter of the memory and time of comparing texts.
    if ids.hash().n_unique() == len(ids):
        return
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    if len(twice) == 0:
        return
    shown = ", ".join(repr(text) for text in twice.head(_SHOWN))
    more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
    raise PoolError(
        f"ids occur more than once: {shown}{more}",
        where=where,
        next_step="Give every sample its own id, or give none at all.",
    )
