"""Replay a log in an open loop: requests leave when the log says, whatever is outstanding.

A client that waits for each answer before it sends the next request (a closed loop) sends fewer
requests while a server stalls, and so measures the stall once where every user would have met it:
coordinated omission (G. Tene 2015, How NOT to measure latency). Here latency counts from when a
request should have left, so that waiting behind others is part of it.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.arms import Arm, Feeds
from calaudit.ab.transports import RequestError
from calaudit.results.ab import Status
from calaudit.runtime import interrupts
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.progress import Counter, counter

STATUSES: Final = ("unsent", *get_args(Status))
"""Names of the numbers in `Course.status`."""
UNSENT, OK, NOT_FINITE, OTHER_SHAPE, ERROR, TIMEOUT, LOST = range(len(STATUSES))

AHEAD: Final = 0.05
"""Seconds between the start and the first request."""
GRACE: Final = 10.0
"""Seconds that answers may take beyond the timeout until they are given up."""
MOST_MESSAGES: Final = 100
"""Different reasons of failures that are told apart."""
_SWITCH: Final = 5e-4
"""Seconds after which Python lets the next thread on: the one that sends must get its turn."""
_TICK: Final = 0.1
"""Seconds between two looks at the bar."""

Answer = tuple[int, str]
"""What became of a request, and what was wrong; empty where nothing was."""


@dataclass(frozen=True, eq=False, slots=True)
class Schedule:
    """Requests, in the order in which they leave."""

    due: NDArray[np.float64]
    """(n,) seconds from the start, ascending."""
    row: NDArray[np.int64]
    """(n,) what is asked for."""
    arm: NDArray[np.int8] | None
    """(n,) who is asked, 0 or 1; None: both."""

    def asks(self, arm: int) -> NDArray[np.bool_]:
        """(n,) requests that go to an arm."""
        return np.ones(len(self), bool) if self.arm is None else np.asarray(self.arm == arm)

    def __len__(self) -> int:
        return len(self.due)


@dataclass(frozen=True, eq=False, slots=True)
class Course:
    """What became of one arm's requests; arrays are (n,), times in seconds from the start."""

    status: NDArray[np.int8]
    """A place in `STATUSES`."""
    sent: NDArray[np.float64]
    """When it left; NaN where it didn't."""
    begun: NDArray[np.float64]
    """When the arm took it in hand; NaN where it never did."""
    done: NDArray[np.float64]
    """When its answer was there, whatever it was; NaN without one."""
    messages: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """What was wrong → status, how often, the first request."""

    @classmethod
    def empty(cls, n: int) -> "Course":
        """Nothing was sent yet."""
        return cls(np.zeros(n, np.int8), np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan))


@dataclass(frozen=True, eq=False, slots=True)
class Replay:
    """What became of all requests."""

    courses: tuple[Course, ...]
    """Of each arm."""
    n_sent: int
    """Requests that left: all, or those before it was ended."""
    lag: NDArray[np.float64]
    """(n_sent,) seconds by which requests left later than they should."""


class Keeper(Protocol):
    """Takes answers, in one thread."""

    def keep(self, arm: int, request: int, outputs: Mapping[str, NDArray[Any]]) -> Answer:
        """Look at an answer that came in time, and keep what will be scored."""
        ...


class Watcher(Protocol):
    """Is told of requests while they run, in one thread."""

    def sent(self, arm: int, request: int) -> None:
        """A request left."""
        ...

    def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
        """What became of it, as `STATUSES` names it.

        `seconds` count from when it should have left; None without an answer.
        """
        ...


class FeedSource(Protocol):
    """What requests carry, in the order of the schedule."""

    def __iter__(self) -> Iterator[Feeds]: ...


