"""Pictures for a report: which samples, what is drawn over them, and their files beside it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.formats.pictures import (
    FOLDER,
    as_image,
    as_pixels,
    picture_name,
    pictures_in,
    write_mask,
    write_picture,
)
from calaudit.formats.predictions import Predictions
from calaudit.metrics.base import Metric
from calaudit.results.drops import Exemplar, Exemplars, Said
from calaudit.results.pictures import Depiction, Picture, Pictures
from calaudit.results.report import Report
from calaudit.runtime.pool import Pool, batches
from calaudit.statistics.criteria import Comparison
from calaudit.steps.pictures import Choice, Chosen, choose_units
from calaudit.steps.score import Scored
from calaudit.tasks.base import EvalSet, Task
from calaudit.tasks.depiction import Losses, Shown, Sides

_PIECE = 1024
"""Units whose answers are in memory at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class _Engines:
    """What engines answered for one evaluation set, a piece at a time."""

    eval_set: EvalSet
    reference: Predictions
    cells: Mapping[str, Predictions]

    @property
    def depicts(self) -> bool:
        """Whether the kind of task shows anything of single units."""
        return type(self.eval_set.task).depict is not Task.depict

    def losses(self, cell: str) -> Losses | None:
        """What every unit lost, by the kind of task."""
        eval_set, found = self.eval_set, []
        for units in batches(np.arange(len(eval_set.truth), dtype=np.int64), _PIECE):
            one = eval_set.task.losses(eval_set, units, self.reference, self.cells[cell])
            if one is None:
                return None
            found.append(one)
        reference, lost = (
            [getattr(each, name) for each in found] for name in ("reference", "lost")
        )
        return Losses(found[0].by, np.concatenate(reference), np.concatenate(lost))

    def sides(self, cell: str, units: NDArray[np.int64]) -> list[Sides] | None:
        """Truth, FP32 and a cell of some units, which may repeat; None where nothing is shown."""
        once, places = np.unique(units, return_inverse=True)
        given = self.reference, self.cells[cell]
        told = self.eval_set.task.depict(self.eval_set, once, *given)
        return None if told is None else [told[place] for place in places.tolist()]


def make_pictures(
    audit: Audit,
    scored: Sequence[Scored],
    comparisons: Sequence[Comparison],
    exemplars: Iterable[Exemplars],
    *,
    reference: Predictions,
    cells: Mapping[str, Predictions],
) -> tuple[list[Pictures], list[Exemplars]]:
    """Choose samples worth a picture, and write their files into the audit's folder.

    Parameters
    ----------
    audit : Audit
        Its folder is held.
    scored, comparisons, exemplars
        What the audit found.
    reference : Predictions
        FP32's.
    cells : mapping
        Cell id → its engine's predictions.

    Returns
    -------
    list of Pictures
        By each task's first metric and those that are gated.
    list of Exemplars
        Those given, with their pictures and what engines said of them.

    Raises
    ------
    OutputError
        A file can't be written.
    """
    most = audit.config.audit.pictures
    found: list[Pictures] = []
    listed = list(exemplars)
    if not most:
        return [], listed
    files = _Files(audit.plan.report.parent / FOLDER, audit.pool)
    for one in scored:
        engines = _Engines(_shown_by(one.eval_set, scored), reference, cells)
        for metric in _metrics(one, comparisons) if engines.depicts else ():
            choice = choose_units(
                one,
                metric,
                comparisons,
                recipes={cell.id: _recipe(cell) for cell in audit.plan.cells},
                controls=frozenset(c.id for c in audit.plan.cells if c.role == "control"),
                losses_of=engines.losses,
                most=most,
            )
            if choice is not None:
                found += _pictures(audit, engines, choice, files)
        names = {metric.name for metric in one.eval_set.metrics}
        listed = [
            _completed(audit, one.eval_set, engines, each, files) if each.metric in names else each
            for each in listed
        ]
    return found, listed


def _shown_by(eval_set: EvalSet, scored: Iterable[Scored]) -> EvalSet:
    """The task's evaluation set of samples, which shows those that objects are in."""
    if eval_set.row_of_unit is None:
        return eval_set
    others = (one.eval_set for one in scored if one.eval_set.task == eval_set.task)
    return next((each for each in others if each.first_rows is None), eval_set)


def remove_pictures(folder: Path, report: Report) -> None:
    """Delete pictures in a results folder that its report doesn't name. The caller holds it."""
    named = set(_named(report))
    for path in pictures_in(folder / FOLDER):
        if path.name not in named:
            path.unlink(missing_ok=True)


def _named(report: Report) -> Iterator[str | None]:
    for group in report.exemplars:
        yield from (one.picture for one in group.shown)
    for pictures in report.pictures:
        for each in pictures.shown:
            yield from (each.file, each.truth.mask, each.fp32.mask, each.engine.mask)


def _metrics(scored: Scored, comparisons: Iterable[Comparison]) -> list[Metric]:
    gated = {each.by for each in comparisons if each.gate is not None}
    return [
        metric
        for number, metric in enumerate(scored.eval_set.metrics)
        if not metric.is_agreement and (metric in gated or not (number or gated))
    ]


