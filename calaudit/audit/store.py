"""The results folder: which artefacts of the plan are there and whole, and one run at a time.

Beside each artefact lies its seal, a hash of its name and bytes. An artefact without a seal isn't
finished; one that its seal doesn't fit was damaged or replaced. Both are made again. A lock in the
folder ends with the process that holds it.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout

from calaudit.audit.bench_entry import Variant, built_path
from calaudit.audit.keys import content_key, file_key
from calaudit.audit.plan import Plan
from calaudit.formats.writing import write_text
from calaudit.runtime.errors import Notice, OutputError
from calaudit.runtime.interrupts import stop_if_asked

State = Literal["made", "missing", "damaged"]

Kind = Literal["calibration set", "ranges", "predictions", "engine"]
FOLDERS = ("calibsets", "ranges", "scales", "engines", "predictions", "pictures")
"""Where an audit keeps artefacts, within its results folder."""
_KEYED = re.compile(r".+-[0-9a-f]{16}\.(h5|json|onnx|engine|cache)(\.weights|\.seal|\.json)?")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part(\.weights)?")

LOCK_FILE = ".lock"
"""The lock file. It stays; what counts is whether a living process holds it."""
LOCK_TIMEOUT = 0.5
"""Seconds before a second run is refused: `is_locked` takes the lock for an instant."""

_POLL: Final = 0.05
"""Seconds between two tries to take a lock."""


class Store:
    """Looks after the artefacts of one run."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        """Artefacts that were there and had to be made again."""

    def holds(self, path: Path) -> bool:
        """Whether an artefact is there as it was written; a damaged one is noted."""
        state = state_of(path)
        if state != "damaged":
            return state == "made"
        message = "checksum mismatch (damaged or replaced), built again"
        self.notices.append(Notice("artefact_remade", message, f"{path.parent.name}/{path.name}"))
        return False

    def keep(self, path: Path) -> None:
        """Seal an artefact that was just written. Raises `OutputError` where that can't be."""
        write_text(seal_of(path), f"{_content(path)}\n")


def state_of(path: Path) -> State:
    """Whether an artefact is there as it was written. Reads all of it."""
    seal = seal_of(path)
    if not path.exists() or not seal.exists():
        return "missing"
    # compared as bytes: a damaged seal may hold anything
    return "made" if seal.read_bytes().strip() == _content(path).encode() else "damaged"


def seal_of(path: Path) -> Path:
    """Where an artefact's seal lies."""
    return path.with_name(f"{path.name}.seal")


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
        Bytes that artefacts will take (`calaudit.audit.preflight`).
    """
    known = sizes or {}
    return [
        Artefact(kind, name, path, state_of(path), known.get(path))
        for kind, name, path in _planned(plan)
    ]


def earlier_files(plan: Plan, variants: Sequence[Variant] = ()) -> list[Path]:
    """Artefacts that lie in the folder and belong to no part of the plan, seals included.

    Parameters
    ----------
    plan : Plan
    variants : sequence of Variant
        In which its engines are benched: what a backend keeps of these belongs to it, too.
    """
    folder = plan.report.parent
    wanted = {path for _, _, path in _planned(plan)}
    cells = [plan.reference, *plan.cells]
    for cell in cells:  # of backends that keep engines of their own
        for built in (cell.built, *(built_path(cell.built, cell.id, each) for each in variants)):
            wanted |= {built, built.with_suffix(".cache"), built.with_suffix(".json")}
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


def check_folder(folder: Path) -> None:
    """Refuse a results folder whose name a file has. Raises `OutputError`."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            "is a file, but results go to a folder of this name",
            where=folder,
            next_step="Name another folder with --out, or rename the audit file.",
        )


