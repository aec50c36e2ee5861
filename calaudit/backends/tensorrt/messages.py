"""What TensorRT says while it works: errors, warnings, and the builder's layer report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from calaudit.backends.tensorrt.detect import Library, TensorrtModule

LAYER_REPORT: Final = "Layers:"
"""How the verbose message begins that lists an engine's layers."""


@dataclass(slots=True)
class Heard:
    """Messages of one piece of work, each on one line; the layer report as it came."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layer_report: str | None = None

    def explain(self) -> str:
        """The errors in a sentence; for a failure that TensorRT said nothing about, that."""
        return "; ".join(dict.fromkeys(self.errors)) or "TensorRT gave no reason"


_LOGGERS: Final[dict[Library, Any]] = {}
"""TensorRT keeps the first logger it is given for the whole process, and so do we."""
_LISTENERS: Final[dict[Library, list[Heard]]] = {}


@contextmanager
def listening(found: TensorrtModule) -> Iterator[tuple[Any, Heard]]:
    """The logger to make builders, parsers and runtimes with, and what is heard meanwhile."""
    if found.library not in _LOGGERS:
        _LISTENERS[found.library] = []
        _LOGGERS[found.library] = _make_logger(found, _LISTENERS[found.library])
    heard = Heard()
    listeners = _LISTENERS[found.library]
    listeners.append(heard)
    try:
        yield _LOGGERS[found.library], heard
    finally:
        listeners[:] = [each for each in listeners if each is not heard]


def _make_logger(found: TensorrtModule, listeners: list[Heard]) -> Any:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    failures = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
            if severity in failures:
                for heard in listeners:
                    heard.errors.append(_one_line(msg))
            elif severity == trt.ILogger.Severity.WARNING:
                for heard in listeners:
                    heard.warnings.append(_one_line(msg))
            elif msg.startswith(LAYER_REPORT):
                for heard in listeners:
                    heard.layer_report = msg

    return Logger()


def _one_line(message: str) -> str:
    return " ".join(message.split())
