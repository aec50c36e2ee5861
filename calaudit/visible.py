"""Names from data, made safe to show on one line."""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def visible(name: str) -> str:
    r"""`name` on one line, with control and direction characters shown as ``\x1b`` or ``\u202e``.

    Names come from data; nothing in them may move the cursor or reorder the line.
    """
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in name)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
