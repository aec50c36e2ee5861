"""Metadata of images in a table of their own, found by each image's number, path or name."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from calaudit.formats.importers.real_paths import RealPaths
from calaudit.formats.importers.samples import Scalar
from calaudit.formats.importers.table_file import read_table_file, typed
from calaudit.formats.pool_columns import as_series
from calaudit.runtime.errors import Notice, PoolError, SettingsError, near
from calaudit.runtime.pool import widened
from calaudit.runtime.words import counted, first_of

_SHOWN = 5
_LIKELY = ("id", "image", "file", "path", "name")

Names = tuple[str | None, str, Path]
"""An image's number in its annotations, its id, and its file."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """What a table says of each image, in the images' order."""

    rows: list[dict[str, Scalar]]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Match:
    column: str
    how: str
    places: list[int | None]
    """Row of each image."""

    @property
    def n(self) -> int:
        return sum(place is not None for place in self.places)


def read_image_table(
    source: Path, images: Sequence[Names], columns: Mapping[str, str] | None = None
) -> ImageTable:
    """Find a row of a table for each image.

    A column tells the images: by their number in the annotations, their path as annotated, their
    path from the table's folder, or the name of the file with or without its ending. The first of
    these that tells all images is taken.

    Parameters
    ----------
    source : Path
        ``.csv``, ``.tsv`` or ``.parquet``.
    images : sequence of (number, id, file)
    columns : mapping, optional
        Metadata column in the pool → column of the table; by default all that don't tell which
        image a row is of.

    Raises
    ------
    FileFormatError
        The table is missing or unreadable.
    SettingsError
        Columns that aren't there.
    PoolError
        Images without a row.
    """
    read = read_table_file(source)
    frame = read.frame
    unknown = [name for name in (columns or {}).values() if name not in frame.columns]
    if unknown:
        raise SettingsError(
            f"there is no column {unknown[0]!r}",
            where=source,
            next_step=near(unknown[0], frame.columns),
        )
    texts = {name: frame[name].cast(pl.String).to_list() for name in frame.columns}
    matches = _find(texts, images, source)
    match, telling = matches[0], {each.column for each in matches}
    if columns is None:
        columns = {name: name for name in frame.columns if name not in telling}
    whole, decided = typed(read, set(columns.values()), set(), source)
    values = {
        name: widened(as_series(column, whole[column], where=str(source))).to_list()
        for name, column in columns.items()
    }
    rows = [
        {name: column[place] for name, column in values.items()}
        for place in match.places
        if place is not None
    ]
    message = f"rows are found by the column {match.column}, {match.how}"
    notices = [*read.notices, Notice("rows_found", message, str(source)), *decided]
    more = frame.height - len(set(match.places))
    if more:
        message = f"{counted(more, 'row is', 'rows are')} of no image and left out"
        notices.append(Notice("left_out", message, str(source)))
    return ImageTable(rows, tuple(notices))


def _find(
    texts: Mapping[str, list[str | None]], images: Sequence[Names], source: Path
) -> list[_Match]:
    """The columns that tell all images, the best first.

    Raises
    ------
    PoolError
        There is none.
    """
    folder, real_paths = os.path.realpath(source.parent), RealPaths()

    def as_file(text: str) -> str:
        return real_paths.of(os.path.join(folder, text))

    ways: tuple[tuple[str, Callable[[Names], str | None], Callable[[str], str]], ...] = (
        ("by the images' numbers", lambda image: image[0], str),
        ("by the images' paths", lambda image: image[1], str),
        ("by the images' paths", lambda image: real_paths.of(image[2]), as_file),
        ("by the names of the images' files", lambda image: image[2].name, _last),
        ("by the names of the images' files", lambda image: image[2].stem, _stem),
    )
    matches = []
    for how, of_image, of_text in ways:
        wanted = [of_image(image) for image in images]
        if len(set(wanted)) < len(wanted):
            continue
        for name in sorted(texts, key=_unlikely):
            given = [None if text is None else of_text(text) for text in texts[name]]
            places = {text: place for place, text in enumerate(given) if text is not None}
            if len(places) < sum(text is not None for text in given):
                continue  # several rows for one image
            found = [None if text is None else places.get(text) for text in wanted]
            matches.append(_Match(name, how, found))
    whole = [match for match in matches if match.n == len(images)]
    if not whole:
        raise _lacking(max(matches, key=lambda match: match.n, default=None), images, source)
    return whole


def _lacking(best: _Match | None, images: Sequence[Names], source: Path) -> PoolError:
    if best is None or best.n == 0:
        return PoolError(
            "no column tells which row is of which image",
            where=source,
            next_step=f"Add a column with each image's path, such as {images[0][1]!r}, one row per "
            "image.",
        )
    lacking = [image[1] for image, at in zip(images, best.places, strict=True) if at is None]
    return PoolError(
        f"{len(lacking):,} of {counted(len(images), 'image')} have no row: "
        f"{first_of(map(repr, lacking[:_SHOWN]), len(lacking))}",
        where=f"{source}: {best.column}",
        next_step="Add a row for each of them, or take them out of the annotations.",
    )


def _unlikely(column: str) -> bool:
    return not any(word in column.lower() for word in _LIKELY)


def _last(text: str) -> str:
    return text.replace("\\", "/").rsplit("/", 1)[-1]


def _stem(text: str) -> str:
    return Path(_last(text)).stem
