"""The store: which artefacts of the plan are there and whole.

Beside each artefact lies its seal, a hash of its name and bytes. An artefact without a seal isn't
finished; one that its seal doesn't fit was damaged or replaced. Both are made again.
"""

from pathlib import Path
from typing import Literal

from calaudit.audit.plan import content_key, file_key
from calaudit.formats.writing import write_text
from calaudit.runtime.errors import Notice

State = Literal["made", "missing", "damaged"]


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
        message = "wasn't as it had been written (damaged or replaced), and was made again"
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


def _content(path: Path) -> str:
    """Hash of the file's name, its bytes, and the weights that a large engine keeps beside it."""
    weights = path.with_name(f"{path.name}.weights")
    beside = file_key(weights) if weights.exists() else ""
    return content_key([path.name, file_key(path), beside])
