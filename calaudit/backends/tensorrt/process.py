"""A worker's process: started by execnet, spoken to by its channel, ended with all its children."""

import contextlib
import importlib.resources
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import execnet
from execnet.gateway_base import ThreadExecModel

from calaudit.backends.tensorrt.location import Location
from calaudit.runtime.errors import BackendError

_TAIL: Final = 8000
"""Bytes of its standard error that are read back."""
_SHOWN: Final = 6
"""Lines of them that are shown."""
_CRASH: Final = "Fatal Python error"
"""How Python's fault handler begins."""
_PATIENCE: Final = 5.0
"""Seconds that a process may take to end once it was told to."""
_SILENT: Final = "Name in python a command that starts Python 3.8 or later and says nothing."
_MOMENT: Final = 1.0
"""Seconds for one that closed its line to end by itself."""
_NOT_FOUND: Final = 127
_REMEDIES: Final = {
    "resolve hostname": "Check the name of the machine",
    "Connection refused": "Check the port, and that an SSH server runs there",
    "timed out": "Check that the machine is on, and the network",
    "Host key": "Accept the machine's key once by hand",
    "ermission denied": "Let the key in: ssh-copy-id does",
    "config file": "Correct the path in ssh_config",
}
"""What ssh says → what helps."""
_NO_INPUT: Final = ("exec(eval(sys.stdin", "unexpected EOF while parsing", "SyntaxError: invalid")
"""What Python says when the line that it should run doesn't come."""
_LOST: Final = 255
"""Exit status of ssh when the connection, not the command, has ended."""


class _Pipe:
    """A worker's standard input. One that has ended is an `OSError`, never the end of us.

    The command line lets SIGPIPE end it, as it should where its own output goes unread.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> None:
        """Write all of it."""
        with _without_sigpipe():
            self._pipe.write(data)

    def flush(self) -> None:
        """Hand on what was written."""
        with _without_sigpipe():
            self._pipe.flush()

    def close(self) -> None:
        """Close it, whether or not somebody reads at the other end."""
        with contextlib.suppress(OSError), _without_sigpipe():
            self._pipe.close()


@contextlib.contextmanager
def _without_sigpipe() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Execution(ThreadExecModel):
    """execnet's threads, but a process is started as `Process` wants it."""

    def __init__(self, process: "Process") -> None:
        # execnet keeps this until the end of all: it mustn't keep the process, too.
        self._start = weakref.WeakMethod(process.start)

    @property
    def subprocess(self) -> Any:
        """What execnet takes for the module."""
        return SimpleNamespace(PIPE=subprocess.PIPE, Popen=self._start())


