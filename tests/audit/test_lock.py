"""One run at a time, and none that outlives its process."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from calaudit.audit.store import LOCK_FILE, hold_lock, is_locked, share_lock
from calaudit.runtime.errors import OutputError
from tests.audit.world import make_world
from tests.cli.running import calaudit

HOLD = """
import sys, time
from pathlib import Path
from calaudit.audit.store import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_run_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "audit"
    assert not is_locked(folder)
    with hold_lock(folder):
        assert is_locked(folder)
        with (
            pytest.raises(OutputError, match="lock held by another command") as caught,
            hold_lock(folder),
        ):
            pass
        assert "--wait" in str(caught.value)
    assert not is_locked(folder)
    with hold_lock(folder):
        pass


def test_waiting_run_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    ran = threading.Event()

    def wait() -> None:
        with hold_lock(tmp_path, wait=True):
            ran.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with hold_lock(tmp_path):
        waiting.start()
        assert not ran.wait(0.2)
    assert ran.wait(60)
    waiting.join(60)


def test_those_who_only_read_share_a_folder_that_nobody_changes_meanwhile(tmp_path: Path) -> None:
    with share_lock(tmp_path), share_lock(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(OutputError, match="lock held by another"), hold_lock(tmp_path):
            pass
    assert not is_locked(tmp_path)
    with (
        hold_lock(tmp_path),
        pytest.raises(OutputError, match="lock held by another"),
        share_lock(tmp_path),
    ):
        pass


def test_a_reader_waits_for_the_run_that_holds_the_folder(tmp_path: Path) -> None:
    read = threading.Event()

    def wait() -> None:
        with share_lock(tmp_path, wait=True):
            read.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with hold_lock(tmp_path):
        waiting.start()
        assert not read.wait(0.8)
    assert read.wait(60)
    waiting.join(60)


def test_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_locked(tmp_path)


def test_a_lock_that_may_not_be_opened_is_told_of(tmp_path: Path, permissions: None) -> None:
    audit = make_world(tmp_path, n=400)
    folder = audit.with_suffix("")
    with hold_lock(folder):
        pass
    lock = folder / LOCK_FILE
    lock.chmod(0)
    assert is_locked(folder) is None
    shown = calaudit("status", str(audit))
    assert "can't be told: its lock can't be opened (permission denied" in shown.out
    assert json.loads(calaudit("status", str(audit), "--json").out)["running"] is None
    lock.chmod(0o600)
    assert "can't be told" not in calaudit("status", str(audit)).out


def test_lock_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"), hold_lock(tmp_path / "file" / "x"):
        pass
