"""Small data sets of images with boxes, in COCO's and YOLO's formats."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("red", "white", "tiny")
SIZES = ((64, 48), (40, 60), (64, 48), (50, 50))
"""Width and height of each image."""
BOXES: tuple[tuple[tuple[int, tuple[float, float, float, float]], ...], ...] = (
    ((0, (4, 4, 20, 16)), (1, (30, 8, 50, 40))),
    ((2, (10, 20, 12, 23)),),
    (),
    ((1, (0, 0, 25, 50)), (0, (25, 10, 50, 30)), (0, (40, 40, 44, 48))),
)
"""Of each image: class, and x1, y1, x2, y2 in pixels."""


def save_images(folder: Path, names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> None:
    """Images with noise."""
    random = np.random.default_rng(0)
    for name, (width, height) in zip(names, sizes, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def coco(**changes: Any) -> dict[str, Any]:
    """COCO's annotations of the images; categories have gaps in their numbers, and other order."""
    numbers = [3, 7, 90]
    annotations = [
        {
            "id": len(SIZES) * 10 + 10 * image + at,
            "image_id": 100 + image,
            "category_id": numbers[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for image, boxes in enumerate(BOXES)
        for at, (label, (x1, y1, x2, y2)) in enumerate(boxes)
    ]
    images = [
        {"id": 100 + at, "file_name": f"{at}.png", "width": width, "height": height}
        for at, (width, height) in enumerate(SIZES)
    ]
    named = zip(numbers, CLASSES, strict=True)
    categories = [{"id": number, "name": name, "supercategory": "cell"} for number, name in named]
    return {
        "images": images, "annotations": annotations, "categories": categories[::-1]
    } | changes  # fmt: skip


def write_coco(folder: Path, content: Mapping[str, Any] | None = None) -> Path:
    """COCO's annotations beside their images."""
    save_images(folder, [f"{at}.png" for at in range(len(SIZES))], SIZES)
    path = folder / "annotations.json"
    path.write_text(json.dumps(coco() if content is None else content))
    return path


def write_yolo(folder: Path, data: str | None = None) -> Path:
    """The same images with label files; the first two train, the others are val."""
    names = [f"images/{'train' if at < 2 else 'val'}/{at}.png" for at in range(len(SIZES))]
    save_images(folder, names, SIZES)
    for name, boxes, (width, height) in zip(names, BOXES, SIZES, strict=True):
        lines = []
        for label, (x1, y1, x2, y2) in boxes:
            centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            size = (x2 - x1) / width, (y2 - y1) / height
            lines.append(" ".join(map(repr, (label, *centre, *size))))
        labels = (folder / name.replace("images/", "labels/")).with_suffix(".txt")
        labels.parent.mkdir(parents=True, exist_ok=True)
        if lines:
            labels.write_text("\n".join(lines) + "\n")
    path = folder / "data.yaml"
    path.write_text(
        data
        or f"path: .\ntrain: images/train\nval: images/val\nnames: {json.dumps(list(CLASSES))}\n"
    )
    return path
