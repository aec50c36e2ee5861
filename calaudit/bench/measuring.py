"""Engines measured by turns: in each round every one runs, in an order that is shuffled anew.

What the machine does meanwhile (clocks, other programs) falls on all of them alike, and ratios are
of numbers of one round. An engine that loads faster than it is timed is loaded anew for each round,
so that where its memory came to lie is part of the spread, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Engine
from calaudit.backends.timed import Block, Timed, Times, time_calls
from calaudit.bench.contestants import Contestant, not_benched
from calaudit.results.bench import BenchSettings, EngineMemory, LayerTime
from calaudit.runtime.errors import BackendError, CalauditError, Notice
from calaudit.runtime.interrupts import stop_if_asked
from calaudit.runtime.progress import Counter, counter
from calaudit.statistics.timing import orders, settled

Feeds = Mapping[str, NDArray[Any]]
Load = tuple[int, int]
"""Samples of a batch, and batches under way at a time."""
LAYER_RUNS: Final = 20
"""Runs that layers are timed over, at most."""
LAYER_SECONDS: Final = 2.0
"""How long that may take, about; a few runs are made in any case."""
_WINDOWS: Final = 25
"""Windows that a warm-up's longest time is divided into, to see whether times still fall."""


@dataclass(eq=False, slots=True)
class Measured:
    """What was measured of one contestant."""

    contestant: Contestant
    rounds: dict[Load, dict[int, Times]] = field(default_factory=dict)
    """Load → round → times."""
    warm_up: float = 0.0
    """Seconds of runs before its times stopped falling, when it was first loaded."""
    kernels: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    memory: EngineMemory | None = None
    layers: tuple[LayerTime, ...] = ()
    layers_batch: int | None = None


def measure(
    contestants: Sequence[Contestant],
    feeds: Mapping[int, Feeds],
    settings: BenchSettings,
    *,
    layers: bool,
    notices: list[Notice],
) -> list[Measured]:
    """Measure engines by turns.

    Parameters
    ----------
    contestants : sequence of Contestant
    feeds : mapping
        Batch → what is fed.
    settings : BenchSettings
    layers : bool
        Whether layers are timed as well.
    notices : list of Notice
        Gets what couldn't be measured. An engine that fails is left out.

    Returns
    -------
    list of Measured
        In the contestants' order, of those that were measured.
    """
    turns = [_Turn(Measured(each), feeds, settings, notices) for each in contestants]
    shuffled = orders(len(turns), settings.rounds, np.random.default_rng(settings.seed))
    with (
        ExitStack() as kept,
        counter(settings.rounds * len(turns), what="bench", unit="engine") as done,
    ):
        for number, order in enumerate(shuffled):
            for place in order:
                turns[place].take(number, kept)
                done.advance(1)
        _look_closer(turns, layers=layers, done=done)
    return [turn.measured for turn in turns if not turn.failed]


def _look_closer(turns: Sequence["_Turn"], *, layers: bool, done: Counter) -> None:
    """Memory and layers, once the rounds are over: both disturb."""
    for turn in turns:
        if not (turn.failed or turn.measured.contestant.copy):
            turn.look_closer(layers=layers)
        done.advance(0)


