"""On a terminal a long command says at once what it is at; elsewhere it says nothing of that."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.audit.world import make_world

RUN = "import sys; from calaudit.cli import main; main()"
STAGES = ("starting", "opening the audit", "calibration sets", "ranges", "predictions",
          "statistics", "report")  # fmt: skip


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), n=600)


def in_terminal(size: tuple[int, int], *arguments: object, term: str = "xterm") -> str:
    """What a command shows on a terminal of (rows, columns) as its stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": term},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() in {0, 1, 3}, shown
    return shown.decode()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(0, 0), (24, 40)], ids=["of no known size", "narrow"])
def test_every_stage_of_an_audit_is_shown_while_it_lasts(
    audit: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    shown = in_terminal(size, "compare", audit, "--out", tmp_path / "out")
    places = [re.search(rf"\r{stage}: \d\d:\d\d", shown) for stage in STAGES]
    assert None not in places, shown
    starts = [place.start() for place in places]
    assert starts == sorted(starts)
    assert shown.startswith("\rstarting: 00:00")
    assert "Traceback" not in shown


def test_a_terminal_that_cannot_go_back_gets_lines(audit: Path) -> None:
    shown = in_terminal((24, 80), "status", audit, term="dumb")
    assert shown.startswith("starting …\r\n")
    assert "opening the audit …\r\n" in shown
    assert "\x1b" not in shown


def test_nothing_of_it_is_shown_in_a_log(audit: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN, "status", str(audit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
