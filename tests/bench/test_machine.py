"""What else the machine did while engines were measured."""

import subprocess
import sys

import pytest

from calaudit.bench.machine import Processors, busy_notice, look, others_share


@pytest.mark.parametrize(
    ("busy", "own", "seconds", "share"),
    [
        (20.0, 20.0, 10.0, 0.0),  # both processors, by this process alone
        (20.0, 5.0, 10.0, 0.75),
        (5.0, 6.0, 10.0, 0.0),  # ticks are rounded
        (None, 5.0, 10.0, None),
        (1.0, 1.0, 0.0, None),
    ],
)
def test_others_take_what_is_busy_and_isnt_ours(
    busy: float | None, own: float, seconds: float, share: float | None
) -> None:
    before = Processors(100.0, None if busy is None else 1000.0, 7.0, 2)
    after = Processors(100.0 + seconds, None if busy is None else 1000.0 + busy, 7.0 + own, 2)
    assert others_share(before, after) == share


def test_what_this_process_does_isnt_others() -> None:
    before = look()
    total = sum(i * i for i in range(300_000))
    after = look()
    assert total > 0
    assert after.own >= before.own
    share = others_share(before, after)
    assert share is None or 0 <= share <= 1


BUSY = """
import os, subprocess, sys, time
if len(sys.argv) > 1:
    below = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
while time.process_time() < 0.4:
    pass
print(os.getpid(), flush=True)
if len(sys.argv) > 1:
    below.wait()
sys.stdin.read()
"""


def test_a_process_that_was_started_is_our_own_while_it_runs_and_when_it_has_ended() -> None:
    """A child and a grandchild use 0.4 s each, and nobody waits for the child till the end."""
    before = look()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, BUSY], stdin=pipe, stdout=pipe, text=True
    ) as child:
        assert child.stdout is not None
        numbers = {child.stdout.readline(), child.stdout.readline()}
        assert len(numbers) == 2
        running = look()
        child.communicate("")
    ended = look()
    assert running.own - before.own >= 0.75
    assert ended.own - running.own >= -0.05  # what was counted stays so


@pytest.mark.parametrize(("share", "told"), [(None, False), (0.02, False), (0.4, True)])
def test_a_busy_machine_is_said(share: float | None, told: bool) -> None:
    found = busy_notice(share)
    assert bool(found) == told
    if told:
        assert "other programs took 40% of the processors meanwhile" in found[0].message
