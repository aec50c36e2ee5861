"""The command line: thin callers of the Python API, one module per command.

Messages go to stderr, results to stdout or files. Exit status: 0 every gate passed,
1 something regressed, 3 nothing regressed but something is inconclusive, 2 bad input.
"""

import signal
import sys
import threading
from types import FrameType

from calaudit.cli import build, cache, calibrate, compare, demo, pool, report, sample, slices
from calaudit.cli.app import app
from calaudit.errors import CalauditError

__all__ = [
    "build",
    "cache",
    "calibrate",
    "compare",
    "demo",
    "main",
    "pool",
    "report",
    "sample",
    "slices",
]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it (128 + SIGINT)."""


def main() -> None:
    """Run the command line; every `CalauditError` becomes a message and exit status 2."""
    _end_cleanly_on(signal.SIGTERM, getattr(signal, "SIGHUP", None))
    try:
        app()
    except CalauditError as error:
        for problem in error.problems:
            print(f"calaudit: error: {_visible(str(problem))}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        # typer turns KeyboardInterrupt into this status, without a word.
        if ended.code == INTERRUPTED:
            print("calaudit: interrupted; nothing half-written was left", file=sys.stderr)
        raise


def _end_cleanly_on(*signals: signal.Signals | None) -> None:
    """Let a request to end unwind the stack, so that nothing half-written is left."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for each in signals:
        if each is not None and threading.current_thread() is threading.main_thread():
            signal.signal(each, end)


def _visible(text: str) -> str:
    """`text` with control characters spelled out: names come from files that others wrote."""
    return "".join(c if c in "\n " or c.isprintable() else ascii(c)[1:-1] for c in text)
