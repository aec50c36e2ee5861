"""YOLO's data sets: a ``data.yaml`` that names splits and classes, and a text file per image.

The label file of ``images/val/a.jpg`` is ``labels/val/a.txt``; each of its lines is a class number
and a box: centre, width and height in fractions of the image's.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calaudit.formats.importers.annotated import SPLIT, AnnotatedImage, Annotations, odd_boxes
from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.real_paths import RealPaths, is_within
from calaudit.formats.importers.yolo_files import SUFFIXES as IMAGE_SUFFIXES
from calaudit.formats.importers.yolo_files import odd_files
from calaudit.formats.importers.yolo_labels import read_labels
from calaudit.runtime.errors import FileFormatError, Notice, PoolError, Problem, unreadable
from calaudit.runtime.words import counted, first_of

SUFFIXES = (".yaml", ".yml")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Key of data.yaml → split."""
_SHOWN = 10
_TOKENS = {
    "mapping values are not allowed here": "there is a second key and colon in a line, or a line "
    "is indented too far",
    "'<stream end>'": "the end of the file",
    "'<document start>'": "the start of the content",
    "'<block mapping start>'": "a line indented otherwise",
    "<block end>": "another line of the list",
    "'?'": "a key",
    "but found": "and there is",
    "but got": "and there is",
    "could not find": "there is no",
    "end of stream": "end of the file",
    "character '\\t'": "a tab",
}
"""PyYAML's words → words for people."""


def data_file(folder: Path) -> Path | None:
    """The ``data.yaml`` of a folder, or the only .yaml file in it."""
    found = sorted(path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}"))
    named = [path for path in found if path.stem == "data"]
    return named[0] if named else found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _Data:
    """What data.yaml says."""

    source: Path
    root: Path
    """Folder of the data set."""
    splits: Mapping[str, Sequence[str]]
    """Split → folders, or lists of images."""
    classes: tuple[str, ...]
    keypoints: bool
    """Whether what follows a box is keypoints; otherwise more than a box is a polygon."""
    real_paths: RealPaths = field(default_factory=RealPaths)


def read_yolo(source: Path, settings: AnnotatedSettings) -> Annotations:
    """Read a data set in YOLO's format, and check it before any image is decoded.

    An image without a label file has no objects; a split in which no image has one is left out.

    Parameters
    ----------
    source : Path
        ``data.yaml``.
    settings : AnnotatedSettings

    Raises
    ------
    FileFormatError
        It isn't YAML, or names no classes or splits.
    PoolError
        Folders, images or labels that are missing or make no sense.
    """
    data = _read_data(source, settings)
    notices: list[Notice] = []
    problems: list[Problem] = []
    seen = Counter[str]()
    images: dict[str, AnnotatedImage] = {}
    for split, places in data.splits.items():
        paths = [path for place in places for path in _images_of(place, data, settings)]
        own = [_image(path, split, data, problems, seen) for path in dict.fromkeys(paths)]
        labelled = sum(found for _, found in own)
        where = f"{source}: {split}"
        if not labelled:
            message = f"none of {counted(len(own), 'image')} has a label file; left out"
            first = f", such as {label_path(paths[0])}" if paths else ""
            notices.append(Notice("left_out", message + first, where))
            continue
        if labelled < len(own):
            message = f"{len(own) - labelled:,} of {counted(len(own), 'image')} have no label file"
            notices.append(Notice("no_labels", f"{message}: they have no objects", where))
        notices += _twice(images, [image for image, _ in own], where)
        images |= {image.id: image for image, _ in own}
    if problems:
        raise PoolError.of(_first(problems, str(source)))
    if not images:
        raise PoolError(
            "there are no images with label files: " + "; ".join(map(str, notices)),
            where=source,
            next_step="The labels of images/a.jpg are in labels/a.txt, beside the folder images.",
        )
    return Annotations(
        source=source,
        images=tuple(images.values()),
        classes=data.classes,
        fractions=True,
        notices=(
            *notices,
            *_notices(seen, str(source)),
            *odd_files(tuple(images.values()), str(source)),
        ),
    )


