"""Calibration sets in HDF5: the drawn inputs, and how each sample of them was drawn."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.formats.array_stream import ArrayStream
from calaudit.formats.hdf5 import (
    DAMAGE,
    datasets_in,
    is_text,
    mark,
    open_hdf5,
    read_texts,
    reading,
    write_texts,
)
from calaudit.formats.identity import digest_rows
from calaudit.formats.rows import not_finite_problem
from calaudit.formats.writing import Hdf5Writing, written_hdf5
from calaudit.runtime.errors import CalauditError, FileFormatError, Notice, PoolError
from calaudit.runtime.pool import Rows, TensorSpec
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted
from calaudit.sampling.draw import SliceDraw, kish_n_eff
from calaudit.sampling.kinds import KINDS, kind_in_json, recipe_from_json
from calaudit.sampling.recipe import Recipe, StratumDraw
from calaudit.slices.sliceset import CodedDimension, SliceSet

AGAIN = "The file is damaged or was made by something else; draw it again with `calaudit sample`."

Record = TypeVar("Record", SliceDraw, StratumDraw, Notice)

KIND = "calibset"
VERSION = 1
"""Format history: 1, the first."""
_MADE_BY = "`calaudit sample`"
_SHOWN = 5
Batch = Mapping[str, NDArray[Any]]


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
            recipe=_read_recipe(file["recipe"][()].decode(), path),
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
    if dataset.shape == (0,):
        return []  # most records of most sets, of which there may be many
    if is_text(dataset):
        return [text or None for text in read_texts(dataset, where=dataset.name).to_list()]
    values: list[Any] = dataset[:].tolist()
    return [None if value != value else value for value in values]  # noqa: PLR0124  # NaN


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calibset(DrawnSet):
    """A calibration set in a file. Made by :func:`open_calibset`."""

    path: Path
    digests: NDArray[np.str_]
    """(n,) content digest of each sample's inputs (`formats.fingerprint.digest_rows`)."""
    inputs: Mapping[str, TensorSpec]
    """What is stored, by the model's input names."""

    @property
    def fingerprint(self) -> str:
        """Content hash over ids, weights and inputs (32 hexadecimal digits)."""
        whole = hashlib.blake2b(digest_size=16)
        for text in (*self.ids, *self.digests):
            whole.update(f"{text}\0".encode())
        whole.update(self.weights.astype("<f8").tobytes())
        return whole.hexdigest()

    def read_inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Inputs of the samples from `start` to `stop`, each (stop - start, …).

        Raises
        ------
        FileFormatError
            They aren't what was written: a sample's content doesn't give its digest.
        PoolError
            An input holds NaN or infinity.
        """
        with self._open() as file:
            return self._read(file, slice(start, stop))

    def pieces(self, positions: Iterable[NDArray[np.int64]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Inputs of some samples after others, each piece of positions ascending.

        Raises as :meth:`read_inputs`.
        """
        with self._open() as file:
            for piece in positions:
                yield self._read(file, piece)

    def batches(self, size: int) -> Iterator[dict[str, NDArray[Any]]]:
        """All inputs, at most `size` samples at a time. Raises as :meth:`read_inputs`."""
        with self._open() as file:
            for start in range(0, len(self), size):
                yield self._read(file, slice(start, min(start + size, len(self))))

    def _open(self) -> h5py.File:
        return open_hdf5(self.path, kind=KIND, version=VERSION, made_by=_MADE_BY)

    def _read(self, file: h5py.File, which: slice | NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        values: dict[str, NDArray[Any]] = {}
        for name, spec in self.inputs.items():
            with reading(self.path, f"inputs/{name}"):
                values[name] = file[f"inputs/{name}"][which].astype(spec.dtype, copy=False)
        ids = self.ids[which]
        found = [
            not_finite_problem(array, lambda at: ids[at].tolist(), f"{self.path}: /inputs/{name}")
            for name, array in values.items()
        ]
        problems = [problem for problem in found if problem is not None]
        if problems:
            raise PoolError.of(problems)
        changed = ids[digest_rows(values) != self.digests[which]]
        if len(changed):
            raise FileFormatError(
                counted(len(changed), "sample doesn't", "samples don't")
                + " match the stored checksums: "
                f"{', '.join(changed[:_SHOWN])}",
                where=self.path,
                next_step=AGAIN,
            )
        return values


def write_calibset(path: Path | str, drawn: DrawnSet, batches: Iterable[Batch]) -> Calibset:
    """Write a calibration set, whole or not at all, and open it.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.
    drawn : DrawnSet
    batches : iterable of mapping
        Inputs in the order of ``drawn.rows``: input name → (b, …); the b add up to n.

    Raises
    ------
    OutputError
        The file can't be written.
    ValueError
        The batches hold more or fewer samples than were drawn.
    """
    path = Path(path)
    checked: list[Calibset] = []
    with written_hdf5(path, check=lambda aside: checked.append(open_calibset(aside))) as writing:
        mark(writing.file, kind=KIND, version=VERSION)
        write_drawn(writing.file, drawn)
        digests = _write_inputs(writing, batches, str(path), len(drawn))
        write_column(writing.file, "digests", digests.tolist())
    return replace(checked[0], path=path)


def open_calibset(path: str | Path) -> Calibset:
    """Open a calibration set; its inputs are read when asked for.

    Raises
    ------
    FileFormatError
        Missing, truncated, foreign, damaged, or of a newer version.
    """
    path = Path(path)
    with open_hdf5(path, kind=KIND, version=VERSION, made_by=_MADE_BY) as file, well_formed(path):
        drawn = read_drawn(file, path)
        digests = np.array(read_column(file["digests"]), np.str_)
        stored = datasets_in(file, "inputs")
        lengths = {f"inputs/{name}": len(dataset) for name, dataset in stored.items()}
        specs = {
            name: TensorSpec(name, dataset.dtype.newbyteorder("="), tuple(dataset.shape[1:]))
            for name, dataset in stored.items()
        }
    lengths["digests"] = len(digests)
    wrong = [f"/{name} has {size}" for name, size in lengths.items() if size != len(drawn)]
    if wrong or not specs:
        raise FileFormatError(
            f"has {len(drawn)} rows, but {', '.join(wrong) or 'no inputs'}",
            where=path,
            next_step=AGAIN,
        )
    values = {field.name: getattr(drawn, field.name) for field in fields(drawn)}
    return Calibset(path=path, digests=digests, inputs=specs, **values)


def _read_recipe(text: str, path: Path) -> Recipe:
    kind = kind_in_json(text)
    if kind is not None and kind not in KINDS:
        raise FileFormatError(
            f"was drawn by the kind of recipe {kind!r}, which no installed package offers",
            where=path,
            next_step=f"Install the package that offers it; known: {', '.join(KINDS.names())}.",
        )
    return recipe_from_json(text, where="/recipe")


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


def _write_inputs(
    writing: Hdf5Writing, batches: Iterable[Batch], where: str, n: int
) -> NDArray[np.str_]:
    """Write the inputs; gives the digest of every sample (n,)."""
    streams: dict[str, ArrayStream] = {}
    digests: list[NDArray[np.str_]] = []
    with counter(n, what="writing") as done:
        for batch in batches:
            for name, values in batch.items():
                if name not in streams:
                    streams[name] = ArrayStream(
                        writing.file, f"inputs/{name}", values, compress=False
                    )
                streams[name].check(values, where=where)
                streams[name].add(values)
            digests.append(digest_rows(batch))
            writing.check()
            done.advance(len(digests[-1]))
    for stream in streams.values():
        stream.finish()
    found = sum(map(len, digests))
    if found != n:
        raise ValueError(f"{found} samples were given for {n} drawn rows")
    return np.concatenate(digests)
