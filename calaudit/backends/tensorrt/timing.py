"""Engines timed where they run: what `calaudit.backends.timed.Timed` asks, from a worker."""

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.layer_times import layer_times
from calaudit.backends.tensorrt.link import Answer, RefusedError, Worker
from calaudit.backends.tensorrt.precision import read_inspector
from calaudit.backends.timed import Block, GpuReading, Times
from calaudit.results.bench import EngineMemory, LayerTime
from calaudit.runtime.errors import BackendError, Notice

if TYPE_CHECKING:
    from calaudit.backends.tensorrt.engine import TensorrtEngine

Array = NDArray[Any]
_HOW: Final = (
    "free memory of the GPU before the plan was loaded once more, and the least after that, after "
    "a context was made and after a run of the largest batch: other processes' count, too"
)


class Timing:
    """One engine, and the contexts beside its own that it is measured with.

    Parameters
    ----------
    engine : TensorrtEngine
    """

    def __init__(self, engine: "TensorrtEngine") -> None:
        self._engine = engine
        self._others: list[int] = []
        self._worker: weakref.ref[Worker] | None = None

    def measure(self, feeds: Mapping[str, Array], block: Block) -> Times:
        """See `calaudit.backends.timed.Timed`."""

        def ask(worker: Worker) -> Answer:
            number = self._engine.number(worker)
            fed = self._engine.fed(feeds)
            values = {
                "engines": [number, *self._contexts(worker, block.streams - 1)],
                "seconds": block.seconds,
                "least": block.least,
                "watch": block.watch,
            }
            return worker.ask("bench.measure", values, fed, what="measure", where=self._label)

        answer = self._asked(ask)
        told = answer.values
        return Times(
            host_ms=_kept(answer.arrays["host_ms"]),
            device_ms=_kept(answer.arrays["device_ms"]) if "device_ms" in answer.arrays else None,
            seconds=float(told["seconds"]),
            readings=tuple(_reading(each) for each in told["readings"]),
            notices=_unwatched(told["unwatched"], self._label),
        )

    def memory(self) -> EngineMemory:
        """See `calaudit.backends.timed.Timed`."""

        def ask(worker: Worker) -> Answer:
            self._engine.number(worker)
            plan = {"plan": np.frombuffer(self._engine.plan, np.uint8)}
            return worker.ask("bench.memory", {}, plan, what="measure memory", where=self._label)

        told = self._asked(ask).values
        before, loaded, *later = told["free"]
        weights, by = told["weights"], "TensorRT"
        if weights is None and before > loaded:
            weights, by = before - loaded, "free memory after loading"
        peak = before - min(loaded, *later)
        return EngineMemory(
            weights_bytes=weights,
            activations_bytes=told["activations"],
            peak_bytes=peak if peak > 0 else None,
            batch=self._engine.takes[1],
            how=f"weights by {by}, activations by TensorRT, peak by {_HOW}",
        )

    def layers(self, feeds: Mapping[str, Array], runs: int) -> tuple[LayerTime, ...]:
        """See `calaudit.backends.timed.Timed`."""

        def ask(worker: Worker) -> Answer:
            self._engine.number(worker)
            fed = self._engine.fed(feeds)
            (number,) = self._made(worker, 1)  # a profiler stays in its context
            values = {"engine": number, "runs": runs}
            try:
                what = "time layers"
                return worker.ask("bench.layers", values, fed, what=what, where=self._label)
            finally:
                if worker.alive:
                    worker.ask("runner.close", {"engine": number})

        told = self._asked(ask).values
        text = self._engine.inspect({name: values.shape for name, values in feeds.items()
                                     if name in self._engine.largest})  # fmt: skip
        built = () if text is None else read_inspector(text)
        times = dict(zip(told["names"], map(float, told["ms"]), strict=True))
        return layer_times(times, built, self._engine.model)

    def close(self, worker: Worker) -> None:
        """Free the contexts that a worker has made for it."""
        if self._worker is not None and self._worker() is worker:
            for number in self._others:
                worker.ask("runner.close", {"engine": number})
        self._others, self._worker = [], None

    @property
    def _label(self) -> str:
        return self._engine.model.label

    def _asked(self, ask: Callable[[Worker], Answer]) -> Answer:
        try:
            return self._engine.session.perform(ask)
        except RefusedError as error:
            (problem, *_) = error.problems
            raise BackendError(
                f"the engine can't be measured: {problem.message}",
                where=self._label,
                next_step=problem.next_step or "Check the batch and the number of streams.",
            ) from None

    def _contexts(self, worker: Worker, n: int) -> list[int]:
        """Engines of the plan besides the first, which stay for the next block."""
        if self._worker is None or self._worker() is not worker:
            self._others, self._worker = [], weakref.ref(worker)
        self._others += self._made(worker, n - len(self._others))
        return self._others[:n]

    def _made(self, worker: Worker, n: int) -> list[int]:
        """New contexts, of the plan loaded again where an engine has room for one alone."""
        number, made = self._engine.number(worker), []
        for _ in range(n):
            other = worker.ask("runner.share", {"engine": number}).values["engine"]
            if other is None:
                plan = {"plan": np.frombuffer(self._engine.plan, np.uint8)}
                other = worker.ask("runner.load", {}, plan, where=self._label).values["engine"]
            made.append(int(other))
        return made


def _kept(values: Array) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def _reading(told: Mapping[str, Any]) -> GpuReading:
    return GpuReading(**{**told, "throttled": tuple(told.get("throttled", ()))})


def _unwatched(missing: Any, where: str) -> tuple[Notice, ...]:
    if missing is None:
        return ()
    what, reason, step = missing
    text = f"{what} {reason}"
    return (Notice("gpu_unwatched", f"{text}. {step}" if step else text, where),)
