"""Request logs: who asked for which sample when, and what came of it; CSV or Parquet.

A table with the columns ``time``, ``user`` and ``sample``; every other column of numbers, or of
true and false, is an outcome (``click``, ``label``). Times are seconds from any start, or
timestamps. The log is a plain table that others write: it carries no format name of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.importers.csv_table import find_type
from calaudit.formats.importers.table_file import TableRead, read_table_file, typed
from calaudit.formats.writing import atomic_write
from calaudit.runtime.errors import FileFormatError, Notice, near
from calaudit.runtime.words import counted, first_of, visible

COLUMNS: Final = ("time", "user", "sample")
SUFFIXES: Final = (".csv", ".parquet")
"""Of the logs that are written; more are read."""

_SHOWN = 5
_LONG_GAP = 60.0
"""Seconds without a request that may be worth a word."""
_RARE_GAP = 100.0
"""Times the mean of the other gaps."""
_TICKS = 1e11
"""Numbers of seconds beyond it would be after the year 5000: they are milli- or microseconds."""
_NANOSECONDS = 1e20
"""Beyond it not even nanoseconds: they would be after the year 5000, too."""


@dataclass(frozen=True, eq=False, slots=True)
class RequestLog:
    """Requests in the order in which they are to be sent."""

    time: NDArray[np.float64]
    """(n,) seconds since the first request, ascending."""
    user: NDArray[np.int64]
    """(n,) places in `users`."""
    users: tuple[str, ...]
    """Names, each once."""
    row: NDArray[np.int64]
    """(n,) places of the samples in the ids that were given."""
    outcomes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Name → (n,) numbers; true is 1, and NaN where the log has nothing."""
    n_unknown: int = 0
    """Requests for samples that aren't known, which are left out."""
    notices: tuple[Notice, ...] = ()

    def __len__(self) -> int:
        return len(self.time)

    def first(self, n: int) -> "RequestLog":
        """The first `n` requests."""
        kept, place = np.unique(self.user[:n], return_inverse=True)
        return RequestLog(
            self.time[:n],
            place.astype(np.int64),
            tuple(self.users[each] for each in kept.tolist()),
            self.row[:n],
            {name: values[:n] for name, values in self.outcomes.items()},
            self.n_unknown,
            self.notices,
        )


def read_requests(path: Path, ids: ArrayLike, *, skip_unknown: bool = False) -> RequestLog:
    """Read a log of requests.

    Requests are put in the order of their times; of equal times the one above in the file is
    first. How many were earlier than the one above them, and by how much, is a notice: a clock
    that was set back puts requests of different moments side by side.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.tsv`` (both also ``.gz``) or ``.parquet``.
    ids : array_like of str (m,)
        The samples that may be asked for, each once.
    skip_unknown : bool
        Leave out requests for other samples, with a notice, instead of refusing the log.

    Raises
    ------
    FileFormatError
        Unreadable, a column is missing, a time or a name is missing or isn't one, a sample isn't
        known, or no request is left.
    """
    read = read_table_file(path)
    missing = [name for name in COLUMNS if name not in read.frame.columns]
    if missing:
        raise FileFormatError(
            f"has no column {' or '.join(map(repr, missing))}",
            where=path,
            next_step="A log has the columns time, user and sample. "
            + near(missing[0], read.frame.columns),
        )
    if read.frame.is_empty():
        raise FileFormatError("holds no request", where=path, next_step="Give another log.")
    frame, notices = typed(read, set(read.frame.columns), {"user", "sample"}, path)
    if read.separator is None:  # Parquet may hold as text what a CSV file holds
        frame, told = _of_text(frame, path)
        notices += told
    names = {each: _names(frame[each], path) for each in ("user", "sample")}
    time = _seconds(frame["time"], read, path)
    outcomes, left_out = _outcomes(frame, path)
    row, unknown = _places(names["sample"], np.asarray(ids, dtype=str))
    notices += left_out + _unknown(names["sample"], unknown, path, skip=skip_unknown)
    kept = np.flatnonzero(~unknown)
    if not len(kept):
        raise FileFormatError(
            "holds no request for a known sample", where=path, next_step="Give another log."
        )
    jumps = _jumps(time, path)
    kept = kept[np.argsort(time[kept], kind="stable")]
    users, user = np.unique(names["user"][kept], return_inverse=True)
    return RequestLog(
        time[kept] - time[kept[0]],
        user.astype(np.int64),
        tuple(users.tolist()),
        row[kept],
        {name: values[kept] for name, values in outcomes.items()},
        int(np.count_nonzero(unknown)),
        (*notices, *jumps),
    )


