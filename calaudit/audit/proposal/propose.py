"""Look at a model and a pool, and propose how to audit them."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from calaudit.audit.proposal.sets import propose_sets
from calaudit.audit.proposal.slices import Sliced, choose_slices
from calaudit.audit.proposal.split import Split, find_split
from calaudit.audit.proposal.table import Table
from calaudit.graph.load import check_pool_matches
from calaudit.graph.model import Model
from calaudit.graph.survey import closing_op
from calaudit.metrics.catalogue import parse_metric
from calaudit.runtime.errors import PoolError, SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.evaluate import select_rows
from calaudit.statistics.comparison import MinSupport
from calaudit.statistics.power import smallest_provable_drop
from calaudit.tasks.base import Proposed
from calaudit.tasks.reading import propose_task

SMALLEST_GATE = 0.02
LARGEST_GATE = 0.05
PROVABLE = 150
"""Judged samples of a slice with which a gate of five points can be kept by a good engine."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an audit file says, table by table, with the reasons."""

    split: Split
    units: str
    """What is judged: samples, or queries."""
    n_judged: int
    n_candidates: int
    slices: tuple[Table, ...]
    left_out: tuple[tuple[str, str], ...]
    """Columns that make no slices, and why."""
    calibsets: tuple[Table, ...]
    task: Table
    gates: tuple[Table, ...]


def propose_audit(
    model: Model, pool: Pool, *, evaluate: str | None = None, calibrate: str | None = None
) -> Proposal:
    """Guess split, slices, calibration sets, task and gates.

    Parameters
    ----------
    model : Model
    pool : Pool
    evaluate, calibrate : str, optional
        SQL predicates in place of guessed ones: who is judged, who may be drawn.

    Raises
    ------
    CalauditError
        The model doesn't fit the pool, or something can't be guessed: says what and what to do.
    """
    check_pool_matches(model.inputs, pool.inputs, where=pool.label)
    frame = pool.columns(pool.column_names())
    guess = propose_task(pool, model.outputs, partial(closing_op, model))
    judged_by = [*guess.used, *([guess.label] if guess.label else [])]
    split = _split(pool, frame.drop(judged_by, strict=False), evaluate, calibrate)
    judged = select_rows(split.evaluate, pool, where="evaluate")
    candidates = select_rows(split.calibrate, pool, where="calibrate")
    _check_parts(pool, split, judged, candidates)
    units, sliceable = _units(frame, guess, split, judged)
    kinds = [parse_metric(name).kind for name in guess.gated]
    support = MinSupport()
    needed = PROVABLE if set(kinds) == {"binary"} else max(PROVABLE, support.resampled)
    sliced = choose_slices(pool, sliceable, units, needed=needed, guess=guess)
    if not sliced.tables:
        raise PoolError(
            "no column gives usable slices",
            where=pool.label,
            next_step="Add metadata columns when the pool is built.",
        )
    return Proposal(
        split=split,
        units=guess.units,
        n_judged=len(units),
        n_candidates=len(candidates),
        slices=sliced.tables,
        left_out=sliced.left_out,
        calibsets=tuple(propose_sets(sliced, candidates)),
        task=Table(guess.values, guess.remark),
        gates=tuple(_gate(name, sliced, guess.units) for name in guess.gated),
    )


def _split(pool: Pool, frame: pl.DataFrame, evaluate: str | None, calibrate: str | None) -> Split:
    if evaluate is not None and calibrate is not None:
        return Split(evaluate, calibrate, None, "As given to calaudit init.")
    found = find_split(pool, frame)
    return Split(
        evaluate or found.evaluate, calibrate or found.calibrate, found.column, found.remark
    )


def _check_parts(pool: Pool, split: Split, judged: Rows, candidates: Rows) -> None:
    for rows, predicate in ((judged, split.evaluate), (candidates, split.calibrate)):
        if not len(rows):
            raise SliceError(
                f"{predicate} selects no sample",
                where=pool.label,
                next_step="Give --evaluate and --calibrate; calaudit pool show lists the columns.",
            )
    both = len(np.intersect1d(judged, candidates))
    if both == len(candidates):
        raise SliceError(
            f"every sample that {split.calibrate} selects is evaluated as well (data leakage)",
            where=pool.label,
            next_step="Give --evaluate and --calibrate that don't overlap.",
        )


def _units(
    frame: pl.DataFrame, guess: Proposed, split: Split, judged: Rows
) -> tuple[Rows, pl.DataFrame]:
    """Pool rows of what is judged, one per unit, and the columns that may slice them."""
    columns = frame[judged]
    rows = judged
    if guess.query is not None:
        first = columns.with_row_index("calaudit row").unique(guess.query, keep="first")
        constant = [
            name
            for name in columns.drop(guess.query).columns
            if columns.select(pl.struct(guess.query, name)).n_unique() == len(first)
        ]
        places = np.sort(first["calaudit row"].to_numpy())
        rows, columns = judged[places], columns[places].select(constant)
    unusable = [*guess.used, *([split.column] if split.column else [])]
    return rows, columns.drop(unusable, strict=False)


def _gate(metric: str, sliced: Sliced, units: str) -> Table:
    """Three times what the thinnest slice could prove, within bounds: good engines flip too."""
    provable = smallest_provable_drop(parse_metric(metric), sliced.least) or 0.0
    drop = min(LARGEST_GATE, max(SMALLEST_GATE, math.ceil(300 * provable) / 100))
    remark = f"{100 * drop:g} points, on every slice and overall."
    if provable:
        remark += (
            f" The thinnest slice holds {sliced.least:,} evaluated {units}: if no answer "
            f"changes, its minimum detectable drop is {100 * provable:.1f} points."
        )
    return Table({"metric": metric, "slices": "*", "max_drop": drop}, remark)
