"""What lies in a results folder: the plan's artefacts, those of earlier plans, leftovers."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calaudit.audit.plan import Plan
from calaudit.audit.store import State, seal_of, state_of

Kind = Literal["calibration set", "ranges", "predictions", "engine"]
FOLDERS = ("calibsets", "ranges", "scales", "engines", "predictions")
"""Where an audit keeps artefacts, within its results folder."""
REPORTS = ("report.json", "report.html", "junit.xml", "summary.md", "metrics.prom")
_KEYED = re.compile(r".+-[0-9a-f]{16}\.(h5|json|onnx|engine|cache)(\.weights|\.seal|\.json)?")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part(\.weights)?")


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file that a plan asks for."""

    kind: Kind
    name: str
    """Of the set, the engine's cell, or ``FP32``."""
    path: Path
    state: State
    expected: int | None = None
    """Bytes that it will take, about, where that is known."""

    @property
    def size(self) -> int:
        """Bytes, those of weights kept beside it included; 0 where it isn't there."""
        beside = self.path.with_name(f"{self.path.name}.weights")
        return sum(each.stat().st_size for each in (self.path, beside) if each.is_file())


def take_inventory(plan: Plan, sizes: Mapping[Path, int] | None = None) -> list[Artefact]:
    """Every artefact of a plan, and whether it is there and whole. Reads all of them.

    Parameters
    ----------
    plan : Plan
    sizes : mapping, optional
        Bytes that artefacts will take (`calaudit.audit.sizes`).
    """
    known = sizes or {}
    return [
        Artefact(kind, name, path, state_of(path), known.get(path))
        for kind, name, path in _planned(plan)
    ]


def earlier_files(plan: Plan) -> list[Path]:
    """Artefacts that lie in the folder and belong to no part of the plan, seals included."""
    folder = plan.report.parent
    wanted = {path for _, _, path in _planned(plan)}
    cells = [plan.reference, *plan.cells]
    for cell in cells:  # of backends that keep engines of their own
        wanted |= {cell.built, cell.built.with_suffix(".cache"), cell.built.with_suffix(".json")}
    wanted |= {cell.scales for cell in cells if cell.scales is not None}
    kept = {path.resolve() for path in wanted}
    kept |= {seal_of(path).resolve() for path in wanted}
    kept |= {
        path.with_name(f"{path.name}{beside}").resolve()
        for path in wanted
        for beside in (".weights", ".json")
    }
    return [path for path in keyed_files(folder) if path.resolve() not in kept]


def keyed_files(folder: Path) -> list[Path]:
    """Every artefact and seal in a results folder, by the names that audits give them."""
    return sorted(
        path for name in FOLDERS for path in _files(folder / name) if _KEYED.fullmatch(path.name)
    )


def leftovers(folder: Path) -> list[Path]:
    """Files that a killed run was writing. Only meaningful while no run is at work."""
    return sorted(
        path
        for place in (folder, *(folder / name for name in FOLDERS))
        for path in _files(place)
        if _LEFTOVER.fullmatch(path.name)
    )


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run was writing. The caller holds the folder."""
    for path in leftovers(folder):
        path.unlink(missing_ok=True)


def _planned(plan: Plan) -> Iterator[tuple[Kind, str, Path]]:
    folder = plan.report.parent / "calibsets"
    for drawn in plan.calibsets:
        # a set that the audit file gives isn't the audit's to make
        if drawn.path.parent == folder:
            yield "calibration set", drawn.name, drawn.path
    if any(cell.method is not None for cell in plan.cells):
        yield "ranges", "all sets", plan.ranges
    yield "predictions", "FP32", plan.reference.predictions
    for cell in plan.cells:
        if cell.engine is not None:
            yield "engine", cell.id, cell.engine
        yield "predictions", cell.id, cell.predictions


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_file() or path.is_symlink())
