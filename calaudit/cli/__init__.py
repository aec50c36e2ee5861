"""The command line: thin callers of the Python API, one module per command (see `app`).

Messages go to stderr, results to stdout or files. Exit status: 0 every gate passed,
1 something regressed, 3 nothing regressed but something is inconclusive, 2 bad input, 70 an
unexpected error: a bug, which says nothing of any engine.
"""

import atexit
import contextlib
import errno
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from typing import Final

from calaudit.cli.app import app
from calaudit.cli.output import on_lines
from calaudit.cli.usage import PARSER_ERROR, shows_help, usage_problem
from calaudit.runtime import interrupts
from calaudit.runtime.errors import CalauditError, Problem, SettingsError

UNEXPECTED: Final = 70
"""Exit status of a bug: EX_SOFTWARE of BSD's sysexits.h, apart from every verdict."""
_OBJECTS: Final = 10_000
"""New ones after which Python looks for cycles among them, instead of 700: reports have so many
records, and none in a cycle, that looking took a twentieth of an audit."""


def main() -> None:
    """Run the command line; every `CalauditError` becomes a message and exit status 2.

    What nobody expected keeps its traceback and ends with `UNEXPECTED`: Python's own status of it
    would be 1, which says that something regressed.
    """
    interrupts.listen()
    gc.set_threshold(_OBJECTS)
    # Python ends half a second sooner when it doesn't look for cycles once more; so nothing may
    # wait to be finalized in one.
    atexit.register(gc.freeze)
    if hasattr(signal, "SIGPIPE"):
        # A reader that has read enough ends the command, as it ends other tools: not an error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the terminal's or file's encoding lacks a character, its number is shown.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _run()
        finally:
            sys.stdout.flush()
        sys.exit(status)
    except OSError as error:
        _end_if_asked()
        _close_stdout()
        print(f"calaudit: error: {on_lines(_told(error))}", file=sys.stderr)
        sys.exit(2)
    except CalauditError as error:
        _end_if_asked()
        _tell(error.problems)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit):
        _end_if_asked()
        raise
    except BaseException as error:  # noqa: BLE001  # else Python ends with 1
        _end_if_asked()
        traceback.print_exc()
        print(
            f"calaudit: unexpected error ({type(error).__name__}): this is a bug in calaudit or in "
            "a package that adds to it\n"
            "  → Report it with the lines above, the command and what `calaudit doctor` prints.",
            file=sys.stderr,
        )
        sys.exit(UNEXPECTED)


def _tell(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"calaudit: error: {on_lines(str(problem))}", file=sys.stderr)


def _run() -> int:
    """Run the command, and give its exit status."""
    try:
        return app(standalone_mode=False, prog_name="calaudit") or 0
    except PARSER_ERROR as error:
        if not shows_help(error):
            raise SettingsError.of([usage_problem(error)]) from None
        print(error, file=sys.stderr)
        return 2


def _told(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno in (errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EBADF):
        return f"standard output: {error.strerror}"
    return str(error.strerror or error)


def _close_stdout() -> None:
    """Let nothing that is still to be written fail once more while Python ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_if_asked() -> None:
    """Exit with the status of the signal that asked to end, whatever came of it on the way."""
    request = interrupts.asked()
    if request is None:
        return
    interrupts.let_go()
    how = "interrupted" if request is signal.SIGINT else f"ended by {request.name}"
    with contextlib.suppress(OSError):  # of SIGHUP: the terminal is gone
        print(f"calaudit: {how}; no partial file was left", file=sys.stderr)
    sys.exit(128 + request)
