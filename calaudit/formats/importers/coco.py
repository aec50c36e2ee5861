"""COCO's JSON: images, their annotated boxes, and categories.

Boxes are x, y, width, height in pixels of the image. Segmentations and keypoints aren't read.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from calaudit.formats.importers.annotated import (
    SPLIT,
    AnnotatedImage,
    Annotations,
    no_boxes,
    odd_boxes,
)
from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.coco_boxes import (
    Described,
    Key,
    columns_of,
    is_scalar,
    number_of,
    read_boxes,
)
from calaudit.formats.importers.real_paths import RealPaths, is_within
from calaudit.formats.importers.samples import Scalar
from calaudit.formats.importers.table_file import SUFFIXES as TABLES
from calaudit.runtime.errors import FileFormatError, Notice, PoolError, Problem, near, unreadable
from calaudit.runtime.words import counted

ROBOFLOW = "_annotations.coco.json"
"""What Roboflow calls the file in each split's folder."""
_PREFIX = "instances_"
_KEYS = ("images", "annotations", "categories")
_OF_IMAGE = frozenset({
    "id", "file_name", "width", "height", "license", "coco_url", "flickr_url", "date_captured",
})  # fmt: skip
"""Keys of an image that make no slices."""
_SHOWN = 10
_TURNED = (5, 6, 7, 8)
"""Camera orientations that exchange width and height."""
_ORIENTATION = 0x0112


def coco_files(source: Path) -> dict[str, Path]:
    """COCO files by split: those of a folder, or the one file under an empty name.

    In a folder these are its ``instances_*.json``, or ``_annotations.coco.json`` in folders of its
    own, or all its ``.json`` files; a split is called as its file or folder, less year and prefix.
    """
    if not source.is_dir():
        return {"": source}
    for pattern in (f"{_PREFIX}*.json", f"annotations/{_PREFIX}*.json", f"*/{ROBOFLOW}", "*.json"):
        found = sorted(source.glob(pattern))
        if found:
            return {_split_of(path): path for path in found}
    return {}


def _split_of(path: Path) -> str:
    name = path.parent.name if path.name == ROBOFLOW else path.stem.removeprefix(_PREFIX)
    return name.rstrip("0123456789_-") or name


def check_source(source: Path) -> None:
    """Refuse a folder without annotations. Raises `FileFormatError`, with what to do with it."""
    if not coco_files(source):
        raise _without_annotations(source)


def read_coco(source: Path, settings: AnnotatedSettings) -> Annotations:
    """Read annotations in COCO's format, and check them before any image is decoded.

    Parameters
    ----------
    source : Path
        A file, or a folder with a file for each split.
    settings : AnnotatedSettings

    Raises
    ------
    FileFormatError
        It isn't COCO's JSON.
    PoolError
        Images that are missing, or boxes, images and categories that make no sense.
    """
    check_source(source)
    files = coco_files(source)
    read = [_File.read(path, split, settings) for split, path in files.items()]
    classes, numbers, notices = _classes(read, settings)
    problems: list[Problem] = []
    seen = Counter[str]()
    columns = tuple(
        dict.fromkeys(
            name for each in read for box in each.content["annotations"] for name in columns_of(box)
        )
    )
    images = [image for each in read for image in each.images(numbers, columns, problems, seen)]
    ids = Counter(image.id for image in images)
    if any(n > 1 for n in ids.values()):  # each split has its own 0001.jpg
        images = [
            replace(image, id=f"{image.meta[SPLIT]}/{image.id}") if SPLIT in image.meta else image
            for image in images
        ]
    problems.extend(_repeated(images))
    if problems:
        raise PoolError.of(_first(problems, str(source)))
    return Annotations(
        source=source,
        images=tuple(images),
        classes=classes,
        fractions=False,
        notices=(*notices, *_notices(seen, str(source))),
    )


