"""Settings: strict, typed values read from TOML, with every problem located.

A settings class is a frozen dataclass declared with :func:`setting`. Reading validates types and
refuses unknown keys; all problems are raised at once, each with its place in the file and, for an
unknown key, the near ones.
"""

import dataclasses
import json
import operator
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar, dataclass_transform

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from calaudit.runtime.errors import CalauditError, Problem, SettingsError, near
from calaudit.runtime.outside import is_ours
from calaudit.runtime.user_code import blamed

T = TypeVar("T")
_MOST_BYTES = 16 << 20
"""Of a TOML file: a device or a data file would fill the memory."""
_RENAMED = "x-renamed"
"""Where a settings class's JSON Schema keeps the former names of its keys."""
_MEANT = "x-meant"
"""Where it keeps what keys and choices are called elsewhere."""
_CHOICES = "x-choices"
"""Where it keeps what keys that have to be there may say."""

_EXPECTED = {
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
}
_BRANCHES = ("int", "float", "str", "bool")
"""What pydantic adds to a place where several types are allowed."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def setting(
    cls: type[T] | None = None,
    *,
    renamed: Mapping[str, str] | None = None,
    meant: Mapping[str, str] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> Any:  # a class, or what decorates one
    """Declare a settings class: a frozen, slotted, keyword-only dataclass without unknown keys.

    Checks that concern several fields belong in ``__post_init__``, raised as `SettingsError`
    or `ValueError`.

    Parameters
    ----------
    cls : type
    renamed : mapping, optional
        Former key → today's: a file that has the former one is told so.
    meant : mapping, optional
        What keys and choices are called elsewhere → their names here, which are then proposed.
    choices : mapping, optional
        Key that has no default → what it may say, for who leaves it out.
    """
    if cls is None:
        return partial(setting, renamed=renamed, meant=meant, choices=choices)
    made = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)
    told = {key: list(each) for key, each in (choices or {}).items()}
    extra = {_RENAMED: dict(renamed or {}), _MEANT: dict(meant or {}), _CHOICES: told}
    config = {"extra": "forbid", "json_schema_extra": extra}
    type.__setattr__(made, "__pydantic_config__", config)
    return made


def keys_of(cls: type[Any]) -> frozenset[str]:
    """The keys of a settings class, former ones included: what reading it has to be given."""
    config: Mapping[str, Any] = vars(cls)["__pydantic_config__"]
    renamed: Mapping[str, str] = config["json_schema_extra"][_RENAMED]
    return frozenset([*(each.name for each in dataclasses.fields(cls)), *renamed])


def meant_in(cls: type[Any]) -> Mapping[str, str]:
    """What keys and choices of a settings class are called elsewhere → their names."""
    config: Mapping[str, Any] = vars(cls)["__pydantic_config__"]
    meant: Mapping[str, str] = config["json_schema_extra"][_MEANT]
    return meant


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises
    ------
    SettingsError
        The file is missing, unreadable, or not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SettingsError(
                f"is larger than {_MOST_BYTES >> 20} MiB, too large for a settings file",
                where=path,
                next_step="Check the path.",
            )
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(
            "isn't text, so it can't be TOML", where=path, next_step="Check the path."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"can't be read: {error.strerror or error}", where=path, next_step="Check the path."
        ) from None
    except tomllib.TOMLDecodeError as error:
        if content.lstrip().startswith(b"{"):  # which no TOML file does
            raise SettingsError(
                "is JSON, such as a report, and no TOML file",
                where=path,
                next_step="Give the TOML file: of an audit, the one that calaudit compare ran.",
            ) from None
        raise SettingsError(
            f"isn't valid TOML: {error}", where=path, next_step="Fix the line it names."
        ) from None


def read_settings(path: Path, cls: type[T]) -> T:
    """Read a TOML file into a settings class. Raises `SettingsError` with every problem."""
    return parse_settings(read_toml(path), cls, where=path)


def parse_settings(values: Mapping[str, Any], cls: type[T], *, where: object, at: str = "") -> T:
    """Validate a mapping into a settings class.

    Parameters
    ----------
    values : mapping
        As TOML gives it.
    cls : type
        A class made by :func:`setting`.
    where : object
        File or flag the values came from, for messages.
    at : str
        Place of the values in the file, such as ``"slices[2]"``.

    Raises
    ------
    SettingsError
        With one problem per wrong, missing or unknown key.
    """
    name = f"{cls.__module__}:{cls.__qualname__}"
    told = blamed(name, "failed", SettingsError, but=ValidationError)
    try:
        with nullcontext() if is_ours(cls) else told:
            made: T = _strictly(_ADAPTERS[cls], values)
    except ValidationError as error:
        problems = [
            problem
            for line in error.errors(include_url=False)
            for problem in _problems(dict(line), cls, where, at)
        ]
        raise SettingsError.of(_without_contradictions(problems)) from None
    return made


def whole_number(value: object, name: str, *, least: int = 0) -> int:
    """A parameter from Python as a whole number from `least` to 2^63 - 1, numpy's included.

    Raises
    ------
    SettingsError
        It is something else, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise SettingsError(
            f"should be a whole number (got {value!r})",
            where=name,
            next_step=f"Give one from {least} on.",
        )
    number = operator.index(value)
    if not least <= number < 2**63:
        raise SettingsError(
            f"must lie between {least} and 2^63 - 1 (got {number})",
            where=name,
            next_step=f"Give one from {least} on.",
        )
    return number


