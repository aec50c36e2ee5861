"""The part of SQL that predicates may use: what looks at one row at a time, and reads no file.

Checked on the text, before a parser sees it: parsing a subquery may already open files.
"""

import re
from collections.abc import Iterator

from calaudit.errors import Problem, near

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
