"""One run of an engine: pieces of a batch, with copies and compute overlapped.

While one piece computes, the next is copied in and the one before is copied out, each on a stream
of its own. Each of two slots holds the device memory of one piece. A batch of a single piece takes
one stream, and when it is small nothing is copied out: the GPU then writes to the host's
page-locked memory itself. (It doesn't read there: kernels would wait for what they read, and nobody
waits for what they write.) Outputs whose size only the run tells lie in device memory that grows
when TensorRT asks.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

from .outputs import GrowingOutput, make_allocator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from weakref import ReferenceType

    from .cuda import Cuda
    from .state import State

    Empty = Callable[[tuple[int, ...], Any], Any]
    """Makes the array of an output, from its shape and type."""

Array = Any

N_SLOTS = 2
SMALL = 2**16
"""Bytes of inputs and outputs up to which copying out takes longer than writing to the host."""
ALIGNED = 256
"""Bytes that addresses of TensorRT's tensors are multiples of."""


class EngineTensor(NamedTuple):
    """One input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Batch axis included; −1 where the size is free or unknown."""
    largest: tuple[int, ...]
    """Inputs: the largest shape the profile allows; outputs: the same as `shape`."""
    smallest: tuple[int, ...]
    """Inputs: the smallest; outputs: the same as `shape`."""


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
    """Device memory of every input and output of one piece, and three events."""

    def __init__(self, cuda: Cuda, inputs: Mapping[str, EngineTensor]) -> None:
        driver = cuda.driver
        self._cuda = cuda
        self._driver = driver
        self.inputs = {
            name: cuda.take_memory(_n_bytes(spec.largest, spec.dtype), f"input {name}")
            for name, spec in inputs.items()
        }
        self._outputs: dict[str, tuple[Any, int]] = {}
        timing = driver.event_flags.DISABLE_TIMING
        self.entered, self.computed, self.left = (driver.Event(timing) for _ in range(3))

    def enter(self, feeds: Mapping[str, Array], streams: Streams) -> None:
        """Start copying the arrays in, once the piece before has been computed."""
        streams.enter.wait_for_event(self.computed)
        for name, values in feeds.items():
            self._driver.memcpy_htod_async(self.inputs[name], values, streams.enter)
        self.entered.record(streams.enter)

    def output(self, name: str, n_bytes: int) -> int:
        """Device address with room for an output of this piece."""
        memory, size = self._outputs.get(name, (None, 0))
        if memory is None or size < n_bytes:
            self.left.synchronize()
            memory = self._cuda.take_memory(n_bytes, f"output {name}")
            self._outputs[name] = (memory, n_bytes)
        return int(memory)

    def leave(self, targets: Mapping[str, Array], streams: Streams) -> None:
        """Start copying the outputs out, once they are computed."""
        streams.leave.wait_for_event(self.computed)
        for name, target in targets.items():
            if target.nbytes:
                self._driver.memcpy_dtoh_async(target, self._outputs[name][0], streams.leave)
        self.left.record(streams.leave)


class EnqueueError(Exception):
    """TensorRT refused to run; its messages say why."""


class Bindings:
    """What an execution context was told last, so that it is told only what changes."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Set an input's shape."""
        if self._shapes.get(name) != shape:
            if not self._context.set_input_shape(name, shape):
                self._shapes.pop(name, None)
                raise EnqueueError(f"shape {shape} of {name}")
            self._shapes[name] = shape

    def address(self, name: str, address: int) -> None:
        """Set where a tensor lies."""
        if self._addresses.get(name) != address:
            self._context.set_tensor_address(name, address)
            self._addresses[name] = address


class Shaped(NamedTuple):
    """What a context gives for inputs of certain shapes."""

    fed: list[tuple[int, ...]]
    """Shapes of the inputs, in their order."""
    known: tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]
    """Name, shape and type of the outputs whose size is known before the run."""
    unknown: tuple[str, ...]
    """Names of the others."""
    small: bool
    """Whether copying out isn't worth its while."""