def write_requests(path: Path, log: RequestLog, ids: Sequence[str] | NDArray[Any]) -> None:
    """Write a log, as Parquet or as CSV by the ending of its name.

    Parameters
    ----------
    path : Path
    log : RequestLog
    ids : sequence of str (m,)
        Of the samples that its rows are places in.

    Raises
    ------
    FileFormatError
        Another ending.
    OutputError
        The file can't be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise FileFormatError(
            f"has the ending {path.suffix!r}, a log is written as {' or '.join(SUFFIXES)}",
            where=path,
            next_step="Give a path with one of these endings.",
        )
    named = np.asarray(ids, dtype=str)
    frame = pl.DataFrame(
        {
            "time": log.time,
            "user": np.asarray(log.users, dtype=str)[log.user].tolist(),
            "sample": named[log.row].tolist(),
            **{name: pl.Series(values).fill_nan(None) for name, values in log.outcomes.items()},
        }
    )
    with atomic_write(path) as aside:
        if path.suffix.lower() == ".parquet":
            frame.write_parquet(aside)
        else:
            frame.write_csv(aside)


def _of_text(frame: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[Notice]]:
    """With numbers and truth values in place of text that spells them, as CSV files are read."""
    found = {
        column.name: find_type(column, decimal_comma=False, where=str(path))
        for column in frame
        if column.dtype == pl.String and column.name not in ("user", "sample")
    }
    typed_columns = [each.column.alias(name) for name, each in found.items()]
    return frame.with_columns(typed_columns), [n for each in found.values() for n in each.notices]


def _names(column: pl.Series, path: Path) -> NDArray[np.str_]:
    """Names as text (n,)."""
    texts = column.cast(pl.String)
    empty = texts.is_null()
    if empty.any():
        raise FileFormatError(
            f"{counted(int(empty.sum()), 'request has', 'requests have')} no {column.name}, the "
            f"first in row {int(empty.arg_true()[0]) + 1}",
            where=f"{path}: {column.name}",
            next_step="Fill them in, or take these requests out.",
        )
    return texts.to_numpy().astype(str)


def _seconds(column: pl.Series, read: TableRead, path: Path) -> NDArray[np.float64]:
    """Times in seconds (n,), from any start."""
    where = f"{path}: time"
    if column.dtype == pl.String:
        column = _timestamps(column, read, where)
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if column.dtype in (pl.Datetime, pl.Duration, pl.Time):
        per_second = {"ms": 1e3, "us": 1e6, "ns": 1e9}[getattr(column.dtype, "time_unit", "ns")]
        ticks = column.to_physical()
        # from the first one on, so that nothing is lost of nanoseconds since 1970
        values = (ticks - (ticks.drop_nulls().first() or 0)).cast(pl.Float64) / per_second
    elif column.dtype.is_numeric():
        values = column.cast(pl.Float64)
        _check_unit(column, where)
    else:
        raise FileFormatError(
            f"holds {column.dtype}", where=where, next_step="Give seconds or timestamps."
        )
    found = values.fill_null(np.nan).to_numpy().astype(np.float64)
    wrong = np.flatnonzero(np.isnan(found))
    if len(wrong):
        raise FileFormatError(
            f"{counted(len(wrong), 'request has', 'requests have')} no time, the first in row "
            f"{int(wrong[0]) + 1}",
            where=where,
            next_step="Fill them in, or take these requests out.",
        )
    return found


def _check_unit(column: pl.Series, where: str) -> None:
    """Refuse numbers that can't be seconds. Raises `FileFormatError`."""
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise FileFormatError(
            f"{counted(len(infinite), 'time is', 'times are')} infinite, the first in row "
            f"{int(infinite[0]) + 1}",
            where=where,
            next_step="Correct them, or take these requests out.",
        )
    far = np.flatnonzero(np.abs(values) > _TICKS)
    if len(far):
        row = int(far[0])
        fits = np.nanmax(np.abs(values)) < _NANOSECONDS
        raise FileFormatError(
            f"times such as {column[row]} in row {row + 1} are no seconds",
            where=where,
            next_step="Divide milliseconds by 1,000, microseconds by 1,000,000, or write "
            "timestamps."
            if fits
            else "Give seconds or timestamps.",
        )


