"""Processes that have imported what commands import: forked from one that did, and did no more.

Each is a process of its own, as a command that a shell starts is, without what Python and the
libraries take to start.
"""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from calaudit.cli.app import COMMANDS

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        __name__,
        *(f"calaudit.cli.{command}" for command in COMMANDS),
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
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), "utf-8")  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), "utf-8", write_through=True)  # noqa: SIM115
    work(given)


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
