"""Pictures for reports: boxes, a mask, classes; and any that hypothesis thinks of."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from calaudit.formats.pictures import write_mask, write_picture
from calaudit.results.pictures import Depiction, Mark, Picture, Pictures

CELL, SLICE = "clean/minmax", "noise ≥ 0.4"
CLASSES = ("RBC", "WBC", "Platelets")
TRUE = (
    Mark("RBC", 5, 6, 25, 30, None, True),
    Mark("Platelets", 40, 40, 46, 47, None, False),
)
FOUND = (Mark("RBC", 5, 7, 26, 30, 0.91, True), Mark("Platelets", 39, 40, 46, 48, 0.6, True))
LEFT = (Mark("RBC", 6, 7, 26, 31, 0.5, True), Mark("WBC", 50, 5, 60, 15, 0.4, False))


def boxed(name: str = "cells <1>", *, file: str | None = "cells.png") -> Picture:
    """A photograph of which the engine loses a platelet, and sees a cell where none is."""
    return Picture(
        name, SLICE, CELL, 1.0, 0.5, file, 64, 48,
        Depiction(boxes=TRUE), Depiction(boxes=FOUND), Depiction(boxes=LEFT),
    )  # fmt: skip


def masked() -> Picture:
    """A street of which the engine loses the upper half."""
    sides = (Depiction(mask=f"{name}.png") for name in ("truth", "fp32", "engine"))
    return Picture("street", SLICE, CELL, 0.8, 0.5, "street.png", 64, 48, *sides)


def classed(name: str = "digit") -> Picture:
    """A digit taken for another."""
    sides = (Depiction(label=label) for label in ("three", "three", "eight"))
    return Picture(name, SLICE, CELL, 1.0, 1.0, "digit.png", 8, 8, *sides)


def of(*shown: Picture, metric: str = "top1", by: str | None = None, judged: int = 4) -> Pictures:
    """Pictures by one metric."""
    return Pictures(metric, by or metric, CLASSES, judged, shown)


def write_files(folder: Path) -> None:
    """What `boxed`, `masked` and `classed` name."""
    random = np.random.default_rng(0)
    photograph = random.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / "cells.png", photograph)
    write_picture(folder / "street.png", photograph[:48, :64])
    write_picture(folder / "digit.png", photograph[:8, :8, 0])
    mask = np.full((48, 64), 255, np.uint8)
    for number, name in enumerate(("truth", "fp32", "engine")):
        mask[10 * number : 10 * number + 20] = number
        write_mask(folder / f"{name}.png", mask, len(CLASSES))


_edge = st.floats(-1e4, 1e4)
_names = st.text(min_size=1, max_size=5)
_mark = st.builds(
    Mark, _names, _edge, _edge, _edge, _edge, st.none() | st.floats(0, 1),
    st.none() | st.booleans(),
)  # fmt: skip
_depiction = st.builds(
    Depiction, st.none() | st.text(), st.lists(_mark, max_size=2).map(tuple), st.none() | st.text()
)


def any_pictures(
    cells: st.SearchStrategy[str], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[Pictures]:
    """Of a report that has these."""
    number, side = st.none() | st.floats(-1e6, 1e6), st.integers(0, 5000)
    one = st.builds(
        Picture, st.text(), slices, cells, number, number, st.none() | st.text(), side, side,
        _depiction, _depiction, _depiction,
    )  # fmt: skip
    classes, shown = st.lists(_names, max_size=3).map(tuple), st.lists(one, max_size=2).map(tuple)
    return st.builds(Pictures, metrics, _names, classes, st.integers(1, 99), shown)
