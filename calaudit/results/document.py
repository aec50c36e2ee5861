"""A report as the JSON document of docs/formats/report.md, and back.

What no schema can check is checked here: names that point nowhere, repeated keys, a total verdict
that doesn't follow from the results.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from calaudit.results.comparison import Result
from calaudit.results.drops import Gap, Screened
from calaudit.results.recommendation import Gain, Shortage
from calaudit.results.report import Report, overall_verdict
from calaudit.results.schema import SHOWN, schema_problems
from calaudit.results.values import adapter_of, field_names
from calaudit.runtime.errors import FileFormatError, Problem, near
from calaudit.runtime.words import visible

Reference = tuple[str, str, str]
"""Place in the document, kind of record, its name."""

FORMAT = "report"
FORMAT_VERSION = 3
"""Version of report.json. What an older release would misread raises it: a key that goes or means
something else, a value that it doesn't know. A new key doesn't: readers ignore keys that they
don't know, and `_LACKING` says what stands for one in files that were written before it.

1: the first.
2 (0.1.0): calibration sets and cells have a role and name their files, gates min_reference; a
report without a judged gate doesn't pass; results have a bound that holds for all at once, a
reason, a family and what they could prove; attribution has several findings and p-values.
3: cells tell of engines that somebody else made, whose precision may be unknown and whose
backend ``elsewhere``.
"""
_ENGINE: Mapping[str, Any] = {
    "left_float": [],
    "macs": None,
    "int8_macs": None,
    "uncounted": 0,
    "exempt": [],
    "exempt_macs": None,
}
_CELL: Mapping[str, Any] = dict.fromkeys(
    ("graph", "cache", "predictions", "given_ranges", "exemption", "foreign")
)
_NEW: Mapping[str, Mapping[str, Any]] = {
    "": {"harm": None, "explanations": [], "recommendation": None, "pictures": [], "bench": None},
    "audit": {"targets": []},
    "exemplars.shown": {"picture": None, "truth": None, "fp32": None, "answers": []},
    "reference": {"predictions": None},
    "metrics": {"per": "sample", "task": None},
    "slices": {"unit": "sample"},
    "cells": _CELL,
    "reference.engine": _ENGINE,
    "reference.engine.not_as_asked": {"macs": None},
    "cells.engine": _ENGINE,
    "cells.engine.not_as_asked": {"macs": None},
}
"""Keys that came after version 2's first release; "" is the report itself."""
_LACKING: Mapping[int, Mapping[str, Mapping[str, Any]]] = {
    1: {
        **_NEW,
        "calibsets": {"role": "candidate", "file": None},
        "cells": {**_CELL, "role": "candidate", "file": None, "scales": None},
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
    2: _NEW,
    3: _NEW,
}
"""Version → part of the report → keys that it or its entries may lack, and what stands for them."""
READABLE = tuple(_LACKING)
"""Versions that can be read."""
RUN_FACTS = ("created", "timings")
"""What two runs of one audit may differ in."""
_AS_THEY_ARE = frozenset({str, int, float, bool, type(None)})


def inconsistencies(report: Report, *, where: object) -> Iterator[Problem]:
    """What no schema can check: names that point nowhere, repeated keys, a wrong total verdict."""
    names = {
        "cell": [cell.id for cell in report.cells],
        "slice": [each.name for each in report.slices],
        "metric": [metric.name for metric in report.metrics],
        "calibset": [each.name for each in report.calibsets],
    }
    for what, known in names.items():
        for name, count in Counter(known).items():
            if count > 1:
                yield Problem(f"{count} records are called {name!r}", f"{where}: {what}s")
    keys = Counter((r.cell, r.slice, r.metric) for r in report.results)
    for key, count in keys.items():
        if count > 1:
            yield Problem(f"{count} results for {', '.join(map(repr, key))}", f"{where}: results")
    names["recipe"] = [each.recipe or each.name for each in report.calibsets]
    known_names = {what: frozenset(known) for what, known in names.items()}
    for place, what, name in references(report):
        if name not in known_names[what]:
            next_step = near(visible(name), map(visible, names[what]))
            yield Problem(f"no {what} is called {name!r}", f"{where}: {place}", next_step)
    yield from _uneven_harm(report, where)
    yield from _misnamed_bench(report, where)
    due = overall_verdict(report.results, report.cells)
    if report.verdict != due:
        yield Problem(f"is {report.verdict}, but the results make it {due}", f"{where}: verdict")


def _uneven_harm(report: Report, where: object) -> Iterator[Problem]:
    """Numbers of harm that aren't one to a slice."""
    if report.harm is None:
        return
    n = len(report.harm.slices)
    for i, cell in enumerate(report.harm.cells):
        place = f"{where}: harm.cells[{i}]"
        for name in ("clipping", "resolution", "output_error"):
            if len(getattr(cell, name)) != n:
                yield Problem(f"must hold {n} numbers, one to a slice", f"{place}.{name}")
        for j, tap in enumerate(cell.taps):
            if not len(tap.clipping) == len(tap.resolution) == n:
                yield Problem(f"must hold {n} numbers, one to a slice", f"{place}.taps[{j}]")


def _misnamed_bench(report: Report, where: object) -> Iterator[Problem]:
    """Benched engines that aren't the report's or are told twice; ratios of what wasn't benched."""
    if report.bench is None:
        return
    reference = report.reference.backend
    known = {cell.id for cell in report.cells} | {"fp32", f"fp32/{reference}"}
    keys = Counter(each.key for each in report.bench.engines)
    for i, each in enumerate(report.bench.engines):
        place = f"{where}: bench.engines[{i}].engine"
        if each.engine not in known:
            step = near(visible(each.engine), map(visible, known))
            yield Problem(f"no engine is called {each.engine!r}", place, step)
        if keys[each.key] > 1:
            yield Problem(f"{each.engine!r} is told twice with variant {each.variant!r}", place)
    for i, one in enumerate((*report.bench.ratios, *report.bench.noise)):
        for key in ((one.engine, one.variant), (one.baseline, one.baseline_variant)):
            if key not in keys:
                yield Problem(f"{key[0]!r} wasn't benched", f"{where}: bench, ratio {i + 1}")


def references(report: Report) -> Iterator[Reference]:
    """Every place at which a record names another one."""
    for i, cell in enumerate(report.cells):
        if cell.calibset is not None:
            yield f"cells[{i}].calibset", "calibset", cell.calibset
    measured: dict[str, Sequence[Result | Gap | Screened]] = {
        "results": report.results,
        "gaps": report.gaps,
        "screening": report.screening,
    }
    for what, named in measured.items():
        for i, one in enumerate(named):
            yield f"{what}[{i}].cell", "cell", one.cell
            yield f"{what}[{i}].slice", "slice", one.slice
            yield f"{what}[{i}].metric", "metric", one.metric
    yield from _of_attribution(report)
    yield from _of_rankings(report)
    yield from _of_exemplars(report)
    yield from _of_pictures(report)
    yield from _of_harm(report)
    yield from _of_explanations(report)
    yield from _of_recommendation(report)
    for i, agreement in enumerate(report.agreement):
        for name in filter(None, (agreement.cell, agreement.other)):
            yield f"agreement[{i}]", "cell", name
    for i, compared in enumerate(report.compared_ranges):
        for name in (compared.cell, compared.other):
            yield f"compared_ranges[{i}]", "cell", name


def _of_attribution(report: Report) -> Iterator[Reference]:
    for i, one in enumerate(report.attribution):
        yield f"attribution[{i}].slice", "slice", one.slice
        yield f"attribution[{i}].metric", "metric", one.metric
        yield f"attribution[{i}].recipe", "recipe", one.recipe
        yield f"attribution[{i}].best", "recipe", one.best
        if one.elsewhere is not None:
            yield f"attribution[{i}].elsewhere.recipe", "recipe", one.elsewhere.recipe


def _of_rankings(report: Report) -> Iterator[Reference]:
    for i, ranking in enumerate(report.ranking_flow):
        yield f"ranking_flow[{i}].cell", "cell", ranking.cell
        for j, part in enumerate(ranking.slices):
            yield f"ranking_flow[{i}].slices[{j}].slice", "slice", part.slice
            for loss in part.losses:
                yield f"ranking_flow[{i}].slices[{j}].losses", "metric", loss.metric


def _of_exemplars(report: Report) -> Iterator[Reference]:
    for i, exemplars in enumerate(report.exemplars):
        yield f"exemplars[{i}].metric", "metric", exemplars.metric
        for j, one in enumerate(exemplars.shown):
            for name in one.slices:
                yield f"exemplars[{i}].shown[{j}].slices", "slice", name


def _of_pictures(report: Report) -> Iterator[Reference]:
    for i, pictures in enumerate(report.pictures):
        yield f"pictures[{i}].metric", "metric", pictures.metric
        for j, one in enumerate(pictures.shown):
            yield f"pictures[{i}].shown[{j}].slice", "slice", one.slice
            yield f"pictures[{i}].shown[{j}].cell", "cell", one.cell


def _of_harm(report: Report) -> Iterator[Reference]:
    if report.harm is None:
        return
    for i, each in enumerate(report.harm.slices):
        yield f"harm.slices[{i}].slice", "slice", each.slice
    for i, one in enumerate(report.harm.cells):
        yield f"harm.cells[{i}].cell", "cell", one.cell
    for i, rank in enumerate(report.harm.ranks):
        if rank.metric is not None:
            yield f"harm.ranks[{i}].metric", "metric", rank.metric


def _of_explanations(report: Report) -> Iterator[Reference]:
    for i, one in enumerate(report.explanations):
        yield f"explanations[{i}].cell", "cell", one.cell
        yield f"explanations[{i}].slice", "slice", one.slice
        yield f"explanations[{i}].metric", "metric", one.metric
        for j, other in enumerate(one.alike):
            yield f"explanations[{i}].alike[{j}].cell", "cell", other.cell
            yield f"explanations[{i}].alike[{j}].slice", "slice", other.slice


def _of_recommendation(report: Report) -> Iterator[Reference]:
    told = report.recommendation
    if told is None:
        return
    for name, cell in (("winner", told.winner), ("plain", told.plain)):
        yield f"recommendation.{name}", "cell", cell
    for i, rival in enumerate(told.rivals):
        yield f"recommendation.rivals[{i}]", "cell", rival
    for i, option in enumerate(told.options):
        named = (("cell", option.cell), ("slice", option.slice), ("metric", option.metric))
        for what, given in named:
            if given is not None:
                yield f"recommendation.options[{i}].{what}", what, given
    judged: dict[str, Sequence[Gain | Shortage]] = {"gains": told.gains, "collect": told.collect}
    for what, found in judged.items():
        for i, one in enumerate(found):
            yield f"recommendation.{what}[{i}].slice", "slice", one.slice
            yield f"recommendation.{what}[{i}].metric", "metric", one.metric
    for i, limit in enumerate(() if told.bound is None else told.bound.limits):
        yield f"recommendation.bound.limits[{i}].slice", "slice", limit.slice


def to_document(report: Report) -> dict[str, Any]:
    """`report` as JSON values, keys in the published order, those of open mappings sorted."""
    return {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{f.name: jsonable(getattr(report, f.name)) for f in dataclasses.fields(report)},
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
    report: Report = adapter_of(Report).validate_python(made)
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
        made = _completed(made, part.split(".") if part else [], lacking)
    return _from_version_1(made) if document["format_version"] == 1 else made


def _completed(value: Any, path: Sequence[str], lacking: Mapping[str, Any]) -> Any:
    """A copy in which what is at `path`, or each of a list there, has all keys of `lacking`."""
    if isinstance(value, list):
        return [_completed(each, path, lacking) for each in value]
    if not isinstance(value, Mapping):
        return value
    if not path:
        return {**lacking, **value}
    name, *rest = path
    return {**value, name: _completed(value[name], rest, lacking)} if name in value else value


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


def without_times(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` without what differs between equal runs: ``created`` and ``timings``."""
    return {key: value for key, value in document.items() if key not in RUN_FACTS}


def jsonable(value: Any) -> Any:
    """Dataclasses as mappings in field order, open mappings sorted, tuples as lists."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, Mapping):
        return {key: jsonable(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [jsonable(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if dataclasses.is_dataclass(kind):
        return {name: jsonable(getattr(value, name)) for name in field_names(kind)}
    return value
