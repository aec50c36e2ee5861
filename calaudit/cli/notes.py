"""What is said on stderr beside results: files written, and notices."""

import sys
from collections.abc import Iterable
from pathlib import Path

from calaudit.runtime.words import visible


def print_notes(notices: Iterable[object]) -> None:
    """Print each as a note, its control characters spelled out."""
    for notice in notices:
        print(f"calaudit: note: {on_lines(str(notice))}", file=sys.stderr)


def print_written(path: Path) -> None:
    """Say that a file was written."""
    print(f"wrote {visible(path)}", file=sys.stderr)


def on_lines(text: str) -> str:
    """`text` with control characters spelled out, but for its line ends."""
    return "\n".join(map(visible, text.split("\n")))