def check_settings(cls: type[Any], offer: str) -> None:
    """Refuse a class of another package that no settings can be parsed into.

    Parameters
    ----------
    cls : type
    offer : str
        What messages call it.

    Raises
    ------
    SettingsError
        It isn't made by :func:`setting`, or has a field of a type that TOML has no values of.
    """
    if not isinstance(cls, type) or "__pydantic_config__" not in vars(cls):
        raise SettingsError(
            f"{offer} keeps its settings in {cls!r}, which isn't made by "
            "calaudit.runtime.settings.setting",
            next_step="Write @setting above the class.",
        )
    what = "has settings that can't be read"
    with blamed(offer, what, SettingsError):
        try:
            _ADAPTERS[cls].json_schema()
        except PydanticUserError as error:
            told = error.message.partition(".")[0].partition("\n")[0]
            raise SettingsError(
                f"{offer} {what}: {told}",
                next_step="Give its fields types that TOML has values of.",
            ) from None


def _strictly(adapter: TypeAdapter[T], values: Mapping[str, Any]) -> T:
    """Without conversions, such as of true to 1."""
    # As JSON, since only there strictness lets a list stand for a tuple, a table for a class.
    text = json.dumps(dict(values), default=_without_json)
    try:
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid":
            raise
        # Text that isn't Unicode, which files of JSON may hold, and pydantic's JSON may not.
        return adapter.validate_python(dict(values))


def _without_json(value: Any) -> Any:
    """A settings value, as Python gives one, or numpy's number as what TOML has.

    What stands for anything else, such as a date, is a value that no setting takes.
    """
    if "__pydantic_config__" in vars(type(value)):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, SupportsIndex):
        return operator.index(value)
    return {type(value).__name__: str(value)}


class _Adapters(dict[type[Any], TypeAdapter[Any]]):
    """pydantic's view of each settings class: making one takes milliseconds."""

    def __missing__(self, cls: type[Any]) -> TypeAdapter[Any]:
        made = self[cls] = TypeAdapter(cls)
        return made


_ADAPTERS = _Adapters()