class Pipeline:
    """Buffers and streams of one execution context. One thread at a time runs it.

    Parameters
    ----------
    state : State
        Library and GPU, and which memory the GPU reaches by itself.
    context : IExecutionContext
        What runs.
    inputs, outputs : mapping
        The engine's tensors by name.
    """

    def __init__(
        self,
        state: State,
        context: Any,
        inputs: Mapping[str, EngineTensor],
        outputs: Mapping[str, EngineTensor],
    ) -> None:
        cuda = self._cuda = state.cuda
        self._context = context
        self._outputs = outputs
        self._device_address = state.line.arrays.device_address
        self._growing: dict[str, GrowingOutput] = {}
        self._allocator = make_allocator(state.library, self._growing)
        self._streams = Streams(cuda.driver)
        self._handle = self._streams.compute.handle
        self._slots = [Slot(cuda, inputs) for _ in range(N_SLOTS)]
        self.bindings = Bindings(context)
        self._shaped: Shaped | None = None
        self._bound: tuple[int, ...] | None = None
        """What `_places` gave, as long as it holds."""
        self._direct: list[ReferenceType[Array]] = []
        """The host's arrays that the GPU writes to itself, as long as it is told to; their memory
        isn't held."""
        self.piece = min((spec.largest[0] for spec in inputs.values()), default=1)
        """Rows that one enqueue takes."""

    def run(self, feeds: Mapping[str, Array], n: int, empty: Empty) -> dict[str, Array]:
        """Outputs of `n` rows, by name, in arrays that `empty` makes.

        `feeds` has the engine's inputs in its order.

        Raises
        ------
        EnqueueError
            TensorRT refused.
        """
        try:
            if n > self.piece:
                return self._run_pieces(feeds, n, empty)
            return self._run_one(feeds, empty)
        except BaseException:
            self._streams.synchronize()
            raise

    def forget(self) -> None:
        """Take nothing of the context for known: somebody else has used it."""
        self.bindings = Bindings(self._context)
        self._unbind()
        self._shaped = None

    def close(self) -> None:
        """Wait for the GPU and free all memory on it."""
        self._streams.synchronize()
        self._slots.clear()
        self._growing.clear()

    def _run_one(self, feeds: Mapping[str, Array], empty: Empty) -> dict[str, Array]:
        """A batch that one enqueue takes, on one stream."""
        shaped = self._shaped_by(feeds)
        driver, stream = self._cuda.driver, self._streams.compute
        entering = zip(self._slots[0].inputs.values(), feeds.values())
        targets: dict[str, Array] | None = None
        if shaped.small:
            targets = {name: empty(shape, dtype) for name, shape, dtype in shaped.known}
            if self._mapped(targets):
                for device, values in entering:
                    driver.memcpy_htod_async(device, values, stream)
                self._enqueue()
                stream.synchronize()
                return targets
        places = self._places(shaped)
        for device, values in entering:
            driver.memcpy_htod_async(device, values, stream)
        self._enqueue()
        if targets is None:
            targets = {name: empty(shape, dtype) for name, shape, dtype in shaped.known}
        for place, target in zip(places, targets.values()):
            if target.nbytes:
                driver.memcpy_dtoh_async(target, place, stream)
        stream.synchronize()
        for name in shaped.unknown:
            targets[name] = self._fetched(name, empty)
        return targets

    def _places(self, shaped: Shaped) -> tuple[int, ...]:
        """Addresses of the outputs in the first slot, to which all tensors are bound."""
        if self._bound is not None:
            return self._bound
        self._unbind()
        slot = self._slots[0]
        self._bind_inputs()
        made = []
        for name, shape, dtype in shaped.known:
            made.append(slot.output(name, _n_bytes(shape, dtype)))
            self.bindings.address(name, made[-1])
        self._bound = tuple(made)
        return self._bound

    def _mapped(self, targets: Mapping[str, Array]) -> bool:
        """Let the GPU write to the host's arrays themselves, where it reaches all of them."""
        if self._direct and all(map(is_, [held() for held in self._direct], targets.values())):
            return True
        self._unbind()
        for name, values in targets.items():
            address = self._device_address(values)
            if not address or address % ALIGNED:
                return False
            self.bindings.address(name, address)
        self._bind_inputs()
        self._direct = [ref(values) for values in targets.values()]
        return True

    def _unbind(self) -> None:
        """Take no tensor's place for known: they are about to change."""
        self._bound, self._direct = None, []

    def _bind_inputs(self) -> None:
        """Have inputs read from the first slot."""
        for name, device in self._slots[0].inputs.items():
            self.bindings.address(name, int(device))

    def _run_pieces(self, feeds: Mapping[str, Array], n: int, empty: Empty) -> dict[str, Array]:
        whole: dict[str, Array] = {}
        parts: dict[str, list[Array]] = {name: [] for name in self._outputs}
        for number, start in enumerate(range(0, n, self.piece)):
            rows = (start, min(n, start + self.piece), n)
            piece = {name: values[start : rows[1]] for name, values in feeds.items()}
            slot = self._slots[number % N_SLOTS]
            for name, values in self._run_piece(slot, piece, rows, whole, empty).items():
                parts[name].append(values)
        self._streams.synchronize()
        return {
            name: whole[name] if name in whole else _joined(parts[name]) for name in self._outputs
        }

    def _run_piece(
        self,
        slot: Slot,
        piece: Mapping[str, Array],
        rows: tuple[int, int, int],
        whole: dict[str, Array],
        empty: Empty,
    ) -> dict[str, Array]:
        """Start one piece; gives the outputs that don't go into the whole batch's array."""
        slot.enter(piece, self._streams)
        shaped = self._shaped_by(piece)
        self._unbind()
        for name in piece:
            self.bindings.address(name, int(slot.inputs[name]))
        targets: dict[str, Array] = {}
        for name, shape, _ in shaped.known:
            targets[name] = self._target(self._outputs[name], shape, rows, whole, empty)
            self.bindings.address(name, slot.output(name, targets[name].nbytes))
        self._streams.compute.wait_for_event(slot.entered)
        self._streams.compute.wait_for_event(slot.left)
        self._enqueue()
        slot.computed.record(self._streams.compute)
        slot.leave(targets, self._streams)
        apart = {name: target for name, target in targets.items() if name not in whole}
        if shaped.unknown:
            self._streams.compute.synchronize()
        return {**apart, **{name: self._fetched(name, empty) for name in shaped.unknown}}

    def _shaped_by(self, feeds: Mapping[str, Array]) -> Shaped:
        """What the context makes of feeds of these shapes, which it is told."""
        fed = [values.shape for values in feeds.values()]
        if self._shaped is not None and self._shaped.fed == fed:
            return self._shaped
        self._unbind()
        self._shaped = None
        for name, values in feeds.items():
            self.bindings.shape(name, values.shape)
        known, unknown = [], []
        n_bytes = sum(values.nbytes for values in feeds.values())
        for name, spec in self._outputs.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if -1 in shape:
                unknown.append(name)
                self._growing.setdefault(name, GrowingOutput(self._cuda, name))
                self._context.set_output_allocator(name, self._allocator)
                continue
            known.append((name, shape, spec.dtype))
            n_bytes += _n_bytes(shape, spec.dtype)
        small = not unknown and n_bytes <= SMALL
        self._shaped = Shaped(fed, tuple(known), tuple(unknown), small)
        return self._shaped

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._handle):
            for output in self._growing.values():
                if output.failure is not None:
                    raise output.failure
            raise EnqueueError("execute_async_v3")

    def _target(
        self,
        spec: EngineTensor,
        shape: tuple[int, ...],
        rows: tuple[int, int, int],
        whole: dict[str, Array],
        empty: Empty,
    ) -> Array:
        """Where an output of known shape goes: the piece's rows, or an array of its own."""
        start, stop, n = rows
        batched = bool(shape) and shape[0] == stop - start and spec.shape[0] in {-1, self.piece}
        if not batched:
            return empty(shape, spec.dtype)
        if spec.name not in whole:
            whole[spec.name] = empty((n, *shape[1:]), spec.dtype)
        return whole[spec.name][start:stop]

    def _fetched(self, name: str, empty: Empty) -> Array:
        """An output whose size is known now that it is computed."""
        output = self._growing[name]
        if output.failure is not None:
            raise output.failure
        if output.shape is None:
            raise EnqueueError(f"no shape for {name}")
        values = empty(output.shape, self._outputs[name].dtype)
        if values.nbytes:
            self._cuda.driver.memcpy_dtoh(values, output.address)
        return values


def _n_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    n = dtype.itemsize
    for size in shape:
        n *= size
    return n


def _joined(pieces: list[Array]) -> Array:
    """Pieces of an output without the batch as its first axis, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    return np.stack(pieces) if pieces[0].ndim == 0 else np.concatenate(pieces)
