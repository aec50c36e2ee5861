"""A request to end is never lost, wherever it arrives; each case needs a process of its own."""

import signal
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


BLOCK = """
import os, signal, sys
from calaudit.runtime import interrupts
@interrupts.unbroken
def write():
    signal.raise_signal(signal.SIGINT)
    print("written", flush=True)
"""


def run_block(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BLOCK + script], capture_output=True, text=True, check=False
    )


def test_in_a_programs_block_a_request_is_kept_until_its_end_and_then_forgotten() -> None:
    ended = run_block("""
try:
    with interrupts.listening():
        with interrupts.listening():
            pass
        write()
        print("on", interrupts.asked(), flush=True)
except KeyboardInterrupt:
    print("raised", interrupts.asked(), flush=True)
interrupts.stop_if_asked()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
""")
    assert ended.stdout.split() == ["written", "on", "2", "raised", "None", "True"]


def test_blocks_may_overlap_and_the_last_to_end_forgets() -> None:
    ended = run_block("""
first, second = interrupts.listening(), interrupts.listening()
first.__enter__(); second.__enter__()
first.__exit__(None, None, None)
write()
try:
    second.__exit__(None, None, None)
except KeyboardInterrupt:
    print("raised", interrupts.asked(), flush=True)
""")
    assert ended.stdout.split() == ["written", "raised", "None"]


def test_a_programs_own_handler_says_what_a_request_is() -> None:
    ended = run_block("""
class Stop(Exception): pass
def own(number, frame): raise Stop
signal.signal(signal.SIGINT, own)
try:
    with interrupts.listening():
        write()
        raise ValueError("what C code made of it")
except Stop as error:
    print(repr(error.__cause__), flush=True)
signal.signal(signal.SIGINT, lambda number, frame: print("heard", flush=True))
with interrupts.listening():
    write()
print("on", flush=True)
""")
    assert ended.stdout.splitlines() == [
        "written",
        "ValueError('what C code made of it')",
        "heard",
        "written",
        "on",
    ]


def test_what_is_kept_is_raised_with_what_came_after_it() -> None:
    kept = interrupts.Kept()
    kept.raise_first()
    with kept:
        raise OSError("full")
    with kept:
        raise ValueError("and then")
    for _ in range(2):
        with pytest.raises(OSError, match="full") as raised:
            kept.raise_first()
        assert raised.value.__notes__ == ["then, while the work went on: ValueError('and then')"]


def test_a_connection_that_the_other_end_closed_is_an_error_and_the_commands_output_ends_it() -> (
    None
):
    ended = run("""
import socket
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a command has it
def write():
    one, other = socket.socketpair()
    other.close()
    one.sendall(b"x")
with interrupts.closed_pipes_raise():
    try:
        write()
    except BrokenPipeError:
        print("told", flush=True)
write()
print("never")
""")
    assert (ended.returncode, ended.stdout) == (-signal.SIGPIPE, "told\n")
