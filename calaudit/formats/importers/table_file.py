"""Tables with a row per sample: CSV, as text whose types are found, or Parquet."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from calaudit.formats.importers.csv_table import find_type, read_csv
from calaudit.runtime.errors import FileFormatError, Notice, unreadable

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table as its file holds it."""

    frame: pl.DataFrame
    separator: str | None
    """Of a CSV file, whose columns are all text."""
    notices: tuple[Notice, ...] = ()


def read_table_file(source: Path) -> TableRead:
    """Read a table; that of a CSV file holds text alone.

    Raises
    ------
    FileFormatError
        Missing, unreadable, or of another kind.
    """
    name = source.name.lower()
    if not name.endswith(SUFFIXES):
        raise FileFormatError(
            f"has the ending {source.suffix!r}, a table has {', '.join(SUFFIXES)}",
            where=source,
            next_step="Save the table in one of these formats.",
        )
    if not source.is_file():
        raise FileFormatError("there is no such file", where=source, next_step="Check the path.")
    if not name.endswith(".parquet"):
        table = read_csv(source)
        return TableRead(table.frame, table.separator, table.notices)
    try:
        return TableRead(pl.read_parquet(source, use_statistics=False), None)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = unreadable(error, source, "can't be read as a table", "Fix the file.")
        raise FileFormatError.of([problem]) from None


def typed(
    read: TableRead, used: Set[str], texts: Set[str], source: Path
) -> tuple[pl.DataFrame, list[Notice]]:
    """The used columns in their types; those in `texts` as text (``007`` keeps its zeros)."""
    found: list[pl.Series] = []
    notices: list[Notice] = []
    for column in read.frame:
        if column.name in texts:
            found.append(column.cast(pl.String))
        elif read.separator is not None and column.name in used:
            typed = find_type(column, decimal_comma=read.separator != ",", where=str(source))
            found.append(typed.column.alias(column.name))
            notices.extend(typed.notices)
        else:
            found.append(column)
    return pl.DataFrame(found), notices
