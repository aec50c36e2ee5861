"""A file of answers: what an engine that ran elsewhere gave, by sample id.

An .npz or HDF5 file that any tool may write: ``ids`` (n,), and each output under the model's own
name for it, (n, …), or columns that a task can do with. Samples may come in any order. Where a
sample has any number of values, detections for instance, these stand one below the other, (m, …),
and ``offsets`` (n + 1,) or ``image`` (m,) says whose they are.
"""

import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.given import Column, Ragged
from calaudit.formats.rows import read_rows
from calaudit.formats.writing import atomic_write
from calaudit.runtime.errors import FileFormatError, OutputError
from calaudit.runtime.words import counted, first_of, shape_text

IDS: Final = "ids"
OFFSETS: Final = "offsets"
"""(n + 1,) where each sample's values begin, and where the last one's end."""
IMAGE: Final = "image"
"""(m,) id of the sample that each value is of."""
_SHOWN: Final = 3
_DOCS: Final = "docs/formats/answers.md shows how such a file is written."


class AnswersFile:
    """Answers by sample id, read when asked for.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``, ``.h5`` or ``.hdf5``.

    Raises
    ------
    FileFormatError
        There is no such file, it is broken or has no ids, ids occur twice, an entry isn't an array
        of numbers with one row per id, or it isn't clear whose a value is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as entries:
            if IDS not in entries:
                raise self._wrong("has no ids", _DOCS)
            self.ids = _texts(np.asarray(entries[IDS][...]), path, IDS)
            found = {n: (each.shape, each.dtype) for n, each in entries.items() if n != IDS}
            telling = _telling(found, path)
            self._values = {
                part: _order(self.ids, name, np.asarray(entries[name][...]), path)
                for part, name in telling.items()
            }
        found = {name: each for name, each in found.items() if name not in telling.values()}
        _check(self.ids, found, path, self._values)
        self._lengths = {name: shape[0] for name, (shape, _) in found.items()}
        self.shapes: dict[str, tuple[int, ...]] = {name: s[1:] for name, (s, _) in found.items()}
        """Entry → shape of a sample's answer, or of a value."""
        self._places = {text: place for place, text in enumerate(self.ids)}

    def holds(self, columns: Collection[str], *, ragged: bool) -> bool:
        """Whether all of some entries are there, with a row per sample, or any number each."""
        return all(
            self._lengths.get(name) == (self._values_of(name) if ragged else len(self.ids))
            and name in self.shapes
            for name in columns
        )

    def _values_of(self, name: str) -> int | None:
        """Values of all samples in an entry with any number of them; None: it has one of each."""
        told = self._values.get(_part(name))
        return None if told is None else len(told.values)

    def check(self, needed: Sequence[str], known: Sequence[str]) -> None:
        """Refuse a file that lacks answers, or that has some of samples which nobody knows.

        Parameters
        ----------
        needed : sequence of str
            Ids of the samples that are judged.
        known : sequence of str
            Ids of all samples of the pool.

        Raises
        ------
        FileFormatError
            With the first of what is missing or unknown, and how many there are.
        """
        missing = [each for each in needed if each not in self._places]
        if missing:
            raise self._wrong(
                f"has no answers for {counted(len(missing), 'sample')} of {len(needed):,} that are "
                f"judged: {_named(missing)}",
                "Answer every sample that the audit's evaluate selects, and those of galleries.",
            )
        unknown = sorted(set(self.ids) - set(known))
        if unknown:
            raise self._wrong(
                f"has answers for {counted(len(unknown), 'sample')} that the pool doesn't hold: "
                f"{_named(unknown)}",
                "Give answers by the pool's ids; without ids in the pool, by row numbers from 0.",
            )

    def batches(
        self, ids: Sequence[str], size: int, names: Mapping[str, bool]
    ) -> Iterator[dict[str, Column]]:
        """Some entries of the samples `ids`, in their order, `size` at a time.

        Parameters
        ----------
        ids : sequence of str
        size : int
            Samples at a time.
        names : mapping
            Entry → whether it is ragged.

        Raises
        ------
        FileFormatError
            The file is damaged.
        """
        places = np.array([self._places[each] for each in ids], np.int64)
        with self._open() as entries:
            whole = {name: entries[name] for name in names}
            for start in range(0, len(places), size):
                piece = places[start : start + size]
                yield {
                    name: _ragged(entry, self._values[_part(name)].take(piece))
                    if names[name]
                    else _rows(entry, piece)
                    for name, entry in whole.items()
                }

    @contextmanager
    def _open(self) -> Iterator[Mapping[str, Any]]:
        """Entries by name: arrays, or datasets."""
        if not self.path.is_file():
            raise self._wrong("there is no such file", "Check the path.")
        try:
            if self.path.suffix.lower() == ".npz":
                if not zipfile.is_zipfile(self.path):
                    raise self._wrong("isn't an .npz file", _DOCS)
                with np.load(self.path, allow_pickle=False) as archive:
                    yield {name: self._array(archive, name) for name in archive.files}
            else:
                if not h5py.is_hdf5(self.path):
                    raise self._wrong("isn't an HDF5 file", _DOCS)
                with h5py.File(self.path, "r", locking=False) as file:
                    yield _datasets(file)
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            said = " ".join(str(error).split())
            raise self._wrong(f"can't be read: {said}", _DOCS) from None

    def _array(self, archive: Mapping[str, Any], name: str) -> NDArray[Any]:
        """An entry of an .npz, which is never unpickled."""
        try:
            values: NDArray[Any] = archive[name]
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise self._wrong(
                f"{name} is an array of Python objects, which is never loaded",
                f"Save texts: {IDS}={IDS}.astype(str)."
                if name == IDS
                else f"Save numbers: {name}.astype(numpy.float32), with one shape for all samples.",
            ) from None
        return values

    def _wrong(self, message: str, next_step: str) -> FileFormatError:
        return FileFormatError(message, where=self.path, next_step=next_step)


