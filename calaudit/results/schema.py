"""The JSON Schemas of report.json and ab.json, and problems a person can fix, not their errors."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from calaudit.results.accepting import Check, accepting
from calaudit.runtime.errors import Problem, near

if TYPE_CHECKING:
    from jsonschema import ValidationError

SHOWN = 20
"""Problems that are told one by one; the rest is counted."""
_checks: dict[str, Check] = {}
"""By the schema's own name."""


def report_schema() -> Mapping[str, Any]:
    """The schema of report.json, as published in ``calaudit/results/report.schema.json``.

    ``docs/generate.py`` makes it from the dataclasses.
    """
    return _published("report.schema.json")


def ab_schema() -> Mapping[str, Any]:
    """The schema of ab.json, as published in ``calaudit/results/ab.schema.json``."""
    return _published("ab.schema.json")


@cache
def _published(name: str) -> Mapping[str, Any]:
    text = files("calaudit.results").joinpath(name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def schema_problems(
    document: Any, *, where: object, schema: Mapping[str, Any] | None = None
) -> list[Problem]:
    """What keeps `document` from fitting, each with its place (``results[3].verdict``).

    Parameters
    ----------
    document : any
        As `json.loads` gives it.
    where : object
        The file, for messages.
    schema : mapping, optional
        By default that of report.json.
    """
    wanted = report_schema() if schema is None else schema
    if _check_of(wanted)(document):
        return []
    from jsonschema import Draft202012Validator  # slow to import, and seldom needed

    validator = Draft202012Validator(dict(wanted))
    found: list[Problem] = []
    for error in validator.iter_errors(document):
        found += _problems(error, where)
        if len(found) > SHOWN:
            rest = Problem("and more of this kind", str(where), "Fix these first.")
            return [*found[:SHOWN], rest]
    return found


def _check_of(schema: Mapping[str, Any]) -> Check:
    name = schema["$id"]
    if name not in _checks:
        _checks[name] = accepting(schema)
    return _checks[name]


def _problems(error: "ValidationError", where: object) -> Iterator[Problem]:
    place = f"{where}: {dotted(error.absolute_path)}" if error.absolute_path else str(where)
    value: Any = error.instance
    wanted: Any = error.validator_value
    match error.validator:
        case "required":
            # there is one error per missing key, which only its message names
            for key in wanted:
                if error.message.startswith(repr(key)):
                    yield Problem(f"the key {key!r} is missing", place)
        case "enum":
            known = [str(choice) for choice in wanted if choice is not None]
            yield Problem(
                f"{_shown(value)} isn't one of the values", place, near(str(value), known)
            )
        case "const":
            yield Problem(f"must be {wanted!r} (got {_shown(value)})", place)
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            yield Problem(f"must be {' or '.join(kinds)} (got {_shown(value)})", place)
        case _:
            yield Problem(f"{_sentence(error)} (got {_shown(value)})", place)


def _sentence(error: "ValidationError") -> str:
    limits = {
        "minimum": "must be at least",
        "maximum": "must be at most",
        "exclusiveMinimum": "must be more than",
        "exclusiveMaximum": "must be less than",
        "minLength": "must be a text of a length of at least",
        "pattern": "must look like",
    }
    return (
        f"{limits.get(str(error.validator), f'breaks {error.validator}')} {error.validator_value}"
    )


def dotted(path: Iterable[str | int]) -> str:
    """A JSON path as people write it: ``results[3].flips.lost``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
