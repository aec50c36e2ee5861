"""Leaks: samples that an engine is calibrated on and judged on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import LeakError, Notice
from calaudit.formats.calibset import Calibset
from calaudit.formats.fingerprint import digest_rows
from calaudit.pool import Pool, Rows, batches
from calaudit.progress import counter

SHOWN_IDS = 5
"""Ids that a message lists."""
_BATCH = 256


def check_leak(
    drawn: Calibset,
    pool: Pool,
    evaluated: Rows,
    *,
    digests: NDArray[np.str_] | None = None,
) -> tuple[Notice, ...]:
    """Compare a calibration set with the samples that are evaluated.

    Parameters
    ----------
    drawn : Calibset
    pool : Pool
        The pool that is evaluated on; the set may come from another.
    evaluated : int64 (n,)
        Evaluated rows of `pool`, ascending.
    digests : (n,) text, optional
        Their :func:`content_digests`, where several sets are compared with them.

    Returns
    -------
    tuple of Notice
        ``calibset_foreign``: the set was drawn from another pool, so ids that are equal may be
        different samples. ``calibset_repeats``: some of its samples have the same content as
        evaluated ones, under other ids.

    Raises
    ------
    LeakError
        The set holds evaluated samples, by id. Row numbers, which serve where a pool stores no
        ids, mean the same sample in the same pool alone, unless its content agrees too.
    """
    if digests is None:
        digests = content_digests(pool, evaluated)
    same_pool = drawn.pool_fingerprint == pool.fingerprint()
    ids = pool.ids(evaluated)
    by_id = same_pool or not (_are_rows(ids, evaluated) or _are_rows(drawn.ids, drawn.rows))
    content = dict(zip(ids.tolist(), digests.tolist(), strict=True))
    samples = list(zip(drawn.ids.tolist(), drawn.digests.tolist(), strict=True))
    leaked = [i for i, d in samples if i in content and (by_id or content[i] == d)]
    if leaked:
        raise leak_error(
            len(leaked),
            leaked,
            f"of the set's {len(drawn)} samples",
            where=str(drawn.path),
            next_step="Draw the set again from samples that aren't evaluated.",
        )
    notices = []
    if not same_pool:
        message = f"was drawn from another pool, or another version of it ({drawn.pool_label})"
        notices.append(Notice("calibset_foreign", message, drawn.name))
    known = set(content.values())
    repeats = [i for i, d in samples if d in known]
    if repeats:
        message = (
            f"{len(repeats)} of {len(drawn)} samples have the same inputs as evaluated ones, "
            f"under other ids: {', '.join(repeats[:SHOWN_IDS])}"
        )
        notices.append(Notice("calibset_repeats", message, drawn.name))
    return tuple(notices)


def _are_rows(ids: NDArray[np.str_], rows: Rows) -> bool:
    return bool((ids == rows.astype(np.str_)).all())


def content_digests(pool: Pool, rows: Rows) -> NDArray[np.str_]:
    """Content digest of the inputs of each row (ascending), (len(rows),)."""
    pieces = []
    with counter(len(rows), what="digests") as done:
        for piece in batches(rows, _BATCH):
            pieces.append(digest_rows(pool.read_inputs(piece)))
            done.advance(len(piece))
    return np.concatenate(pieces) if pieces else np.empty(0, np.str_)


def leak_error(
    n_leaked: int, ids: Iterable[str], among: str, *, where: str, next_step: str
) -> LeakError:
    """The error about evaluated samples, of which `ids` are the first."""
    shown = list(ids)[:SHOWN_IDS]
    more = ", …" if n_leaked > len(shown) else ""
    return LeakError(
        f"{n_leaked} {among} are samples the audit evaluates on: {', '.join(shown)}{more}",
        where=where,
        next_step=next_step,
    )
