"""One run of an engine: pieces of a batch, with copies and compute overlapped.

While one piece computes, the next is copied in and the one before is copied out, each on a stream
of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.tensorrt.cuda import Cuda
from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.backends.tensorrt.engine_io import EngineTensor
from calaudit.backends.tensorrt.growing import GrowingOutput, make_allocator
from calaudit.backends.tensorrt.slots import N_SLOTS, Slot, Streams

Array = NDArray[Any]


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
