"""Inputs that nobody meant: valid files with pieces cut, doubled, moved and overwritten."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TRIES = int(os.environ.get("CALAUDIT_FUZZ", "0"))
"""Tries per test; 0: few, and the same ones every time."""


def fuzzed(few: int) -> Callable[[Any], Any]:
    """Run a property `few` times with the same inputs, or $CALAUDIT_FUZZ times with new ones."""
    return settings(
        max_examples=TRIES or few,
        derandomize=TRIES == 0,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


Edit = tuple[str, float, float, bytes]
EDITS: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "double", "insert", "swap", "end"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def edited(base: bytes, edits: Sequence[Edit]) -> bytes:
    """`base` with edits at relative places."""
    content = base
    for kind, start, length, put in edits:
        at = int(start * len(content))
        end = min(len(content), at + 1 + int(length**4 * len(content)))
        match kind:
            case "set":
                content = content[:at] + put + content[at + len(put) :]
            case "cut":
                content = content[:at] + content[end:]
            case "double":
                content = content[:end] + content[at:end] + content[end:]
            case "insert":
                content = content[:at] + put + content[at:]
            case "swap":
                content = content[end:] + content[at:end] + content[:at]
            case "end":
                content = content[: max(at, 1)]
    return content


SCALARS = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=12),
    st.sampled_from([0, -1, 1, 2**63, 1e-300, float("inf"), float("nan"), "", "all", "label", "x"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["by", "name", "pca", "tap", "items", "a b"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{toml(key)} = {toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    return repr(value)


def _escaped(character: str) -> str:
    plain = character.isprintable() and character not in '"\\' and character.isascii()
    code = ord(character)
    if plain or 0xD800 <= code < 0xE000:
        return character if plain else "?"
    return f"\\U{code:08x}"