def replay(
    schedule: Schedule,
    arms: Sequence[Arm],
    feeds: FeedSource,
    keeper: Keeper,
    *,
    timeout: float,
    watcher: Watcher | None = None,
) -> Replay:
    """Send every request when it is due, and wait for what is outstanding.

    Ctrl-C ends the sending; what has left is waited for, at most as long as the timeout. A second
    one ends everything.

    Parameters
    ----------
    schedule : Schedule
    arms : sequence of Arm
        Started; what is between one and the next is up to the schedule.
    feeds : FeedSource
        One request's inputs after the other.
    keeper : Keeper
    timeout : float
        Seconds from when a request should have left; an answer that comes later is none.
    watcher : Watcher, optional

    Raises
    ------
    Exception
        Anything unexpected that an arm or the keeper raised: a bug, not a failed request.
    """
    n = len(schedule)
    run = _Run(schedule, timeout, tuple(Course.empty(n) for _ in arms), keeper, watcher)
    lanes = [_Lane(number, arm, run) for number, arm in enumerate(arms)]
    reading = Thread(target=run.keep_all, name="answers", daemon=True)
    with _quick_turns():
        run.start = time.perf_counter() + AHEAD
        reading.start()
        try:
            for lane in lanes:
                lane.begin()
            n_sent = _send(run, lanes, feeds)
            run.wait(lanes, reading)
        finally:
            run.ended.set()
            run.inbox.put(None)
            reading.join(GRACE)
    run.raise_first()
    left = np.fmin.reduce([course.sent for course in run.courses])
    return Replay(run.courses, n_sent, (left - schedule.due)[:n_sent])


@contextmanager
def _quick_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


_Told = tuple[int, int, Mapping[str, NDArray[Any]] | None, Answer]


class _Run:
    """One replay's clock, what became of requests, and the thread that looks at answers."""

    def __init__(
        self,
        schedule: Schedule,
        timeout: float,
        courses: tuple[Course, ...],
        keeper: Keeper,
        watcher: Watcher | None,
    ) -> None:
        self.schedule, self.timeout, self.courses = schedule, timeout, courses
        self.start = 0.0
        self.inbox: SimpleQueue[_Told | None] = SimpleQueue()
        self.ended = Event()
        self._keeper, self._watcher = keeper, watcher
        self._errors: list[BaseException] = []
        self._told = 0

    @property
    def now(self) -> float:
        """Seconds from the start."""
        return time.perf_counter() - self.start

    @property
    def broken(self) -> bool:
        """Whether something unexpected was raised in a thread."""
        return bool(self._errors)

    def failed(self, error: BaseException) -> None:
        """Remember what is to be raised where the replay was called."""
        self._errors.append(error)

    def raise_first(self) -> None:
        if self._errors:
            raise self._errors[0]

    def left(self, arm: int, request: int) -> None:
        """A request leaves for an arm."""
        self.courses[arm].sent[request] = self.now
        if self._watcher is not None:
            self._watcher.sent(arm, request)

    def keep_all(self) -> None:
        """Look at answers until there are no more."""
        while (told := self.inbox.get()) is not None:
            try:
                self._take(*told)
            except BaseException as error:  # noqa: BLE001  # raised where the replay was called
                self.failed(error)
            self._told += 1

    def _take(
        self, arm: int, request: int, outputs: Mapping[str, NDArray[Any]] | None, answer: Answer
    ) -> None:
        if self.ended.is_set():
            return
        course = self.courses[arm]
        if outputs is not None:
            answer = self._keeper.keep(arm, request, outputs)
        status, message = answer
        course.status[request] = status
        if message:
            if message not in course.messages and len(course.messages) >= MOST_MESSAGES:
                message = f"{STATUSES[status]}, for other reasons"
            _, count, first = course.messages.get(message, (status, 0, request))
            course.messages[message] = status, count + 1, min(first, request)
        if self._watcher is not None:
            took = float(course.done[request] - self.schedule.due[request])
            self._watcher.ended(arm, request, STATUSES[status], None if np.isnan(took) else took)

    def wait(self, lanes: "Sequence[_Lane]", reading: Thread) -> None:
        """Wait for what is outstanding; what never comes has timed out.

        Answers that came are looked at however long that takes: they were in time or not when they
        came.
        """
        for lane in lanes:
            lane.no_more()
        until = self.now + self.timeout + GRACE
        asked = sum(np.count_nonzero(~np.isnan(course.sent)) for course in self.courses)
        while self._told < asked and not self.broken:
            if self.now >= until and self.inbox.empty():
                break
            time.sleep(0.002)
        if self.broken:
            self.ended.set()
        self.inbox.put(None)
        reading.join()  # it may still look at the last one
        self.ended.set()
        for number, course in enumerate(self.courses):
            lost = (course.status == UNSENT) & ~np.isnan(course.sent)
            for request in np.flatnonzero(lost).tolist():
                course.status[request] = TIMEOUT
                if self._watcher is not None:
                    self._watcher.ended(number, request, STATUSES[TIMEOUT], None)


