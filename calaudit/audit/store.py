"""The store: which artefacts of the plan are there and whole.

Beside each artefact lies its seal, a hash of its bytes. An artefact without a seal isn't finished;
one that its seal doesn't fit was damaged or replaced. Both are made again.
"""

from pathlib import Path

from calaudit.audit.plan import file_key
from calaudit.errors import Notice
from calaudit.formats.aside import write_text


class Store:
    """Looks after the artefacts of one run."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        """Artefacts that were there and had to be made again."""

    def holds(self, path: Path) -> bool:
        """Whether an artefact is there as it was written; a damaged one is noted."""
        if not path.exists() or not _seal(path).exists():
            return False
        if _seal(path).read_text(encoding="utf-8").strip() == _content(path):
            return True
        message = "wasn't as it had been written (damaged or replaced), and was made again"
        self.notices.append(Notice("artefact_remade", message, f"{path.parent.name}/{path.name}"))
        return False

    def keep(self, path: Path) -> None:
        """Seal an artefact that was just written. Raises `OutputError` where that can't be."""
        write_text(_seal(path), f"{_content(path)}\n")


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _content(path: Path) -> str:
    """Hash of the file, and of the weights that a large engine keeps beside it."""
    weights = path.with_name(f"{path.name}.weights")
    return file_key(path) + (file_key(weights) if weights.exists() else "")