def check_owner(folder: Path, audit: str) -> None:
    """Refuse a folder that holds the report of another audit, which would be lost.

    Parameters
    ----------
    folder : Path
    audit : str
        Name of the audit that is to write there.

    Raises
    ------
    OutputError
        The report.json there says that it is of another audit.
    """
    path = folder / "report.json"
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))["audit"]["name"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return  # no report, or none that says whose it is
    if isinstance(owner, str) and owner != audit:
        raise OutputError(
            f"is the report of another audit, {owner!r}, which {audit!r} would replace",
            where=path,
            next_step="Name another folder with --out, or delete that report.",
        )


_NO_LOCK: Final = (OSError, NotImplementedError)
"""What `FileLock` raises where a folder can't be locked; the second where its file system has no
flock."""
WAITING: Final = (
    "Wait for it to end (calaudit compare --wait does), or name another folder with --out."
)


@contextmanager
def hold_lock(folder: Path, *, wait: bool = False, next_step: str = WAITING) -> Iterator[None]:
    """Hold a results folder, which is made if it isn't there.

    The operating system holds the lock (flock), so a run that was killed leaves none behind.

    Parameters
    ----------
    folder : Path
    wait : bool
        Wait for a run that holds it instead of refusing.
    next_step : str
        What to do where it is refused.

    Raises
    ------
    OutputError
        Another run holds the folder, or it can't be written to or locked.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=-1 if wait else LOCK_TIMEOUT, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise _held(folder, next_step) from None
    except _NO_LOCK as error:
        raise _unlockable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def share_lock(folder: Path, *, wait: bool = False, next_step: str = WAITING) -> Iterator[None]:
    """Hold a results folder that is only read: others may read it meanwhile, none may change it.

    Parameters, errors: as :func:`hold_lock`, which is refused meanwhile, and refuses this.
    """
    try:
        import fcntl
    except ImportError:  # no flock on this system
        with hold_lock(folder, wait=wait, next_step=next_step):
            yield
        return
    until = time.monotonic() + LOCK_TIMEOUT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unlockable(folder, error) from error
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait and time.monotonic() > until:
                    raise _held(folder, next_step) from None
                stop_if_asked()
                time.sleep(_POLL)
            except OSError as error:
                raise _unlockable(folder, error) from error
        yield
    finally:
        os.close(file)


def _held(folder: Path, next_step: str) -> OutputError:
    return OutputError(
        "lock held by another command that is at work on this folder",
        where=folder,
        next_step=next_step,
    )


def _unlockable(folder: Path, error: OSError | NotImplementedError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return OutputError(
        f"can't be written or locked: {reason or error}",
        where=folder,
        next_step="Choose another output folder, or check its free space and permissions.",
    )


def is_locked(folder: Path) -> bool | None:
    """Whether a run is at work on a results folder; None where that can't be told.

    Asks without leaving anything behind.
    """
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with FileLock(folder / LOCK_FILE, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except _NO_LOCK:
        return None  # there is no permission to ask, or no flock


def _content(path: Path) -> str:
    """Hash of the file's name, its bytes, and the weights that a large engine keeps beside it."""
    weights = path.with_name(f"{path.name}.weights")
    beside = file_key(weights) if weights.exists() else ""
    return content_key([path.name, file_key(path), beside])


def _planned(plan: Plan) -> Iterator[tuple[Kind, str, Path]]:
    folder = plan.report.parent / "calibsets"
    for drawn in plan.calibsets:
        # a set that the audit file gives isn't the audit's to make
        if drawn.path.parent == folder:
            yield "calibration set", drawn.name, drawn.path
    if any(cell.calibset is not None for cell in plan.cells):
        yield "ranges", "all sets", plan.ranges
    if plan.network_ranges is not None:
        yield "ranges", "all sets, all tensors", plan.network_ranges
    if plan.slice_ranges is not None:
        yield "ranges", "slices of the tuning rows", plan.slice_ranges
    yield "predictions", "FP32", plan.reference.predictions
    for cell in plan.cells:
        if cell.engine is not None:
            yield "engine", cell.id, cell.engine
        yield "predictions", cell.id, cell.predictions


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_file() or path.is_symlink())
