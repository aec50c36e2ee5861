"""Takes the host's requests, one at a time, until it hangs up."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
from typing import Any

from .errors import OUT_OF_MEMORY, Missing, RefusedError


def serve(channel: Any, *, tf32: bool) -> None:
    """Answer requests, one after the other; the process ends when the host hangs up.

    `tf32` says whether FP32 may be multiplied in TF32.
    """
    faulthandler.enable(
        all_threads=False
    )  # the host quotes what stands on standard error when this process dies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the host, which is asked too, ends this process
    told = {
        "pid": os.getpid(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "tf32": _set_tf32(tf32),
    }
    try:
        from .line import Line
        from .state import State
    except ImportError as error:  # numpy
        step = f"Run there: {sys.executable} -m pip install numpy"
        missing = Missing("numpy", f"can't be imported: {_one_line(error)}", step)
        channel.send(("hello", {**told, "missing": tuple(missing)}))
        channel.receive()
        return
    line = Line(channel)
    channel.send(("hello", told))
    state = State(line)
    while True:
        _answer(state)


def _set_tf32(wanted: bool) -> str:
    """``"off"``, ``"on"``, or what the environment says."""
    # RTX compiles its kernels when it runs, and uses TF32 there whatever the builder was told.
    # Only this variable of NVIDIA's libraries keeps FP32 exact.
    if not wanted:
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    if override is None:
        return "on"
    return "off" if override == "0" else f"NVIDIA_TF32_OVERRIDE={override}"


def _answer(state: Any) -> None:
    verb, values, arrays = state.line.request()
    module, _, name = verb.partition(".")
    try:
        work = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        found, answered = work(state, arrays, **values)
        state.line.answer(found, answered)
    except RefusedError as error:
        state.line.send(("refused", _described(error)))
    except MemoryError as error:
        state.line.send(("refused", _described(_exhausted(state, error))))
    except Exception as error:  # noqa: BLE001  # whatever it is: the host is told
        state.line.send(("refused", _described(_unexpected(state, error))))


def _described(error: RefusedError) -> dict[str, Any]:
    return {
        "message": error.message,
        "next_step": error.next_step,
        "kind": error.kind,
        "fatal": error.fatal,
    }


def _exhausted(state: Any, error: BaseException) -> RefusedError:
    text = _one_line(error) or "out of memory"
    return RefusedError(
        f"memory is exhausted: {text}{state.free_memory()}", kind="memory", fatal=True
    )


def _unexpected(state: Any, error: BaseException) -> RefusedError:
    """An error that nobody foresaw: of CUDA, or a bug."""
    if type(error).__module__.startswith("pycuda"):
        text = _one_line(error)
        if any(words in text for words in OUT_OF_MEMORY):
            return _exhausted(state, error)
        return RefusedError(
            f"CUDA failed: {text}",
            "Check the GPU with nvidia-smi, or lower batch_size.",
            fatal=True,
        )
    import traceback

    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return RefusedError(f"the worker failed:\n{trace}", kind="bug", fatal=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
