"""What columns of text hold: numbers, true or false, or text; what stayed text, and why."""

from dataclasses import dataclass

import polars as pl

from calaudit.errors import Notice

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