class _Lane:
    """One arm's queue, and the threads that ask it."""

    def __init__(self, number: int, arm: Arm, run: _Run) -> None:
        self._number, self._arm, self._run = number, arm, run
        self._queue: SimpleQueue[tuple[int, Feeds] | None] = SimpleQueue()

    def begin(self) -> None:
        for number in range(self._arm.concurrency):
            name = f"arm {self._number}.{number}"
            Thread(target=self._work, name=name, daemon=True).start()

    @interrupts.unbroken
    def put(self, request: int, feeds: Feeds) -> None:
        """Give the arm a request; it doesn't wait."""
        self._run.left(self._number, request)
        self._queue.put((request, feeds))

    def no_more(self) -> None:
        for _ in range(self._arm.concurrency):
            self._queue.put(None)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None and not self._run.ended.is_set():
            request, feeds = task
            try:
                outputs, answer = self._asked(request, feeds)
            except BaseException as error:  # noqa: BLE001  # raised where the replay was called
                self._run.failed(error)
                outputs, answer = None, (ERROR, repr(error))
            self._run.inbox.put((self._number, request, outputs, answer))

    def _asked(
        self, request: int, feeds: Feeds
    ) -> tuple[Mapping[str, NDArray[Any]] | None, Answer]:
        run, course = self._run, self._run.courses[self._number]
        begun = run.now
        if begun - run.schedule.due[request] > run.timeout:
            return None, (TIMEOUT, "")  # whoever asked has gone
        course.begun[request] = begun
        try:
            outputs = self._arm.ask(feeds)
        except RequestError as error:
            return None, self._failed(request, STATUSES.index(error.status), error.message)
        except CalauditError as error:
            return None, self._failed(request, ERROR, one_line(error))
        course.done[request] = run.now
        if course.done[request] - run.schedule.due[request] > run.timeout:
            return None, (TIMEOUT, "")
        return outputs, (OK, "")

    def _failed(self, request: int, status: int, message: str) -> Answer:
        """A failure that comes after whoever asked has gone is a timeout."""
        course = self._run.courses[self._number]
        course.done[request] = self._run.now
        if course.done[request] - self._run.schedule.due[request] > self._run.timeout:
            return TIMEOUT, ""
        return status, message


def one_line(error: CalauditError) -> str:
    """What an error says, on one line, without advice."""
    said = (p.message if p.where is None else f"{p.where}: {p.message}" for p in error.problems)
    return " ".join("; ".join(said).split())


def _send(run: _Run, lanes: Sequence[_Lane], feeds: FeedSource) -> int:
    """Let every request leave when it is due; the number of those that did."""
    schedule, n = run.schedule, len(run.schedule)
    who = None if schedule.arm is None else schedule.arm.tolist()
    due = schedule.due.tolist()
    n_sent = 0
    try:
        with counter(int(due[-1]) if n else 0, what="replay", unit="s") as bar:
            shown = _Shown(bar, run)
            for request, carried in enumerate(feeds):
                while (early := due[request] - run.now) > 0:
                    time.sleep(min(early, _TICK))
                    shown.now()
                for lane in lanes if who is None else (lanes[who[request]],):
                    lane.put(request, carried)
                n_sent = request + 1
                if run.broken:
                    break
                interrupts.stop_if_asked()
                shown.now()
    except KeyboardInterrupt:
        if not n_sent:
            raise
        interrupts.obey()
    return n_sent


class _Shown:
    """A bar of time, which goes on where no request is due; looked at a few times a second."""

    def __init__(self, bar: Counter, run: _Run) -> None:
        self._bar, self._run, self._done, self._at = bar, run, 0, 0.0
        self._whole = int(run.schedule.due[-1]) if len(run.schedule) else 0

    def now(self) -> None:
        if (now := time.monotonic()) - self._at >= _TICK:
            done = max(min(int(self._run.now), self._whole), self._done)
            self._bar.advance(done - self._done)
            self._done, self._at = done, now
