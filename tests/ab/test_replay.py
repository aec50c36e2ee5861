"""The replayer is an open loop: it sends when the log says, and counts from then."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.ab.replay import (
    ERROR,
    LOST,
    OK,
    OTHER_SHAPE,
    STATUSES,
    TIMEOUT,
    Answer,
    Replay,
    Schedule,
    replay,
)
from calaudit.ab.transports import RequestError
from calaudit.runtime.errors import BackendError

Outputs = Mapping[str, NDArray[Any]]


@dataclass
class Told:
    """An arm that does what its script says for the request that it is given."""

    script: Any
    concurrency: int = 1
    name: str = "told"
    record: Mapping[str, str] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)

    def start(self) -> None: ...

    def ask(self, feeds: Outputs) -> Outputs:
        self.threads.add(threading.get_ident())
        self.script(int(feeds["x"][0, 0]))
        return {"y": feeds["x"] * 2}

    def close(self) -> None: ...


class Keeping:
    def __init__(self) -> None:
        self.kept: list[tuple[int, int, float]] = []

    def keep(self, arm: int, request: int, outputs: Outputs) -> Answer:
        self.kept.append((arm, request, float(outputs["y"][0, 0])))
        return OK, ""


def feeds(n: int) -> list[Outputs]:
    return [{"x": np.full((1, 1), i, np.float32)} for i in range(n)]


def run(arms: list[Told], due: list[float], keeper: Any = None, **more: Any) -> Replay:
    arm = more.pop("arm", np.zeros(len(due), np.int8))
    schedule = Schedule(np.array(due), np.arange(len(due)), arm)
    return replay(schedule, arms, feeds(len(due)), keeper or Keeping(), timeout=5.0, **more)


def test_requests_leave_on_time_though_the_arm_is_busy_and_wait_in_its_queue() -> None:
    """One answer takes 0.3 s; ten requests come meanwhile, and each is told its whole wait."""
    arm = Told(lambda i: time.sleep(0.3) if i == 0 else None)
    due = np.arange(11) * 0.02
    found = run([arm], due.tolist())
    course = found.courses[0]
    assert found.n_sent == 11
    assert np.median(found.lag) < 0.1
    assert (course.status == OK).all()
    latency = course.done - due
    assert latency[0] >= 0.3
    # each came while the first was answered, and waited for what was left of that: a closed loop
    # would have seen none of it
    assert (latency[1:] >= 0.3 - due[1:] - 1e-3).all()
    assert latency[1] - latency[10] > 0.1
    assert course.begun[5] - due[5] > 0.1


def test_an_arm_has_as_many_requests_in_hand_as_it_says() -> None:
    inside, most = [0], [0]
    lock = threading.Lock()

    def work(_: int) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        with lock:
            inside[0] -= 1

    arm = Told(work, concurrency=3)
    run([arm], [0.0] * 30)
    assert most[0] == 3
    assert len(arm.threads) == 3


def test_a_split_asks_one_arm_per_request_and_a_shadow_both() -> None:
    kept = Keeping()
    split = np.array([0, 1, 1, 0], np.int8)
    run([Told(lambda _: None), Told(lambda _: None)], [0.0] * 4, kept, arm=split)
    assert sorted(kept.kept) == [(0, 0, 0.0), (0, 3, 6.0), (1, 1, 2.0), (1, 2, 4.0)]
    kept = Keeping()
    run([Told(lambda _: None), Told(lambda _: None)], [0.0] * 2, kept, arm=None)
    assert sorted(kept.kept) == [(0, 0, 0.0), (0, 1, 2.0), (1, 0, 0.0), (1, 1, 2.0)]


def test_every_failure_is_counted_by_its_kind_with_the_first_request() -> None:
    def script(i: int) -> None:
        if i in (2, 3):
            raise RequestError("lost", "connection refused")
        if i == 4:
            raise BackendError("engine failed", where="cell")

    class Refusing(Keeping):
        def keep(self, arm: int, request: int, outputs: Outputs) -> Answer:
            return (OTHER_SHAPE, "output y is 3") if request == 5 else (OK, "")

    course = run([Told(script)], [0.0] * 6, Refusing()).courses[0]
    assert course.status.tolist() == [OK, OK, LOST, LOST, ERROR, OTHER_SHAPE]
    assert course.messages == {
        "connection refused": (LOST, 2, 2),
        "cell: engine failed": (ERROR, 1, 4),
        "output y is 3": (OTHER_SHAPE, 1, 5),
    }


def test_an_answer_after_the_timeout_is_none_and_who_waits_longer_isnt_asked_for() -> None:
    arm = Told(lambda i: time.sleep(0.4) if i == 0 else None)
    schedule = Schedule(np.array([0.0, 0.01, 0.35]), np.arange(3), None)
    kept = Keeping()
    found = replay(schedule, [arm], feeds(3), kept, timeout=0.2).courses[0]
    assert [STATUSES[each] for each in found.status] == ["timeout", "timeout", "ok"]
    assert found.done[0] >= 0.4
    assert np.isnan(found.begun[1])
    assert [request for _, request, _ in kept.kept] == [2]


def test_what_never_comes_is_a_timeout_and_the_replay_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calaudit.ab.replay.GRACE", 0.1)
    stuck = threading.Event()
    arm = Told(lambda i: stuck.wait(20) if i == 1 else None)
    schedule = Schedule(np.array([0.0, 0.01]), np.arange(2), None)
    began = time.monotonic()
    found = replay(schedule, [arm], feeds(2), Keeping(), timeout=0.2).courses[0]
    stuck.set()
    assert time.monotonic() - began < 3
    assert found.status.tolist() == [OK, TIMEOUT]


def test_answers_that_came_in_time_count_however_long_they_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("calaudit.ab.replay.GRACE", 0.0)
    told: list[tuple[int, str]] = []

    class Slow(Keeping):
        def keep(self, arm: int, request: int, outputs: Outputs) -> Answer:
            time.sleep(0.1)
            return super().keep(arm, request, outputs)

    class Watching:
        def sent(self, arm: int, request: int) -> None: ...

        def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
            told.append((request, status))

    schedule = Schedule(np.zeros(12), np.arange(12), None)
    arm = Told(lambda _: None)
    course = replay(schedule, [arm], feeds(12), Slow(), timeout=0.8, watcher=Watching()).courses[0]
    assert (course.done <= 0.8).all()
    assert [STATUSES[each] for each in course.status] == ["ok"] * 12
    assert told == [(request, "ok") for request in range(12)]


def test_the_answer_that_is_looked_at_while_the_replay_ends_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One answer is stuck in the arm, another is in the keeper's hands when waiting is over."""
    monkeypatch.setattr("calaudit.ab.replay.GRACE", 0.0)
    stuck = threading.Event()
    told: list[tuple[int, str]] = []

    class Slow(Keeping):
        def keep(self, arm: int, request: int, outputs: Outputs) -> Answer:
            time.sleep(0.5)
            return super().keep(arm, request, outputs)

    class Watching:
        def sent(self, arm: int, request: int) -> None: ...

        def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
            told.append((request, status))

    arm = Told(lambda i: stuck.wait(20) if i == 1 else None)
    schedule = Schedule(np.zeros(2), np.arange(2), None)
    course = replay(schedule, [arm], feeds(2), Slow(), timeout=0.2, watcher=Watching()).courses[0]
    stuck.set()
    assert course.status.tolist() == [OK, TIMEOUT]
    assert sorted(told) == [(0, "ok"), (1, "timeout")]


def test_a_bug_in_an_arm_is_raised_and_no_failed_request() -> None:
    def script(_: int) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        run([Told(script)], [0.0, 0.0])


def test_a_watcher_is_told_of_each_request_and_its_end() -> None:
    told: list[Any] = []

    class Watching:
        def sent(self, arm: int, request: int) -> None:
            told.append(("sent", arm, request))

        def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
            told.append((status, arm, request, seconds is not None and seconds >= 0))

    def script(i: int) -> None:
        if i == 1:
            raise RequestError("error", "no")

    run([Told(script)], [0.0, 0.05], watcher=Watching())
    assert set(told) == {("sent", 0, 0), ("sent", 0, 1), ("ok", 0, 0, True), ("error", 0, 1, True)}
