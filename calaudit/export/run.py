"""Export: one judged engine as a folder of files with their sums, written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.runtime.errors import Notice, OutputError
from calaudit.runtime.interrupts import listening

if TYPE_CHECKING:
    from calaudit.audit.finished import Finished
    from calaudit.formats.trt_header import TrtVersion
    from calaudit.results.audited import CellRecord

TENSORRT = "8.5.3"
"""Whose calibration cache is written where nothing is said: its parser is the one that was seen."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file of an export."""

    name: str
    what: str
    """What it is, in words."""
    bytes: int
    sha256: str
    """64 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An engine that was exported."""

    folder: Path
    cell: str
    """Its id in the report."""
    files: tuple[ExportedFile, ...]
    """Without SHA256SUMS itself."""
    notices: tuple[Notice, ...] = ()
    """What is to be known before it ships."""


@listening()
def export_engine(
    path: Path | str,
    cell: str | None = None,
    *,
    out: Path | str,
    tensorrt: str = TENSORRT,
    model: Path | str | None = None,
) -> Exported:
    """Export an engine that an audit judged.

    Parameters
    ----------
    path : Path
        The audit file, or the report.json of a finished audit.
    cell : str, optional
        The engine's id; default: the recommended one, also where it was judged in the folder
        ``recommend`` of the audit's results, or else the only candidate that keeps every gate.
    out : Path
        Folder to write: a new one, or one that an export wrote and nobody changed since.
    tensorrt : str
        The TensorRT, 10 or older, that will read the calibration cache.
    model : Path, optional
        The FP32 model, where it isn't where the audit file says.

    Raises
    ------
    SettingsError
        There is no such engine, it failed, or more than one may be meant.
    FileFormatError, ModelError
        A file that the engine is made of is gone, or isn't the one that was judged.
    OutputError
        `out` holds other files, or can't be written.
    """
    from calaudit.audit.finished import choose_cell, open_finished, recommended
    from calaudit.formats.folder import check_replaceable
    from calaudit.formats.trt_header import TrtVersion, header_for
    from calaudit.runtime.progress import stage

    version = TrtVersion.parse(tensorrt)
    header_for(version, "minmax")  # refuses what reads no caches, before any work
    with stage("reading the report"):
        finished = open_finished(Path(path))
        if cell is None and finished.report.recommendation is None:
            finished = recommended(finished) or finished
    chosen = choose_cell(finished.report, cell)
    check_replaceable(Path(out))
    if finished.path.absolute().is_relative_to(Path(out).absolute()):
        raise OutputError(
            "is the folder of the report, which would be replaced",
            where=out,
            next_step="Name another folder.",
        )
    with stage("exporting"):
        return _exported(finished, chosen, Path(out), version, model)


def _exported(
    finished: "Finished",
    cell: "CellRecord",
    out: Path,
    version: "TrtVersion",
    model: Path | str | None,
) -> Exported:
    from calaudit.export.parts import README, Parts, write_parts
    from calaudit.export.readme import readme_text, told_of
    from calaudit.formats.folder import read_sums, written_folder
    from calaudit.formats.writing import write_text

    given = None if model is None else Path(model)
    with written_folder(out) as folder:
        parts = Parts(finished, cell, folder, version, given)
        write_parts(parts)
        parts.files[README] = "this page: what was judged, and the lines that run it"
        write_text(folder / README, readme_text(parts))
    sums = read_sums(out)
    files = tuple(
        ExportedFile(name, what, (out / name).stat().st_size, sums[name])
        for name, what in parts.files.items()
    )
    told = (Notice("export", each, f"engine {cell.id}") for each in told_of(parts))
    return Exported(out, cell.id, files, (*finished.notices, *told, *parts.notices))
