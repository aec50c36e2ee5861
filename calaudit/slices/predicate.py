"""Predicates: SQL expressions that say, of one sample alone, whether it is selected.

What they may use looks at one row at a time and reads no file. That is checked on the text, before
a parser sees it: parsing a subquery may already open files.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from calaudit.runtime.errors import Problem, SliceError, near
from calaudit.slices.dimension import step_for

_ROW_FUNCTION_NAMES = """
    cast try_cast coalesce nullif ifnull if greatest least
    abs ceil ceiling floor round sign sqrt cbrt pow power exp ln log log2 log10 log1p mod div
    sin cos tan asin acos atan atan2 degrees radians pi bit_and bit_or bit_xor bit_not
    lower upper initcap length char_length character_length octet_length bit_length left right
    ltrim rtrim trim replace reverse substr substring strpos starts_with ends_with
    concat concat_ws regexp_like split_part
    date timestamp datetime time extract date_part strftime strptime
"""
_KEYWORD_NAMES = "and or not in like ilike between is when then else case from by array any"
_OTHERS_NAMES = """
    avg count sum min max median mean stddev stddev_pop stddev_samp std var variance var_pop
    var_samp first last first_value last_value lag lead row_number rank dense_rank quantile
    quantile_cont quantile_disc corr covar unnest random array_agg string_agg
"""
ROW_FUNCTIONS = frozenset(_ROW_FUNCTION_NAMES.split())
"""Functions a predicate may call."""
_KEYWORDS = frozenset(_KEYWORD_NAMES.split())
_LOOKING_AT_OTHERS = frozenset(_OTHERS_NAMES.split())
_FORBIDDEN = frozenset({"select", "over", "exists", "table", "values", "union", "join", "with"})

_TOKEN = re.compile(
    # E'…' and its like have escapes of their own, which would hide the end of a text.
    r"(?P<prefixed>\w+'(?:[^']|'')*'?)"
    r"|(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*")(?P<quoted_call>\s*\()?'
    r"|(?P<sign>--|/\*|#|\$|`|;|\\|&')"
    r"|(?P<word>[^\W\d]\w*)(?P<call>\s*\((?P<empty>\s*\))?)?"
    r"|.",
    re.DOTALL,
)

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What the expression parser and evaluator raise; a panic isn't an `Exception`."""


