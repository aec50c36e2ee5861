"""Tuning rows: samples that ranges are chosen and explained by, none of which is evaluated.

Their activations are observed slice by slice, so that the harm of any ranges to any slice can be
predicted.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calaudit.calibration.observation import Observation
from calaudit.formats.ranges import write_ranges
from calaudit.runtime.errors import Notice, SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted
from calaudit.sampling.keys import derive_seed, row_keys
from calaudit.slices.evaluate import select_rows
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.leak import SHOWN_IDS, leak_error
from calaudit.steps.observe import observe
from calaudit.steps.tapped import TappedEngine
from calaudit.steps.union import PoolSamples

NOT_EVALUATED = "every sample that isn't evaluated"
SOURCE = "tuning rows"


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """The tuning rows of an audit."""

    predicate: str
    """The SQL predicate that they fulfil, or `NOT_EVALUATED`."""
    rows: Rows
    """(n,) ascending."""
    observed: Rows
    """Those whose activations are observed, ascending."""
    notices: tuple[Notice, ...] = ()


def find_tuning(
    pool: Pool,
    *,
    tune: str | None,
    calibrate: str | None,
    evaluated: Rows,
    slices: SliceSet,
    most: int,
    seed: int,
    where: str,
) -> Tuning:
    """The rows that things are chosen by, and those of them that are observed.

    Parameters
    ----------
    pool : Pool
    tune, calibrate : str, optional
        SQL predicates. Without `tune`, the rows of `calibrate` that aren't evaluated; with neither
        all that aren't.
    evaluated : int64 (n,)
        Rows that engines are judged on, galleries among them.
    slices : SliceSet
        Over the whole pool.
    most : int
        Rows to observe at most.
    seed : int
        Of the choice among them.
    where : str
        Of the table that holds both predicates, for messages.

    Raises
    ------
    LeakError
        `tune` selects evaluated rows.
    SliceError
        A predicate that doesn't fit the pool, or a `tune` that selects nothing.
    """
    judged = np.zeros(len(pool), bool)
    judged[evaluated] = True
    notices: list[Notice] = []
    if tune is not None:
        rows = select_rows(tune, pool, where=f"{where}.tune")
        _check(pool, tune, rows, judged, f"{where}.tune")
    elif calibrate is not None:
        asked = select_rows(calibrate, pool, where=f"{where}.calibrate")
        rows = asked[~judged[asked]]
        if len(rows) < len(asked):
            message = (
                f"{counted(len(asked) - len(rows), 'sample')} of {len(asked)} that calibrate "
                "selects are evaluated, and are no tuning rows"
            )
            notices.append(Notice("tuning_evaluated", message, SOURCE))
    else:
        rows = np.flatnonzero(~judged).astype(np.int64, copy=False)
    observed = spread_rows(rows, slices.take(rows), most, seed=seed)
    return Tuning(tune or calibrate or NOT_EVALUATED, rows, observed, tuple(notices))


def _check(pool: Pool, tune: str, rows: Rows, judged: np.ndarray, where: str) -> None:
    if not len(rows):
        raise SliceError(
            f"there is no tuning row: {tune!r} selects nothing",
            where=where,
            next_step="Fix the predicate; calaudit pool show lists the columns.",
        )
    leaked = rows[judged[rows]]
    if len(leaked):
        raise leak_error(
            len(leaked),
            pool.ids(leaked[:SHOWN_IDS]),
            f"of {counted(len(rows), 'tuning row')}",
            where=where,
            next_step=f"Narrow tune ({tune}) so that it leaves evaluated samples out.",
        )


def spread_rows(rows: Rows, slices: SliceSet, most: int, *, seed: int) -> Rows:
    """At most `most` of `rows`, evenly over their slices; ascending.

    Slices take turns, each takes the row with the smallest random number that is left in it: so
    every slice has as many as every other, as long as it has any, and in a slice that is not cut
    through by others every row is as likely.

    Parameters
    ----------
    rows : int64 (n,)
        Ascending.
    slices : SliceSet
        Over them.
    most : int
    seed : int
        A row's random number depends on it and on the row alone.
    """
    if len(rows) <= most:
        return rows
    order = np.argsort(row_keys(derive_seed(seed, "tuning"), rows), kind="stable")
    turn = np.full(len(rows), len(rows))
    for _, mask in slices.masks():
        held = order[mask[order]]
        turn[held] = np.minimum(turn[held], np.arange(len(held)))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    chosen = np.lexsort((rank, turn))[:most]
    found: Rows = np.sort(rows[chosen])
    return found


def observe_tuning(
    engine: TappedEngine,
    pool: Pool,
    rows: Rows,
    slices: SliceSet,
    out: Path,
    *,
    batch_size: int,
) -> Observation:
    """Observe an engine's taps over rows of a pool, slice by slice, and write the ranges file.

    Samples with an activation that is NaN or infinite are left out, and recorded.

    Parameters
    ----------
    engine : TappedEngine
        From `load_to_observe`.
    pool : Pool
    rows : int64 (n,)
        Ascending.
    slices : SliceSet
        Over these rows: the groups of the result are those that hold some.
    out : Path
        Ranges file to write.
    batch_size : int
        Samples per run at most; the result doesn't depend on it.

    Raises
    ------
    RangesError
        Every sample has an activation that is NaN or infinite.
    """
    observation = observe(
        engine,
        PoolSamples(pool, rows, slices.masks(), SOURCE),
        batch_size=batch_size,
        pool_fingerprint=pool.fingerprint(),
        skip_bad=True,
    )
    write_ranges(out, observation)
    return observation
