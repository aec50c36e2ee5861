"""Who is judged and who may be drawn: a column that says so, or else every fourth of something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from calaudit.runtime.errors import PoolError
from calaudit.runtime.pool import Pool
from calaudit.slices.predicate import column_in_sql

JUDGED = ("evaluation", "eval", "test", "testing", "validation", "valid", "val", "dev")
DRAWN = ("calibration", "calib", "cal", "train", "training")
SPLIT_NAMES = ("split", "subset", "fold", "partition", "part", "set")
MOST_PARTS = 12
"""A column with more distinct values says something else than which part a sample is of."""
FEWEST_GROUPS = 20
"""Distinct numbers that make every fourth of them a fair share."""


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