def _recipe(cell: PlannedCell) -> str:
    """What draws and methods of one recipe share."""
    source = cell.recipe or cell.given_ranges or cell.id
    return "\0".join((source, cell.precision, cell.backend, cell.exemption or ""))


class _Files:
    """Writes samples and masks, each once."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        self.folder, self.pool = folder, pool

    def samples(self, rows: NDArray[np.int64]) -> dict[int, tuple[str, int, int]]:
        """Pool row → file, width and height of its picture; none where inputs aren't images."""
        rows = np.unique(rows)
        for values in self.pool.read_inputs(rows, check=False).values() if len(rows) else ():
            images = as_image(values)
            if images is None or not np.isfinite(images).all():
                continue
            ids = self.pool.ids(rows)
            made = {}
            for row, name, pixels in zip(rows.tolist(), ids, as_pixels(images), strict=True):
                file = picture_name(str(name))
                write_picture(self.folder / file, pixels)
                made[row] = (file, pixels.shape[1], pixels.shape[0])
            return made
        return {}

    def mask(self, mask: NDArray[np.uint8], n_classes: int, *parts: str) -> str:
        """The file of a mask."""
        file = picture_name(*parts)
        write_mask(self.folder / file, mask, n_classes)
        return file


def _pictures(audit: Audit, engines: _Engines, choice: Choice, files: _Files) -> Iterator[Pictures]:
    eval_set = engines.eval_set
    units = np.array([each.unit for each in choice.units], dtype=np.int64)
    sides: dict[int, Sides] = {}
    for cell in dict.fromkeys(each.cell for each in choice.units):
        mine = [i for i, each in enumerate(choice.units) if each.cell == cell]
        told = engines.sides(cell, units[mine])
        if told is None:
            return
        sides |= dict(zip(mine, told, strict=True))
    if not sides or eval_set.first_rows is not None:
        return
    rows = audit.evaluated[units]
    drawn, names = files.samples(rows), _names(eval_set, units)
    depicted = partial(_depiction, files, len(eval_set.classes))
    yield Pictures(
        metric=choice.metric.name,
        by=choice.units[0].by or choice.metric.name,
        classes=eval_set.classes,
        judged=choice.judged,
        shown=tuple(
            _picture(each, names[each.unit], sides[i], drawn.get(int(rows[i])), depicted)
            for i, each in enumerate(choice.units)
        ),
    )


def _names(eval_set: EvalSet, units: NDArray[np.int64]) -> dict[int, str]:
    """Ids of units, which may repeat."""
    once = np.unique(units)
    return dict(zip(once.tolist(), eval_set.ids(once), strict=True))


def _picture(
    chosen: Chosen,
    name: str,
    sides: Sides,
    drawn: tuple[str, int, int] | None,
    depicted: "partial[Depiction]",
) -> Picture:
    file, width, height = drawn or (None, 0, 0)
    return Picture(
        id=name,
        slice=chosen.slice,
        cell=chosen.cell,
        reference=chosen.reference,
        lost=chosen.lost,
        file=file,
        width=width,
        height=height,
        truth=depicted(sides.truth, name, "truth"),
        fp32=depicted(sides.fp32, name, "fp32"),
        engine=depicted(sides.engine, name, chosen.cell),
    )


def _depiction(files: _Files, n_classes: int, shown: Shown, *parts: str) -> Depiction:
    mask = None if shown.mask is None else files.mask(shown.mask, n_classes, *parts)
    return Depiction(shown.label, shown.boxes, mask)


def _completed(
    audit: Audit, eval_set: EvalSet, engines: _Engines, found: Exemplars, files: _Files
) -> Exemplars:
    """Exemplars with their pictures, and the classes that engines say."""
    ids = [each.id for each in found.shown]
    if not ids or eval_set.unit_of_row is not None:
        return found
    every = eval_set.ids(np.arange(len(eval_set.truth), dtype=np.int64))
    place = {name: unit for unit, name in enumerate(every)}
    units = np.array([place[name] for name in ids], dtype=np.int64)
    if eval_set.row_of_unit is not None:
        units = eval_set.row_of_unit[units]
    rows = audit.evaluated[units]
    drawn = files.samples(rows)
    labels = [_labels(engines, cell, units) for cell in engines.cells if engines.depicts]
    shown = []
    for i, one in enumerate(found.shown):
        mine = [each[i] for each in labels if each is not None]
        file, *_ = drawn.get(int(rows[i]), (None,))
        shown.append(_labelled(replace(one, picture=file), mine))
    return replace(found, shown=tuple(shown))


def _labels(
    engines: _Engines, cell: str, units: NDArray[np.int64]
) -> list[tuple[str, str, str]] | None:
    """True class, FP32's and a cell's of some units; None where there are none."""
    sides = engines.sides(cell, units)
    if sides is None or any(each.truth.label is None for each in sides):
        return None
    return [
        (each.truth.label or "", each.fp32.label or "", each.engine.label or "") for each in sides
    ]


def _labelled(one: Exemplar, labels: Sequence[tuple[str, str, str]]) -> Exemplar:
    if not labels:
        return one
    counts = Counter(label for _, _, label in labels).most_common()
    ordered = sorted(counts, key=lambda each: (-each[1], each[0]))
    said = tuple(Said(label, count) for label, count in ordered)
    return replace(one, truth=labels[0][0], fp32=labels[0][1], answers=said)
