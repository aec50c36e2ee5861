"""Loops compiled to machine code when first called, and work spread over all cores.

What numpy can't do at memory speed is compiled. Nanoseconds per float32 on one core, for the
histograms of `accumulate`: numpy (shift, widen, bincount) 1.9 to 2.6, boost-histogram on bin
numbers made by numpy 2.3, numba 0.4, reading the values alone 0.1 to 0.2. A ResNet-50 computes one
tap value in about 4 ns on two cores, so numpy alone adds more than half of a forward pass to it,
and numba a tenth.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

_PIECES = 4
"""For each core, of work that is handed over in pieces."""
_AHEAD = 2
"""Items that wait for each core."""


class Compiled(Generic[P, T]):
    """A function over arrays and numbers that runs as machine code, without Python's lock.

    numba is imported by the first call, so that importing calaudit stays cheap. The machine code
    is kept on disk where there is a place for it.
    """

    def __init__(
        self, python: Callable[P, T], *, errors: Literal["python", "numpy"] = "python"
    ) -> None:
        self.python = python
        self._errors = errors
        self.__doc__ = python.__doc__

    @cached_property
    def _native(self) -> Callable[P, T]:
        from numba import njit

        try:
            return cast(
                Callable[P, T], njit(self.python, nogil=True, cache=True, error_model=self._errors)
            )
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return cast(Callable[P, T], njit(self.python, nogil=True, error_model=self._errors))

    @property
    def _numba_type_(self) -> object:
        """By which numba knows a function that another one calls."""
        return self._native._numba_type_  # type: ignore[attr-defined]  # numba's own, on what njit made

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it."""
        return self._native(*args, **kwargs)


def compiled(python: Callable[P, T]) -> Compiled[P, T]:
    """Decorate a function that loops over arrays; it may call numpy, and other such functions."""
    return Compiled(python)


def streamed(python: Callable[P, T]) -> Compiled[P, T]:
    """As `compiled`, but a division by 0 gives infinity or NaN, as numpy's, and no error.

    Loops then divide several numbers at once.
    """
    return Compiled(python, errors="numpy")


def map_on_cores(work: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """Results of `work` in the order of `items`, as many at a time as there are cores.

    Items are taken as they are needed, few ahead. Matrix products keep to their thread meanwhile:
    two at a time, each by threads of its own on two cores, take several times as long as one after
    the other.
    """
    found: list[T] = []
    waiting: deque[Future[T]] = deque()
    with _SERIAL_PRODUCTS, ThreadPoolExecutor(n_cores()) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > _AHEAD * n_cores():
                    found.append(waiting.popleft().result())
            found += [each.result() for each in waiting]
        finally:
            for each in waiting:
                each.cancel()
    return found


def map_pieces(work: Callable[[int], T], n: int) -> list[T]:
    """Results of `work` for 0 … `n` - 1, as `map_on_cores` gives them, but some numbers at a time.

    To hand over one costs some 40 µs, as long as a short piece of work takes.
    """
    size = max(1, n // (_PIECES * n_cores()))

    def piece(start: int) -> list[T]:
        return [work(number) for number in range(start, min(start + size, n))]

    return [each for some in map_on_cores(piece, range(0, n, size)) for each in some]


class _SerialProducts:
    """Matrix products without threads of their own, until the last of those that ask is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._limits: Any = None

    @cached_property
    def _blas(self) -> Any:
        """NumPy's, found once: to look through all libraries takes milliseconds.

        SciPy has one of its own, which isn't there before something asks for it; nothing here does.
        """
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas")

    def __enter__(self) -> None:
        with self._lock:
            if not self._asking:
                self._limits = self._blas.limit(limits=1)
                self._limits.__enter__()
            self._asking += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._asking -= 1
            if not self._asking:
                self._limits.__exit__(None, None, None)


_SERIAL_PRODUCTS = _SerialProducts()


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