def _without_annotations(folder: Path) -> FileFormatError:
    """What to do with a folder in which there are no annotations."""
    names = sorted(each.name for each in folder.iterdir())
    if not names:
        return FileFormatError(
            "is an empty folder",
            where=folder,
            next_step="Name COCO's or YOLO's annotations, a manifest or arrays.",
        )
    several = [name for name in names if name.lower().endswith((".yaml", ".yml"))]
    tables = [name for name in names if name.lower().endswith(TABLES)]
    if several:
        step = f"Name YOLO's file of the data set: {folder / several[0]}."
    elif tables:
        step = f"Name the manifest, and its column of paths: {folder / tables[0]} OUT --input "
        step += "image=path --target label."
    else:
        step = "Images without boxes need a manifest: write a CSV with a column of their paths and "
        step += "one of their labels, and import it with --input image=path --target label."
    return FileFormatError("holds no annotations of COCO or YOLO", where=folder, next_step=step)


def _repeated(images: Sequence[AnnotatedImage]) -> Iterator[Problem]:
    """Images of the file of an image before them: the file is what a pool calls a sample by."""
    first: dict[str, AnnotatedImage] = {}
    for each in images:
        earlier = first.setdefault(each.id, each)
        if earlier is not each:
            message = f"has the file_name {each.id!r}, as {earlier.where.rpartition(': ')[2]} has"
            yield Problem(message, each.where, "List each file once, with all its boxes.")


def _first(problems: Sequence[Problem], where: str) -> Iterator[Problem]:
    yield from problems[:_SHOWN]
    if len(problems) > _SHOWN:
        yield Problem(f"and {len(problems) - _SHOWN:,} more problems like these", where)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    split: str
    content: Mapping[str, Any]
    folder: Path
    """Of the images."""
    outside: bool

    @classmethod
    def read(cls, path: Path, split: str, settings: AnnotatedSettings) -> "_File":
        content = _content(path)
        images = content["images"]
        names = [each.get("file_name") for each in images]
        nameless = next((at for at, name in enumerate(names) if not isinstance(name, str)), None)
        if nameless is not None:
            raise FileFormatError(
                "has no file_name",
                where=f"{path}: images[{nameless}]",
                next_step="Give each image the path of its file.",
            )
        told = None if settings.images is None else path.parent / settings.images
        folder = find_folder(path, names, told)
        return cls(path, split, content, folder, settings.outside)

    def images(
        self,
        numbers: Mapping[Key, int],
        columns: tuple[str, ...],
        problems: list[Problem],
        seen: Counter[str],
    ) -> Iterator[AnnotatedImage]:
        """Each image with its boxes; what is wrong goes to `problems`, what is odd is counted."""
        sizes = self._sizes(problems)
        known = (number_of(each, "id") for each in self.content["images"])
        boxes = read_boxes(
            self.content["annotations"],
            Described(str(self.path), frozenset(known), sizes, numbers, columns),
            problems,
            seen,
        )
        extra = dict.fromkeys(
            key
            for each in self.content["images"]
            for key, value in each.items()
            if key not in _OF_IMAGE and is_scalar(value)
        )
        for each in self.content["images"]:
            number = number_of(each, "id")
            meta: dict[str, Scalar] = {SPLIT: self.split} if self.split else {}
            meta |= {key: value if is_scalar(value := each.get(key)) else None for key in extra}
            yield AnnotatedImage(
                id=each["file_name"],
                path=self.folder / each["file_name"],
                number=None if number is None else str(number),
                size=None if number is None else sizes.get(number),
                where=f"{self.path}: image {number}",
                boxes=(number is not None and boxes.get(number)) or no_boxes(columns),
                meta=meta,
            )

    def _sizes(self, problems: list[Problem]) -> dict[Key, tuple[int, int]]:
        """Width and height of each image by its number, as annotated or else as the file has it."""
        sizes: dict[Key, tuple[int, int]] = {}
        root, real_paths = os.path.realpath(self.folder), RealPaths()
        for at, each in enumerate(self.content["images"]):
            number, name = number_of(each, "id"), each["file_name"]
            where = f"{self.path}: images[{at}]"
            path = real_paths.of(os.path.join(root, name))
            if number is None:
                problems.append(Problem("has no id", where, "Give each image its own id."))
            elif number in sizes:
                message = f"has the id {number!r}, as an image before it"
                problems.append(Problem(message, where, "Give each image its own id."))
            elif not self.outside and not is_within(path, root):
                message = f"{name!r} leaves the images' folder {self.folder}"
                problems.append(Problem(message, where, "Allow it with --outside."))
            elif not os.path.isfile(path):
                message = f"there is no file {name!r} in {self.folder}"
                step = "Put it there, or take the image out of the annotations."
                problems.append(Problem(message, where, step))
            else:
                size = _size(each) or _size_of(Path(path), problems)
                sizes[number] = size or (0, 0)
        return sizes


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except (OSError, ValueError) as error:
        problem = unreadable(error, path, "can't be read as JSON", "Fix the file.")
        raise FileFormatError.of([problem]) from None
    lists = content if isinstance(content, dict) else {}
    lacking = [
        key
        for key in _KEYS
        if not isinstance(lists.get(key), list)
        or not all(isinstance(each, dict) for each in lists[key])
    ]
    if lacking:
        raise FileFormatError(
            f"has no list {' and no list '.join(lacking)} of objects",
            where=path,
            next_step="COCO's annotations have images, annotations and categories.",
        )
    if not lists["images"]:
        raise FileFormatError("lists no images", where=path, next_step="List some.")
    return lists


