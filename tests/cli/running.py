"""Runs the command line in this process, as a user's shell would see it."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from calaudit.cli import main


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def calaudit(*arguments: object) -> Ended:
    """Exit status, stdout and stderr of ``calaudit ARGUMENTS``."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        patch.object(sys, "argv", ["calaudit", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())
