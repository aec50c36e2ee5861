"""A pass: samples run in pieces, several at a time where the engine allows, each run looked at.

While one run is looked at, another computes: no core waits for the others at the end of each
operator, nor for the taps of a run to be counted.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from calaudit.runtime.compiled import n_cores
from calaudit.runtime.progress import counter
from calaudit.steps.tapped import TAP_BYTES, Planned, Run, SampleRunner
from calaudit.steps.union import Read, Samples

Spread = Callable[[Callable[[int], object], Iterable[int]], None]
"""Calls a function of a tap's position for some taps, on the cores that one run has."""


@contextmanager
def spreading(at_a_time: int) -> Iterator[Spread]:
    """What runs use to look at their taps, `at_a_time` of them together."""
    if n_cores() <= at_a_time:
        yield _one_by_one
        return
    with ThreadPoolExecutor(n_cores()) as threads:
        yield lambda work, taps: deque(threads.map(work, taps), maxlen=0).clear()


def _one_by_one(work: Callable[[int], object], taps: Iterable[int]) -> None:
    for tap in taps:
        work(tap)


def run_through(
    union: Samples,
    runner: SampleRunner,
    look: Callable[[Run, Read], None],
    *,
    batch_size: int,
    what: str,
) -> None:
    """One pass over samples: the same samples together each time, for a model of the same taps.

    Parameters
    ----------
    union : Samples
    runner : SampleRunner
        As many runs are under way as its engine allows.
    look : callable
        Is given each run, and what was read for it and perhaps some more samples: `Run.samples`
        are places in these. Several threads call it where several runs are under way.
    batch_size : int
        Samples at a time at most; fewer where their activations take more than `TAP_BYTES`, so that
        memory doesn't grow with it.
    what : str
        What the progress bar says.
    """

    def work(read: Read, planned: Planned) -> int:
        n_bytes = 0
        for run in runner.show(planned):
            n_bytes += run.n_bytes
            look(run, read)
        return n_bytes

    def settle() -> int:
        """Wait for the oldest; gives how many samples run together from here on."""
        read, planned, begun = under_way.popleft()
        n_bytes, n = begun.result(), len(read.places)
        runner.learn(planned)
        done.advance(n)
        return int(np.clip(TAP_BYTES // max(n_bytes // n, 1), 1, batch_size))

    under_way: deque[tuple[Read, Planned, Future[int]]] = deque()
    size = 1  # until the first tells how much memory a sample takes
    most = runner.at_a_time
    with counter(len(union), what=what) as done, ThreadPoolExecutor(runner.at_a_time) as threads:
        try:
            for read in union.read():
                start = 0
                while start < len(read.places):
                    if len(under_way) == most:
                        size = settle()
                        # One waits from here on, so that no thread waits for this one.
                        most = runner.at_a_time + (runner.at_a_time > 1)
                    piece = slice(start, start + size)
                    feeds = {name: values[piece] for name, values in read.inputs.items()}
                    part = Read(read.source, read.places[piece], feeds)
                    planned = runner.plan(feeds)
                    begin = _here if runner.at_a_time == 1 else threads.submit
                    under_way.append((part, planned, begin(work, part, planned)))
                    start += len(part.places)
            while under_way:
                settle()
        finally:
            for _, _, begun in under_way:
                begun.cancel()  # whatever ended it, the one that waits isn't begun


def _here(work: Callable[[Read, Planned], int], read: Read, planned: Planned) -> Future[int]:
    """Do it in this thread, which Ctrl-C reaches."""
    done: Future[int] = Future()
    done.set_result(work(read, planned))
    return done
