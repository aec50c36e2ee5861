"""Slots: the buffers of one piece of a batch. Two of them let copies overlap with compute."""

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from calaudit.backends.tensorrt.cuda import Cuda
from calaudit.backends.tensorrt.engine_io import EngineTensor
from calaudit.backends.tensorrt.pinned import copy_rows, is_pinned

N_SLOTS: Final = 2
_CHUNK: Final = 2**25
"""Bytes that are staged before their copy to the device starts."""


class Streams:
    """One stream each for copying in, computing and copying out, none of them the default one."""

    def __init__(self, driver: Any) -> None:
        self.enter = driver.Stream()
        self.compute = driver.Stream()
        self.leave = driver.Stream()

    def synchronize(self) -> None:
        """Wait until all that was started is done."""
        for stream in (self.enter, self.compute, self.leave):
            stream.synchronize()


class Slot:
    """Page-locked and device memory of every input, device memory of every output, three events."""

    def __init__(self, cuda: Cuda, inputs: Mapping[str, EngineTensor]) -> None:
        driver = cuda.driver
        self._driver = driver
        self._staging = {
            name: cuda.pinned.empty(spec.largest, spec.dtype) for name, spec in inputs.items()
        }
        self._devices = {
            name: driver.mem_alloc(max(1, array.nbytes)) for name, array in self._staging.items()
        }
        self._outputs: dict[str, tuple[Any, int]] = {}
        timing = driver.event_flags.DISABLE_TIMING
        self.entered, self.computed, self.left = (driver.Event(timing) for _ in range(3))

    def enter(self, feeds: Mapping[str, NDArray[Any]], streams: Streams) -> dict[str, int]:
        """Stage the arrays and start copying them; gives their device addresses.

        Page-locked arrays go without a stage, and without waiting; for others this waits until the
        stage is free again.
        """
        if not all(is_pinned(values) for values in feeds.values()):
            self.entered.synchronize()
        streams.enter.wait_for_event(self.computed)
        for name, values in feeds.items():
            if is_pinned(values):
                self._driver.memcpy_htod_async(self._devices[name], values, streams.enter)
                continue
            staging = self._staging[name].reshape(-1)[: values.size].reshape(values.shape)
            row = max(1, values.nbytes // max(1, len(values)))
            step = max(1, _CHUNK // row)
            address = int(self._devices[name])
            for start in range(0, len(values), step):
                part = staging[start : start + step]
                copy_rows(part, values[start : start + step])
                self._driver.memcpy_htod_async(address + start * row, part, streams.enter)
        self.entered.record(streams.enter)
        return {name: int(self._devices[name]) for name in feeds}

    def output(self, name: str, n_bytes: int) -> int:
        """Device address with room for an output of this piece."""
        memory, size = self._outputs.get(name, (None, 0))
        if memory is None or size < n_bytes:
            self.left.synchronize()
            memory = self._driver.mem_alloc(max(1, n_bytes))
            self._outputs[name] = (memory, n_bytes)
        return int(memory)

    def leave(self, targets: Mapping[str, NDArray[Any]], streams: Streams) -> None:
        """Start copying the outputs into page-locked arrays, once they are computed."""
        streams.leave.wait_for_event(self.computed)
        for name, target in targets.items():
            if target.nbytes:
                self._driver.memcpy_dtoh_async(target, self._outputs[name][0], streams.leave)
        self.left.record(streams.leave)
