"""Words in messages: names from data made safe to show, counts, the first of many, commands."""

import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def visible(name: str | PurePath) -> str:
    r"""`name` on one line, with control and direction characters shown as ``\x1b`` or ``\u202e``.

    Names come from data; nothing in them may move the cursor or reorder the line.
    """
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in str(name))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def command_line(*words: str | PurePath) -> str:
    r"""A command that a shell reads as these words: ``calaudit compare 'my audit.toml'``.

    A path that begins with a dash gets ``./`` before it, so that it isn't taken for an option.
    Words that hold control or direction characters stand in ``$'…'``, which bash, zsh and ksh
    read, with those spelled out.

    Examples
    --------
    >>> print(command_line("calaudit", "compare", PurePath("modèle ü.toml")))
    calaudit compare 'modèle ü.toml'
    """
    return " ".join(map(_word, words))


def _word(word: str | PurePath) -> str:
    text = str(word)
    if isinstance(word, PurePath) and text.startswith("-"):
        text = f"./{text}"
    if not any(unicodedata.category(c) in _UNSEEN for c in text):
        return shlex.quote(text)
    return f"$'{''.join(map(_in_dollar_quotes, text))}'"


def _in_dollar_quotes(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if unicodedata.category(character) not in _UNSEEN:
        return character
    # As bytes, in octal: three digits end by themselves. Names that aren't UTF-8 keep theirs.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def first_of(shown: Iterable[str], n: int) -> str:
    """The first of `n` things, with how many more there are.

    Examples
    --------
    >>> first_of(["a", "b"], 2), first_of(["a", "b"], 1002)
    ('a, b', 'a, b and 1,000 more')
    """
    told = list(shown)
    more = n - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more > 0 else "")


def counted(n: int, thing: str, things: str | None = None) -> str:
    """A number with what it counts.

    Parameters
    ----------
    n : int
    thing : str
        For 1.
    things : str, optional
        For any other number; by default `thing` with an s.

    Examples
    --------
    >>> counted(1, "sample"), counted(1200, "sample"), counted(0, "query", "queries")
    ('1 sample', '1,200 samples', '0 queries')
    """
    return f"{n:,} {thing if n == 1 else things or f'{thing}s'}"


def duration(seconds: float) -> str:
    """How long something takes, in the unit that fits.

    Examples
    --------
    >>> duration(90), duration(5400), duration(1e6)
    ('90 s', '90 min', '11.6 days')
    """
    for size, unit, most in ((1, "s", 120), (60, "min", 120), (3600, "h", 48)):
        if seconds < size * most:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400:,.1f} days"


def plural(unit: str) -> str:
    """What several of them are called.

    Examples
    --------
    >>> plural("object"), plural("query")
    ('objects', 'queries')
    """
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def counted_units(n: int, unit: str) -> str:
    """A number of units.

    Examples
    --------
    >>> counted_units(1, "query"), counted_units(1200, "object")
    ('1 query', '1,200 objects')
    """
    return counted(n, unit, plural(unit))


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape as messages show it; sizes that are left open are ``any``.

    Examples
    --------
    >>> shape_text((7, 1500)), shape_text((None, 4)), shape_text((3,)), shape_text(())
    ('7×1500', 'any×4', '3', '()')
    """
    return "×".join("any" if size is None else str(size) for size in shape) or "()"
