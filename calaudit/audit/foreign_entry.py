"""``[[engines]]`` of an audit file: engines that somebody else made."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from calaudit.audit.exemptions import FORBIDDEN
from calaudit.results.foreign import ForeignKind
from calaudit.runtime.errors import Problem, SettingsError
from calaudit.runtime.settings import parse_settings, setting
from calaudit.sampling.recipe import Role

_KINDS: Final[Mapping[str, ForeignKind]] = {
    ".onnx": "onnx",
    ".engine": "plan",
    ".plan": "plan",
    ".trt": "plan",
    ".npz": "answers",
    ".h5": "answers",
    ".hdf5": "answers",
}
"""Suffix of a file → what it holds."""
_TAKEN: Final = frozenset({"fp32", "fp16", "int8", "predicted", "all", "minimax"})
"""What cells, slices and ranges of an audit's own are called."""
ELSEWHERE: Final = "elsewhere"
"""What cells whose answers were given ran on, in place of a target."""


@setting(meant={"path": "file", "model": "file", "onnx": "file", "backend": "target"})
class EngineFile:
    """An engine that somebody else made; it is judged as the audit's own are."""

    name: str
    """Its cell's id."""
    file: str
    """An ONNX file, a TensorRT plan, or a file of answers, by its suffix."""
    role: Role | None = None
    maker: str | None = None
    """Who or what made it: ``"ModelOpt 0.47, entropy"``."""
    calibrated_on: str | None = None
    """What is known of its calibration set: a text, or the name of a set or slice of this audit."""
    target: str | None = None
    """What runs it: one of ``[[targets]]``, or a backend. Default for ONNX files: onnxruntime."""
    kernels: Literal["fused", "emulated"] = "fused"
    """How onnxruntime runs Q/DQ: in integer kernels, as such a file is served, or in float."""

    def __post_init__(self) -> None:
        """Refuse names that ids can't hold, and files that are nothing known."""
        if not self.name.strip() or any(sign in self.name for sign in FORBIDDEN):
            raise SettingsError(
                f"{self.name!r} can't be an engine's name: it is empty, or has / or + in it",
                next_step="Choose a name without them.",
            )
        if self.name.casefold() in _TAKEN:
            raise SettingsError(
                f"{self.name!r} has another meaning in reports", next_step="Choose another name."
            )
        if self.suffix not in _KINDS:
            raise SettingsError(
                f"{self.file}: what such a file holds isn't known",
                next_step=f"Give a file that ends in one of {', '.join(_KINDS)}.",
            )
        for key in ("maker", "calibrated_on"):
            value = getattr(self, key)
            if value is not None and not value.strip():
                raise SettingsError(
                    f"{key} is empty", next_step="Say what is known, or drop the key."
                )

    @property
    def suffix(self) -> str:
        """The file's, in lower case."""
        return PurePath(self.file).suffix.lower()

    @property
    def kind(self) -> ForeignKind:
        """What the file holds."""
        return _KINDS[self.suffix]


def read_engine(values: Mapping[str, Any], path: Path, at: str) -> tuple[str, EngineFile]:
    """The name of an engine that somebody else made, and what the audit file says of it.

    Raises
    ------
    SettingsError
        Keys that it hasn't, or that don't go together.
    """
    entry = parse_settings(values, EngineFile, where=path, at=at)
    problems = list(_misfits(entry, values, f"{path}: {at}"))
    if problems:
        raise SettingsError.of(problems)
    return entry.name, entry


def _misfits(entry: EngineFile, given: Collection[str], where: str) -> Iterator[Problem]:
    if entry.kind == "plan" and entry.target is None:
        yield Problem(
            "a TensorRT plan runs on the GPU and release that it was built for: target is missing",
            where,
            "Name one of [[targets]], or the backend tensorrt.",
        )
    if entry.kind == "answers" and entry.target is not None:
        step = "Drop target: answers were given elsewhere, nothing runs here."
        yield Problem("a file of answers has no target", where, step)
    if "kernels" in given and (entry.kind != "onnx" or entry.target is not None):
        yield Problem(
            "kernels is for ONNX files that onnxruntime runs", where, "Drop kernels, or target."
        )


def engine_name_problems(
    names: Collection[str], taken: Collection[str], path: Path
) -> Iterator[Problem]:
    """Engines called alike, or as calibration sets and given ranges are."""
    where = f"{path}: engines"
    for name in sorted({name for name in names if list(names).count(name) > 1}):
        yield Problem(f"two engines are called {name!r}", where, "Rename one.")
    for name in sorted(set(names) & set(taken)):
        message = f"a calibration set or given ranges are called {name!r} as well"
        yield Problem(message, where, "Rename one.")
