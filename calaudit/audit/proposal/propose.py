"""Look at a model and a pool, and propose how to audit them: TOML with comments that say why.

A column says which samples are evaluated and which may be drawn, or else every fourth of something.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.audit.proposal.choices import (
    PROVABLE,
    Table,
    choose_slices,
    find_clusters,
    propose_sets,
)
from calaudit.audit.proposal.gates import gate, gate_of_objects, of_objects, units_needed
from calaudit.audit.proposal.object_choices import choose_object_slices
from calaudit.formats.toml import toml_value
from calaudit.graph.load import check_pool_matches
from calaudit.graph.model import Model
from calaudit.graph.survey import closing_op, sized_outputs
from calaudit.runtime.errors import PoolError, SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import command_line, visible
from calaudit.slices.evaluate import select_rows
from calaudit.slices.predicate import column_in_sql
from calaudit.tasks.base import Proposed
from calaudit.tasks.reading import propose_tasks

JUDGED = ("evaluation", "eval", "test", "testing", "validation", "valid", "val", "dev")
DRAWN = ("calibration", "calib", "cal", "train", "training")
SPLIT_NAMES = ("split", "subset", "fold", "partition", "part", "set")
MOST_PARTS = 12
"""A column with more distinct values says something else than which part a sample is of."""
FEWEST_GROUPS = 20
"""Distinct numbers that make every fourth of them a fair share."""

WIDTH = 98
DRAWS = 3
"""Draws of a recipe that give a usable between-draw SD."""


@dataclass(frozen=True, slots=True)
class Split:
    """Predicates of an audit file, and where they come from."""

    evaluate: str
    calibrate: str
    column: str | None
    """The column they read; it makes no slices."""
    remark: str


def find_split(pool: Pool, frame: pl.DataFrame) -> Split:
    """Predicates for the judged and the drawn samples.

    Parameters
    ----------
    pool : Pool
    frame : polars.DataFrame
        All its columns.

    Raises
    ------
    PoolError
        No column tells samples apart in a way that can be guessed.
    """
    for name in sorted(_texts(frame), key=lambda name: (name.lower() not in SPLIT_NAMES, name)):
        found = _by_words(name, frame[name])
        if found is not None:
            return found
    numbers = list(_numbers(frame))
    if numbers:
        name = max(numbers, key=lambda name: frame[name].n_unique())
        return Split(
            f"mod({column_in_sql(name)}, 4) <> 0",
            f"mod({column_in_sql(name)}, 4) = 0",
            name,
            f"No column says which samples to evaluate on. Every fourth {name} may be drawn, the "
            "others are evaluated; a text column named split is better.",
        )
    raise PoolError(
        "no column says which samples to evaluate on, and which may be drawn for calibration",
        where=pool.label,
        next_step="Add a text column split with 'evaluation' and 'calibration' when the pool is "
        "built, or give --evaluate and --calibrate.",
    )


def text(value: str) -> str:
    """A text as a predicate compares with it."""
    return "'" + value.replace("'", "''") + "'"


def _texts(frame: pl.DataFrame) -> Iterator[str]:
    for name, kind in frame.schema.items():
        if kind in (pl.String, pl.Categorical, pl.Enum) and frame[name].n_unique() <= MOST_PARTS:
            yield name


def _numbers(frame: pl.DataFrame) -> Iterator[str]:
    for name, kind in frame.schema.items():
        if kind.is_integer() and frame[name].n_unique() >= FEWEST_GROUPS:
            yield name


def _by_words(name: str, column: pl.Series) -> Split | None:
    values = [str(value) for value in column.drop_nulls().unique().to_list()]
    judged, drawn = _first(JUDGED, values), _first(DRAWN, values)
    if judged is None:
        return None
    if drawn is not None:
        calibrate = f"{column_in_sql(name)} = {text(drawn)}"
    elif len(values) > 1:
        calibrate = f"{column_in_sql(name)} <> {text(judged)}"
    else:
        return None
    remark = (
        f"The column {name} says which samples are evaluated and which may be drawn for "
        "calibration; they don't overlap."
    )
    return Split(f"{column_in_sql(name)} = {text(judged)}", calibrate, name, remark)


def _first(words: Sequence[str], values: Sequence[str]) -> str | None:
    spelled = {value.strip().lower(): value for value in sorted(values)}
    return next((spelled[word] for word in words if word in spelled), None)


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
    tasks: tuple[Table, ...]
    gates: tuple[Table, ...]
    cluster_by: str | None = None
    """Column whose samples belong together."""
    unread: tuple[str, ...] = ()
    """Outputs of the model that no task reads."""


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
    outputs = sized_outputs(model, {name: spec.shape for name, spec in pool.inputs.items()})
    guesses = propose_tasks(pool, outputs, partial(closing_op, model))
    guess = guesses[0]
    judged_by = [*guess.used, *([guess.label] if guess.label else [])]
    split = _split(pool, frame.drop(judged_by, strict=False), evaluate, calibrate)
    judged = select_rows(split.evaluate, pool, where="evaluate")
    candidates = select_rows(split.calibrate, pool, where="calibrate")
    _check_parts(pool, split, judged, candidates)
    units, sliceable = _units(frame, guess, split, judged)
    cluster_by = find_clusters(sliceable) if guess.units == "images" else None
    clusters = _clusters(sliceable, cluster_by)
    sliceable = sliceable.drop([] if cluster_by is None else cluster_by)
    needed = units_needed(each for one in guesses for each in one.gated)
    sliced = choose_slices(pool, sliceable, units, needed=needed, guess=guess)
    objects = [
        choose_object_slices(pool, each.objects, judged, sliced, clusters=clusters, needed=PROVABLE)
        for each in guesses
        if each.objects is not None and any(map(of_objects, each.values["metrics"]))
    ]
    own = [table for each in objects for table in each.tables]
    if not sliced.tables and not own:
        raise PoolError(
            "no column gives usable slices",
            where=pool.label,
            next_step="Add metadata columns when the pool is built.",
        )
    read = {value for each in guesses for value in each.values.values() if isinstance(value, str)}
    several = len(model.outputs) > 1
    return Proposal(
        split=split,
        units=guess.units,
        n_judged=len(units),
        n_candidates=len(candidates),
        slices=(*sliced.tables, *own),
        left_out=(*sliced.left_out, *(left for each in objects for left in each.left_out)),
        calibsets=tuple(propose_sets(sliced, candidates, pool)),
        tasks=tuple(Table(each.values, each.remark) for each in guesses),
        gates=tuple(
            gate_of_objects(name, objects[0].least, cluster_by)
            if of_objects(name)
            else gate(
                name,
                guess,
                least=sliced.least,
                n=len(units),
                n_clusters=len(np.unique(clusters)),
            )
            for each in guesses
            for name in each.gated
        ),
        cluster_by=cluster_by,
        unread=tuple(each.name for each in model.outputs if several and each.name not in read),
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


def _clusters(frame: pl.DataFrame, column: str | None) -> NDArray[np.int64]:
    """Cluster of each judged unit; each is its own where no column says more."""
    if column is None:
        return np.arange(frame.height, dtype=np.int64)
    return frame[column].rank("dense").fill_null(0).to_numpy().astype(np.int64)


def proposal_text(proposal: Proposal, *, name: str, model: str, pool: str, file: Path) -> str:
    """The audit file.

    Parameters
    ----------
    proposal : Proposal
    name : str
        What the audit is called.
    model, pool : str
        Paths as the file names them: relative to itself.
    file : str
        What the file is called, for the comment that says how to run it.
    """
    units = proposal.units
    split = proposal.split
    remark = (
        f"{split.remark} {proposal.n_judged:,} {units} are evaluated, {proposal.n_candidates:,} "
    )
    remark += (
        f"samples may be drawn for calibration. Each recipe is drawn {DRAWS} times, to separate "
        "its effect from between-draw variation; replicates = 1 is faster and attributes nothing."
    )
    head = {
        "name": name,
        "model": model,
        "pool": pool,
        "evaluate": split.evaluate,
        "calibrate": split.calibrate,
        "seed": 0,
        "methods": ["minmax", "entropy", "percentile", "mse"],
        "replicates": DRAWS,
    }
    if proposal.cluster_by is not None:
        head["cluster_by"] = proposal.cluster_by
        remark += f" Samples of one {proposal.cluster_by} belong together."
    lines = [
        f"# Which {units} does INT8 hurt, by how much, and which calibration set fixes it?",
        f"#   {command_line('calaudit', 'compare', file)}",
        "# Proposed by calaudit init; docs/audit.md has every key, and [[targets]] for TensorRT.",
        *_table("[audit]", Table(head, remark)),
        *_section("Slices, evaluated separately.", "[[slices]]", proposal.slices),
        *_left_out(proposal),
        *_section("The calibration sets to compare.", "[[calibsets]]", proposal.calibsets),
        *_section("Tasks and their metrics.", "[[tasks]]", proposal.tasks),
        *_unread(proposal),
        *_section("Gates: the largest drop allowed.", "[[gates]]", proposal.gates),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, header: str, tables: tuple[Table, ...]) -> Iterator[str]:
    for number, table in enumerate(tables):
        remark = f"{title} {table.remark}".strip() if number == 0 else table.remark
        yield from _table(header, Table(table.values, remark))


def _table(header: str, table: Table) -> Iterator[str]:
    yield ""
    if table.remark:
        yield from _comment(table.remark)
    yield header
    for key, value in table.values.items():
        yield f"{key} = {toml_value(value)}"


def _left_out(proposal: Proposal) -> Iterator[str]:
    if proposal.left_out:
        yield ""
        yield "# Columns that make no slices here:"
        for column, reason in proposal.left_out:
            yield f"#   {visible(column)}: {reason}"


def _unread(proposal: Proposal) -> Iterator[str]:
    if proposal.unread:
        yield ""
        names = ", ".join(map(visible, proposal.unread))
        yield from _comment(f"No task reads the outputs {names}; docs/audit.md has every kind.")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        visible(text), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
