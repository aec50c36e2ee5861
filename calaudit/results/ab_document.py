"""An A/B replay's record as the JSON document of docs/formats/ab.md, and back."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from calaudit.results.ab import AbRecord
from calaudit.results.document import jsonable
from calaudit.results.schema import SHOWN, ab_schema, schema_problems
from calaudit.results.values import adapter_of
from calaudit.runtime.errors import FileFormatError, Problem, near

FORMAT = "ab"
FORMAT_VERSION = 1
"""Version of ab.json. 1: the first."""


def ab_to_document(record: AbRecord) -> dict[str, Any]:
    """`record` as JSON values, keys in the published order, those of open mappings sorted."""
    fields = dataclasses.fields(record)
    return {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{each.name: jsonable(getattr(record, each.name)) for each in fields},
    }


def ab_problems(document: Mapping[str, Any], record: AbRecord, *, where: object) -> list[Problem]:
    """What keeps a record from being published: its schema, names that point nowhere."""
    found = schema_problems(document, where=where, schema=ab_schema())
    return found or list(_inconsistencies(record, where))


def read_ab_document(document: Any, *, where: object) -> AbRecord:
    """The record that a document holds; keys that this release doesn't know are ignored.

    Parameters
    ----------
    document : any
        As `json.loads` gives it.
    where : object
        The file, for messages.

    Raises
    ------
    FileFormatError
        Not an A/B record, of another version, or broken: every problem with its place.
    """
    kind = document.get("calaudit_format") if isinstance(document, dict) else None
    if kind != FORMAT:
        raise FileFormatError(
            f"isn't an A/B record: calaudit_format is {kind!r}",
            where=where,
            next_step="Give the ab.json that calaudit ab wrote.",
        )
    if document.get("format_version") != FORMAT_VERSION:
        raise FileFormatError(
            f"format_version {document.get('format_version')!r} can't be read by this release",
            where=where,
            next_step=f"Known: {FORMAT_VERSION}. Update calaudit, or run calaudit ab again.",
        )
    problems = schema_problems(document, where=where, schema=ab_schema())
    if problems:
        raise FileFormatError.of(problems)
    record: AbRecord = adapter_of(AbRecord).validate_python(document)
    problems = list(_inconsistencies(record, where))
    if problems:
        raise FileFormatError.of(problems[:SHOWN])
    return record


def _inconsistencies(record: AbRecord, where: object) -> Iterator[Problem]:
    if [arm.role for arm in record.arms] != ["control", "treatment"]:
        yield Problem("must be the control, then the treatment", f"{where}: arms")
    if len({arm.name for arm in record.arms}) < 2:
        yield Problem(f"both are called {record.arms[0].name!r}", f"{where}: arms")
    known = [metric.name for metric in record.metrics]
    for i, one in enumerate(record.results):
        if one.kind == "quality" and one.metric not in known:
            place = f"{where}: results[{i}].metric"
            yield Problem(f"no metric is called {one.metric!r}", place, near(one.metric, known))
    for i, arm in enumerate(record.arms):
        counted = sum(arm.statuses.values())
        if counted != arm.requests:
            place = f"{where}: arms[{i}].statuses"
            yield Problem(f"add up to {counted}, and {arm.requests} requests were sent", place)
