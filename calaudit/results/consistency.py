"""What no schema can check: names that point nowhere, repeated keys, a wrong total verdict."""

from collections import Counter
from collections.abc import Iterator, Sequence

from calaudit.results.comparison import Result
from calaudit.results.drops import Gap, Screened
from calaudit.results.report import Report, overall_verdict
from calaudit.runtime.errors import Problem, near
from calaudit.runtime.words import visible

Reference = tuple[str, str, str]
"""Place in the document, kind of record, its name."""


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
    due = overall_verdict(report.results, report.cells)
    if report.verdict != due:
        yield Problem(f"is {report.verdict}, but the results make it {due}", f"{where}: verdict")


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