def _first(problems: Sequence[Problem], where: str) -> Iterator[Problem]:
    yield from problems[:_SHOWN]
    if len(problems) > _SHOWN:
        yield Problem(f"and {len(problems) - _SHOWN:,} more problems like these", where)


def _twice(
    before: Mapping[str, AnnotatedImage], own: Sequence[AnnotatedImage], where: str
) -> Iterator[Notice]:
    shared = [image for image in own if image.id in before]
    if shared:
        splits = ", ".join(sorted({str(before[image.id].meta[SPLIT]) for image in shared}))
        message = (
            f"{counted(len(shared), 'image is', 'images are')} also in {splits}, and counted here "
            f"alone: {first_of([image.id for image in shared[:3]], len(shared))}"
        )
        yield Notice("in_two_splits", message, where)


def _read_data(source: Path, settings: AnnotatedSettings) -> _Data:
    content = _content(source)
    names = settings.classes or _names(content.get("names"), source)
    number = content.get("nc")
    if settings.classes is None and number is not None and number != len(names):
        raise FileFormatError(
            f"nc is {number}, and there are {len(names)} names",
            where=source,
            next_step="Name each class once, from 0.",
        )
    told = content.get("path")
    root = source.parent if not isinstance(told, str) else source.parent / told
    if not root.is_dir():
        # Ultralytics keeps data sets in a folder of its own; here the file's own is tried.
        root = source.parent
    splits: dict[str, list[str]] = {}
    for key, split in _SPLITS.items():
        places = content.get(key)
        places = [places] if isinstance(places, str) else places
        if places is None or places == []:
            continue
        if not (isinstance(places, list) and all(isinstance(each, str) for each in places)):
            raise FileFormatError(
                f"{key} is {places!r}",
                where=source,
                next_step="Name a folder of images, a list of images (.txt), or several of them.",
            )
        splits.setdefault(split, []).extend(places)
    if not splits:
        raise FileFormatError(
            "names no split", where=source, next_step="Name folders of images: val: images/val."
        )
    # What is evaluated comes last, since an image of two splits belongs to the last.
    order = sorted(splits, key=["train", "test", "val"].index)
    return _Data(
        source, root, {split: splits[split] for split in order}, names, "kpt_shape" in content
    )


