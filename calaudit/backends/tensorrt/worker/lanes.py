"""Batches under way: each in a context, on a stream and with memory of its own.

What serving does, and nothing of the runner's that saves copies: feeds in page-locked memory are
copied in, the engine runs, outputs are copied out, and the host waits.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .outputs import GrowingOutput, make_allocator
from .pipeline import EnqueueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .runner import Held
    from .state import State

Array = Any


class Lane:
    """One batch's way through an engine; the same feeds each time.

    Parameters
    ----------
    state : State
    held : Held
        The engine and the context that this lane has for itself as long as it lives.
    feeds : mapping
        Input → array, for all of the engine's inputs.
    """

    def __init__(self, state: State, held: Held, feeds: Mapping[str, Array]) -> None:
        cuda = state.cuda
        driver = self._driver = cuda.driver
        self._context = held.context
        self._stream = driver.Stream()
        self._entered, self._computed = driver.Event(), driver.Event()
        self._entering: list[tuple[Any, Array]] = []
        self._leaving: list[tuple[Any, Array]] = []
        self._growing: dict[str, GrowingOutput] = {}
        self._allocator = make_allocator(state.library, self._growing)
        self._began = 0.0
        for name, values in feeds.items():
            if not self._context.set_input_shape(name, tuple(values.shape)):
                raise EnqueueError(f"shape {tuple(values.shape)} of {name}")
            host = driver.pagelocked_empty(values.shape, values.dtype)
            host[...] = values
            self._bind(name, cuda.take_memory(host.nbytes, f"input {name}"), host, self._entering)
        for name, spec in held.outputs.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if -1 in shape:
                self._growing[name] = GrowingOutput(cuda, name)
                self._context.set_output_allocator(name, self._allocator)
                continue
            host = driver.pagelocked_empty(shape, spec.dtype)
            self._bind(name, cuda.take_memory(host.nbytes, f"output {name}"), host, self._leaving)
        self._dtypes = {name: held.outputs[name].dtype for name in self._growing}

    def _bind(self, name: str, device: Any, host: Array, ends: list[tuple[Any, Array]]) -> None:
        self._context.set_tensor_address(name, int(device))
        ends.append((device, host))

    def start(self) -> None:
        """Start one run; it goes on by itself."""
        driver, stream = self._driver, self._stream
        self._began = time.perf_counter()
        for device, host in self._entering:
            if host.nbytes:
                driver.memcpy_htod_async(device, host, stream)
        self._entered.record(stream)
        if not self._context.execute_async_v3(stream.handle):
            for output in self._growing.values():
                if output.failure is not None:
                    raise output.failure
            raise EnqueueError("execute_async_v3")
        self._computed.record(stream)
        for device, host in self._leaving:
            if host.nbytes:
                driver.memcpy_dtoh_async(host, device, stream)

    def finish(self) -> tuple[float, float]:
        """Wait for the run that was started.

        Returns
        -------
        tuple
            Milliseconds since `start` was called, and those that the GPU computed by its events.
        """
        self._stream.synchronize()
        for name, output in self._growing.items():
            self._fetch(name, output)
        ended = time.perf_counter()
        return 1e3 * (ended - self._began), float(self._computed.time_since(self._entered))

    def _fetch(self, name: str, output: GrowingOutput) -> None:
        if output.failure is not None:
            raise output.failure
        if output.shape is None:
            raise EnqueueError(f"no shape for {name}")
        host = self._driver.pagelocked_empty(output.shape, self._dtypes[name])
        if host.nbytes:
            self._driver.memcpy_dtoh(host, output.address)

    def wait(self) -> None:
        """Wait until nothing of it is under way."""
        self._stream.synchronize()


class Stretch(NamedTuple):
    """What a row of runs took."""

    host_ms: list[float]
    device_ms: list[float]
    """Of these the milliseconds on the GPU, by its events: others' work, too, where there are
    other lanes."""
    seconds: float
    """From the first start to the last end."""


def timed(lanes: Sequence[Lane], *, seconds: float, least: int) -> Stretch:
    """Keep all lanes busy for some seconds; together they make `least` runs whatever they take.

    The oldest run is waited for, and its lane started again: one thread does, so that no lane
    waits for Python on behalf of another but for the calls themselves.
    """
    host: list[float] = []
    device: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        end, begun = started + seconds, len(lanes)
        for lane in lanes:
            lane.start()
        waiting = deque(lanes)
        while waiting:
            lane = waiting.popleft()
            on_host, on_device = lane.finish()
            host.append(on_host)
            device.append(on_device)
            if begun < least or time.perf_counter() < end:
                lane.start()
                begun += 1
                waiting.append(lane)
        return Stretch(host, device, time.perf_counter() - started)
    except BaseException:
        for lane in lanes:
            lane.wait()
        raise
    finally:
        if collecting:
            gc.enable()