def _part(name: str) -> str:
    """What stands before the last ``/``: entries of one part belong together."""
    return name.rpartition("/")[0]


def _telling(names: Iterable[str], path: Path) -> dict[str, str]:
    """Part of the file → the entry that says whose each of its values is."""
    found: dict[str, str] = {}
    for name in sorted(names):
        if name.rpartition("/")[2] in {OFFSETS, IMAGE}:
            other = found.setdefault(_part(name), name)
            if other != name:
                raise FileFormatError(
                    f"has both {other} and {name}", where=path, next_step="Keep one of them."
                )
    return found


def _order(ids: Sequence[str], name: str, told: NDArray[Any], path: Path) -> Ragged:
    """Places of each sample's values, in the order of `ids`, by the entry that tells them."""
    if name.endswith(OFFSETS):
        ends = told
        ascends = ends.ndim == 1 and ends.dtype.kind in "iu" and len(ends) == len(ids) + 1
        if not ascends or ends[0] != 0 or (np.diff(ends.astype(np.int64)) < 0).any():
            raise FileFormatError(
                f"{name} doesn't say where the values of {len(ids):,} samples begin",
                where=path,
                next_step=f"Write {len(ids) + 1:,} whole numbers: 0, then the sums of the samples' "
                "numbers of values.",
            )
        starts = ends.astype(np.int64)
        return Ragged(np.arange(int(starts[-1])), starts[1:] - starts[:-1])
    places = {text: place for place, text in enumerate(ids)}
    texts = _texts(told, path, name)
    strange = sorted({each for each in texts if each not in places})
    if strange:
        raise FileFormatError(
            f"{name} names {counted(len(strange), 'sample')} that ids doesn't: {_named(strange)}",
            where=path,
            next_step="Name every sample in ids, also those with no value at all.",
        )
    image = np.array([places[each] for each in texts], np.int64)
    counts = np.bincount(image, minlength=len(ids)).astype(np.int64)
    return Ragged(np.argsort(image, kind="stable"), counts)


def _check(
    ids: Sequence[str],
    outputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    path: Path,
    told: Mapping[str, Ragged],
) -> None:
    """Refuse ids that occur twice, and entries that aren't one row of numbers per id, or value."""
    if not outputs:
        raise FileFormatError("holds no outputs beside its ids", where=path, next_step=_DOCS)
    twice = [text for text, n in Counter(ids).items() if n > 1]
    if twice:
        raise FileFormatError(
            f"ids occur more than once: {_named(twice)}",
            where=path,
            next_step="Give each sample one answer.",
        )
    for name, (shape, dtype) in outputs.items():
        own = told.get(_part(name))
        values = None if own is None else len(own.values)
        if not shape or shape[0] not in (len(ids), values):
            beside = "" if values is None else f", or of {counted(values, 'value')}"
            raise FileFormatError(
                f"{name} has shape {shape_text(shape)}, not one row for each of {len(ids):,} ids"
                f"{beside}",
                where=path,
                next_step="Write outputs with the samples along their first axis."
                if values is not None
                else "Write outputs with the samples along their first axis; of columns with any "
                f"number of values per sample, such as detections, {OFFSETS} or {IMAGE} says whose "
                "each is.",
            )
        if dtype.kind not in "fiub":
            raise FileFormatError(
                f"{name} holds no numbers",
                where=path,
                next_step="Write outputs as arrays of numbers.",
            )


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All datasets; a name with / in it leads through groups, and may begin with one."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            found[str(node.attrs.get("name", name))] = node

    file.visititems(visit)
    return found


