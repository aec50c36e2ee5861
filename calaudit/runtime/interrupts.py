"""What mustn't be raised where it arrives: kept, and raised at the next safe point.

Where C code calls Python (HDF5 writing through a file object, TensorRT's builder, a finaliser) an
exception is dropped or turned into another, and the work would go on, or take the process down at
its end. Requests to end (Ctrl-C, SIGTERM, SIGHUP) can arrive in any such call. So a request that
arrives in an `unbroken` function is kept, `stop_if_asked` raises it at the next safe point, and
the command line ends with the request's status whatever else was raised meanwhile. What such a
function itself raises goes into a `Kept`.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import clear_frames
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[[int, FrameType | None], Any]

_ENDINGS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: not on Windows
    if hasattr(signal, name)
)
_handlers: dict[int, Handler] = {}
"""What raises a request, by signal, for as long as somebody listens."""
_hooks: list[tuple[Any, Any]] = []
_blocks = [0]
"""How many `listening` blocks are open."""
_requests: list[tuple[signal.Signals, BaseException]] = []
_unbroken: set[CodeType] = set()
_local = threading.local()


def listen() -> None:
    """Keep and raise requests to end from now on, as a command does; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        _install(dict.fromkeys(_ENDINGS, _end))
        _blocks[0] += 1


@contextmanager
def listening() -> Iterator[None]:
    """Keep requests to end that arrive within, and raise them at the latest on leaving.

    For Python programs that call calaudit. What raises is the program's own handler of Ctrl-C, or
    Python's; a signal that ends the process at once is let be. Leaving the last block that is open
    forgets the requests. Does nothing outside the main thread, which signals don't reach.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _open_block()
    try:
        yield
        stop_if_asked()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if _requests:  # the error may well be what C code made of it
            raise _requests[-1][1] from error
        raise
    finally:
        _close_block()


def _open_block() -> None:
    if not _blocks[0]:
        found = {number: signal.getsignal(number) for number in _ENDINGS}
        _install({number: handler for number, handler in found.items() if callable(handler)})
    _blocks[0] += 1


def _close_block() -> None:
    _blocks[0] -= 1
    if _blocks[0]:
        return
    sys.unraisablehook, sys.excepthook = _hooks.pop()
    for number, handler in _handlers.items():
        signal.signal(number, handler)
    _handlers.clear()
    _requests.clear()


def asked() -> signal.Signals | None:
    """The request to end that arrived since `listen`, or in this `listening` block, if any."""
    return _requests[-1][0] if _requests else None


def let_go() -> None:
    """Free what the work that a request ended still holds: its files, locks, processes.

    A request can be raised between the opening of a block (`with`) and its first line. Nothing
    closes what it opened then but the end of the frames on the way, which the error keeps alive
    until Python itself ends, when modules are gone.
    """
    for error in (sys.exception(), *(error for _, error in _requests)):
        held = error
        while held is not None:
            clear_frames(held.__traceback__)
            held = held.__context__


def stop_if_asked() -> None:
    """Raise a request to end that couldn't be raised when it arrived.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C.
    SystemExit
        Another signal, with status 128 + its number.
    BaseException
        In a `listening` block: whatever the program's own handler raises.
    Dismissed
        This thread's work isn't wanted any more; see `working_while`.
    """
    if _requests:
        raise _requests[-1][1]
    wanted: Callable[[], bool] | None = getattr(_local, "wanted", None)
    if wanted is not None and not wanted():
        raise Dismissed


def obey() -> None:
    """Forget requests to end that arrived: whoever calls ends early, with what there is by then."""
    _requests.clear()


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


@contextmanager
def closed_pipes_raise() -> Iterator[None]:
    """Let what is written to a connection that the other end closed raise `BrokenPipeError`.

    A command lets SIGPIPE end it, as it should where its own output goes unread; a server that
    ends would take it along. Does nothing outside the main thread, where handlers can't be set.
    """
    if not hasattr(signal, "SIGPIPE") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


class Kept:
    """Keeps what is raised in its block, in a function that C code calls; lets nothing through."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None:
            self.errors.append(error)
        return True

    def raise_first(self) -> None:
        """Raise the first error that was kept, if any, with a note for each further one."""
        if not self.errors:
            return
        first, *others = self.errors
        self.errors = [first]
        for other in others:
            first.add_note(f"then, while the work went on: {other!r}")
        raise first


def _install(handlers: dict[int, Handler]) -> None:
    _handlers.update(handlers)
    _hooks.append((sys.unraisablehook, sys.excepthook))
    sys.unraisablehook = _quiet_about_requests
    sys.excepthook = _quiet_about_printed_requests
    for number in handlers:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    try:
        _handlers[number](number, frame)
    except BaseException as error:
        _requests.append((signal.Signals(number), error))
        while frame is not None:
            if frame.f_code in _unbroken:
                return
            frame = frame.f_back
        raise


def _end(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


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
