"""On a terminal a long command says at once what it is at; in a log now and then."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calaudit.runtime import progress
from tests.audit.world import make_world
from tests.forked import Forked, run_program

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
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                return
            shown.append(piece)

    reading = threading.Thread(target=read)
    reading.start()
    environment = {**os.environ, "TERM": term}
    terminal = Path(os.ttyname(theirs))
    process = Forked(RUN, *arguments, environment=environment, terminal=terminal)
    process.communicate()
    os.close(theirs)
    reading.join()
    os.close(ours)
    told = b"".join(shown).decode()
    assert process.returncode in {0, 1, 3}, told
    return told


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


def test_nothing_of_short_work_is_shown_in_a_log(audit: Path) -> None:
    ended = run_program(RUN, "status", audit)
    assert (ended.status, ended.err) == (0, "")


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 1,000 photographs, which take seconds to import."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / "0.png")
    for i in range(1, 1_000):
        os.link(folder / "0.png", folder / f"{i}.png")
    lines = "".join(f"{i}.png\n" for i in range(1_000))
    (folder / "list.csv").write_text(f"path\n{lines}", encoding="utf-8")
    return folder / "list.csv"


def importing(listed: Path) -> tuple[object, ...]:
    out = listed.with_name("pool.h5")
    return "pool", "import", listed, out, "--input", "image=path", "--size", "16"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_import_shows_its_rate_and_the_time_left(
    listed: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    shown = in_terminal((24, 80), *importing(listed))
    bars = re.findall(r"\rimport: +\d+%\|([^|]*)\| (\d+)/1000 \[\S+<(\S+), +\S+ ?sample/s\]", shown)
    known = [(int(n), left) for _, n, left in bars if left != "?"]
    assert len(known) > 3, shown
    assert known[0][0] < 400, "told late"
    assert shown.isascii() == (encoding == "ascii")


@pytest.mark.slow
def test_a_narrow_terminal_shows_the_numbers_without_the_bar(listed: Path) -> None:
    shown = in_terminal((24, 40), *importing(listed))
    lines = [line for line in shown.split("\r") if line.startswith("import ")]
    told = [re.match(r"import \d+ %, \d\d:\d\d left +\S+ ?sample/s", line) for line in lines]
    assert sum(one is not None for one in told) > 3, shown
    assert max(map(len, lines)) <= 40


def test_a_terminal_that_cannot_go_back_gets_lines_of_the_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.counter(100, what="import") as done:
        for _ in range(100):
            now[0] += 0.125
            done.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "import: 8 of 100, 8 %, 8.00sample/s, 00:11 left",
        "import: 48 of 100, 48 %, 8.00sample/s, 00:06 left",
        "import: 88 of 100, 88 %, 8.00sample/s, 00:01 left",
    ]


def test_a_terminal_without_unicode_gets_other_dots(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = in_terminal((24, 80), "status", audit, term="dumb")
    assert shown.startswith("starting ...\r\n")
    assert "\\u" not in shown


def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.counter(1_000, what="import") as done:
        for _ in range(100):
            now[0] += 1.0
            done.advance(10)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "import: 300 of 1000, 30 %, 10.00sample/s, 01:10 left",
        "import: 600 of 1000, 60 %, 10.00sample/s, 00:40 left",
        "import: 900 of 1000, 90 %, 10.00sample/s, 00:10 left",
    ]


def test_a_log_of_work_without_a_known_end_says_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def slow() -> Iterator[int]:
        for step in range(40):
            now[0] += 1.0
            yield step

    assert list(progress.progress(slow(), total=None, what="trials", unit="engine")) == [*range(40)]
    assert capsys.readouterr().err == "trials: 30, 1.00engine/s, 00:30\n"
