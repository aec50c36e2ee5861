"""Pools from a manifest: a CSV or Parquet table with a path per sample, and columns beside it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from calaudit.errors import CalauditError, Notice, PoolError, Problem
from calaudit.formats.aside import keep_apart
from calaudit.formats.importers.arrays import read_npy
from calaudit.formats.importers.audio import read_audio
from calaudit.formats.importers.images import read_image
from calaudit.formats.importers.manifest_table import Table, read_table
from calaudit.formats.importers.samples import BATCH, Imported, Sample, write_samples
from calaudit.formats.importers.settings import InputSettings, ManifestSettings, unit_notices

_MOST_PROBLEMS = 10
"""Unreadable files after which an import gives up."""
_SHOWN = 3


def import_manifest(
    source: Path, out: Path, settings: ManifestSettings, *, compress: bool = False
) -> Imported:
    """Read the files a manifest lists, preprocess them, and write them as a pool.

    Parameters
    ----------
    source : Path
        ``.csv``, ``.tsv`` or ``.parquet``, one row per sample; relative paths start at its folder.
    out : Path
        The pool.
    settings : ManifestSettings
        Inputs with their preprocessing, targets, metadata, ids.
    compress : bool
        See `PoolWriter`.

    Returns
    -------
    Number of samples written, and a notice that lists columns left out.

    Raises
    ------
    FileFormatError
        The manifest is missing or unreadable.
    SettingsError
        Columns that the settings name aren't there, with the near ones.
    PoolError
        Files that are missing, outside the folder, unreadable or of differing shape; missing or
        unknown labels.
    OutputError
        `out` can't be written, or is `source`.
    """
    keep_apart(out, source)
    table = read_table(source, settings)
    several: list[Path] = []
    samples = _samples(table, settings, several.append)
    classes = {
        name: target.classes
        for name, target in (settings.targets or {}).items()
        if target.classes is not None
    }
    units = tuple(_units(settings))
    n = write_samples(
        out, samples, total=len(table), classes=classes, compress=compress, notices=units
    )
    return Imported(n, (*table.notices, *_first_frames(several, source), *units))


def _units(settings: ManifestSettings) -> Iterator[Notice]:
    for name, how in settings.inputs.items():
        chosen = how.image or how.audio
        if chosen is not None:
            yield from unit_notices(f"input {name}", chosen)


def _first_frames(several: list[Path], source: Path) -> Iterator[Notice]:
    if several:
        names = ", ".join(path.name for path in sorted(several)[:_SHOWN])
        more = f" and {len(several) - _SHOWN:,} more" if len(several) > _SHOWN else ""
        message = f"of images with several frames the first is taken: {names}{more}"
        yield Notice("first_frame", message, str(source))


def _samples(
    table: Table, settings: ManifestSettings, several: Callable[[Path], None]
) -> Iterator[Sample]:
    problems: list[Problem] = []
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(table), BATCH):
            rows = range(start, min(start + BATCH, len(table)))
            # Decoding runs outside Python's lock, so threads share the work; order is kept.
            for row, read in zip(
                rows,
                threads.map(lambda row: _read(table, settings, row, several), rows),
                strict=True,
            ):
                if isinstance(read, CalauditError):
                    problems.extend(read.problems)
                elif not problems:
                    yield _sample(table, row, read)
            if len(problems) >= _MOST_PROBLEMS:
                break
    if problems:
        raise PoolError.of(problems)


def _sample(table: Table, row: int, inputs: dict[str, NDArray[Any]]) -> Sample:
    return Sample(
        inputs=inputs,
        targets={name: values[row] for name, values in table.targets.items()},
        meta={name: values[row] for name, values in table.meta.items()},
        id=table.ids[row],
    )


def _read(
    table: Table, settings: ManifestSettings, row: int, several: Callable[[Path], None]
) -> dict[str, NDArray[Any]] | PoolError:
    try:
        return {
            name: _read_file(table.paths[name][row], how, several)
            for name, how in settings.inputs.items()
        }
    except PoolError as error:
        return error


def _read_file(path: Path, how: InputSettings, several: Callable[[Path], None]) -> NDArray[Any]:
    if how.image is not None:
        return read_image(path, how.image, several=lambda: several(path))
    if how.audio is not None:
        return read_audio(path, how.audio)
    if how.npy is not None:
        return read_npy(path, how.npy)
    raise ValueError("an input has exactly one kind")
