"""Requests to end (Ctrl-C, SIGTERM, SIGHUP): remembered, so that none is lost.

A signal handler that raises isn't enough. Where C code called Python (HDF5 writing through a file
object, a finaliser, a callback) the exception is dropped or turned into another, and the work
would go on. So a request is kept, `stop_if_asked` raises it again at the next safe point, and the
command line ends with the request's status whatever else was raised meanwhile.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_requests: list[signal.Signals] = []
_unbroken: set[CodeType] = set()
_local = threading.local()


def listen() -> None:
    """Keep and raise requests to end from now on; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return
    sys.unraisablehook = _quiet_about_requests
    sys.excepthook = _quiet_about_printed_requests
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # SIGHUP: not on Windows
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, _on_signal)


def asked() -> signal.Signals | None:
    """The request to end that arrived since `listen`, if any."""
    return _requests[-1] if _requests else None


def stop_if_asked() -> None:
    """Raise a request to end that couldn't be raised when it arrived.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C.
    SystemExit
        Another signal, with status 128 + its number.
    Dismissed
        This thread's work isn't wanted any more; see `working_while`.
    """
    if _requests:
        _raise(_requests[-1])
    wanted: Callable[[], bool] | None = getattr(_local, "wanted", None)
    if wanted is not None and not wanted():
        raise Dismissed


class Dismissed(KeyboardInterrupt):
    """A request to end that concerns the work of one thread."""


@contextmanager
def working_while(wanted: Callable[[], bool]) -> Iterator[None]:
    """Let `stop_if_asked` end this thread's work once `wanted` isn't true any more."""
    before = getattr(_local, "wanted", None)
    _local.wanted = wanted
    try:
        yield
    finally:
        _local.wanted = before


def unbroken(function: F) -> F:
    """Mark a function that C code calls: a request to end is kept and not raised inside it."""
    _unbroken.add(function.__code__)
    return function


def _on_signal(number: int, frame: FrameType | None) -> None:
    _requests.append(signal.Signals(number))
    while frame is not None:
        if frame.f_code in _unbroken:
            return
        frame = frame.f_back
    _raise(_requests[-1])


def _quiet_about_requests(dropped: "sys.UnraisableHookArgs") -> None:
    # Raised where Python had to drop it, such as in a weak reference's callback: it is kept.
    if not (_requests and isinstance(dropped.exc_value, KeyboardInterrupt | SystemExit)):
        sys.__unraisablehook__(dropped)


def _quiet_about_printed_requests(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    # Compiled modules print what they drop by this hook, too.
    if not (_requests and isinstance(error, KeyboardInterrupt | SystemExit)):
        sys.__excepthook__(kind, error, trace)


def _raise(request: signal.Signals) -> None:
    if request is signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + request)
