"""Find slices by name or pattern, as gates and recipes write them."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from calaudit.errors import SliceError, near
from calaudit.slices.dimension import CROSS

_TYPED = (("<=", "≤"), (">=", "≥"), ("−", "-"))


def match_slices(pattern: str, names: Iterable[str], *, where: object = None) -> list[str]:
    """Names that a pattern means, in the order of `names`.

    A name written exactly means that slice alone. Else ``*``, ``?`` and ``[...]`` are wildcards
    that stay within one part of a cross: ``speaker = *`` means every speaker but no cross,
    ``speaker = * & snr_db = *`` crosses; ``*`` alone means everything. ``<=``, ``>=`` and ``inf``
    may be typed for ``≤``, ``≥`` and ``∞``, and spaces around signs don't matter.

    Raises
    ------
    SliceError
        It matches nothing; with the near names.
    """
    known = list(names)
    if pattern in known:
        return [pattern]
    typed = _canonical(pattern)
    same = [name for name in known if _canonical(name) == typed]
    if same:
        return same
    found = known if typed == "*" else [name for name in known if _matches(name, typed)]
    if not found:
        raise SliceError(
            f'"{pattern}" matches no slice', where=where, next_step=near(pattern, known)
        )
    return found


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = _canonical(name).split(CROSS), pattern.split(CROSS)
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _canonical(name: str) -> str:
    for typed, sign in _TYPED:
        name = name.replace(typed, sign)
    name = re.sub(r"\s*(≤|≥|<|>|=|&)\s*", r" \1 ", name.strip())
    return re.sub(r"(?<=[≤≥<>=] )(-?)inf\b|^(-?)inf(?= ≤)", r"\1\2∞", name)
