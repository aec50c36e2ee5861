"""Images with annotated boxes, from wherever they are, written as a pool of objects."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.direct import DirectInputs
from calaudit.formats.importers.image_table import read_image_table
from calaudit.formats.importers.images import Picture, levels_of, read_image
from calaudit.formats.importers.manifest_settings import ImageSettings, unit_notices
from calaudit.formats.importers.samples import Imported, Sample, Scalar, read_each, write_samples
from calaudit.formats.importers.spare import Spare
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import Notice, PoolError, SettingsError, near
from calaudit.runtime.objects import Objects
from calaudit.runtime.words import counted, first_of

SPLIT = "split"
"""Column that says which part of a data set an image is of."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Boxes:
    """The annotated boxes of one image."""

    corners: NDArray[np.float64]
    """(k, 4) x1, y1, x2, y2 in pixels of the image, or in fractions of its width and height."""
    label: NDArray[np.int64]
    """(k,)"""
    crowd: NDArray[np.bool_]
    """(k,)"""
    area: NDArray[np.float64]
    """(k,) in pixels² of the image; NaN where it is the box's own."""
    columns: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    """Name → (k,) numbers, booleans or texts; None where one is missing."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image, and what its annotations say of it."""

    id: str
    """As the pool names it: the file's path as the annotations give it."""
    path: Path
    number: str | None
    """The annotations' own number of the image, where they have one."""
    size: tuple[int, int] | None
    """Width and height as annotated; None where nothing says them."""
    where: str
    """The place in the annotations, for messages."""
    boxes: Boxes
    meta: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Annotations:
    """Everything that annotations say."""

    source: Path
    """File or folder."""
    images: tuple[AnnotatedImage, ...]
    classes: tuple[str, ...]
    """Names, in the order of the model's outputs."""
    fractions: bool
    """Whether boxes are fractions of the image's width and height."""
    notices: tuple[Notice, ...]


def import_annotated(
    annotations: Annotations, out: Path, settings: AnnotatedSettings, *, compress: bool = False
) -> Imported:
    """Read annotated images, preprocess them, and write them with their objects as a pool.

    Parameters
    ----------
    annotations : Annotations
    out : Path
        The pool.
    settings : AnnotatedSettings
        The model's input, preprocessing, metadata.
    compress : bool
        See `PoolWriter`.

    Raises
    ------
    SettingsError
        Columns or splits that aren't there.
    PoolError
        Images that are unreadable or have another size than they are annotated with.
    OutputError
        `out` can't be written.
    """
    keep_apart(out, annotations.source)
    images, notices = _described(annotations, settings)
    images = _chosen(images, settings, annotations.source)
    how = settings.image
    seen = Counter[str]()
    several: list[str] = []
    direct = DirectInputs(Spare())

    def read(number: int) -> tuple[dict[str, ArrayLike | None], Objects, Counter[str]]:
        image = images[number]
        told = partial(several.append, image.id)
        picture = read_image(image.path, how, several=told, spare=direct.spare)
        _check_size(image, picture)
        objects, cut = _moved(image.boxes, picture, annotations)
        return direct.write(number, {settings.input: picture.values}), objects, cut

    def samples() -> Generator[Sample, None, None]:
        for number, (inputs, objects, cut) in read_each(len(images), read):
            seen.update(cut)
            image = images[number]
            yield Sample(inputs, {settings.target: objects}, image.meta, image.id)

    units = tuple(unit_notices(f"input {settings.input}", how))
    levels = {settings.input: levels_of(how)} if how.as_bytes else {}
    n = write_samples(
        out,
        samples(),
        total=len(images),
        levels=levels,
        compress=compress,
        notices=units,
        settled=True,
        direct=direct,
    )
    told = [*annotations.notices, *notices, *units]
    told += _seen(seen, how, len(images), several, str(annotations.source))
    return Imported(n, tuple(told))


def _described(
    annotations: Annotations, settings: AnnotatedSettings
) -> tuple[list[AnnotatedImage], tuple[Notice, ...]]:
    """The images with the same columns of metadata each, those of a table among them."""
    images = annotations.images
    notices: tuple[Notice, ...] = ()
    known: Sequence[Mapping[str, Scalar]] = [image.meta for image in images]
    if settings.meta is not None:
        source = annotations.source
        path = (source if source.is_dir() else source.parent) / settings.meta
        names = [(image.number, image.id, image.path) for image in images]
        table = read_image_table(path, names, settings.columns)
        twice = [name for name in table.rows[0] if any(name in one for one in known)]
        known = [{**one, **more} for one, more in zip(known, table.rows, strict=True)]
        notices = table.notices
        if twice:
            message = f"its columns {', '.join(twice)} take the place of the annotations'"
            notices = (*notices, Notice("replaced", message, str(path)))
    columns = dict.fromkeys(name for one in known for name in one)
    described = [
        replace(image, meta={name: one.get(name) for name in columns})
        for image, one in zip(images, known, strict=True)
    ]
    return described, notices


