"""benchmarks/table.py as it is run, on benchmarks made for the test."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.table import benchmarks

TABLE = Path(__file__).parents[2] / "benchmarks" / "table.py"
QUICK = """
from figures import Figure

def figures(repeats, folder):
    print("not part of the table")
    (folder / "scratch").write_text("")
    yield Figure("sorting", (1.0,) * repeats, "sorted()", (2.0,) * repeats, goal=0.4)
    yield Figure("a | b", (3e9,) * repeats, "limit of 4 GB", (4e9,) * repeats, "B", goal=1.0)
"""
FAILING = """
from figures import Figure

def figures(repeats, folder):
    yield Figure("before it failed", (1.0,) * repeats, "peer", (1.0,) * repeats)
    raise OSError("no room left")
"""
ENDLESS = """
import time
from figures import Figure

def figures(repeats, folder):
    yield Figure("before it was stopped", (1.0,) * repeats, "peer", (1.0,) * repeats)
    {told}
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "quick.py").write_text(QUICK)
    (tmp_path / "failing.py").write_text(FAILING)
    told = f"open({str(tmp_path / 'begun')!r}, 'w').close()"
    (tmp_path / "endless.py").write_text(ENDLESS.format(told=told))
    return tmp_path


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(TABLE), "--repeats", "2", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_a_table_names_figures_peers_goals_and_the_machine(folder: Path) -> None:
    status, out, _ = run(folder, "--only", "quick")
    assert status == 0
    (line,) = (line for line in out.splitlines() if line.startswith("sorting"))
    assert line.split("  ")[0] == "sorting"
    assert "sorted()" in line
    assert line.endswith("0.50 (0.50 to 0.50)  ≤ 0.40: missed")
    assert "Goals met: 1 of 2." in out
    assert f"python {sys.version.split()[0]}" in out
    assert "cores" in out
    assert "not part of the table" not in out


def test_one_that_fails_leaves_its_figures_and_the_others(folder: Path) -> None:
    status, out, _ = run(folder, "--only", "failing,quick")
    assert status == 1
    assert "before it failed" in out
    assert "sorting" in out
    assert "Not measured to its end: failing (OSError: no room left)." in out


def test_ctrl_c_leaves_what_was_measured_and_names_the_rest(folder: Path) -> None:
    process = start(folder, "--only", "quick,endless,failing")
    until = time.monotonic() + 120
    while not (folder / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "sorting" in out
    assert "before it was stopped" in out
    assert "endless (stopped by Ctrl-C)" in out
    assert "failing (not reached)" in out


def test_time_that_is_up_ends_the_benchmark_that_is_at_work(folder: Path) -> None:
    status, out, _ = run(folder, "--only", "endless,quick", "--minutes", "0.1")
    assert status == 1
    assert "endless (the time of --minutes was up)" in out
    assert "quick (not reached)" in out


def test_json_has_every_repeat(folder: Path) -> None:
    status, out, _ = run(folder, "--only", "quick", "--json")
    assert status == 0
    document = json.loads(out)
    first, second = document["figures"]["quick"]
    assert first["ours"] == [1.0, 1.0]
    assert first["ratio"] == {"median": 0.5, "smallest": 0.5, "largest": 0.5}
    assert (first["met"], second["met"]) == (False, True)
    assert document["machine"]["cores"]


def test_markdown_takes_the_place_of_the_table_before(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("# Before\n<!-- the table -->\nold\n<!-- the table's end -->\nafter\n")
    status, out, _ = run(folder, "--only", "quick", "--markdown", "--into", str(page))
    assert status == 0
    text = page.read_text()
    assert text.startswith("# Before\n<!-- the table -->\n|")
    assert text.endswith("\n<!-- the table's end -->\nafter\n")
    assert "old" not in text
    assert "| a \\| b | 2.79 GiB | limit of 4 GB |" in out
    assert out.strip() in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "nonesuch"], "no benchmark 'nonesuch'"),
        (["--only", "quick", "--repeats", "0"], "at least 1"),
        (["--only", "quick", "--into", str(TABLE.parents[1] / "LICENSE")], "hasn't the lines"),
        (["--only", "quick", "--into", "nowhere.md"], "nowhere.md"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    folder: Path, arguments: list[str], told: str
) -> None:
    status, out, err = run(folder, *arguments)
    assert status == 2
    assert told in err
    assert not out


def test_benchmarks_with_figures_are_found() -> None:
    found = benchmarks()
    assert {"average_precision", "importing", "memory", "overhead", "ranges"} <= set(found)
    assert not {"figures", "table", "claims"} & set(found)
