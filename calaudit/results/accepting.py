"""Whether a document keeps to a JSON Schema: a quick yes, or "not for certain".

jsonschema says what is wrong and where, and takes seconds for a report of ten thousand results, of
which there is nearly always nothing to say. What a check accepts, jsonschema accepts; whatever it
doesn't, an integer written as ``3.0`` among it, is left to jsonschema.

A check is asked of all values that stand at one place of the schema together: a field of ten
thousand results is one list, whose types are looked at in one call.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import ge, gt, itemgetter, le, lt
from typing import Any, Final

Check = Callable[[Any], bool]
"""Whether a value is certainly valid."""
_CheckAll = Callable[[Sequence[Any]], bool]
"""Whether all of these values are."""
_Compile = Callable[[Mapping[str, Any]], _CheckAll]

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
    made: dict[str, _CheckAll] = {}

    def referred(name: str) -> _CheckAll:
        def itself(values: Sequence[Any]) -> bool:
            return made[name](values)

        if name not in made:
            made[name] = itself
            made[name] = compiled(schema["$defs"][name])
        return made[name]

    def compiled(part: Mapping[str, Any]) -> _CheckAll:
        kinds = dict.fromkeys(
            _CHECKS.get(key, _unknown) for key in part if key not in {*_SAID, "$ref"}
        )
        checks = [kind(part, compiled) for kind in kinds]
        if "$ref" in part:
            checks.append(referred(part["$ref"].removeprefix("#/$defs/")))
        return checks[0] if len(checks) == 1 else lambda values: all(c(values) for c in checks)

    check = compiled(schema)
    return lambda value: check([value])


def _unknown(part: Mapping[str, Any], _: _Compile) -> _CheckAll:
    return lambda values: not values


def _type(part: Mapping[str, Any], _: _Compile) -> _CheckAll:
    named = part["type"]
    names = [named] if isinstance(named, str) else named
    kinds = frozenset(kind for name in names for kind in _KINDS[name])
    return lambda values: kinds.issuperset(map(type, values))


def _enum(part: Mapping[str, Any], _: _Compile) -> _CheckAll:
    allowed = {(type(each), each) for each in part.get("enum", [part.get("const")])}
    return lambda values: (
        _SCALARS.issuperset(map(type, values))
        and allowed.issuperset(zip(map(type, values), values, strict=True))
    )


def _limits(
    key: str, outermost: Callable[[list[Any]], Any], holds: Callable[[Any, Any], bool]
) -> Callable[[Mapping[str, Any], _Compile], _CheckAll]:
    def check(part: Mapping[str, Any], _: _Compile) -> _CheckAll:
        limit = part[key]

        def within(values: Sequence[Any]) -> bool:
            numbers = [value for value in values if type(value) in _NUMBERS]
            return not numbers or holds(outermost(numbers), limit)

        return within

    return check


def _text(part: Mapping[str, Any], _: _Compile) -> _CheckAll:
    least, pattern = part.get("minLength", 0), part.get("pattern")
    found = None if pattern is None else re.compile(pattern).search

    def check(values: Sequence[Any]) -> bool:
        texts = [value for value in values if type(value) is str]
        return min(map(len, texts), default=least) >= least and (
            found is None or all(map(found, texts))
        )

    return check


def _items(part: Mapping[str, Any], compiled: _Compile) -> _CheckAll:
    each = compiled(part.get("items", {}))
    least, most = part.get("minItems", 0), part.get("maxItems", float("inf"))

    def check(values: Sequence[Any]) -> bool:
        lists = [value for value in values if type(value) is list]
        if not all(least <= len(one) <= most for one in lists):
            return False
        items = list(chain.from_iterable(lists))
        return not items or each(items)

    return check


def _members(part: Mapping[str, Any], compiled: _Compile) -> _CheckAll:
    required = frozenset(part.get("required", ()))
    known = {name: compiled(own) for name, own in part.get("properties", {}).items()}
    given = part.get("additionalProperties", True)
    rest: _CheckAll = (lambda _: given) if isinstance(given, bool) else compiled(given)

    def check(values: Sequence[Any]) -> bool:
        objects = [value for value in values if type(value) is dict]
        if not all(required <= one.keys() for one in objects):
            return False
        names: set[str] = set().union(*objects)
        for name in names & known.keys():
            if name in required:
                column = list(map(itemgetter(name), objects))
            else:
                column = [one[name] for one in objects if name in one]
            if not known[name](column):
                return False
        others = names - known.keys()
        left = [one[name] for name in others for one in objects if name in one]
        return not left or rest(left)

    return check


_NUMBERS: Final = frozenset({int, float})
_SCALARS: Final = frozenset({int, float, bool, str, type(None)})
_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], _Compile], _CheckAll]]] = {
    "type": _type,
    "enum": _enum,
    "const": _enum,
    "minimum": _limits("minimum", min, ge),
    "maximum": _limits("maximum", max, le),
    "exclusiveMinimum": _limits("exclusiveMinimum", min, gt),
    "exclusiveMaximum": _limits("exclusiveMaximum", max, lt),
    "minLength": _text,
    "pattern": _text,
    "items": _items,
    "maxItems": _items,
    "minItems": _items,
    "required": _members,
    "properties": _members,
    "additionalProperties": _members,
}
