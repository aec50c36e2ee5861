"""Pools from a manifest: a CSV or Parquet table with a path per sample, and columns beside it.

The table's columns are checked and sorted into paths, targets, metadata and ids before any file is
read.
"""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
from numpy.typing import ArrayLike, NDArray

from calaudit.formats.class_names import as_names
from calaudit.formats.importers.direct import DirectInputs
from calaudit.formats.importers.images import Picture, levels_of, read_image, read_mask
from calaudit.formats.importers.manifest_settings import (
    InputSettings,
    ManifestSettings,
    MaskSettings,
    TargetSettings,
    unit_notices,
)
from calaudit.formats.importers.media import read_audio, read_npy
from calaudit.formats.importers.real_paths import RealPaths, is_within
from calaudit.formats.importers.samples import (
    Imported,
    Sample,
    Scalar,
    read_each,
    write_samples,
)
from calaudit.formats.importers.spare import Spare
from calaudit.formats.importers.table_file import read_table_file, typed
from calaudit.formats.pool_columns import as_series
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import (
    Notice,
    PoolError,
    Problem,
    SettingsError,
    near,
)
from calaudit.runtime.pool import widened
from calaudit.runtime.progress import stage
from calaudit.runtime.words import first_of

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au")
_ROWS_SHOWN = 10
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A checked manifest; every list has one entry per sample."""

    paths: dict[str, list[Path]]
    """Input name → files, absolute."""
    masks: dict[str, list[Path]]
    """Target name → files of masks."""
    targets: dict[str, list[Scalar]]
    meta: dict[str, list[Scalar]]
    ids: list[str]
    notices: tuple[Notice, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read_table(source: Path, settings: ManifestSettings) -> Table:
    """Read a manifest and check everything that can be checked before a file is decoded.

    Raises
    ------
    FileFormatError
        Missing, unreadable, or of an unknown kind.
    SettingsError
        Columns that aren't there.
    PoolError
        No rows; paths that are missing or leave the folder; labels missing or unknown.
    """
    path_columns = {name: how.column for name, how in settings.inputs.items()}
    first = next(iter(path_columns.values()))
    ids = settings.ids or first
    targets = settings.targets or {}
    mask_columns = [targets[name].column for name in _masks(settings)]
    texts = {*path_columns.values(), *mask_columns, ids}
    read = read_table_file(source)
    frame, notices = read.frame, read.notices
    _check_columns(frame, settings, source)
    if frame.is_empty():
        raise PoolError("lists no samples", where=source, next_step="Add one row per sample.")
    used = {*path_columns.values(), ids, *(target.column for target in targets.values())}
    meta = settings.meta
    if meta is None:
        meta = {name: name for name in frame.columns if name not in used}
    frame, decided = typed(read, {*used, *meta.values()}, texts, source)
    problems: list[Problem] = []
    paths = {
        name: _paths(frame[column], source, settings.outside, problems)
        for name, column in path_columns.items()
    }
    masks = {
        name: _paths(frame[targets[name].column], source, settings.outside, problems)
        for name in _masks(settings)
    }
    labels = {
        name: _labels(frame[target.column], target, source, problems)
        for name, target in targets.items()
        if name not in masks
    }
    if frame[ids].null_count():
        problems.append(
            Problem(
                f"{frame[ids].null_count()} ids are missing",
                f"{source}: {ids}",
                "Give every row an id.",
            )
        )
    problems.extend(_repeated(frame[ids], settings, source))
    if problems:
        raise PoolError.of(problems)
    left = [name for name in frame.columns if name not in {*used, *meta.values()}]
    if left:
        notice = Notice("left_out", f"columns left out: {', '.join(left)}", str(source))
        notices = (*notices, notice)
    return Table(
        paths=paths,
        masks=masks,
        targets=labels,
        meta={
            name: widened(as_series(column, frame[column], where=str(source))).to_list()
            for name, column in meta.items()
        },
        ids=frame[ids].to_list(),
        notices=(*notices, *decided),
    )


def _repeated(ids: pl.Series, settings: ManifestSettings, source: Path) -> Iterator[Problem]:
    """Ids that several rows have, with the first of these rows."""
    if ids.n_unique() == len(ids):
        return
    rows = pl.DataFrame({"id": ids, "row": pl.int_range(1, len(ids) + 1, eager=True)})
    held = rows.drop_nulls("id").group_by("id", maintain_order=True).agg("row")
    twice = held.filter(pl.col("row").list.len() > 1)
    if settings.ids is None:
        what = ", and without --ids (ids in --config) the path is the sample's id"
        step = "Name a column with an id of its own for each row: --ids COLUMN; or remove the rows."
    else:
        what, step = "", "Give every row an id of its own, or name another column: --ids COLUMN."
    for text, found in twice.head(_SHOWN).iter_rows():
        listed = first_of(map(str, found[:_ROWS_SHOWN]), len(found))
        message = f"{text!r} is in rows {listed}{what}"
        yield Problem(message, f"{source}: column {ids.name}", step)
    if len(twice) > _SHOWN:
        yield Problem(f"and {len(twice) - _SHOWN:,} more that repeat", str(source))


def _check_columns(frame: pl.DataFrame, settings: ManifestSettings, source: Path) -> None:
    wanted = {f"inputs.{name}": how.column for name, how in settings.inputs.items()}
    wanted |= {f"targets.{name}": t.column for name, t in (settings.targets or {}).items()}
    wanted |= {f"meta.{name}": column for name, column in (settings.meta or {}).items()}
    if settings.ids is not None:
        wanted["ids"] = settings.ids
    problems = [
        Problem(
            f"there is no column {column!r} for {role}", str(source), near(column, frame.columns)
        )
        for role, column in wanted.items()
        if column not in frame.columns
    ]
    if problems:
        raise SettingsError.of(problems)


def _paths(column: pl.Series, source: Path, outside: bool, problems: list[Problem]) -> list[Path]:
    root, real_paths = os.path.realpath(source.parent), RealPaths()
    found, bad = [], 0
    for row, text in enumerate(column):
        path = None if text is None else real_paths.of(os.path.join(root, text))
        if path is None:
            problem = Problem("the path is missing", None, "Fill it in, or remove the row.")
        elif not outside and not is_within(path, root):
            problem = Problem(
                f"{text!r} leaves the manifest's folder",
                None,
                "Move the files beside it, or allow it with --outside.",
            )
        elif not os.path.isfile(path):
            posix = "\\" in text and os.path.isfile(os.path.join(root, text.replace("\\", "/")))
            step = "Write / between folders, not \\." if posix else "Fix the path, or the row."
            problem = Problem(f"there is no file {text!r}", None, step)
        else:
            found.append(Path(path))
            continue
        bad += 1
        if bad <= _ROWS_SHOWN:
            where = f"{source}: row {row + 1}, column {column.name}"
            problems.append(Problem(problem.message, where, problem.next_step))
    if bad > _ROWS_SHOWN:
        problems.append(Problem(f"and {bad - _ROWS_SHOWN} more rows like these", str(source)))
    return found


def _labels(
    column: pl.Series, target: TargetSettings, source: Path, problems: list[Problem]
) -> list[Scalar]:
    where = f"{source}: {target.column}"
    if column.null_count():
        problems.append(
            Problem(
                f"{column.null_count()} of {len(column)} targets are missing",
                where,
                "Fill them in, or remove the rows.",
            )
        )
    if target.classes is None:
        return widened(as_series(target.column, column, where=str(source))).to_list()
    try:
        return as_names(column, target.classes, where=where).to_list()
    except PoolError as error:
        problems.extend(error.problems)
        return column.to_list()


def kind_of(source: Path, column: str) -> Literal["image", "audio", "npy"]:
    """What kind of files a manifest's column points at, by the ending of its first path.

    Raises
    ------
    SettingsError
        There is no such column, or the ending says nothing.
    """
    from PIL import Image

    frame = read_table_file(source).frame
    if column not in frame.columns:
        raise SettingsError(
            f"there is no column {column!r}", where=source, next_step=near(column, frame.columns)
        )
    first = next((text for text in frame[column] if text is not None), None)
    if first is None:
        raise SettingsError(
            "names no file", where=f"{source}: {column}", next_step="Add a row per sample."
        )
    suffix = Path(first).suffix.lower()
    if suffix == ".npy":
        return "npy"
    if suffix in AUDIO_SUFFIXES:
        return "audio"
    if suffix in Image.registered_extensions():
        return "image"
    raise SettingsError(
        f"can't tell from {first!r} what kind of file it is",
        where=f"{source}: {column}",
        next_step="Say it with --kind image, audio or npy.",
    )


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
    with stage("looking for the files"):
        table = read_table(source, settings)
    several: list[Path] = []
    direct = DirectInputs(Spare())
    samples = _samples(table, settings, several.append, direct)
    classes = {
        name: target.classes
        for name, target in (settings.targets or {}).items()
        if target.classes is not None
    }
    units = tuple(_units(settings))
    settled = all(how.settled for how in settings.inputs.values())
    masks = _masks(settings)
    n = write_samples(
        out,
        samples,
        total=len(table),
        classes=classes,
        ignored={name: mask.ignore for name, mask in masks.items() if mask.ignore is not None},
        levels={
            name: levels_of(how.image)
            for name, how in settings.inputs.items()
            if how.image is not None and how.image.as_bytes
        },
        compress=compress,
        notices=units,
        settled=settled and not masks,
        direct=direct if settled else None,
    )
    return Imported(n, (*table.notices, *_first_frames(several, source), *units))


def _units(settings: ManifestSettings) -> Iterator[Notice]:
    for name, how in settings.inputs.items():
        chosen = how.image or how.audio
        if chosen is not None:
            yield from unit_notices(f"input {name}", chosen)


def _first_frames(several: list[Path], source: Path) -> Iterator[Notice]:
    if several:
        names = first_of((path.name for path in sorted(several)[:_SHOWN]), len(several))
        message = f"of images with several frames the first is taken: {names}"
        yield Notice("first_frame", message, str(source))


def _samples(
    table: Table, settings: ManifestSettings, several: Callable[[Path], None], direct: DirectInputs
) -> Generator[Sample, None, None]:
    def read(row: int) -> tuple[dict[str, ArrayLike | None], dict[str, NDArray[Any]]]:
        inputs, masks = _read(table, settings, row, several, direct.spare)
        return direct.write(row, inputs), masks

    for row, (inputs, masks) in read_each(len(table), read):
        targets = {name: values[row] for name, values in table.targets.items()}
        yield Sample(
            inputs=inputs,
            targets={**targets, **masks},
            meta={name: values[row] for name, values in table.meta.items()},
            id=table.ids[row],
        )


def _read(
    table: Table,
    settings: ManifestSettings,
    row: int,
    several: Callable[[Path], None],
    spare: Spare,
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Inputs and masks of one sample."""
    inputs: dict[str, NDArray[Any]] = {}
    pictures: dict[str, Picture] = {}
    for name, how in settings.inputs.items():
        path = table.paths[name][row]
        if how.image is None:
            inputs[name] = _read_file(path, how, spare)
        else:
            told = partial(several, path)
            pictures[name] = read_image(path, how.image, several=told, spare=spare)
            inputs[name] = pictures[name].values
    masks = {
        name: read_mask(
            table.masks[name][row], pictures[settings.image_of(name, mask)], mask.ignore
        )
        for name, mask in _masks(settings).items()
    }
    return inputs, masks


def _masks(settings: ManifestSettings) -> dict[str, MaskSettings]:
    targets = (settings.targets or {}).items()
    return {name: target.mask for name, target in targets if target.mask is not None}


def _read_file(path: Path, how: InputSettings, spare: Spare) -> NDArray[Any]:
    if how.audio is not None:
        return read_audio(path, how.audio, spare=spare)
    if how.npy is not None:
        return read_npy(path, how.npy)
    raise ValueError("an input has exactly one kind")
