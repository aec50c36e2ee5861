"""What is odd about the files of a YOLO data set: labels without images, files that repeat."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from calaudit.formats.importers.annotated import SPLIT, AnnotatedImage
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted, first_of

SUFFIXES: Final = (".bmp", ".jpg", ".jpeg", ".mpo", ".png", ".tif", ".tiff", ".webp")
"""Of images."""
_NAMES: Final = "classes.txt"
"""Where labelImg keeps the names of classes, beside the labels."""
_SHOWN: Final = 3


def odd_files(images: Sequence[AnnotatedImage], where: str) -> Iterator[Notice]:
    """Label files without an image, those of two images, and images that are in two splits by copy.

    Parameters
    ----------
    images : sequence of AnnotatedImage
        Their `where` is their label file.
    where : str
        The data set.
    """
    alone = list(_alone(images))
    if alone:
        told = counted(len(alone), "label file has", "label files have")
        named = first_of(map(str, alone[:_SHOWN]), len(alone))
        yield Notice("labels_alone", f"{told} no image, left out: {named}", where)
    uses = Counter(image.where for image in images if Path(image.where).is_file())
    shared = [image.id for image in images if uses[image.where] > 1]
    if shared:
        told = counted(len(shared), "image has its", "images have their")
        named = first_of(shared[:_SHOWN], len(shared))
        message = (
            f"{told} label file with another image of the same name in common: each has all of its "
            f"boxes: {named}"
        )
        yield Notice("labels_shared", message, where)
    copies = list(_copies(images))
    if copies:
        told = counted(len(copies), "image is", "images are")
        named = first_of(copies[:_SHOWN], len(copies))
        message = (
            f"{told} the same file as one of the same name in another split: what is drawn for "
            f"calibration and what is evaluated overlap: {named}"
        )
        yield Notice("copied", message, where)


def _alone(images: Sequence[AnnotatedImage]) -> Iterator[Path]:
    """Label files, in the folders where images' labels are, to which there is no image."""
    folders: dict[Path, set[Path]] = defaultdict(set)
    for image in images:
        folders[Path(image.where).parent].add(image.path.parent)
    for folder, places in sorted(folders.items()):
        if folder in places or not folder.is_dir():
            continue  # where images and labels lie together, texts may be anything
        stems = {
            each.stem
            for place in places
            for each in place.iterdir()
            if each.suffix.lower() in SUFFIXES
        }
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in stems and path.name != _NAMES:
                yield path


def _copies(images: Sequence[AnnotatedImage]) -> Iterator[str]:
    """Images whose bytes are those of an image of the same name in a split before theirs."""
    named: dict[str, list[AnnotatedImage]] = defaultdict(list)
    for image in images:
        named[image.path.name].append(image)
    for found in named.values():
        if len({image.meta[SPLIT] for image in found}) < 2:
            continue
        seen: dict[tuple[int, bytes], object] = {}
        for image in found:
            with image.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            split = image.meta[SPLIT]
            if seen.setdefault((image.path.stat().st_size, content), split) != split:
                yield image.id