def _timestamps(column: pl.Series, read: TableRead, where: str) -> pl.Series:
    """Timestamps that text spells: ISO 8601, with or without an offset from UTC."""
    texts = column.str.strip_chars()
    try:
        return texts.str.to_datetime(time_unit="us", strict=True)
    except pl.exceptions.PolarsError:
        pass
    try:
        return texts.str.to_datetime("%+", time_unit="us", strict=True)
    except pl.exceptions.PolarsError:
        example = visible(str(texts.drop_nulls().first()))
        kind = "text" if read.separator is not None else "a column of text"
        raise FileFormatError(
            f"is {kind} that isn't all timestamps, such as {example!r}",
            where=where,
            next_step="Give seconds, or timestamps as 2026-01-31T12:00:00.",
        ) from None


def _outcomes(
    frame: pl.DataFrame, path: Path
) -> tuple[dict[str, NDArray[np.float64]], list[Notice]]:
    """All other columns of numbers; those of text aren't outcomes."""
    found: dict[str, NDArray[np.float64]] = {}
    left_out: list[Notice] = []
    for column in frame:
        if column.name in COLUMNS:
            continue
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            message = "holds no numbers, so that it is no outcome"
            left_out.append(Notice("left_out", message, f"{path}: {visible(column.name)}"))
            continue
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
        if np.isinf(values).any():
            raise FileFormatError(
                f"{counted(int(np.isinf(values).sum()), 'number is', 'numbers are')} infinite",
                where=f"{path}: {visible(column.name)}",
                next_step="Leave the cells empty where nothing is known.",
            )
        found[column.name] = values
    return found, left_out


def _places(
    names: NDArray[np.str_], ids: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each name in the ids, and which aren't among them."""
    order = np.argsort(ids, kind="stable")
    at = np.searchsorted(ids[order], names)
    place = order[np.minimum(at, len(ids) - 1)] if len(ids) else np.zeros(len(names), np.int64)
    unknown = ids[place] != names if len(ids) else np.ones(len(names), dtype=bool)
    return place.astype(np.int64), np.asarray(unknown, dtype=bool)


def _unknown(
    names: NDArray[np.str_], unknown: NDArray[np.bool_], path: Path, *, skip: bool
) -> list[Notice]:
    n = int(np.count_nonzero(unknown))
    if not n:
        return []
    strangers = np.unique(names[unknown])
    shown = first_of((visible(each) for each in strangers[:_SHOWN].tolist()), len(strangers))
    message = (
        f"{n:,} of {len(names):,} requests ask for samples that the pool doesn't have: {shown}"
    )
    if not skip:
        raise FileFormatError(
            message,
            where=f"{path}: sample",
            next_step="Correct the ids, or leave these requests out by --skip-unknown.",
        )
    return [Notice("unknown_samples", f"{message}; they are left out", f"{path}: sample")]


def _jumps(time: NDArray[np.float64], path: Path) -> list[Notice]:
    """What is to be said of times that go back in the file, and of long gaps."""
    where, told = f"{path}: time", []
    steps = np.diff(time)
    back = int(np.count_nonzero(steps < 0))
    if back:
        far = float(-steps.min())
        message = (
            f"{counted(back, 'request is', 'requests are')} earlier than the one above, by up to "
            f"{far:,.3g} s: the log is replayed in the order of its times"
        )
        told.append(Notice("clock_back", message, where))
    ordered = np.sort(time - time.min())
    gaps = np.diff(ordered)
    longest = int(gaps.argmax()) if len(gaps) else 0
    others = (float(gaps.sum()) - gaps[longest]) / (len(gaps) - 1) if len(gaps) > 1 else np.inf
    if len(gaps) > 1 and gaps[longest] > max(_LONG_GAP, _RARE_GAP * others):
        message = (
            f"no request comes for {gaps[longest]:,.0f} s, from {ordered[longest]:,.0f} s after "
            "the first one on: the clock may have been set forward"
        )
        told.append(Notice("clock_forward", message, where))
    return told
