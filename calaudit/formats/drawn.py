"""The provenance of a calibration set, in HDF5: one row per sample, slice, stratum and notice."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.errors import CalauditError, FileFormatError, Notice
from calaudit.formats.hdf5 import DAMAGE
from calaudit.formats.texts import is_text, read_texts, write_texts
from calaudit.pool import Rows
from calaudit.sampling import Recipe, SliceDraw, StratumDraw, kish_n_eff, recipe_from_json
from calaudit.slices import CodedDimension, SliceSet

AGAIN = "The file is damaged or was made by something else; draw it again with `calaudit sample`."

Record = TypeVar("Record", SliceDraw, StratumDraw, Notice)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DrawnSet:
    """A draw with its provenance: everything a calibration set holds but the inputs."""

    recipe: Recipe
    seed: int
    """The seed that was used: the recipe's own, or else the command's."""
    pool_label: str
    """What the pool was called when the set was drawn."""
    pool_fingerprint: str
    """Content hash of the pool (32 hexadecimal digits)."""
    rows: Rows
    """(n,) pool rows, ascending."""
    ids: NDArray[np.str_]
    """(n,) sample ids in the pool."""
    weights: NDArray[np.float64]
    """(n,) how many candidates a sample stands for, scaled to mean 1."""
    slices: SliceSet
    """Slices over the n samples."""
    composition: tuple[SliceDraw, ...]
    """Every slice: candidates and samples in it."""
    strata: tuple[StratumDraw, ...]
    """Every stratum: what it was asked for, and gave."""
    notices: tuple[Notice, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def kish_n_eff(self) -> float:
        """Kish's effective sample size (Σw)²/Σw²."""
        return kish_n_eff(self.weights)


def write_drawn(file: h5py.File, drawn: DrawnSet) -> None:
    """Write all fields into an open file."""
    file.attrs["name"] = drawn.name
    file.attrs["seed"] = drawn.seed
    file.attrs["kish_n_eff"] = drawn.kish_n_eff
    file.attrs["pool"] = drawn.pool_label
    file.attrs["pool_fingerprint"] = drawn.pool_fingerprint
    file["recipe"] = drawn.recipe.to_json()
    file["rows"] = drawn.rows
    file["weights"] = drawn.weights
    write_column(file, "ids", drawn.ids.tolist())
    _write_slices(file.create_group("slices"), drawn.slices)
    _write_records(file.create_group("composition"), drawn.composition, SliceDraw)
    _write_records(file.create_group("strata"), drawn.strata, StratumDraw)
    _write_records(file.create_group("notices"), drawn.notices, Notice)


def read_drawn(file: h5py.File, path: Path) -> DrawnSet:
    """Read all fields from an open file.

    Raises
    ------
    FileFormatError
        Something is missing, damaged, or doesn't fit the rest.
    """
    with well_formed(path):
        drawn = DrawnSet(
            recipe=recipe_from_json(file["recipe"][()].decode(), where="/recipe"),
            seed=int(file.attrs["seed"]),
            pool_label=str(file.attrs["pool"]),
            pool_fingerprint=str(file.attrs["pool_fingerprint"]),
            rows=file["rows"][:].astype(np.int64),
            weights=file["weights"][:].astype(np.float64),
            ids=np.array(read_column(file["ids"]), np.str_),
            slices=_read_slices(file["slices"]),
            composition=_read_records(file["composition"], SliceDraw),
            strata=_read_records(file["strata"], StratumDraw),
            notices=_read_records(file["notices"], Notice),
        )
        _check(drawn)
    return drawn


@contextmanager
def well_formed(path: Path) -> Iterator[None]:
    """Turn what a missing, damaged or wrongly shaped part causes into one kind of error."""
    try:
        yield
    except FileFormatError:
        raise
    except KeyError as error:
        message = str(error.args[0] if error.args else error)
        raise FileFormatError(
            f"a part is missing: {message}", where=path, next_step=AGAIN
        ) from error
    except (*DAMAGE, ValueError, TypeError, AttributeError, IndexError, CalauditError) as error:
        raise FileFormatError(f"isn't whole: {error}", where=path, next_step=AGAIN) from error


def write_column(group: h5py.Group, name: str, values: Sequence[Any]) -> None:
    """Write texts or numbers (n,); None becomes empty text or NaN."""
    if any(isinstance(value, str) for value in values):
        write_texts(group, name, pl.Series(values, dtype=pl.String))
    elif any(value is None or isinstance(value, float) for value in values):
        group[name] = np.array([np.nan if value is None else value for value in values])
    else:
        group[name] = np.array(values, np.int64)


def read_column(dataset: h5py.Dataset) -> list[Any]:
    """Read texts or numbers (n,); empty text and NaN become None."""
    if is_text(dataset):
        return [text or None for text in read_texts(dataset, where=dataset.name).to_list()]
    values: list[Any] = dataset[:].tolist()
    return [None if value != value else value for value in values]  # noqa: PLR0124  # NaN


def _write_records(group: h5py.Group, records: Sequence[Record], kind: type[Record]) -> None:
    for field in fields(kind):
        write_column(group, field.name, [getattr(record, field.name) for record in records])


def _read_records(group: h5py.Group, kind: type[Record]) -> tuple[Record, ...]:
    columns = {field.name: read_column(group[field.name]) for field in fields(kind)}
    return tuple(
        kind(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    )


def _write_slices(group: h5py.Group, slices: SliceSet) -> None:
    dimensions = slices.dimensions
    write_column(group, "dimensions", [each.name for each in dimensions])
    labels = [json.dumps(each.labels, ensure_ascii=False) for each in dimensions]
    write_column(group, "labels", labels)
    write_column(group, "min_support", [each.min_support for each in dimensions])
    codes = [each.codes for each in dimensions]
    group["codes"] = np.array(codes, np.int32).reshape(len(dimensions), slices.n_rows)


def _read_slices(group: h5py.Group) -> SliceSet:
    codes = group["codes"][:].astype(np.int32)
    dimensions = tuple(
        CodedDimension(name, tuple(json.loads(labels)), row, support)
        for name, labels, support, row in zip(
            read_column(group["dimensions"]),
            read_column(group["labels"]),
            read_column(group["min_support"]),
            codes,
            strict=True,
        )
    )
    return SliceSet(codes.shape[1], dimensions)


def _check(drawn: DrawnSet) -> None:
    n = len(drawn.rows)
    lengths = {"ids": len(drawn.ids), "weights": len(drawn.weights), "slices": drawn.slices.n_rows}
    differing = ", ".join(f"/{name} has {size}" for name, size in lengths.items() if size != n)
    if differing:
        raise ValueError(f"/rows has {n} entries, but {differing}")
    if n == 0 or n != drawn.recipe.size:
        raise ValueError(f"/rows has {n} entries for a recipe of size {drawn.recipe.size}")
    if drawn.rows[0] < 0 or (np.diff(drawn.rows) <= 0).any():
        raise ValueError("/rows doesn't ascend")
    if not (np.isfinite(drawn.weights) & (drawn.weights > 0)).all():
        raise ValueError("/weights isn't positive and finite")
    for each in drawn.slices.dimensions:
        if each.codes.min() < -1 or each.codes.max() >= len(each.labels):
            raise ValueError(f"/slices/codes of {each.name} point outside its labels")
