"""A report as the JSON document of docs/formats/report.md, and back."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from calaudit.results.consistency import inconsistencies
from calaudit.results.report import Report
from calaudit.results.schema import SHOWN, schema_problems
from calaudit.runtime.errors import FileFormatError

FORMAT = "report"
FORMAT_VERSION = 2
"""Version of report.json. What an older release would misread raises it: a key that goes or means
something else, a value that it doesn't know. A new key doesn't: readers ignore keys that they
don't know, and `_LACKING` says what stands for one in files that were written before it.

1: the first.
2 (0.1.0): calibration sets and cells have a role and name their files, gates min_reference; a
report without a judged gate doesn't pass; results have a bound that holds for all at once, a
reason, a family and what they could prove; attribution has several findings and p-values.
"""
_LACKING: Mapping[int, Mapping[str, Mapping[str, Any]]] = {
    1: {
        "calibsets": {"role": "candidate", "file": None},
        "cells": {"role": "candidate", "file": None, "scales": None},
        "results": dict.fromkeys(
            (
                "joint_low",
                "reason",
                "family",
                "family_size",
                "standard_error",
                "n_effective",
                "smallest_provable_drop",
                "n_to_prove",
            )
        ),
        "attribution": {
            "settled": False,
            "elsewhere": None,
            "p_price": None,
            "p_addition": None,
            "findings": [],
        },
    },
    2: {},
}
"""Version → part of the report → keys that its entries may lack, and what stands for them."""
READABLE = tuple(_LACKING)
"""Versions that can be read."""

RUN_FACTS = ("created", "timings")
"""What two runs of one audit may differ in."""


def to_document(report: Report) -> dict[str, Any]:
    """`report` as JSON values, keys in the published order, those of open mappings sorted."""
    return {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{f.name: _jsonable(getattr(report, f.name)) for f in dataclasses.fields(report)},
    }


def read_document(document: Any, *, where: object) -> Report:
    """The report that a document of any of the `READABLE` versions holds.

    Keys that this release doesn't know are ignored.

    Parameters
    ----------
    document : any
        As `json.loads` gives it.
    where : object
        The file, for messages.

    Raises
    ------
    FileFormatError
        Not a report, of another version, or broken: every problem with its place.
    """
    _check_head(document, where)
    made = _upgraded(document)
    problems = schema_problems(made, where=where)
    if problems:
        raise FileFormatError.of(problems)
    report = _report_of(made)
    problems = list(inconsistencies(report, where=where))
    if problems:
        raise FileFormatError.of(problems[:SHOWN])
    return report


def _check_head(document: Any, where: object) -> None:
    found = document.get("calaudit_format") if isinstance(document, dict) else None
    if found != FORMAT:
        what = "no calaudit_format in it" if found is None else f"calaudit_format is {found!r}"
        raise FileFormatError(
            f"isn't a calaudit report: {what}",
            where=where,
            next_step="Give the report.json that calaudit compare wrote.",
        )
    version = document.get("format_version")
    if version not in READABLE:
        raise FileFormatError(
            f"format_version {version!r} can't be read by this release",
            where=where,
            next_step=f"Known: {', '.join(map(str, READABLE))}. Update calaudit, or run the audit "
            "again.",
        )


def _upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as this version has it.

    What older files lack is filled in, wherever the document is as they have it; what isn't is
    left to the schema.
    """
    made = {**document, "format_version": FORMAT_VERSION}
    for part, lacking in _LACKING[document["format_version"]].items():
        entries = made.get(part)
        if isinstance(entries, list):
            made[part] = [
                {**lacking, **each} if isinstance(each, Mapping) else each for each in entries
            ]
    return _from_version_1(made) if document["format_version"] == 1 else made


def _from_version_1(made: dict[str, Any]) -> dict[str, Any]:
    for one in made["attribution"] if isinstance(made.get("attribution"), list) else ():
        if isinstance(one, dict) and "finding" in one:
            found = one.pop("finding")
            one["findings"] = [] if found is None else [found]
    results = made.get("results")
    if isinstance(results, list):
        made["results"] = [_with_floor(one) for one in results]
        gated = any(isinstance(one, Mapping) and one.get("gate") for one in results)
        if not gated and made.get("verdict") == "PASS":
            made["verdict"] = "INCONCLUSIVE"
    return made


def _with_floor(result: Any) -> Any:
    gate = result.get("gate") if isinstance(result, Mapping) else None
    if not isinstance(gate, Mapping):
        return result
    return {**result, "gate": {"min_reference": None, **gate}}


def _report_of(document: Mapping[str, Any]) -> Report:
    from pydantic import TypeAdapter

    return TypeAdapter(Report).validate_python(document)


def without_times(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` without what differs between equal runs: ``created`` and ``timings``."""
    return {key: value for key, value in document.items() if key not in RUN_FACTS}


def _jsonable(value: Any) -> Any:
    """Dataclasses as mappings in field order, open mappings sorted, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _jsonable(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {each.name: _jsonable(getattr(value, each.name)) for each in fields}
    return value
