"""Processes that have imported what commands import: forked from one that did, and did no more.

Each is a process of its own, as a command that a shell starts is, without what Python and the
libraries take to start: two to four seconds of a core for an audit of a second.
"""

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryDirectory
from typing import Any

import calaudit
from calaudit.runtime import registry

FORKED = get_context("forkserver")
MODULES = [module.name for module in walk_packages(calaudit.__path__, "calaudit.")]
FORKED.set_forkserver_preload(
    [
        __name__,
        *(name for name in MODULES if ".worker" not in name),
        *("jinja2", "h5py", "numba", "onnx", "onnxruntime", "onnxscript", "polars"),
        *("scipy.stats", "sklearn.decomposition", "vl_convert"),
    ]
)


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def run_command(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> Ended:
    """``calaudit ARGUMENTS`` in a folder."""
    with started(_command, folder, environment, arguments) as (process, streams):
        process.join()
        return Ended(process.exitcode or 0, *(path.read_text("utf-8") for path in streams))


@contextlib.contextmanager
def interpreter(
    folder: Path, environment: Mapping[str, str]
) -> Iterator[Callable[[str], str | None]]:
    """Runs blocks of code one after another, as ``__main__``; gives the traceback of each."""
    ours, theirs = FORKED.Pipe()
    with started(_interpret, folder, environment, theirs) as (process, streams):
        theirs.close()

        def run(block: str) -> str | None:
            ours.send(block)
            try:
                told: str | None = ours.recv()
            except EOFError:
                process.join()
                return f"it ended with {process.exitcode}\n{streams[1].read_text('utf-8')}"
            return told

        try:
            yield run
        finally:
            ours.close()
            process.join()


@contextlib.contextmanager
def started(
    work: Callable[[Any], None], folder: Path, environment: Mapping[str, str], given: Any
) -> Iterator[tuple[BaseProcess, tuple[Path, Path]]]:
    """A process at work, and the files that its stdout and stderr go to."""
    with TemporaryDirectory() as made:
        streams = (Path(made, "out"), Path(made, "err"))
        inside = partial(_inside, work, folder, dict(environment), streams, given)
        process = FORKED.Process(target=inside)
        process.start()
        yield process, streams


class Forked:
    """A program at work, to be used as `subprocess.Popen` is.

    Parameters
    ----------
    code : str
        What ``python -c`` would run.
    arguments : object
        Of ``sys.argv``, after the first.
    environment : mapping, optional
        Default: this process's own.
    terminal : path, optional
        Where its stderr goes; default: a file, for `err`.
    """

    def __init__(
        self,
        code: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        terminal: Path | None = None,
    ) -> None:
        self._made = TemporaryDirectory()
        self._out = Path(self._made.name, "out")
        self._err = Path(self._made.name, "err")
        given = (code, [str(each) for each in arguments])
        streams = (self._out, terminal or self._err)
        held = dict(os.environ if environment is None else environment)
        inside = partial(_inside, _program, Path.cwd(), held, streams, given)
        self._process = FORKED.Process(target=inside)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def out(self) -> str:
        """What it has written so far."""
        return self._out.read_text("utf-8") if self._out.exists() else ""

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8") if self._err.exists() else ""

    def line_with(self, words: str) -> str:
        """The first line of its stderr that holds them, as soon as it is there."""
        while True:
            ended = self.returncode is not None
            for line in self.err.splitlines(keepends=True):
                if words in line and line.endswith("\n"):
                    return line.rstrip("\n")
            assert not ended, f"ended without a word of {words!r}:\n{self.err}"
            time.sleep(0.01)

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; gives what it wrote to stdout and stderr."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(f"not ended after {timeout} seconds:\n{self.err}")
        return self.out, self.err


def run_program(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Ended:
    """``python -c CODE ARGUMENTS``, to its end."""
    program = Forked(code, *arguments, environment=environment)
    out, err = program.communicate()
    return Ended(program.returncode or 0, out, err)


def _inside(
    work: Callable[[Any], None],
    folder: Path,
    environment: dict[str, str],
    streams: tuple[Path, Path],
    given: Any,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, 1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    out, err = (open(number, "wb", closefd=False) for number in (1, 2))  # noqa: SIM115
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = io.TextIOWrapper(out, encoding)
    sys.stderr = io.TextIOWrapper(err, encoding, "backslashreplace", line_buffering=True)
    added = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    if added:
        sys.path[:0] = added
        registry.forget()  # of packages that aren't there
    work(given)


def _program(given: tuple[str, list[str]]) -> None:
    code, arguments = given
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)


def _command(arguments: list[str]) -> None:
    from calaudit.cli import main

    sys.argv = ["calaudit", *arguments]
    main()


def _interpret(blocks: Connection) -> None:
    namespace = sys.modules["__main__"].__dict__
    sys.path.insert(0, "")
    while True:
        try:
            block = blocks.recv()
        except EOFError:
            return
        told = None
        try:
            exec(compile(block, "<documented>", "exec"), namespace)
        except BaseException:  # noqa: BLE001  # an exit too
            told = traceback.format_exc()
        blocks.send(told)
