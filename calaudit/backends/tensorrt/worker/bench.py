"""What engines cost: runs timed from host to host and on the GPU, memory, time per layer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MEMORY, RefusedError, says_out_of_memory
from .lanes import Lane, timed
from .metering import metered
from .pipeline import EnqueueError
from .runner import Loaded, deserialized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .detect import TensorrtModule
    from .state import State

N_WARM = 3
"""Runs before layers are timed."""


def measure(
    state: State,
    arrays: dict[str, Any],
    *,
    engines: Sequence[int],
    seconds: float,
    least: int,
    watch: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the same feeds again and again, a batch in each of `engines` at a time.

    Parameters
    ----------
    arrays
        Input → array, for all of the engine's inputs.
    engines
        The engine, and others of its plan that have contexts of their own.
    seconds, least
        See `lanes.timed`.
    watch
        Whether the GPU's driver is asked meanwhile.
    """
    with _lanes(state, arrays, engines) as lanes:
        timed(lanes, seconds=0, least=1)  # what is made in a first run
        with metered(state, watch) as meter:
            found = timed(lanes, seconds=seconds, least=least)
    values = {"seconds": found.seconds, "readings": meter.readings, "unwatched": meter.missing}
    host, device = np.array(found.host_ms), np.array(found.device_ms)
    return values, {"host_ms": host, **({"device_ms": device} if len(engines) == 1 else {})}


def layers(
    state: State, arrays: dict[str, Any], *, engine: int, runs: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean milliseconds of each layer of an engine that nothing else uses, by name, in order."""
    profiler = make_profiler(state.library)
    with _lanes(state, arrays, [engine]) as lanes:
        timed(lanes, seconds=0, least=N_WARM)
        state.engines[engine].context.profiler = profiler
        timed(lanes, seconds=0, least=runs)
    total: dict[str, float] = {}
    for name, ms in profiler.heard:
        total[name] = total.get(name, 0.0) + ms
    return {"names": list(total), "ms": [each / runs for each in total.values()]}, {}


def memory(state: State, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bytes of the GPU's memory that an engine takes, by loading its plan once more.

    ``weights`` and ``activations`` are TensorRT's own accounts, None where it gives none. ``free``
    is what was free: before it was loaded, after, with a context and buffers, and after a run of
    the largest batch.
    """
    driver = state.cuda.driver

    def free() -> int:
        return int(driver.mem_get_info()[0])

    before = free()
    with state.ear.listening() as heard:
        engine = deserialized(state, arrays["plan"].tobytes(), heard)
        found: dict[str, Any] = {
            "weights": _weights(state, engine),
            "activations": _activations(engine),
        }
        loaded_free = free()
        loaded = Loaded(state, engine)
        made_free = free()
        try:
            loaded.run_zeros({name: spec.largest for name, spec in loaded.inputs.items()})
            found["free"] = [before, loaded_free, made_free, free()]
        finally:
            loaded.close()
    return found, {}


@contextmanager
def _lanes(state: State, arrays: dict[str, Any], engines: Sequence[int]) -> Iterator[list[Lane]]:
    """A lane for each engine; contexts are left so that a runner can use them again."""
    helds = [state.engines[number] for number in engines]
    with state.ear.listening() as heard:
        try:
            yield [Lane(state, held, arrays) for held in helds]
        except EnqueueError as error:
            message = f"{error}: {heard.explain()}"
            if says_out_of_memory(message):
                raise RefusedError(message, MEMORY, kind="memory", fatal=True) from None
            raise RefusedError(message) from None
        finally:
            for held in helds:
                if isinstance(held, Loaded):
                    held.pipeline.forget()


def make_profiler(found: TensorrtModule) -> Any:
    """An ``IProfiler``; ``heard`` has the name and milliseconds of each layer of each run."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.heard: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.heard.append((layer_name, ms))

    return Profiler()


def _weights(state: State, engine: Any) -> int | None:
    """TensorRT's own account of its weights (from 10 on)."""
    stats = getattr(state.library.module, "EngineStat", None)
    if stats is None or not hasattr(engine, "get_engine_stat"):
        return None
    told = int(engine.get_engine_stat(stats.TOTAL_WEIGHTS_SIZE))
    return told if told >= 0 else None


def _activations(engine: Any) -> int | None:
    """What a context takes beside buffers for inputs and outputs."""
    for name in ("device_memory_size_v2", "device_memory_size"):
        told = getattr(engine, name, None)
        if told is not None:
            return int(told)
    return None
