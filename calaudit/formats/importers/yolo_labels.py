"""A YOLO label file: a class number and a box, or a polygon, in each line."""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.importers.annotated import Boxes, no_boxes
from calaudit.runtime.errors import Problem, unreadable

_BOX = 5
"""Columns of a line: class, centre x and y, width, height."""
_TRIANGLE = 7
"""Least columns of a polygon."""
_SLACK = 0.01
"""How far rounded coordinates may leave 0 … 1."""
_STEP = (
    "A line is: class, centre x, centre y, width, height; the last four in fractions of the "
    "image's width and height."
)


def read_labels(
    path: Path | None,
    n_classes: int,
    problems: list[Problem],
    seen: Counter[str],
    *,
    keypoints: bool = False,
) -> Boxes:
    """The boxes of one image, in fractions of its width and height.

    Parameters
    ----------
    path : Path or None
        None: the image has none.
    n_classes : int
    problems : list of Problem
        Takes what is wrong, with its line.
    seen : Counter
        Counts what is odd: lines that are there ``twice``, ``polygons``, ``flat`` boxes and
        those ``over`` their image's edge.
    keypoints : bool
        Whether keypoints follow the box; more than a box is a polygon otherwise.
    """
    rows: dict[tuple[float, ...], None] = {}
    for number, line in enumerate(_lines(path, problems), start=1):
        if not line.strip():
            continue
        try:
            values = tuple(map(float, line.split()))
        except ValueError:
            values = ()
        wrong = _wrong(values, n_classes, keypoints=keypoints)
        if wrong:
            problems.append(Problem(f"{line.strip()!r}: {wrong}", f"{path}: line {number}", _STEP))
            continue
        if values in rows:
            seen["twice"] += 1
        rows[values] = None
    if not rows:
        return no_boxes()
    found = [_corners(values, seen, keypoints=keypoints) for values in rows]
    corners = np.array(found, np.float64)
    beyond = (corners < -_SLACK) | (corners > 1 + _SLACK)
    seen["over"] += int(beyond.any(axis=1).sum())
    seen["flat"] += int((corners[:, 2:] == corners[:, :2]).any(axis=1).sum())
    return Boxes(
        corners,
        np.array([int(values[0]) for values in rows], np.int64),
        np.zeros(len(rows), np.bool_),
        np.full(len(rows), np.nan),
    )


def _lines(path: Path | None, problems: list[Problem]) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(unreadable(error, path, "can't be read", "Fix the file."))
        return []


def _wrong(values: tuple[float, ...], n_classes: int, *, keypoints: bool) -> str:
    """What is wrong with a line; empty: nothing."""
    n = len(values)
    polygon = not keypoints and n >= _TRIANGLE and n % 2 == 1
    if not values or not np.isfinite(values).all():
        return "isn't numbers"
    if n != _BOX and not polygon and not (keypoints and n > _BOX):
        return f"has {n} columns" + (
            ", the last perhaps a confidence: predictions aren't labels" if n == _BOX + 1 else ""
        )
    if values[0] != int(values[0]) or not 0 <= values[0] < n_classes:
        return f"there is no class {values[0]:g}, classes are 0 to {n_classes - 1}"
    coordinates = values[1:] if polygon else values[1:_BOX]
    if not polygon and min(values[3:_BOX]) < 0:
        return "has a negative width or height"
    if min(coordinates) < -_SLACK or max(coordinates) > 1 + _SLACK:
        return "its coordinates aren't fractions of the image, 0 to 1"
    return ""


def _corners(
    values: tuple[float, ...], seen: Counter[str], *, keypoints: bool
) -> NDArray[np.float64]:
    if len(values) >= _TRIANGLE and not keypoints:
        seen["polygons"] += 1
        points = np.array(values[1:]).reshape(-1, 2)
        return np.concatenate([points.min(axis=0), points.max(axis=0)])
    centre, size = np.array(values[1:3]), np.array(values[3:_BOX])
    return np.concatenate([centre - size / 2, centre + size / 2])