def find_folder(path: Path, names: Sequence[str], told: Path | None) -> Path:
    """The folder that COCO's file names start from: as told, or where such data sets have it.

    Raises
    ------
    PoolError
        The first image is in none of them.
    """
    split = path.stem.removeprefix(_PREFIX)
    here, above = path.parent, path.parent.parent
    usual = [here, here / "images", here / split, here / "images" / split]
    usual += [above, above / "images", above / split, above / "images" / split]
    folders = [told] if told is not None else usual
    for folder in folders:
        if any((folder / name).is_file() for name in names[:_SHOWN]):
            return folder
    raise PoolError(
        f"there is no image {names[0]!r} in {', '.join(map(str, dict.fromkeys(folders)))}",
        where=path,
        next_step="Name the folder that the images' names start from: --images FOLDER.",
    )


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _size_of(path: Path, problems: list[Problem]) -> tuple[int, int] | None:
    """Width and height of an image's file, upright; only its head is read."""
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        what, step = "isn't a readable image", "Fix or remove the file."
        problems.append(unreadable(error, path, what, step))
        return None
    return (height, width) if turned else (width, height)


def _classes(
    read: Sequence[_File], settings: AnnotatedSettings
) -> tuple[tuple[str, ...], dict[Key, int], tuple[Notice, ...]]:
    """Class names, the class of each category's number, and what there is to say of them."""
    named: dict[Key, str] = {}
    supers: set[str] = set()
    for each in read:
        for at, category in enumerate(each.content["categories"]):
            number, name = number_of(category, "id"), category.get("name")
            where = f"{each.path}: categories[{at}]"
            if number is None or not isinstance(name, str) or not name:
                raise PoolError("has no id or no name", where=where, next_step="Give it both.")
            if named.setdefault(number, name) != name:
                raise PoolError(
                    f"{number!r} is {name!r} and {named[number]!r}",
                    where=where,
                    next_step="Give each category one number, the same in each split.",
                )
            supers.add(str(category.get("supercategory")))
    used = {number_of(box, "category_id") for each in read for box in each.content["annotations"]}
    notices = []
    # Roboflow lists the name of the project as a category 0, above all others.
    above = [n for n, name in named.items() if n not in used and name in supers]
    if settings.classes is None and above:
        left = ", ".join(named[number] for number in above)
        message = f"categories without boxes that only stand above others are left out: {left}"
        notices.append(Notice("left_out", message, str(read[0].path)))
        named = {number: name for number, name in named.items() if number not in above}
    order = sorted(named, key=lambda number: (isinstance(number, str), number))
    names = tuple(named[number] for number in order) if settings.classes is None else ()
    names = settings.classes or names
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise PoolError(
            f"several categories are called {twice[0]!r}",
            where=read[0].path,
            next_step="Give each its own name.",
        )
    strange = [named[number] for number in order if named[number] not in names and number in used]
    if strange:
        raise PoolError(
            f"category {strange[0]!r} is not among the classes",
            where=f"{read[0].path}: --classes",
            next_step=near(strange[0], names),
        )
    numbers = {number: names.index(name) for number, name in named.items() if name in names}
    return names, numbers, tuple(notices)


def _notices(seen: Counter[str], where: str) -> Iterator[Notice]:
    yield from odd_boxes(seen, where)
    if seen["no_area"]:
        message = f"{counted(seen['no_area'], 'box has', 'boxes have')} no area: width × height"
        yield Notice("no_area", message, where)
