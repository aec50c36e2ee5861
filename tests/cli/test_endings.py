"""However a command is ended, nothing half-written is left and no traceback shows."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool_writer import write_pool
from tests.audit.world import make_world
from tests.cli.running import calaudit
from tests.forked import Forked, run_program

RUN = "import sys; from calaudit.cli import main; main()"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written_and_the_next_run_goes_on(
    tmp_path: Path, how: signal.Signals
) -> None:
    audit = make_world(tmp_path, n=20_000)
    process = Forked(RUN, "compare", audit)
    while not list(tmp_path.rglob("*.part")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(how)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + how
    assert "Traceback" not in err
    told = "interrupted" if how is signal.SIGINT else f"ended by {how.name}"
    assert err.endswith(f"calaudit: {told}; no partial file was left\n")
    assert list(tmp_path.rglob("*.part")) == []
    assert calaudit("compare", audit).status == 1


LOST = """
import contextlib, signal, sys
enter = contextlib._GeneratorContextManager.__enter__
block = sys.argv[1]
def entered(manager):
    opened = enter(manager)
    if manager.gen.__name__ == block and next(countdown, None) is None:
        signal.raise_signal(signal.SIGINT)
    return opened
countdown = iter(range(int(sys.argv[2])))
contextlib._GeneratorContextManager.__enter__ = entered
del sys.argv[1:3]
"""
IN_A_PROGRAM = """
from pathlib import Path
import calaudit
calaudit.run_audit(Path(sys.argv[-1]))
"""


@pytest.mark.parametrize(("block", "nth"), [("written_hdf5", 2), ("atomic_write", 3), ("stage", 1)])
def test_a_request_between_the_opening_of_a_block_and_its_first_line_leaves_nothing(
    tmp_path: Path, block: str, nth: int
) -> None:
    """Python calls no end of a block whose opening was interrupted as it returned."""
    audit = make_world(tmp_path, n=600)
    code = LOST + "from calaudit.cli import main; main()"
    ended = run_program(code, block, nth, "compare", audit)
    assert (ended.status, ended.err.count("Traceback")) == (130, 0), ended.err
    assert list(tmp_path.rglob("*.part")) == []
    assert calaudit("compare", audit).status == 1


def test_a_program_that_lets_ctrl_c_through_ends_as_python_does(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=600)
    command = [sys.executable, "-c", LOST + IN_A_PROGRAM, "written_hdf5", "1", str(audit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGINT, ended.stderr
    assert list(tmp_path.rglob("*.part")) == []


PROGRAM = """
import sys
from pathlib import Path
import calaudit
from calaudit.audit.prepare import Overrides
try:
    calaudit.run_audit(Path(sys.argv[1]), Overrides(jobs=2))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_in_a_program_ends_every_job_of_its_audit(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=20_000)
    process = Forked(PROGRAM, audit)
    while not list(tmp_path.rglob("predictions/*.part")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.slow
@pytest.mark.parametrize("most", [1_000, 100_000])
def test_a_full_disk_ends_with_a_message_and_the_next_run_goes_on(
    tmp_path: Path, most: int
) -> None:
    audit = make_world(tmp_path, n=20_000)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); "
    ended = run_program(limit + RUN, "compare", audit)
    assert ended.status == 2
    assert "can't be written" in ended.err
    assert "Traceback" not in ended.err
    assert list(tmp_path.rglob("*.part")) == []
    assert calaudit("compare", audit).status == 1


def test_control_characters_in_names_are_spelled_out_in_messages(tmp_path: Path) -> None:
    ended = calaudit("pool", "show", tmp_path / "a\x1b[31mred.h5")
    assert ended.status == 2
    assert "\x1b" not in ended.err
    assert "\\x1b[31mred" in ended.err


def test_results_that_cannot_be_written_to_stdout_are_bad_output_not_a_regression(
    tmp_path: Path,
) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((3, 2), np.float32)})
    command = [sys.executable, "-c", RUN, "pool", "show", str(tmp_path / "p.h5")]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "calaudit: error: standard output: No space left on device\n"


def test_a_reader_that_goes_away_ends_the_command_silently(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((3, 2), np.float32)})
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "pool", "show", str(tmp_path / "p.h5")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.wait(timeout=300) == -signal.SIGPIPE
    assert process.stderr.read() == ""


def test_a_command_without_stdout_does_its_work(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((3, 2), np.float32)})
    command = f"exec {sys.executable} -c '{RUN}' pool show {tmp_path / 'p.h5'} >&-"
    ended = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "locale",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_what_a_terminals_encoding_lacks_is_spelled_out(
    tmp_path: Path, locale: dict[str, str]
) -> None:
    path = tmp_path / "p.h5"
    write_pool(path, inputs={"x": np.zeros((3, 2), np.float32)}, meta={"ä": np.arange(3)})
    command = [sys.executable, "-c", RUN, "pool", "show", str(path)]
    env = {**os.environ, **locale}
    ended = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rb"\xe4" in ended.stdout


@pytest.mark.parametrize(
    "raised", ["KeyError('x')", "MemoryError()", "GeneratorExit()", "RecursionError('deep')"]
)
def test_a_bug_keeps_its_traceback_and_ends_with_a_status_that_is_no_verdict(
    tmp_path: Path, raised: str
) -> None:
    audit = make_world(tmp_path, n=600)
    broken = (
        "import sys, calaudit.cli.compare\n"
        f"def broken(*_, **__): raise {raised}\n"
        "calaudit.cli.compare.run_audit = broken\n"
    )
    done = run_program(broken + RUN, "compare", audit)
    assert done.status == 70
    assert "Traceback (most recent call last)" in done.err
    name = raised.partition("(")[0]
    assert f"\ncalaudit: unexpected error ({name}): this is a bug in calaudit or" in done.err
    assert done.err.endswith("Report it with the lines above, the command and what "
                                "`calaudit doctor` prints.\n")  # fmt: skip