class Process:
    """An interpreter that runs the worker's modules.

    Parameters
    ----------
    location : Location

    Raises
    ------
    BackendError
        It can't be started: no such command, no such machine, no Python there.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._popen: subprocess.Popen[bytes] | None = None
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._end: Callable[[], object] = lambda: None
        self._timed_out = False
        watch = threading.Timer(location.timeout, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            self._gateway = self._connected()
            self._channel = self._gateway.remote_exec(_texts()["boot"])
            self._channel.send({name: each for name, each in _texts().items() if name != "boot"})
            self._channel.send({"tf32": location.tf32})
            self._channel.setcallback(self._inbox.put, endmarker=None)
        except OSError as error:
            self._wait_a_moment()
            self.kill()
            raise self._unstarted(error) from None
        except BaseException:
            self.kill()
            raise
        finally:
            watch.cancel()

    def _connected(self) -> Any:
        execution: Any = _Execution(self)  # which `Group` takes, too
        group = execnet.Group(execmodel=execution)
        spec = execnet.XSpec("popen//execmodel=main_thread_only")
        spec.python = "python"  # whatever it is: `start` knows the command
        try:
            return group.makegateway(spec)
        except AssertionError:
            raise BackendError(
                "writes something of its own to its standard output",
                where=self._location,
                next_step=_SILENT,
            ) from None
        except (EOFError, execnet.HostNotFound) as error:
            raise OSError(str(error)) from None

    def start(self, args: object, **pipes: Any) -> subprocess.Popen[bytes]:
        """Start the interpreter, in a process group of its own that Ctrl-C doesn't reach."""
        self._popen = subprocess.Popen(
            self._location.command, stderr=self._stderr, start_new_session=True, **pipes
        )
        self._end = weakref.finalize(self, _end, self._popen)
        stdin: Any = _Pipe(self._popen.stdin)
        self._popen.stdin = stdin
        return self._popen

    def send(self, message: Any) -> None:
        """Send a message. Raises `OSError` where the line is cut."""
        self._channel.send(message)

    def receive(self, timeout: float) -> Any:
        """The next message; None when the line is cut. Raises `queue.Empty` after `timeout` s."""
        message = self._inbox.get(timeout=timeout)
        if message is None:
            self._inbox.put(None)
        return message

    def kill(self) -> None:
        """End the process, and those that it started, at once."""
        self._end()

    def _wait_a_moment(self) -> None:
        """Let one that has closed its line say why."""
        if self._popen is not None:
            _status(self._popen, _MOMENT)

    def _give_up(self) -> None:
        self._timed_out = True
        self.kill()

    @property
    def status(self) -> int | None:
        """Its exit status, −n for signal n; None when it doesn't end by itself in some seconds."""
        if self._popen is None:
            return None
        return _status(self._popen)

    @property
    def lost(self) -> bool:
        """Whether it was the connection that ended."""
        if self._location.ssh is None or (status := self.status) is None:
            return False
        # How Python ended there comes as a positive number: a signal is the end of ssh itself.
        return status == _LOST or status < 0

    def ending(self) -> str:
        """How it ended, in words."""
        status = self.status
        if status is None:
            return "closed its line and didn't end"
        number = -status if status < 0 else status - 128
        with contextlib.suppress(ValueError):
            if number > 0:
                return f"was ended by {signal.Signals(number).name}"
        return f"ended with exit status {status}"

    def stderr(self) -> str:
        """The last lines of its standard error, or the first of those that say where it crashed."""
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - _TAIL))
        text = self._stderr.read().decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        crash = next((at for at, each in enumerate(lines) if each.startswith(_CRASH)), None)
        return " | ".join(lines[-_SHOWN:] if crash is None else lines[crash : crash + _SHOWN])

    def error_there(self) -> str:
        """The traceback of what the worker failed with, where it could still send it."""
        try:
            self._channel.waitclose(0.1)
        except execnet.RemoteError as error:
            return str(error)
        except (OSError, EOFError):
            pass
        return ""

    def _unstarted(self, error: OSError) -> BackendError:
        location, told = self._location, self.stderr()
        if self._popen is None:
            return BackendError(
                f"{location.command[0]} can't be started: {error.strerror or error}",
                where=location,
                next_step="Correct python, the command that starts the interpreter with TensorRT.",
            )
        tail = f": {told}" if told else ""
        if self._timed_out:
            return BackendError(
                f"the interpreter gave no sign of life for {location.timeout:g} s and was "
                f"ended{tail}",
                where=location,
                next_step="Give it more time by timeout, or see what it waits for.",
            )
        if location.ssh is not None and self.status == _LOST:
            reason = told or "no answer"
            return BackendError(
                f"{location.host} can't be reached: {reason}",
                where=location,
                next_step=f"{_remedy(reason)}; `{location.trial}` has to work.",
            )
        if any(sign in told for sign in _NO_INPUT):
            return BackendError(
                "the interpreter reads nothing from its standard input",
                where=location,
                next_step="Let the command hand it on, as `docker exec -i` does.",
            )
        if self.status == _NOT_FOUND:
            return BackendError(
                f"there is no {location.interpreter}{tail}",
                where=location,
                next_step="Name in python the interpreter that has TensorRT there.",
            )
        return BackendError(
            f"the interpreter {self.ending()} before it could be used{tail}",
            where=location,
            next_step=_SILENT,
        )


def _remedy(reason: str) -> str:
    """What to do about a connection that ssh refuses to make."""
    found = (step for sign, step in _REMEDIES.items() if sign in reason)
    return next(found, "Check host, network and keys")


def _status(popen: "subprocess.Popen[bytes]", patience: float = _PATIENCE) -> int | None:
    """Exit status, waited for a while; the process keeps its number, which its group has, too."""
    if popen.returncode is not None or not hasattr(os, "waitid"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return popen.wait(patience)
        return None
    end = time.monotonic() + patience
    how = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while (found := os.waitid(os.P_PID, popen.pid, how)) is None:
        if time.monotonic() > end:
            return None
        time.sleep(0.01)
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _end(popen: "subprocess.Popen[bytes]") -> None:
    """Kill a process group; runs at exit too."""
    if popen.returncode is not None:
        return  # its number may be somebody else's by now
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(popen.pid, signal.SIGKILL)
        else:
            popen.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(_PATIENCE)


@cache
def _texts() -> dict[str, str]:
    """The worker's modules: name, ``""`` for the package → source."""
    folder = importlib.resources.files("calaudit.backends.tensorrt") / "worker"
    found = {
        each.name.removesuffix(".py"): each.read_text(encoding="utf-8")
        for each in folder.iterdir()
        if each.name.endswith(".py")
    }
    return {"" if name == "__init__" else name: text for name, text in found.items()}
