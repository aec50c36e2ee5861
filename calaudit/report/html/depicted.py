"""Samples that lost most, beside what is true of them and what FP32 and an engine say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from calaudit.formats.pictures import class_colour
from calaudit.report.html.embedded import embedded
from calaudit.report.index import Index, cell_parts
from calaudit.report.pictured import answers_text, lost_text
from calaudit.report.wording import in_sentence
from calaudit.results.pictures import Depiction, Mark, Picture, Pictures
from calaudit.runtime.words import counted, visible

_NAMED_ONCE = 3
"""Classes that the words for a picture name."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box as SVG draws it, in pixels of the model's input."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    alone: bool
    """Without its counterpart."""
    told: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The sample with one of the three over it."""

    title: str
    told: str
    """For those who don't see it."""
    boxes: tuple[Box, ...]
    mask: str | None
    """Address of the mask."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One sample."""

    key: str
    """Of its image in the page."""
    id: str
    image: str | None
    """Address of its picture."""
    width: int
    height: int
    slice: str
    engine: str
    lost: str
    answers: str
    """Of a classification: what is true, what FP32 and the engine say."""
    panels: tuple[Panel, ...]
    """Truth, FP32 and engine; none of a classification."""


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """Figures by one metric."""

    title: str
    note: str
    classes: tuple[tuple[str, str], ...]
    """Name and colour of those that are drawn."""
    dashed: bool
    """Whether some boxes have no counterpart."""
    figures: tuple[Figure, ...]

    @property
    def wide(self) -> bool:
        """Whether figures have panels."""
        return any(each.panels for each in self.figures)


def make_figures(index: Index, folder: Path | None) -> list[FigureGroup]:
    """The report's pictures; those of a metric in which no sample lost are left out."""
    groups = [each for each in index.report.pictures if each.shown]
    return [_group(index, each, number, folder) for number, each in enumerate(groups)]


def _group(index: Index, found: Pictures, number: int, folder: Path | None) -> FigureGroup:
    metric = index.metrics[found.metric]
    figures = tuple(
        _figure(index, found, each, f"picture-{number}-{i}", folder)
        for i, each in enumerate(found.shown)
    )
    note = "the sample that lost most in each slice, under the worst engine of each recipe"
    if found.judged > len(found.shown):
        note += f"; {len(found.shown):,} of {counted(found.judged, 'such pair')}"
    if found.by != found.metric:
        note += f"; single samples are compared by {found.by}"
    boxes = [box for each in figures for panel in each.panels for box in panel.boxes]
    return FigureGroup(
        f"Lost most by {in_sentence(metric)}",
        f"{note}.",
        tuple(_legend(found)),
        any(box.alone for box in boxes),
        figures,
    )


def _legend(found: Pictures) -> Iterator[tuple[str, str]]:
    """Classes that are drawn, with their colours; all of them where there are masks."""
    sides = [side for each in found.shown for side in (each.truth, each.fp32, each.engine)]
    masks = any(side.mask is not None for side in sides)
    drawn = {box.label for side in sides for box in side.boxes}
    for number, name in enumerate(_names(found)):
        if masks or name in drawn:
            yield visible(name), class_colour(number)


def _names(found: Pictures) -> list[str]:
    """Classes in the order of their numbers, then those that only boxes name."""
    sides = [side for each in found.shown for side in (each.truth, each.fp32, each.engine)]
    return list(dict.fromkeys([*found.classes, *(b.label for side in sides for b in side.boxes)]))


def _figure(index: Index, found: Pictures, one: Picture, key: str, folder: Path | None) -> Figure:
    calibset, method = cell_parts(index.cells[one.cell], index.report)
    colours = {name: class_colour(number) for number, name in enumerate(_names(found))}
    image = embedded(folder, one.file)
    engine = visible(f"{calibset}, {method}")
    sides = (("true", one.truth), ("FP32", one.fp32), (engine, one.engine))
    drawn = one.width > 0 and any(side.boxes or side.mask for _, side in sides)
    return Figure(
        key=key,
        id=visible(one.id),
        image=image,
        width=one.width,
        height=one.height,
        slice=visible(one.slice),
        engine=engine,
        lost=lost_text(index, found, one),
        answers=answers_text(one),
        panels=tuple(_panel(title, side, one, colours, folder) for title, side in sides)
        if drawn
        else (),
    )


def _panel(
    title: str, side: Depiction, one: Picture, colours: dict[str, str], folder: Path | None
) -> Panel:
    return Panel(
        title=title,
        told=f"{visible(one.id)}, {title}: {_told(side)}",
        boxes=tuple(_box(each, colours[each.label]) for each in side.boxes),
        mask=embedded(folder, side.mask, exact=True),
    )


def _box(mark: Mark, colour: str) -> Box:
    told = visible(mark.label)
    if mark.score is not None:
        told += f" {mark.score:.2f}"
    if mark.matched is False:
        told += ", missed by the engine" if mark.score is None else ", nothing true there"
    width, height = max(mark.x2 - mark.x1, 0.0), max(mark.y2 - mark.y1, 0.0)
    return Box(
        round(mark.x1, 1), round(mark.y1, 1), round(width, 1), round(height, 1),
        colour, mark.matched is False, told,
    )  # fmt: skip


def _told(side: Depiction) -> str:
    """Boxes counted by class; that there is a mask."""
    if side.mask is not None:
        return "a mask of classes"
    if not side.boxes:
        return "no boxes"
    return ", ".join(_counts([each.label for each in side.boxes]))


def _counts(labels: Sequence[str]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    for name, count in ordered[:_NAMED_ONCE]:
        yield f"{count:,} {visible(name)}"
    rest = sum(count for _, count in ordered[_NAMED_ONCE:])
    if rest:
        yield f"{rest:,} others"
