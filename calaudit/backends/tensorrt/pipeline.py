"""One run of an engine: pieces of a batch, with copies and compute overlapped.

While one piece computes, the next is copied in and the one before is copied out, each on a stream
of its own. Each of two slots holds the buffers of one piece; outputs whose size only the run tells
lie in device memory that grows when TensorRT asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.cuda import Cuda, copy_rows, is_pinned
from calaudit.backends.tensorrt.detect import TensorrtModule

Array = NDArray[Any]

N_SLOTS: Final = 2
_CHUNK: Final = 2**25
"""Bytes that are staged before their copy to the device starts."""


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """One input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Batch axis included; −1 where the size is free or unknown."""
    largest: tuple[int, ...]
    """Inputs: the largest shape the profile allows; outputs: the same as `shape`."""


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


class GrowingOutput:
    """Device memory of one output, and the shape it turned out to have."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._memory: Any = None
        self._size = 0
        self.shape: tuple[int, ...] | None = None
        self.failure: BaseException | None = None

    @property
    def address(self) -> int:
        """Where the output lies; 0 before there is any."""
        return 0 if self._memory is None else int(self._memory)

    def grow(self, size: int) -> int:
        """Room for `size` bytes; 0, which TensorRT takes as failure, when there is none."""
        if size > self._size or self._memory is None:
            try:
                made = self._driver.mem_alloc(max(1, size))
            except self._driver.Error as error:
                self.failure = error
                return 0
            self._memory, self._size = made, size
        return self.address

    def close(self) -> None:
        """Give the memory back."""
        self._memory, self._size = None, 0


def make_allocator(found: TensorrtModule, outputs: dict[str, GrowingOutput]) -> Any:
    """An ``IOutputAllocator`` over `outputs`, by name."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            return outputs[tensor_name].grow(size)

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return outputs[tensor_name].grow(size)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            outputs[tensor_name].shape = tuple(shape)

    return Allocator()


class EnqueueError(Exception):
    """TensorRT refused to run; its messages say why."""


class Pipeline:
    """Buffers and streams of one execution context. One thread at a time runs it.

    Parameters
    ----------
    found : TensorrtModule
        The library.
    cuda : Cuda
        The GPU, its context current.
    context : IExecutionContext
        What runs.
    inputs, outputs : mapping
        The engine's tensors by name.
    """

    def __init__(
        self,
        found: TensorrtModule,
        cuda: Cuda,
        context: Any,
        inputs: Mapping[str, EngineTensor],
        outputs: Mapping[str, EngineTensor],
    ) -> None:
        self._cuda = cuda
        self._context = context
        self._outputs = outputs
        self._growing: dict[str, GrowingOutput] = {}
        self._allocator = make_allocator(found, self._growing)
        self._streams = Streams(cuda.driver)
        self._slots = [Slot(cuda, inputs) for _ in range(N_SLOTS)]
        self.piece = min((spec.largest[0] for spec in inputs.values()), default=1)
        """Rows that one enqueue takes."""

    def run(self, feeds: Mapping[str, Array], n: int) -> dict[str, Array]:
        """Outputs of `n` rows, by name, in page-locked memory of their own.

        Raises
        ------
        EnqueueError
            TensorRT refused.
        """
        whole: dict[str, Array] = {}
        parts: dict[str, list[Array]] = {name: [] for name in self._outputs}
        try:
            for number, start in enumerate(range(0, max(n, 1), self.piece)):
                stop = min(n, start + self.piece)
                piece = {name: values[start:stop] for name, values in feeds.items()}
                found = self._enqueue(self._slots[number % N_SLOTS], piece, (start, stop, n), whole)
                for name, values in found.items():
                    parts[name].append(values)
        finally:
            self._streams.synchronize()
        return {
            name: whole[name] if name in whole else _joined(parts[name]) for name in self._outputs
        }

    def close(self) -> None:
        """Wait for the GPU and free all memory on it."""
        self._streams.synchronize()
        self._slots.clear()
        for output in self._growing.values():
            output.close()

    def _enqueue(
        self,
        slot: Slot,
        piece: Mapping[str, Array],
        rows: tuple[int, int, int],
        whole: dict[str, Array],
    ) -> dict[str, Array]:
        """Start one piece; gives the outputs that don't go into the whole batch's array."""
        for name, values in piece.items():
            if not self._context.set_input_shape(name, values.shape):
                raise EnqueueError(f"shape {values.shape} of {name}")
        for name, address in slot.enter(piece, self._streams).items():
            self._context.set_tensor_address(name, address)
        targets: dict[str, Array] = {}
        unknown: list[str] = []
        for name, spec in self._outputs.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if -1 in shape:
                unknown.append(name)
                self._growing.setdefault(name, GrowingOutput(self._cuda.driver))
                self._context.set_output_allocator(name, self._allocator)
                continue
            targets[name] = self._target(spec, shape, rows, whole)
            self._context.set_tensor_address(name, slot.output(name, targets[name].nbytes))
        self._streams.compute.wait_for_event(slot.entered)
        self._streams.compute.wait_for_event(slot.left)
        if not self._context.execute_async_v3(self._streams.compute.handle):
            raise EnqueueError("execute_async_v3")
        slot.computed.record(self._streams.compute)
        slot.leave(targets, self._streams)
        apart = {name: target for name, target in targets.items() if name not in whole}
        return {**apart, **{name: self._fetched(name) for name in unknown}}

    def _target(
        self,
        spec: EngineTensor,
        shape: tuple[int, ...],
        rows: tuple[int, int, int],
        whole: dict[str, Array],
    ) -> Array:
        """Where an output of known shape goes: the piece's rows, or an array of its own."""
        start, stop, n = rows
        batched = bool(shape) and shape[0] == stop - start and spec.shape[0] in {-1, self.piece}
        if not batched:
            return self._cuda.pinned.empty(shape, spec.dtype)
        if spec.name not in whole:
            whole[spec.name] = self._cuda.pinned.empty((n, *shape[1:]), spec.dtype)
        return whole[spec.name][start:stop]

    def _fetched(self, name: str) -> Array:
        """An output whose size is known now that it is computed."""
        self._streams.compute.synchronize()
        output = self._growing[name]
        if output.shape is None:
            raise EnqueueError(f"no shape for {name}")
        values = self._cuda.pinned.empty(output.shape, self._outputs[name].dtype)
        if values.nbytes:
            self._cuda.driver.memcpy_dtoh(values, output.address)
        return values


def _joined(pieces: list[Array]) -> Array:
    """Pieces of an output without the batch as its first axis, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    return np.stack(pieces) if pieces[0].ndim == 0 else np.concatenate(pieces)
