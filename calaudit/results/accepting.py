"""Whether a document keeps to a JSON Schema: a quick yes, or "not for certain".

jsonschema says what is wrong and where, and takes seconds for a report of ten thousand results, of
which there is nearly always nothing to say. What a check accepts, jsonschema accepts; whatever it
doesn't, an integer written as ``3.0`` among it, is left to jsonschema.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Check = Callable[[Any], bool]
"""Whether a value is certainly valid."""
_Compile = Callable[[Mapping[str, Any]], Check]

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_SAID: Final = frozenset({"$schema", "$id", "$defs", "title", "description"})
"""Keywords that neither ask for anything nor forbid it."""


def accepting(schema: Mapping[str, Any]) -> Check:
    """Compile a schema to a check.

    Parameters
    ----------
    schema : mapping
        With its ``$defs``, which ``$ref`` names. What a keyword that isn't known here says of a
        value is never certain.
    """
    made: dict[str, Check] = {}

    def referred(name: str) -> Check:
        def itself(value: Any) -> bool:
            return made[name](value)

        if name not in made:
            made[name] = itself
            made[name] = compiled(schema["$defs"][name])
        return made[name]

    def compiled(part: Mapping[str, Any]) -> Check:
        kinds = dict.fromkeys(
            _CHECKS.get(key, _unknown) for key in part if key not in {*_SAID, "$ref"}
        )
        checks = [kind(part, compiled) for kind in kinds]
        if "$ref" in part:
            checks.append(referred(part["$ref"].removeprefix("#/$defs/")))
        return checks[0] if len(checks) == 1 else lambda value: all(c(value) for c in checks)

    return compiled(schema)


def _unknown(part: Mapping[str, Any], _: _Compile) -> Check:
    return lambda value: False


def _type(part: Mapping[str, Any], _: _Compile) -> Check:
    named = part["type"]
    names = [named] if isinstance(named, str) else named
    kinds = frozenset(kind for name in names for kind in _KINDS[name])
    return lambda value: type(value) in kinds


def _enum(part: Mapping[str, Any], _: _Compile) -> Check:
    allowed = {(type(each), each) for each in part.get("enum", [part.get("const")])}
    return lambda value: type(value) in _SCALARS and (type(value), value) in allowed


def _limits(key: str, holds: Callable[[Any, Any], bool]) -> Callable[..., Check]:
    def check(part: Mapping[str, Any], _: _Compile) -> Check:
        limit = part[key]
        return lambda value: type(value) not in _NUMBERS or holds(value, limit)

    return check


def _text(part: Mapping[str, Any], _: _Compile) -> Check:
    least, pattern = part.get("minLength", 0), re.compile(part.get("pattern", ""))
    return lambda value: (
        type(value) is not str or (len(value) >= least and pattern.search(value) is not None)
    )


def _items(part: Mapping[str, Any], compiled: _Compile) -> Check:
    each = compiled(part.get("items", {}))
    least, most = part.get("minItems", 0), part.get("maxItems", float("inf"))
    return lambda value: (
        type(value) is not list or (least <= len(value) <= most and all(map(each, value)))
    )


def _members(part: Mapping[str, Any], compiled: _Compile) -> Check:
    required = frozenset(part.get("required", ()))
    known = {name: compiled(own) for name, own in part.get("properties", {}).items()}
    given = part.get("additionalProperties", True)
    rest: Check = (lambda _: given) if isinstance(given, bool) else compiled(given)

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True
        return required <= value.keys() and all(
            known.get(name, rest)(each) for name, each in value.items()
        )

    return check


_NUMBERS: Final = frozenset({int, float})
_SCALARS: Final = frozenset({int, float, bool, str, type(None)})
_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], _Compile], Check]]] = {
    "type": _type,
    "enum": _enum,
    "const": _enum,
    "minimum": _limits("minimum", lambda value, limit: value >= limit),
    "maximum": _limits("maximum", lambda value, limit: value <= limit),
    "exclusiveMinimum": _limits("exclusiveMinimum", lambda value, limit: value > limit),
    "exclusiveMaximum": _limits("exclusiveMaximum", lambda value, limit: value < limit),
    "minLength": _text,
    "pattern": _text,
    "items": _items,
    "maxItems": _items,
    "minItems": _items,
    "required": _members,
    "properties": _members,
    "additionalProperties": _members,
}