def _problems(line: dict[str, Any], cls: type[Any], where: object, at: str) -> list[Problem]:
    path = tuple(line["loc"])
    inside = ".".join(part for part in (at, _dotted(path)) if part)
    place = f"{where}: {inside}" if inside else str(where)
    cause = line.get("ctx", {}).get("error")
    if isinstance(cause, CalauditError):
        return [
            Problem(p.message, place, p.next_step or "Change the value.") for p in cause.problems
        ]
    kind = line["type"]
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return [_unknown(str(path[-1]), _tables_at(cls, path[:-1]), place)]
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        tables = _tables_at(cls, path[:-1])
        offered = [one for each in tables for one in each.get(_CHOICES, {}).get(path[-1], ())]
        step = f"Add it, as one of {', '.join(offered)}." if offered else "Add it."
        return [Problem("this key is missing", place, step)]
    if kind in {"dataclass_type", "dict_type", "mapping_type"}:
        return [Problem(f"should be a table (got {line.get('input')!r})", place, "Write a table.")]
    message = _EXPECTED.get(kind, str(line["msg"]).removeprefix("Value error, "))
    value = line.get("input")
    shown = "" if isinstance(value, Mapping) else f" (got {_as_written(value)})"
    next_step = "Change the value."
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", line["ctx"]["expected"])
        next_step = near(str(value), choices, meant=meant_in(cls))
    return [Problem(f"{message[:1].lower()}{message[1:]}{shown}", place, next_step)]


def _without_contradictions(problems: list[Problem]) -> list[Problem]:
    """Where a value may be of several types, one problem that names them all.

    Where a list was given and one may stand there, what is wrong within it.
    """
    found: dict[tuple[str | None, str], Problem] = {}
    places = [each.where or "" for each in problems]
    for each in problems:
        wanted, got, value = each.message.partition(" (got ")
        if not got or wanted not in _EXPECTED.values():
            found[each.where, each.message] = each
            continue
        if any(place.startswith(f"{each.where}[") for place in places):
            continue
        other = found.get((each.where, value))
        if other is not None:
            either = other.message.partition(" (got ")[0]
            rest = wanted.removeprefix("should be ")
            wanted = either if rest in either else f"{either} or {rest}"
            wanted = wanted.replace("a whole number or a number", "a number")
        found[each.where, value] = Problem(f"{wanted}{got}{value}", each.where, each.next_step)
    return list(found.values())


def _as_written(value: Any) -> str:
    """A value as TOML has it, as far as JSON does the same: ``true``, not ``True``."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str) else repr(value)


def _dotted(path: tuple[Any, ...]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "[" not in str(part) and part not in _BRANCHES:
            text += f".{part}" if text else str(part)
    return text


def _unknown(key: str, tables: list[Mapping[str, Any]], place: str) -> Problem:
    """What to say of a key that none of the tables allowed there has."""
    for table in tables:
        if key in table.get(_RENAMED, {}):
            now = table[_RENAMED][key]
            return Problem(f"this key was renamed to {now}", place, f"Write {now} instead.")
    known = set[str]().union(*(table.get("properties", {}) for table in tables))
    meant = {word: name for table in tables for word, name in table.get(_MEANT, {}).items()}
    return Problem("unknown key", place, near(key, sorted(known), meant=meant))


def _tables_at(cls: Any, path: tuple[Any, ...]) -> list[Mapping[str, Any]]:
    """Schemas of the tables allowed at `path`: walks fields through lists and unions."""
    schema = _ADAPTERS[cls].json_schema()
    return list(_walk(schema, schema, tuple(p for p in path if not isinstance(p, int))))


def _walk(
    node: Mapping[str, Any], root: Mapping[str, Any], path: tuple[Any, ...]
) -> Iterator[Mapping[str, Any]]:
    branches = [*node.get("anyOf", []), *node.get("oneOf", [])]
    if "$ref" in node:
        branches = [root["$defs"][node["$ref"].rsplit("/", 1)[1]]]
    elif isinstance(node.get("items"), Mapping):
        branches = [node["items"]]
    if branches:
        for branch in branches:
            yield from _walk(branch, root, path)
    elif not path:
        yield node
    elif path[0] in node.get("properties", {}):
        yield from _walk(node["properties"][path[0]], root, path[1:])
    elif isinstance(node.get("additionalProperties"), Mapping):
        yield from _walk(node["additionalProperties"], root, path[1:])


def as_values(made: Any) -> dict[str, Any]:
    """A settings value as plain TOML/JSON values, defaults included."""
    values: dict[str, Any] = _ADAPTERS[type(made)].dump_python(made, mode="json")
    return values
