"""Names by which a report's records refer to one another."""

from collections.abc import Iterator, Sequence

from calaudit.report.faults import GapRecord, ScreenedRecord
from calaudit.report.records import Report, ResultRecord

Reference = tuple[str, str, str]
"""Place in the document, kind of record, its name."""


def references(report: Report) -> Iterator[Reference]:
    """Every place at which a record names another one."""
    for i, cell in enumerate(report.cells):
        if cell.calibset is not None:
            yield f"cells[{i}].calibset", "calibset", cell.calibset
    measured: dict[str, Sequence[ResultRecord | GapRecord | ScreenedRecord]] = {
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
