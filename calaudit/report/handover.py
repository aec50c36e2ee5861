"""What an audit leaves beside its report to be handed over: engines, and scale tables."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from calaudit.report.index import Index, predicts
from calaudit.results.audited import CellRecord
from calaudit.runtime.words import command_line


def handed_file(cell: CellRecord) -> str:
    """The engine; of one that has no file of its own, the scale table. Empty without either."""
    if cell.file:
        return cell.file
    return cell.scales or "" if cell.status == "judged" else ""


def named_files(cell: CellRecord) -> tuple[tuple[str, str], ...]:
    """Every file of a cell that there is, from the report's folder, and what it is."""
    files = (
        ("engine", cell.file),
        ("Q/DQ graph", cell.graph if cell.graph != cell.file else None),
        ("scale table", cell.scales),
        ("calibration cache", cell.cache),
        ("predictions", cell.predictions),
    )
    return tuple((what, path) for what, path in files if path)


def cache_hint(index: Index, cells: Iterable[CellRecord]) -> str:
    """How the scale tables of implicit engines among `cells` become calibration caches.

    Empty where there is none: tables of Q/DQ engines lack tensors that TensorRT asks for.
    """
    told = {each.name: each.settings.get("int8") for each in index.report.audit.targets}
    for cell in cells:
        if cell.scales and (predicts(cell) or told.get(cell.backend) == "implicit"):
            made = (PurePosixPath(cell.scales), "calibration.cache", "--tensorrt", "8.6.1")
            return (
                "In the report's folder a calibration cache is made of a scale table by "
                f"{command_line('calaudit', 'cache', 'convert', *made)}, with the version of "
                "TensorRT that will read it"
            )
    return ""
