"""A pool that lives in memory and remembers which columns were read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.objects import Objects
from calaudit.runtime.pool import ObjectsSpec, Rows, TensorSpec


class MemoryPool:
    def __init__(self, **columns: Any) -> None:
        self.frame = pl.DataFrame(columns, strict=False)
        self.read: list[str] = []

    def __len__(self) -> int:
        return self.frame.height

    @property
    def label(self) -> str:
        return "memory"

    inputs: Mapping[str, TensorSpec] = {}
    targets: Mapping[str, TensorSpec] = {}
    objects: Mapping[str, ObjectsSpec] = {}
    meta: Mapping[str, TensorSpec] = {}
    items: Mapping[str, TensorSpec] = {}

    def column_names(self) -> list[str]:
        return self.frame.columns

    def columns(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        self.read.extend(names)
        frame = self.frame.select(names).fill_nan(None)
        return frame if rows is None else frame[rows]

    def item_column(self, name: str) -> pl.Series:
        raise AssertionError("slices don't read items")

    def ids(self, rows: Rows) -> NDArray[np.str_]:
        raise AssertionError("slices don't read ids")

    def read_inputs(self, rows: Rows, *, check: bool = True) -> dict[str, NDArray[Any]]:
        raise AssertionError("slices don't read inputs")

    def read_target(self, name: str, rows: Rows) -> NDArray[Any]:
        raise AssertionError("slices don't read whole targets")

    def read_objects(self, name: str, rows: Rows) -> Objects:
        raise AssertionError("slices don't read whole targets")

    def ignored_class(self, target: str) -> int | None:
        raise AssertionError("slices don't read masks")

    def class_names(self, target: str) -> tuple[str, ...]:
        raise AssertionError("slices don't read class names")

    def fingerprint(self) -> str:
        return "memory"
