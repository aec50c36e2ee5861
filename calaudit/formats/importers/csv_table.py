"""CSV as people write it: any encoding with a mark, any usual separator, with an index or without.

Every cell is read as text; then each column's type is inferred: numbers, true or false, or text,
with what stayed text and why.
"""

import codecs
import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

import polars as pl

from calaudit.runtime.errors import FileFormatError, Notice, unreadable
from calaudit.runtime.words import counted

if TYPE_CHECKING:
    from _csv import Reader  # what csv.reader gives

_BLANKS = (
    "n/a",
    "na",
    "nan",
    "<na>",
    "#n/a",
    "null",
    "none",
    "nil",
    "-",
    "--",
    "?",
    ".",
    "missing",
)
"""What people write for a number that isn't there, in lower case."""
_WHOLE = r"^[+-]?(0|[1-9][0-9]*)$"
_PADDED = r"^[+-]?0[0-9]+$"
_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INFINITE = r"^[+-]?(inf|infinity|Inf|Infinity|INF)$"
_DECIMAL_COMMA = r"^[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+)?,[0-9]+([eE][+-]?[0-9]+)?$"
_THOUSANDS = r"^[+-]?[0-9]{1,3}([,' _\u00a0\u202f][0-9]{3})+(\.[0-9]+)?$"
_MOSTLY = 0.5
"""Share of numbers from which a column that is kept as text is noted."""
_SHOWN = 3
_EXACT = 2**53
"""From here on a float may stand for several whole numbers."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_LONGEST_CELL = 1 << 24
_ROWS = 1 << 15
"""Rows that are Python objects at a time."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One column with its type, and what was decided about it."""

    column: pl.Series
    notices: tuple[Notice, ...] = ()


def find_type(column: pl.Series, *, decimal_comma: bool, where: str) -> Typed:
    """Turn a column of text into numbers or booleans if all of its values are such.

    Marks of a missing value, such as n/a, are missing in a column of numbers, and noted. Text that
    only looks like numbers stays text, with a note: codes with leading zeros, whole numbers that
    64 bits don't hold, numbers with separators of thousands, numbers among words.

    Parameters
    ----------
    column : polars.Series
        String, null where a cell is empty.
    decimal_comma : bool
        Whether ``0,5`` is a half: in files whose columns aren't separated by commas.
    where : str
        The file, for notes.
    """
    place = f"{where}: {column.name}"
    texts = column.str.strip_chars()
    blank = texts.str.to_lowercase().is_in(_BLANKS).fill_null(False)
    given = texts.set(blank, None)
    present = given.drop_nulls()
    notices = [_blanks(texts.filter(blank), place)] if blank.any() else []
    if present.is_empty():
        return Typed(column)
    if present.str.to_lowercase().is_in(["true", "false"]).all():
        return Typed(given.str.to_lowercase() == "true", tuple(notices))
    if decimal_comma and present.str.contains(_DECIMAL_COMMA).any():
        given = _with_points(given)
        notices.append(Notice("decimal_comma", "commas in numbers are decimal points", place))
    found = given.drop_nulls()
    numbers = found.str.contains(_DECIMAL) | found.str.contains(_INFINITE)
    if not numbers.all():
        reason = _words(present, numbers)
        return Typed(column, (_as_text(reason, place),) if reason else ())
    values = _numbers(given, found)
    if isinstance(values, str):
        return Typed(column, (_as_text(values, place),))
    return Typed(values, tuple(notices))


def _numbers(given: pl.Series, found: pl.Series) -> pl.Series | str:
    """The numbers that texts spell; or what they hold that no type of numbers keeps."""
    if found.str.contains(_PADDED).any():
        return "whole numbers with leading zeros"
    whole = found.str.contains(_WHOLE)
    if whole.all():
        for dtype in (pl.Int64, pl.UInt64):
            values = given.str.strip_prefix("+").cast(dtype, strict=False)
            if values.null_count() == given.null_count():
                return values
        return "whole numbers that 64 bits don't hold"
    if (found.filter(whole).cast(pl.Float64).abs() >= _EXACT).any():
        return "fractions beside whole numbers that a float would round"
    negative = given.str.starts_with("-").fill_null(False)
    bare = given.str.strip_chars_start("+-").str.to_lowercase().str.replace("^infinity$", "inf")
    sizes = bare.cast(pl.Float64)
    return sizes.zip_with(~negative, -sizes)


