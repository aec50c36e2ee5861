"""The command line: thin callers of the Python API, one module per command.

Messages go to stderr, results to stdout or files. Exit status: 0 every gate passed,
1 something regressed, 3 nothing regressed but something is inconclusive, 2 bad input.
"""

import signal
import sys

from calaudit import interrupts
from calaudit.cli import (
    build,
    cache,
    calibrate,
    compare,
    demo,
    doctor,
    folder,
    init,
    pool,
    report,
    sample,
    slices,
)
from calaudit.cli.app import app
from calaudit.cli.notes import on_lines
from calaudit.errors import CalauditError

__all__ = [
    "build",
    "cache",
    "calibrate",
    "compare",
    "demo",
    "doctor",
    "folder",
    "init",
    "main",
    "pool",
    "report",
    "sample",
    "slices",
]


def main() -> None:
    """Run the command line; every `CalauditError` becomes a message and exit status 2."""
    interrupts.listen()
    try:
        app()
    except CalauditError as error:
        _end_if_asked()
        for problem in error.problems:
            print(f"calaudit: error: {on_lines(str(problem))}", file=sys.stderr)
        sys.exit(2)
    except BaseException:
        _end_if_asked()
        raise


def _end_if_asked() -> None:
    """Exit with the status of the signal that asked to end, whatever came of it on the way."""
    request = interrupts.asked()
    if request is None:
        return
    if request is signal.SIGINT:
        print("calaudit: interrupted; nothing half-written was left", file=sys.stderr)
    sys.exit(128 + request)
