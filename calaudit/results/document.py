"""A report as the JSON document of docs/formats/report.md, and back."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from calaudit.results.report import Report

FORMAT = "report"
FORMAT_VERSION = 2
"""Version of report.json. Any new key or value raises it, since the schema is strict.

1: the first.
2 (0.1.0): calibration sets and cells have a role and name their files, gates min_reference; a
report without a judged gate doesn't pass; results have a bound that holds for all at once, a
reason, a family and what they could prove; attribution has several findings and p-values.
"""
READABLE = (1, FORMAT_VERSION)
"""Versions that :func:`upgraded` knows."""

_NEW_KEYS: Mapping[str, Mapping[str, Any]] = {
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
}
"""Part of a report of version 1 → keys that its entries lack, and what stands for them."""

RUN_FACTS = ("created", "timings")
"""What two runs of one audit may differ in."""

_HEAD = frozenset({"calaudit_format", "format_version"})

_ORDER = (
    "calaudit_format",
    "format_version",
    "calaudit_version",
    "created",
    "verdict",
    "audit",
    "metrics",
    "reference",
    "calibsets",
    "cells",
    "slices",
    "results",
    "ranking_flow",
    "exemplars",
    "attribution",
    "gaps",
    "screening",
    "agreement",
    "compared_ranges",
    "warnings",
    "timings",
)


def to_document(report: Report) -> dict[str, Any]:
    """`report` as JSON values, keys in the published order, those of open mappings sorted."""
    values = {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{f.name: _jsonable(getattr(report, f.name)) for f in dataclasses.fields(report)},
    }
    return {key: values[key] for key in _ORDER}


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of any of the `READABLE` versions, as this version has it.

    What older versions lack is filled in, wherever the document is as they have it; what isn't is
    left to the schema.
    """
    if document.get("format_version") == FORMAT_VERSION:
        return dict(document)
    made = {**document, "format_version": FORMAT_VERSION}
    for part, lacking in _NEW_KEYS.items():
        entries = made.get(part)
        if isinstance(entries, list):
            made[part] = [
                {**lacking, **each} if isinstance(each, Mapping) else each for each in entries
            ]
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


def from_document(document: Mapping[str, Any]) -> Report:
    """The report that a document of this version holds; it must satisfy the schema."""
    values = {key: document[key] for key in document if key not in _HEAD}
    return TypeAdapter(Report).validate_python(values)


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
