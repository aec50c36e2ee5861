"""What commands print: files written and notices on stderr, text in columns on stdout."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import cell_len

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


def text_columns(rows: Sequence[Sequence[str]], *, left: frozenset[int] = frozenset({0})) -> str:
    """Rows (the first one is the heading) in aligned columns.

    Parameters
    ----------
    rows : sequence of rows
        All of one length.
    left : frozenset of int
        Columns aligned left; the others, numbers, are aligned right.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell + pad if number in left else pad + cell
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            for pad in [" " * (width - cell_len(cell))]
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
