"""Data leakage: samples that an engine is calibrated on and judged on, by content or by cluster."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.calibset import Calibset
from calaudit.formats.identity import digest_rows
from calaudit.runtime.errors import LeakError, Notice
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted
from calaudit.steps.clusters import cluster_codes

SHOWN_IDS = 5
"""Ids that a message lists."""
_BATCH = 256


def check_leak(
    drawn: Calibset,
    pool: Pool,
    evaluated: Rows,
    *,
    digests: pl.Series | None = None,
) -> tuple[Notice, ...]:
    """Compare a calibration set with the samples that are evaluated.

    Parameters
    ----------
    drawn : Calibset
    pool : Pool
        The pool that is evaluated on; the set may come from another.
    evaluated : int64 (n,)
        Evaluated rows of `pool`, ascending.
    digests : polars.Series (n,), optional
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
    # evaluated samples may be millions, those of a set are few
    named = pl.Series(ids).is_in(pl.Series(drawn.ids).implode()).arg_true()
    content = dict(zip(ids[named.to_numpy()].tolist(), digests[named], strict=True))
    samples = list(zip(drawn.ids.tolist(), drawn.digests.tolist(), strict=True))
    leaked = [i for i, d in samples if i in content and (by_id or content[i] == d)]
    if leaked:
        raise leak_error(
            len(leaked),
            leaked,
            f"of the set's {counted(len(drawn), 'sample')}",
            where=str(drawn.path),
            next_step="Draw the set again from samples that aren't evaluated.",
        )
    notices = []
    if not same_pool:
        message = f"was drawn from another pool, or another version of it ({drawn.pool_label})"
        notices.append(Notice("calibset_foreign", message, drawn.name))
    repeats = drawn.ids[_are_in(drawn.digests, digests)].tolist()
    if repeats:
        message = (
            f"{len(repeats)} of {len(drawn)} samples are duplicates of evaluated ones under other "
            f"ids (data leakage): {', '.join(repeats[:SHOWN_IDS])}"
        )
        notices.append(Notice("calibset_repeats", message, drawn.name))
    return tuple(notices)


def note_repeats(sets: Mapping[str, Calibset], digests: pl.Series) -> tuple[Notice, ...]:
    """``calibset_repeats``: samples with the inputs of evaluated ones, under other ids.

    Parameters
    ----------
    sets : mapping
        Name → a set that was drawn without the evaluated samples.
    digests : polars.Series (n,)
        :func:`content_digests` of the evaluated samples.
    """
    found = {name: _are_in(drawn.digests, digests) for name, drawn in sets.items()}
    if not any(each.any() for each in found.values()):
        return ()
    message = (
        "data leakage: duplicates of evaluated samples under other ids: "
        f"{_counted(sets, found)}; remove the duplicates from the pool, or from one split"
    )
    return (Notice("calibset_repeats", message, "calibration sets"),)


def note_tuning(
    pool: Pool,
    rows: Rows,
    evaluated: Rows,
    *,
    digests: pl.Series,
    columns: Sequence[str],
) -> tuple[Notice, ...]:
    """``tuning_repeats`` and ``tuning_clusters``: what tuning rows share with evaluated ones.

    Parameters
    ----------
    pool : Pool
    rows, evaluated : int64
        Rows that things are chosen by, and evaluated ones; both ascending, none in both.
    digests : polars.Series (len(evaluated),)
        :func:`content_digests` of the evaluated ones.
    columns : sequence of str
        As :func:`note_clusters` has them.
    """
    own = content_digests(pool, rows, check=False).to_numpy()
    found = [("tuning_repeats", "duplicates of evaluated samples", _are_in(own, digests))]
    if columns and len(rows):
        of_clusters = _in_evaluated_clusters(rows, pool, evaluated, columns)
        what = f"samples of clusters ({', '.join(columns)}) that are evaluated as well"
        found.append(("tuning_clusters", what, of_clusters))
    notices = []
    for code, what, which in found:
        if which.any():
            more = ", …" if which.sum() > SHOWN_IDS else ""
            message = (
                f"data leakage: {which.sum()} of {len(rows)} are {what} "
                f"({', '.join(pool.ids(rows[which][:SHOWN_IDS]))}{more}): what is chosen by them "
                "is flattered"
            )
            notices.append(Notice(code, message, "tuning rows"))
    return tuple(notices)