def _content(source: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=source, next_step="Check the path."
        ) from None
    except UnicodeDecodeError:
        raise FileFormatError(
            "isn't text, so it can't be YAML", where=source, next_step="Check the path."
        ) from None
    except OSError as error:
        raise FileFormatError(
            f"can't be read: {error.strerror or error}", where=source, next_step="Check the path."
        ) from None
    except yaml.reader.ReaderError:
        raise FileFormatError(
            "holds a control character, which YAML allows none of",
            where=source,
            next_step="Save it as plain text.",
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FileFormatError(
            f"isn't valid YAML: {_in_words(error.problem)}",
            where=source if mark is None else f"{source}: line {mark.line + 1}",
            next_step="Look at this line and the one before it: brackets and quotes are closed, "
            "lines of one list begin below each other, and a space follows each colon.",
        ) from None
    if not isinstance(content, dict):
        raise FileFormatError(
            "isn't a mapping", where=source, next_step="YOLO's data.yaml has names, train and val."
        )
    return content


def _in_words(problem: str | None) -> str:
    """What PyYAML says is wrong, without its names of tokens."""
    said = str(problem or "it can't be read")
    for token, words in _TOKENS.items():
        said = said.replace(token, words)
    return said


def _names(names: Any, source: Path) -> tuple[str, ...]:
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        numbered = {int(key): value for key, value in names.items()}
        names = [numbered[number] for number in range(len(names))]
    if names is None:
        raise FileFormatError(
            "has no names of classes",
            where=source,
            next_step="Add names: a list, or a mapping from 0 on; or name them with --classes.",
        )
    if not (isinstance(names, list) and names):
        raise FileFormatError(
            f"names is {names!r}",
            where=source,
            next_step="Name the classes: a list, or a mapping from 0 on.",
        )
    found = tuple(str(name) for name in names)
    twice = [name for name, n in Counter(found).items() if n > 1]
    if twice:
        raise FileFormatError(
            f"several classes are called {twice[0]!r}", where=source, next_step="Name each once."
        )
    return found


def _images_of(place: str, data: _Data, settings: AnnotatedSettings) -> list[Path]:
    """Images of a folder, or of a list of images.

    Raises
    ------
    PoolError
        There is no such folder or image, or it lies elsewhere.
    """
    path = _found(place, data)
    if path is None:
        raise PoolError(
            f"there is no {place!r} in {data.root}",
            where=data.source,
            next_step="Fix the path in data.yaml, or its path: the folder of the data set.",
        )
    if path.is_dir():
        found = sorted(
            each
            for each in path.rglob("*")
            if each.suffix.lower() in IMAGE_SUFFIXES and each.is_file()
        )
        if not found:
            raise PoolError(
                "holds no images",
                where=path,
                next_step=f"Images end in {', '.join(IMAGE_SUFFIXES)}.",
            )
    else:
        found = list(_listed(path, data))
    root = data.real_paths.of(data.root)
    far = [each for each in found if not is_within(data.real_paths.of(each), root)]
    if far and not settings.outside:
        raise PoolError(
            f"{far[0]} lies outside of the data set's folder {data.root}",
            where=data.source,
            next_step="Allow it with --outside.",
        )
    return found


def _found(place: str, data: _Data) -> Path | None:
    """Where a path of data.yaml leads; as Ultralytics, ``../train`` may mean ``train``."""
    wanted = [data.root / place, data.source.parent / place]
    if place.startswith("../"):
        wanted.append(data.root / place[3:])
    return next((path for path in wanted if path.exists()), None)


def _listed(path: Path, data: _Data) -> Iterator[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        step = "Name a folder, or a .txt file with one path a line."
        problem = unreadable(error, path, "can't be read as a list of images", step)
        raise PoolError.of([problem]) from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        found = next(
            (each for each in (path.parent / line, data.root / line) if each.is_file()), None
        )
        if found is None:
            raise PoolError(
                f"there is no image {line!r}",
                where=f"{path}: line {number}",
                next_step="Fix the path, or take out the line.",
            )
        yield found


def _image(
    path: Path, split: str, data: _Data, problems: list[Problem], seen: Counter[str]
) -> tuple[AnnotatedImage, bool]:
    """An image with its boxes, and whether it has a label file."""
    labels = label_path(path)
    found = labels.is_file()
    boxes = read_labels(
        labels if found else None, len(data.classes), problems, seen, keypoints=data.keypoints
    )
    real, root = data.real_paths.of(path), data.real_paths.of(data.root)
    image = AnnotatedImage(
        id=Path(os.path.relpath(real, root) if is_within(real, root) else real).as_posix(),
        path=path,
        number=None,
        size=None,
        where=str(labels),
        boxes=boxes,
        meta={SPLIT: split},
    )
    return image, found


def label_path(image: Path) -> Path:
    """Where the labels of an image are: the last folder called images becomes labels."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _notices(seen: Counter[str], where: str) -> Iterator[Notice]:
    if seen["twice"]:
        message = f"{counted(seen['twice'], 'line is', 'lines are')} there twice and left out once"
        yield Notice("left_out", message, where)
    if seen["polygons"]:
        message = (
            f"{counted(seen['polygons'], 'line holds', 'lines hold')} a polygon: the box around it "
            "is taken"
        )
        yield Notice("polygons", message, where)
    yield from odd_boxes(seen, where)
