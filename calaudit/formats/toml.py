"""TOML that is written: values, tables, whole files. Python's own library only reads it."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str:
    """One value on one line; mappings as inline tables.

    Raises
    ------
    TypeError
        TOML has no such value.
    """
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        # JSON's texts are TOML's, but for the one control character that JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else repr(value)
    if hasattr(value, "isoformat"):  # dates and times
        return str(value.isoformat())
    raise TypeError(f"TOML has no value like {value!r}")


def toml_key(key: str) -> str:
    """A key, in quotation marks where it needs them."""
    return key if _BARE.fullmatch(key) else toml_value(key)


def toml_tables(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a file: a table or an array of tables for each key, their values on one line each.

    Raises
    ------
    TypeError
        A value that TOML doesn't have, or a key that holds neither a table nor a list of them.
    """
    for name, held in content.items():
        if isinstance(held, Mapping):
            yield from _table(f"[{toml_key(name)}]", held)
        elif isinstance(held, Sequence) and not isinstance(held, str):
            for each in held:
                yield from _table(f"[[{toml_key(name)}]]", each)
        else:
            raise TypeError(f"{name} is neither a table nor a list of tables")


def _table(header: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield header
    for key, value in values.items():
        yield f"{toml_key(key)} = {toml_value(value)}"