class _Turn:
    """One contestant's turns."""

    def __init__(
        self,
        measured: Measured,
        feeds: Mapping[int, Feeds],
        settings: BenchSettings,
        notices: list[Notice],
    ) -> None:
        self.measured = measured
        self.failed = False
        self._feeds = feeds
        self._settings = settings
        self._notices = notices
        self._kept: Engine | None = None
        self._refused: set[Load] = set()

    @property
    def _loads(self) -> set[Load]:
        return {(batch, k) for batch in self._feeds for k in self._settings.streams}

    def take(self, number: int, kept: ExitStack) -> None:
        """One round: every load, once it is warm."""
        if self.failed:
            return
        try:
            with self._opened(kept) as engine:
                for batch, feeds in self._feeds.items():
                    self._take_batch(engine, batch, feeds, number)
        except CalauditError as error:
            self.failed = True
            self._notices.append(not_benched(self.measured.contestant.title, error))

    def _take_batch(self, engine: Engine, batch: int, feeds: Feeds, number: int) -> None:
        loads = [(batch, streams) for streams in self._settings.streams]
        if self._refused.issuperset(loads):
            return
        try:
            self._warm(engine, feeds, first=number == 0)
        except CalauditError as error:
            self._refuse(loads, number, error)
            return
        for load in loads:
            self._time(engine, feeds, load, number)

    def _refuse(self, loads: Sequence[Load], number: int, error: CalauditError) -> None:
        """Leave loads out that an engine isn't built for; raises where no other is left."""
        if number or not self._loads - self._refused - set(loads):
            raise error
        self._refused.update(loads)
        (batch, streams), *more = loads
        at = f" at batch {batch:,}"
        if not more and streams > 1:
            at += f" with {streams:,} batches at a time"
        self._notices.append(not_benched(self.measured.contestant.title, error, at))

    @contextmanager
    def _opened(self, kept: ExitStack) -> Iterator[Engine]:
        """The engine; closed on leaving where it takes no longer to load than to be timed."""
        if self._kept is not None:
            yield self._kept
            return
        start = perf_counter()
        built = self.measured.contestant.load()
        took = perf_counter() - start
        engine = built.engine
        if engine is None:
            raise BackendError("there is nothing to run", where=self.measured.contestant.title)
        self.measured.kernels, self.measured.options = built.kernels, built.options
        if took > self._settings.seconds:
            self._kept = engine
            kept.callback(engine.close)
            yield engine
            return
        try:
            yield engine
        finally:
            engine.close()

    def _warm(self, engine: Engine, feeds: Feeds, *, first: bool) -> None:
        """Run until times don't fall any more, at most as long as is allowed."""
        most = (
            self._settings.warm_up if first else min(self._settings.warm_up, self._settings.seconds)
        )
        medians: list[float] = []
        start = perf_counter()
        while perf_counter() - start < most and not settled(np.array(medians), 1):
            window = time_block(engine, feeds, Block(seconds=most / _WINDOWS))
            medians.append(float(np.median(window.host_ms)))
            stop_if_asked()
        if first:
            self.measured.warm_up += perf_counter() - start

    def _time(self, engine: Engine, feeds: Feeds, load: Load, number: int) -> None:
        _, streams = load
        if streams > 1 and not isinstance(engine, Timed):
            self._refused.add(load)
            text = "it takes one batch at a time: it wasn't measured with several"
            notice = Notice("bench_failed", text, f"engine {self.measured.contestant.title}")
            self._notices += [] if notice in self._notices else [notice]
        if load in self._refused:
            return
        # the heaviest that this engine takes: that is the one whose power is told
        watch = load == max(self._loads - self._refused)
        block = Block(seconds=self._settings.seconds, streams=streams, watch=watch)
        try:
            times = time_block(engine, feeds, block)
        except CalauditError as error:
            self._refuse([load], number, error)
            return
        self.measured.rounds.setdefault(load, {})[number] = times
        self._notices += [each for each in times.notices if each not in self._notices]

    def look_closer(self, *, layers: bool) -> None:
        """Its memory, and its layers."""
        try:
            with ExitStack() as kept, self._opened(kept) as engine:
                if not isinstance(engine, Timed):
                    return
                batch = max(batch for batch, _ in self.measured.rounds)
                once = time_block(engine, self._feeds[batch], Block(seconds=0))
                self.measured.memory = engine.memory()
                if layers:
                    few = round(1e3 * LAYER_SECONDS / max(float(once.host_ms[0]), 1e-3))
                    runs = min(LAYER_RUNS, max(3, few))
                    self.measured.layers = engine.layers(self._feeds[batch], runs)
                    self.measured.layers_batch = batch if self.measured.layers else None
        except CalauditError as error:
            self._notices.append(not_benched(self.measured.contestant.title, error))


def time_block(engine: Engine, feeds: Feeds, block: Block) -> Times:
    """Time runs of one batch: by the engine itself where it does that, else from here."""
    if isinstance(engine, Timed):
        return engine.measure(feeds, block)
    return time_calls(lambda: engine.run(feeds), block)
