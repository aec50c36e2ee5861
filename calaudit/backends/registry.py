"""The backends there are, by name: calaudit's own and those of other packages, as entry points."""

from typing import Final

from calaudit.backends.base import DEFAULT, BackendKind
from calaudit.backends.guarded import guarded
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.registry import Registry

BACKENDS: Final[Registry[BackendKind]] = Registry(
    "calaudit.backends",
    "backend",
    lambda found: isinstance(found, BackendKind),
    "an instance of calaudit.backends.base.BackendKind",
    guarded,
    called="name",
    meant={"ort": "onnxruntime", "cpu": "onnxruntime", "trt": "tensorrt", "rtx": "tensorrt_rtx"},
)


def backend_names() -> tuple[str, ...]:
    """Names of all backends, the default one first; nothing is imported."""
    others = (name for name in BACKENDS.names() if name != DEFAULT)
    return (DEFAULT, *others)


def backend_kinds() -> dict[str, BackendKind]:
    """Every backend that can be imported; one that can't is left out."""
    found = {}
    for name in BACKENDS.names():
        try:
            found[name] = BACKENDS.load(name)
        except SettingsError:
            continue
    return found