def _with_points(texts: pl.Series) -> pl.Series:
    comma = texts.str.contains(_DECIMAL_COMMA).fill_null(False)
    pointed = texts.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pointed.zip_with(comma, texts)


def _blanks(marks: pl.Series, place: str) -> Notice:
    return Notice("read_as_missing", f"{_counted(marks)}: counted as missing", place)


def _words(present: pl.Series, numbers: pl.Series) -> str:
    """What a column of words holds that looks as if it were meant to be numbers; empty if not."""
    words = present.filter(~numbers)
    if (words.str.contains(_DECIMAL_COMMA) | words.str.contains(_THOUSANDS)).all():
        return f"numbers with commas or separators of thousands, such as {words.first()!r}"
    n = int(numbers.sum())
    if n < _MOSTLY * len(numbers):
        return ""
    return f"{n:,} numbers, but also {_counted(words)}; leave those cells empty if they are missing"


def _as_text(what: str, place: str) -> Notice:
    return Notice("kept_as_text", f"is kept as text: it holds {what}", place)


def _counted(words: pl.Series) -> str:
    table = words.rename("word").value_counts().sort(["count", "word"], descending=[True, False])
    shown = [f"{n:,} × {word!r}" for word, n in table.head(_SHOWN).iter_rows()]
    more = [f"{len(table) - _SHOWN:,} others"] if len(table) > _SHOWN else []
    return ", ".join([*shown, *more])


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table of text."""

    frame: pl.DataFrame
    """String columns; null where a cell is empty."""
    separator: str
    notices: tuple[Notice, ...]
    """What was left out, or found otherwise than usual."""


def read_csv(source: Path) -> CsvTable:
    """Read a CSV file, every cell as text; an empty cell is null.

    Columns without a name and rows without a value are left out, and noted.

    Returns
    -------
    CsvTable

    Raises
    ------
    FileFormatError
        It isn't text, a row has more or fewer cells than the header, a quote isn't closed, or a
        column's name is there twice.
    """
    try:
        with _opened(source) as raw, _decoded(raw) as text:
            return _read(text, source)
    except UnicodeError as error:
        raise FileFormatError(
            f"isn't UTF-8 text: {error}",
            where=source,
            next_step="Save it as UTF-8; UTF-16 is read too where it begins with its mark.",
        ) from None
    except (OSError, EOFError) as error:
        problem = unreadable(error, source, "can't be read", "Fix the file.")
        raise FileFormatError.of([problem]) from None


def _opened(source: Path) -> BinaryIO:
    raw = source.open("rb")
    if raw.read(2) == _GZIP:
        raw.close()
        return cast(BinaryIO, gzip.open(source, "rb"))
    raw.seek(0)
    return raw


def _decoded(raw: BinaryIO) -> TextIO:
    head = raw.read(4)
    raw.seek(0)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        # UTF-16 without its mark is UTF-8 full of NUL characters.
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    return io.TextIOWrapper(raw, encoding=encoding, newline="")


def _read(text: TextIO, source: Path) -> CsvTable:
    first = text.readline()
    told = first.strip().lower()
    if told.startswith("sep=") and len(told) == len("sep=") + 1:
        separator = told[-1]  # as Excel writes it
        first = text.readline()
    else:
        separator = _separator(first, source)
    csv.field_size_limit(_LONGEST_CELL)
    rows = csv.reader(_chained(first, text), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        names = _names(header, source)
        frame, n_empty = _gathered(rows, len(header), names, source)
    except csv.Error as error:
        raise FileFormatError(
            f"can't be read as CSV: {error}",
            where=f"{source}: line {rows.line_num}",
            next_step="Close the quote that is open there; a quote inside a cell is doubled.",
        ) from None
    usual = "\t" if source.name.lower().endswith((".tsv", ".tsv.gz")) else ","
    notices = []
    if separator != usual:
        message = f"its columns are separated by {SEPARATORS.get(separator, repr(separator))}"
        notices.append(Notice("separator", message, str(source)))
    unnamed = [place + 1 for place, name in enumerate(header) if _unnamed(name)]
    held = [place for place in unnamed if frame[_placed(place - 1)].null_count() < len(frame)]
    if held:
        message = f"column {', '.join(map(str, held))} has no name and is left out"
        notices.append(Notice("left_out", message, str(source)))
    if n_empty:
        message = (
            f"{counted(n_empty, 'row without any value is', 'rows without any value are')} left out"
        )
        notices.append(Notice("left_out", message, str(source)))
    kept = frame.select(pl.col(_placed(place)).alias(name) for place, name in names.items())
    return CsvTable(kept, separator, tuple(notices))


def _chained(first: str, text: TextIO) -> Iterator[str]:
    yield first
    yield from text


def _separator(header: str, source: Path) -> str:
    """The separator that stands most often in the header, outside of quotes."""
    plain = "".join(header.split('"')[::2])
    counts = Counter(sign for sign in plain if sign in SEPARATORS)
    usual = "\t" if source.name.lower().endswith((".tsv", ".tsv.gz")) else ","
    return usual if counts[usual] or not counts else counts.most_common(1)[0][0]


def _unnamed(name: str) -> bool:
    """Whether a heading is none: empty, or what pandas calls a column that had none."""
    return not name or name.startswith("Unnamed: ")


def _names(header: Sequence[str], source: Path) -> dict[int, str]:
    """Place → name of the columns that have one."""
    names = {place: name for place, name in enumerate(header) if not _unnamed(name)}
    twice = [name for name, n in Counter(names.values()).items() if n > 1]
    if twice:
        raise FileFormatError(
            f"several columns are called {', '.join(map(repr, twice))}",
            where=source,
            next_step="Give each column a name of its own.",
        )
    if not names:
        raise FileFormatError(
            "has no header", where=source, next_step="Name the columns in its first line."
        )
    return names


def _gathered(
    rows: "Reader", width: int, names: dict[int, str], source: Path
) -> tuple[pl.DataFrame, int]:
    """All rows with a value, and how many have none."""
    schema = {_placed(place): pl.String for place in range(width)}
    needed = max(names) + 1  # separators at the end of the header name nothing
    parts = [pl.DataFrame(schema=schema)]
    n_empty = 0
    while block := list(islice(_numbered(rows), _ROWS)):
        kept = []
        for line, row in block:
            if not any(cell.strip() for cell in row):
                n_empty += bool(row)  # a blank line is no row at all
                continue
            fitted = _fitted(row, width, needed)
            if fitted is None:
                raise _misfit(row, width, f"{source}: line {line}")
            kept.append([cell or None for cell in fitted])
        parts.append(pl.DataFrame(kept, schema=schema, orient="row"))
    return pl.concat(parts), n_empty


def _numbered(rows: "Reader") -> Iterator[tuple[int, list[str]]]:
    for row in rows:
        yield rows.line_num, row


def _fitted(row: list[str], width: int, needed: int) -> list[str] | None:
    """The cells of a row, disregarding separators at the end of a line; None for a misfit."""
    if len(row) >= width:
        return None if any(cell.strip() for cell in row[width:]) else row[:width]
    return None if len(row) < needed else row + [""] * (width - len(row))


def _misfit(row: Sequence[str], width: int, where: str) -> FileFormatError:
    return FileFormatError(
        f"has {len(row)} cells, the header has {width}",
        where=where,
        next_step="Put a cell that holds the separator in double quotes, or fill in what is "
        "missing.",
    )


def _placed(place: int) -> str:
    return str(place)
