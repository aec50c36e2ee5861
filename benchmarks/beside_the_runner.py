"""Sent to a worker by engines.py: its runner beside a plain loop, bare enqueues and copies.

Runs on Python 3.8, as what stands around it does.
"""

import time
from typing import Any, Callable, Dict, List, Tuple

N_SHORT = 40
"""Pieces of a long run."""


def measure(
    state: Any, arrays: Dict[str, Any], *, engine: int, batch: int
) -> Tuple[Dict[str, float], Dict[str, Any]]:
    """Seconds per row, and per run of one batch, of an engine whose profile is `batch` rows.

    `arrays` has one batch of its one input, and as ``long`` `N_SHORT` of them, in memory that the
    GPU reaches.
    """
    loaded = state.engines[engine]
    (name,) = loaded.inputs
    short, long = arrays[name], arrays["long"]
    n = len(long)
    kept: Dict[Tuple[int, ...], Any] = {}

    def empty(shape: Tuple[int, ...], dtype: Any) -> Any:
        if shape not in kept:
            kept[shape] = state.line.arrays.empty(shape, dtype)
        return kept[shape]

    def whole() -> None:
        loaded.pipeline.run({name: long}, n, empty)

    def one() -> None:
        loaded.pipeline.run({name: short}, batch, empty)

    repeats = max(5, min(2000, 200_000 // batch))
    runner = _best(whole, 7) / n
    plain = Plain(state, loaded, short)
    single, looped = [], []
    for _ in range(5):  # in turn, since clocks drift
        plain.leave_context()
        single.append(_row(one, repeats))
        plain.take_context()
        looped.append(_row(plain.run, repeats))
    found = {
        "runner": runner,
        "one": min(single),
        "plain": min(looped),
        "enqueue": _spread(plain.enqueue, plain.wait, 50) / batch,
        "enter": _spread(plain.enter, plain.wait, 50) / batch,
        "leave": _spread(plain.leave, plain.wait, 50) / batch,
        "both": _spread(plain.both, plain.wait, 50) / batch,
    }
    plain.leave_context()
    return found, {}


class Plain:
    """What a page of code would do: copy in, enqueue, copy out, synchronize."""

    def __init__(self, state: Any, loaded: Any, x: Any) -> None:
        driver = self._driver = state.cuda.driver
        (name,), (out,) = loaded.inputs, loaded.outputs
        # Not a context of its own: up to 8.5 two contexts can't share a profile.
        self._pipeline, self._context = loaded.pipeline, loaded.context
        self._context.set_input_shape(name, x.shape)
        self._names, self._fed = (name, out), tuple(x.shape)
        shape = tuple(self._context.get_tensor_shape(out))
        self._x = driver.pagelocked_empty(x.shape, x.dtype)
        self._x[...] = x
        self._y = driver.pagelocked_empty(shape, loaded.outputs[out].dtype)
        self._dx, self._dy = driver.mem_alloc(self._x.nbytes), driver.mem_alloc(self._y.nbytes)
        self.take_context()
        self._stream, self._back = driver.Stream(), driver.Stream()

    def run(self) -> None:
        self._driver.memcpy_htod_async(self._dx, self._x, self._stream)
        self.enqueue()
        self._driver.memcpy_dtoh_async(self._y, self._dy, self._stream)
        self._stream.synchronize()

    def take_context(self) -> None:
        """Bind this memory."""
        name, out = self._names
        self._context.set_input_shape(name, self._fed)
        self._context.set_tensor_address(name, int(self._dx))
        self._context.set_tensor_address(out, int(self._dy))

    def leave_context(self) -> None:
        """Let the runner bind its own memory again."""
        self._pipeline.forget()

    def enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise RuntimeError("TensorRT refuses to run")

    def enter(self) -> None:
        self._driver.memcpy_htod_async(self._dx, self._x, self._stream)

    def leave(self) -> None:
        self._driver.memcpy_dtoh_async(self._y, self._dy, self._stream)

    def both(self) -> None:
        self.enter()
        self._driver.memcpy_dtoh_async(self._y, self._dy, self._back)

    def wait(self) -> None:
        self._stream.synchronize()
        self._back.synchronize()


def _best(work: Callable[[], None], repeat: int) -> float:
    work()
    times: List[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _row(work: Callable[[], None], repeat: int) -> float:
    """Seconds per call, of a row of calls after one."""
    work()
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - start) / repeat


def _spread(work: Callable[[], None], wait: Callable[[], None], repeat: int) -> float:
    """Seconds per call of what only starts work, in the best of three rows."""

    def row() -> None:
        for _ in range(repeat):
            work()
        wait()

    return _best(row, 3) / repeat