def _ragged(entry: Any, wanted: Ragged) -> Ragged:
    return Ragged(_rows(entry, wanted.values), wanted.counts)


def _rows(entry: Any, places: NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(entry, np.ndarray):
        return entry[places]
    order = np.argsort(places, kind="stable")
    values = np.empty((len(places), *entry.shape[1:]), entry.dtype)
    values[order] = read_rows(entry, places[order])
    return values


def _texts(ids: NDArray[Any], path: Path, name: str) -> list[str]:
    """Ids as a pool has them: whole numbers stand for texts."""
    if ids.ndim == 1:
        if ids.dtype.kind in "iuU":
            return [str(each) for each in ids.tolist()]
        if ids.dtype.kind in "SO":
            try:
                return [e.decode() if isinstance(e, bytes) else str(e) for e in ids.tolist()]
            except UnicodeDecodeError:
                pass
    raise FileFormatError(
        f"{name} {'are' if name == IDS else 'is'}n't a list of texts or whole numbers",
        where=path,
        next_step=_DOCS,
    )


def _named(ids: Sequence[str]) -> str:
    return first_of(map(repr, ids[:_SHOWN]), len(ids))


def write_answers(
    path: Path | str, ids: Sequence[str] | Sequence[int], outputs: Mapping[str, ArrayLike]
) -> None:
    """Write a file of answers, which an audit judges as one of its ``[[engines]]``.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``, or in ``.h5`` or ``.hdf5``.
    ids : sequence
        Sample ids, as the pool has them, each once; row numbers from 0 for a pool without ids.
    outputs : mapping
        The model's name for an output → (n, …) answers in the order of `ids`. Or columns that a
        task takes in its place, of detections for instance ``boxes``, ``score`` and ``label``,
        (m, …), with ``image`` (m,), the id that each belongs to, or ``offsets`` (n + 1,). Those of
        a named task have its name before them: ``boxes2/score``.

    Raises
    ------
    OutputError
        Another suffix, or the file can't be written.
    FileFormatError
        Ids that occur twice, outputs of other lengths or without numbers.
    """
    path = Path(path)
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    texts = np.array([str(each) for each in ids], np.str_)
    telling = _telling(arrays, path)
    arrays |= {
        name: np.array(_texts(arrays[name], path, name), np.str_)
        for name in telling.values()
        if name.endswith(IMAGE)
    }
    told = {
        part: _order(texts.tolist(), name, arrays[name], path) for part, name in telling.items()
    }
    _check(
        texts.tolist(),
        {n: (e.shape, e.dtype) for n, e in arrays.items() if n not in telling.values()},
        path,
        told,
    )
    suffix = path.suffix.lower()
    if suffix not in {".npz", ".h5", ".hdf5"}:
        raise OutputError(
            "a file of answers ends in .npz, .h5 or .hdf5", where=path, next_step="Rename it."
        )
    with atomic_write(path) as aside:
        if suffix == ".npz":
            _write_npz(aside, {IDS: texts, **arrays})
        else:
            _write_hdf5(aside, texts, arrays)


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def _write_hdf5(path: Path, ids: NDArray[np.str_], arrays: Mapping[str, NDArray[Any]]) -> None:
    with h5py.File(path, "w", locking=False) as file:  # `atomic_write` holds it
        file.create_dataset(IDS, data=ids.astype(object), dtype=h5py.string_dtype())
        for name, values in arrays.items():
            text = values.dtype.kind == "U"
            more = {"dtype": h5py.string_dtype()} if text else {}
            data = values.astype(object) if text else values
            file.create_dataset(name, data=data, **more).attrs["name"] = name