_DOTTED = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w.])([^\W\d]\w*\.[^\W\d]\w*)(?![\w.])"""
)


def quoted_dots(sql: str) -> str:
    """A predicate with dotted names as one name each: ``object.class`` as ``"object.class"``.

    Without quotes SQL takes what stands before the dot for a table.
    """
    return _DOTTED.sub(lambda found: f'"{found[1]}"' if found[1] else found[0], sql)


def find_forbidden(sql: str, where: str) -> Iterator[Problem]:
    """What a predicate holds that it may not: comments, subqueries, functions over many rows."""
    for token in _TOKEN.finditer(sql):
        if token["sign"] or token["prefixed"] or token["quoted_call"]:
            found, step = f"holds {token.group()[:16]}", "Leave it out."
        elif token["word"]:
            called, empty = token["call"] is not None, token["empty"] is not None
            reason = _reason(token["word"].casefold(), called, empty)
            if reason is None:
                continue
            found, step = reason
        else:
            continue
        yield Problem(f"predicate {sql!r} {found}", where, step)


def _reason(word: str, called: bool, empty: bool) -> tuple[str, str] | None:
    if word in _FORBIDDEN:
        return (
            f"uses {word.upper()}",
            "Write a condition on one sample's columns; a column of that name needs double quotes.",
        )
    if not called:
        return None
    if word in ROW_FUNCTIONS | _KEYWORDS:
        given_nothing = f"gives {word}() nothing to work on", "Name a column between ( and )."
        return given_nothing if empty and word != "pi" else None
    if word in _LOOKING_AT_OTHERS:
        return (
            f"uses {word}(), which looks at other samples",
            "Compare with a fixed number, or slice by quantiles.",
        )
    return f"uses {word}(), which isn't allowed", near(word, ROW_FUNCTIONS)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A parsed predicate."""

    text: str
    expression: pl.Expr
    columns: tuple[str, ...]
    """Columns it reads."""
    where: str

    def select(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Which rows of a frame with `columns` are selected (n_rows,); NULL is not.

        Raises
        ------
        SliceError
            Types don't fit, a value can't be converted, or the result isn't true or false.
        """
        plain = frame.with_columns(
            pl.col(pl.Categorical, pl.Enum).cast(pl.String),
            # 128 bits: sums and products of 64-bit numbers don't wrap.
            cs.integer().cast(pl.Int128),
        )
        try:
            result = plain.select(self.expression).to_series()
        except _FAILURES as error:
            raise self._error(f"can't be evaluated: {_first_line(error)}") from None
        if result.dtype != pl.Boolean:
            raise SliceError(
                f"predicate {self.text!r} gives {result.dtype}, not true or false",
                where=self.where,
                next_step="Compare it with something, as in snr_db < 5.",
            )
        selected: NDArray[np.bool_] = result.fill_null(False).to_numpy()
        return selected

    def _error(self, message: str) -> SliceError:
        return SliceError(
            f"predicate {self.text!r} {message}",
            where=self.where,
            next_step="Compare columns with values of their type; text stands in 'quotes'.",
        )


def parse_predicate(text: str, known: Sequence[str], *, where: str) -> Predicate:
    """Parse a SQL expression over columns.

    Only functions that look at one row at a time are allowed, so a sample's membership doesn't
    depend on which other samples there are; and nothing that reads files or tables.

    Raises
    ------
    SliceError
        It doesn't parse, uses what isn't allowed, or names no or unknown columns (all of them
        at once, with the near ones).
    """
    sql = quoted_dots(text)
    forbidden = list(find_forbidden(sql, where))
    if forbidden:
        raise SliceError.of(forbidden)
    try:
        pl.sql_expr(sql)
        # In parentheses no name may follow, which alone would be taken for an alias.
        expression = pl.sql_expr(f"({sql})")
        columns = tuple(dict.fromkeys(expression.meta.root_names()))
    except _FAILURES as error:
        raise SliceError(
            f"predicate {text!r} doesn't parse: {_first_line(error)}",
            where=where,
            next_step=_spelled(text, known)
            or "Write a SQL condition such as snr_db < 5 AND speaker = 'theo'.",
        ) from None
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise SliceError.of(
            Problem(f'predicate {text!r}: no column "{column}"', where, step_for(column, known))
            for column in unknown
        )
    if not columns:
        raise SliceError(
            f"predicate {text!r} looks at no column",
            where=where,
            next_step=_spelled(text, known) or near("", known),
        )
    return Predicate(text, expression, columns, where)


def column_in_sql(name: str) -> str:
    """A column as a predicate names it, in double quotes where it isn't a plain word of its own.

    Examples
    --------
    >>> column_in_sql("snr_db"), column_in_sql("user"), column_in_sql("f1 score")
    ('snr_db', '"user"', '"f1 score"')
    """
    if name.isascii() and name.isidentifier() and not list(find_forbidden(name, "")):
        try:
            if all(pl.sql_expr(f"{name}{x}").meta.root_names() == [name] for x in ("", " = 1")):
                return name
        except _FAILURES:
            pass
    return '"' + name.replace('"', '""') + '"'


def _spelled(text: str, known: Sequence[str]) -> str:
    """Which columns of the text are words of SQL, and how they are written."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", " ", text)
    words = [name for name in known if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", bare)]
    found = [name for name in words if column_in_sql(name) != name]
    if not found:
        return ""
    listed = ", ".join(map(column_in_sql, found))
    return f"Write {listed}, with double quotes: without them it means something else in SQL."


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