def _chosen(
    images: Sequence[AnnotatedImage], settings: AnnotatedSettings, source: Path
) -> list[AnnotatedImage]:
    """The images of the splits that are asked for, in order: at most so many, evenly chosen."""
    most = dict(settings.most or {})
    wanted = settings.splits
    asked = [*(wanted or ()), *(name for name in most if name != "*")]
    splits = [str(image.meta.get(SPLIT, "")) for image in images]
    unknown = [name for name in asked if name not in splits]
    if unknown:
        raise SettingsError(
            f"there is no split {unknown[0]!r}",
            where=source,
            next_step=near(unknown[0], set(splits) - {""})
            if any(splits)
            else f"Give a table with a column {SPLIT}: --meta images.csv.",
        )
    kept: set[int] = set()
    for split in dict.fromkeys(splits):
        if wanted is not None and split not in wanted:
            continue
        own = [place for place, one in enumerate(splits) if one == split]
        n = min(len(own), most.get(split, most.get("*", len(own))))
        kept.update(own[at] for at in np.linspace(0, len(own) - 1, n).round().astype(int))
    return [image for place, image in enumerate(images) if place in kept]


def _check_size(image: AnnotatedImage, picture: Picture) -> None:
    if image.size is None or image.size == picture.size:
        return
    found, told = (" × ".join(map(str, size)) for size in (picture.size, image.size))
    turned = image.size == picture.size[::-1]
    raise PoolError(
        f"is {found} pixels, annotated as {told}"
        + (" (its camera orientation turns it)" if turned else ""),
        where=f"{image.where}: {image.path.name}",
        next_step="Save the image upright, as it was annotated."
        if turned
        else "Give the images that were annotated, or annotate these.",
    )


def _moved(
    boxes: Boxes, picture: Picture, annotations: Annotations
) -> tuple[Objects, Counter[str]]:
    """An image's objects in pixels of the model's input, and what was cut of them."""
    corners, placement = boxes.corners, picture.placement
    if annotations.fractions:
        corners = corners * np.array([*picture.size, *picture.size])
    own = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    area = np.where(np.isnan(boxes.area), own, boxes.area)
    moved = placement.move(corners)
    kept: slice | NDArray[np.intp] = slice(None)
    done = Counter[str]()
    if placement.scaled != picture.size:
        done["resized"] = 1
    if placement.cuts:
        across, down = placement.canvas
        inside = moved.clip(0, [across, down, across, down])
        sizes, left = _sizes(moved), _sizes(inside)
        kept = np.flatnonzero(left > 0)
        done["cut"] = int((left[kept] < sizes[kept]).sum())
        done["lost"] = len(moved) - len(kept)
        share = np.divide(left, sizes, out=np.ones_like(left), where=sizes > 0)
        moved, area = inside, area * share
    moved = moved[kept]
    # Put together as `Objects.from_images` would, which checks and converts what people give.
    objects = Objects(
        offsets=np.array([0, len(moved)], np.int64),
        boxes=moved,
        label=boxes.label[kept],
        crowd=boxes.crowd[kept],
        area=area[kept],
        unit_area=np.array([placement.unit_area]),
        classes=annotations.classes,
        columns={name: values[kept] for name, values in boxes.columns.items()},
    )
    return objects, done


def _sizes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return sizes


def _seen(
    seen: Counter[str], how: ImageSettings, n: int, several: Sequence[str], where: str
) -> Iterator[Notice]:
    if seen["resized"]:
        height, width = how.size or (0, 0)
        done = {"stretch": "stretched", "crop": "cut", "letterbox": "letterboxed"}[how.fit]
        message = (
            f"{seen['resized']:,} of {counted(n, 'image')} were {done} to {width} × {height} "
            "pixels, and their boxes with them; --fit says otherwise"
        )
        yield Notice("resized", message, where)
    if seen["cut"] or seen["lost"]:
        message = (
            f"{seen['cut']:,} of the boxes were cut with their images, {seen['lost']:,} more were "
            "in what was cut away and are left out"
        )
        yield Notice("cut", message, where)
    if several:
        names = first_of(sorted(several)[:_SHOWN], len(several))
        yield Notice(
            "first_frame", f"of images with several frames the first is taken: {names}", where
        )


def no_boxes(columns: Sequence[str] = ()) -> Boxes:
    """Of an image without objects."""
    return Boxes(
        np.empty((0, 4)),
        np.empty(0, np.int64),
        np.empty(0, np.bool_),
        np.empty(0),
        {name: np.empty(0, object) for name in columns},
    )


def as_objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """A column whose type is found when all images are known."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def odd_boxes(seen: Counter[str], where: str) -> Iterator[Notice]:
    """What there is to say of boxes beyond their image (``over``) and of those without an area."""
    if seen["over"]:
        message = (
            f"{counted(seen['over'], 'box reaches', 'boxes reach')} beyond the image, and "
            f"{'stays' if seen['over'] == 1 else 'stay'} as annotated"
        )
        yield Notice("boxes_beyond", message, where)
    if seen["flat"]:
        message = (
            f"{counted(seen['flat'], 'box has', 'boxes have')} no width or no height: no engine "
            "can find it"
        )
        yield Notice("flat_boxes", message, where)