def note_clusters(
    sets: Mapping[str, Calibset], pool: Pool, evaluated: Rows, columns: Sequence[str]
) -> tuple[Notice, ...]:
    """``calibset_clusters``: samples of clusters that are evaluated as well.

    Parameters
    ----------
    sets : mapping
        Name → a calibration set; those of other pools are passed over.
    pool : Pool
    evaluated : int64 (n,)
        Evaluated rows, ascending.
    columns : sequence of str
        Samples that agree in all of them belong together; without any there are no clusters.
    """
    if not columns:
        return ()
    found = {
        name: _in_evaluated_clusters(drawn.rows, pool, evaluated, columns)
        for name, drawn in sets.items()
        if drawn.pool_fingerprint == pool.fingerprint()
    }
    if not any(each.any() for each in found.values()):
        return ()
    message = (
        f"data leakage: samples of clusters ({', '.join(columns)}) that are evaluated as well: "
        f"{_counted(sets, found)}; split evaluate and calibrate by cluster"
    )
    return (Notice("calibset_clusters", message, "calibration sets"),)


def _in_evaluated_clusters(
    rows: Rows, pool: Pool, evaluated: Rows, columns: Sequence[str]
) -> NDArray[np.bool_]:
    """(len(rows),) whether a sample's cluster has an evaluated sample; one without has none."""
    both = np.union1d(rows, evaluated)
    code = cluster_codes(columns, pool, both, where="audit.cluster_by")
    seen = np.unique(code[np.searchsorted(both, evaluated)])
    return np.asarray(np.isin(code[np.searchsorted(both, rows)], seen))


def _counted(sets: Mapping[str, Calibset], found: Mapping[str, NDArray[np.bool_]]) -> str:
    """``"clean: 3 of 128 (img-7, img-9, …), equal: 1 of 128 (img-7)"``."""
    told = []
    for name, which in found.items():
        if which.any():
            ids = sets[name].ids[which]
            more = ", …" if len(ids) > SHOWN_IDS else ""
            told.append(f"{name}: {len(ids)} of {len(which)} ({', '.join(ids[:SHOWN_IDS])}{more})")
    return ", ".join(told)


def _are_rows(ids: NDArray[np.str_], rows: Rows) -> bool:
    return bool((ids == rows.astype(np.str_)).all())


def _are_in(digests: NDArray[Any], others: pl.Series) -> NDArray[np.bool_]:
    """(len(digests),) which digests are among others, of which there may be many more."""
    known = set(others.filter(others.is_in(pl.Series(digests, dtype=pl.String).implode())))
    return np.array([each in known for each in digests.tolist()], dtype=bool)


def content_digests(pool: Pool, rows: Rows, *, check: bool = True) -> pl.Series:
    """Content digest of the inputs of each row (ascending), (len(rows),) text.

    NaN or infinity among them raises `PoolError`, unless `check` is off.
    """
    pieces = []
    with counter(len(rows), what="checksums") as done:
        for piece in batches(rows, _BATCH):
            pieces.append(pl.Series(digest_rows(pool.read_inputs(piece, check=check))))
            done.advance(len(piece))
    return pl.concat(pieces) if pieces else pl.Series(dtype=pl.String)


def leak_error(
    n_leaked: int, ids: Iterable[str], among: str, *, where: str, next_step: str
) -> LeakError:
    """The error about evaluated samples, of which `ids` are the first."""
    shown = list(ids)[:SHOWN_IDS]
    more = ", …" if n_leaked > len(shown) else ""
    return LeakError(
        f"{n_leaked} {among} are evaluation samples (data leakage): {', '.join(shown)}{more}",
        where=where,
        next_step=next_step,
    )
