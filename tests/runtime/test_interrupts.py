"""A request to end is never lost, wherever it arrives; each case needs a process of its own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from calaudit.runtime import interrupts

START = """
import os, signal, sys, weakref
from calaudit.runtime import interrupts
interrupts.listen()
"""


def run(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", START + script], capture_output=True, text=True, check=False
    )


def test_a_request_is_raised_at_once() -> None:
    ended = run("signal.raise_signal(signal.SIGTERM); print('went on')")
    assert (ended.returncode, ended.stdout) == (128 + 15, "")


def test_a_request_inside_an_unbroken_function_is_kept_until_the_next_safe_point() -> None:
    ended = run("""
def inner(): signal.raise_signal(signal.SIGTERM)
@interrupts.unbroken
def write():
    inner()
    print("written", flush=True)
write()
print("on", interrupts.asked(), flush=True)
interrupts.stop_if_asked()
print("never")
""")
    assert ended.returncode == 128 + 15
    assert ended.stdout.split() == ["written", "on", "15"]


def test_a_request_that_python_drops_is_kept_and_nothing_is_printed_of_it() -> None:
    ended = run("""
class Thing: pass
thing = Thing()
seen = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
del thing
print("went on", flush=True)
try:
    interrupts.stop_if_asked()
except KeyboardInterrupt:
    print("stopped", flush=True)
""")
    assert ended.stdout.split() == ["went", "on", "stopped"]
    assert ended.stderr == ""


def test_without_a_request_nothing_stops_and_other_dropped_errors_show() -> None:
    ended = run("""
interrupts.stop_if_asked()
class Thing: pass
thing = Thing()
seen = weakref.ref(thing, lambda _: 1 / 0)
del thing
""")
    assert ended.returncode == 0
    assert "ZeroDivisionError" in ended.stderr


def test_work_that_isnt_wanted_any_more_ends_in_its_own_thread_only() -> None:
    wanted = [True]

    def work() -> str:
        with interrupts.working_while(lambda: wanted[0]):
            interrupts.stop_if_asked()
            wanted[0] = False
            with pytest.raises(interrupts.Dismissed):
                interrupts.stop_if_asked()
        interrupts.stop_if_asked()
        return "ended"

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(work).result() == "ended"
    interrupts.stop_if_asked()
