"""What is handed to other people's code: the same values, in which no array can be written to.

A metric that scales `outputs` in place would change what the next metric reads, and so a verdict.
Lent arrays make the write itself an error, at its line.
"""

import copy
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Final

import numpy as np

_DEPTH: Final = 6
"""How far containers and records within one another are looked into."""
_SPARSE_PARTS: Final = ("data", "indices", "indptr", "row", "col", "coords", "offsets")


def lent(value: Any, depth: int = _DEPTH) -> Any:
    """A value whose arrays can't be written to; nothing is copied but what holds them.

    Parameters
    ----------
    value : object
        Arrays, sparse arrays, lists, tuples and dicts, and dataclasses of calaudit's own are looked
        into; anything else is left as it is.
    depth : int
        How deep.

    Returns
    -------
    object
        `value` itself where it holds no array that could be written to.
    """
    if isinstance(value, np.ndarray):
        return _locked(value)
    if depth == 0 or value is None or isinstance(value, str | bytes | int | float):
        return value

    def inner(part: Any) -> Any:
        return lent(part, depth - 1)

    return _inside(value, inner)


def _locked(array: np.ndarray) -> np.ndarray:
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def _inside(value: Any, inner: Callable[[Any], Any]) -> Any:
    """A container or record whose parts are lent."""
    kind = type(value)
    if kind is dict:
        parts = {key: inner(part) for key, part in value.items()}
        return parts if any(parts[key] is not value[key] for key in parts) else value
    if kind is list or kind is tuple:
        found = [inner(part) for part in value]
        return kind(found) if any(a is not b for a, b in zip(found, value, strict=True)) else value
    if kind.__module__.startswith("scipy.sparse"):
        return _with_parts(value, _SPARSE_PARTS, inner)
    if is_dataclass(kind) and kind.__module__.partition(".")[0] == "calaudit":
        return _with_parts(value, _attributes(value), inner)
    return value


def _attributes(value: Any) -> tuple[str, ...]:
    """Fields of a dataclass, and what cached properties keep."""
    return tuple(dict.fromkeys([*value.__dataclass_fields__, *getattr(value, "__dict__", ())]))


def _with_parts(value: Any, names: tuple[str, ...], inner: Callable[[Any], Any]) -> Any:
    """A shallow copy whose parts of these names are lent; the value itself where none changes."""
    changed = {}
    for name in names:
        own = getattr(value, name, None)
        if own is not None and (part := inner(own)) is not own:
            changed[name] = part
    if not changed:
        return value
    made = copy.copy(value)
    for name, part in changed.items():
        object.__setattr__(made, name, part)
    return made
