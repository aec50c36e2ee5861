"""The command line: thin callers of the Python API, one module per command.

Messages go to stderr, results to stdout or files. Exit status: 0 every gate passed,
1 something regressed, 3 nothing regressed but something is inconclusive, 2 bad input.
"""

import sys

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
    try:
        app()
    except CalauditError as error:
        for problem in error.problems:
            print(f"calaudit: error: {problem}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        # typer turns KeyboardInterrupt into this status, without a word.
        if ended.code == INTERRUPTED:
            print("calaudit: interrupted; nothing half-written was left", file=sys.stderr)
        raise
