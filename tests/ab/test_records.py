"""What a replay came to, as its record has it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from calaudit.ab.comparing import Requests
from calaudit.ab.records import arm_records, replay_notices, replayed_record, timed
from calaudit.ab.replay import LOST, OK, Course, Replay
from calaudit.results.ab import Mode

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def replayed(
    n: int, sent: int, mode: Mode, rng: np.random.Generator
) -> tuple[Replay, Floats, Requests]:
    """A replay of `n` requests that was ended after `sent`; each takes some milliseconds."""
    due = np.arange(n) / 100.0
    arm = None if mode == "shadow" else (rng.random(n) < 0.5).astype(np.int8)
    courses = []
    for side in (0, 1):
        course = Course.empty(n)
        mine = (np.arange(n) < sent) & (True if arm is None else arm == side)
        course.status[mine] = OK
        for each in (course.sent, course.begun):
            each[mine] = due[mine]
        course.done[mine] = due[mine] + rng.gamma(4.0, 1e-3, n)[mine]
        courses.append(course)
    requests = Requests(np.zeros(n, np.int64), np.arange(n), arm, np.ones(n, bool), sent)
    return Replay(tuple(courses), sent, np.zeros(sent)), due, requests


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_a_replay_that_was_ended_early_is_timed_as_one_of_the_requests_that_left(
    mode: Mode,
) -> None:
    sent = 3000
    ended, due, requests = replayed(30_000, sent, mode, np.random.default_rng(0))
    found = timed(ended, due, requests, level=0.95, seed=0)
    courses = tuple(
        Course(each.status[:sent], each.sent[:sent], each.begun[:sent], each.done[:sent])
        for each in ended.courses
    )
    arm = None if requests.arm is None else requests.arm[:sent]
    alone = Requests(requests.rows[:sent], requests.user[:sent], arm, requests.judged[:sent], sent)
    whole = Replay(courses, sent, ended.lag)
    assert found == timed(whole, due[:sent], alone, level=0.95, seed=0)
    assert found.stretches == 20
    assert all(each.low is not None for each in (*found.control[:2], *found.difference[:2]))


@pytest.mark.parametrize(
    ("answered", "ended_at", "told"),
    [
        (30, 30, "had no usable answer to any request after number 30: connection refused"),
        (1, 1, "had no usable answer to any request after number 1: connection refused"),
        (0, 0, "had no usable answer to any request: connection refused"),
        (55, None, "5 requests of 60 got no usable answer: connection refused (5)"),
    ],
)
def test_an_arm_ends_after_the_number_of_its_last_answer_from_1(
    answered: int, ended_at: int | None, told: str
) -> None:
    replay, due, requests = replayed(60, 60, "shadow", np.random.default_rng(0))
    treatment = replay.courses[1]
    treatment.status[answered:] = LOST
    treatment.messages["connection refused"] = LOST, 60 - answered, answered
    stub: Any = SimpleNamespace(record={}, concurrency=1)
    found = timed(replay, due, requests, level=0.95, seed=0)
    arms = arm_records([("a", stub), ("b", stub)], replay, due, requests, found)
    assert [arm.ended_at for arm in arms] == [None, ended_at]
    record = replayed_record(replay, due, requests, speed=1.0, skipped=0, fastest_ms=None)
    (notice,) = replay_notices(record, arms, complete=True)
    assert (notice.where, notice.message) == ("b", told)
