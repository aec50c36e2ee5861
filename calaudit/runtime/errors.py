"""One error tree. Every error says what is wrong, where, and what to do next.

All of them end a command with exit status 2. Code that finds several problems collects them and
raises once, so that a user fixes a file in one go.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from calaudit.runtime.words import command_line


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the input."""

    message: str
    """What is wrong, with the offending value."""
    where: str | None = None
    """File, and the place in it: ``"audit.toml: slices[2].by"``."""
    next_step: str | None = None
    """What the user can do about it, as an imperative sentence."""

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.next_step is None else f"{text}\n  → {self.next_step}"


@dataclass(frozen=True, slots=True)
class Notice:
    """A fact that didn't stop the work, but belongs in the report."""

    code: str
    """Machine-readable kind, such as ``"stratum_short"``."""
    message: str
    """What happened, for people."""
    where: str | None = None
    """What it is about."""

    def __str__(self) -> str:
        return self.message if self.where is None else f"{self.where}: {self.message}"


class CalauditError(Exception):
    """Root of the tree.

    Parameters
    ----------
    message : str
        What is wrong, with the offending value.
    where : str, optional
        File and place.
    next_step : str, optional
        What to do about it.
    """

    def __init__(self, message: str, *, where: object = None, next_step: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = (
            Problem(message, None if where is None else str(where), next_step),
        )
        super().__init__(str(self))

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> "CalauditError":
        """One error of this class that carries all `problems` (at least one)."""
        found = tuple(problems)
        error = cls(found[0].message)
        error.problems = found
        error.args = (str(error),)
        return error

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class SettingsError(CalauditError, ValueError):
    """A TOML file, flag or parameter that makes no sense."""


class FileFormatError(CalauditError):
    """A file that is missing, truncated, foreign, or of a version this release can't read."""


class PoolError(CalauditError):
    """Samples that can't be used: differing N, unknown columns, NaN inputs, labels out of range."""


class SliceError(CalauditError):
    """A slice that can't be evaluated, or that is named and matches nothing."""


class DrawError(CalauditError):
    """A recipe that can't be carried out on this pool."""


class LeakError(DrawError):
    """A calibration set that holds samples the audit evaluates on."""


class ModelError(CalauditError):
    """An ONNX model that can't be read, or that doesn't fit the pool."""


class RangesError(CalauditError):
    """Activations no scale can be made from: NaN, infinities."""


class BackendError(CalauditError):
    """A backend that isn't usable here, or an engine that failed."""


class OutputError(CalauditError):
    """A result that couldn't be written."""


def unreadable(error: Exception, path: Path, what: str, next_step: str) -> Problem:
    """A file that couldn't be read: why, and what to do about it.

    Parameters
    ----------
    error : Exception
        What reading it raised. Of an error of the system only its words are told: the number means
        nothing to people, and the path is told already.
    path : Path
    what : str
        Begins the message, such as ``"can't be read"``, but where permission is denied.
    next_step : str
        What to do, but where permission is denied.
    """
    if isinstance(error, PermissionError):
        step = f"Make it readable: {command_line('chmod', 'u+r', path)}."
        return Problem("permission denied", str(path), step)
    words = error.strerror if isinstance(error, OSError) else None
    return Problem(f"{what}: {words or error}", str(path), next_step)


def near(
    word: str,
    known: Iterable[str],
    *,
    limit: int = 3,
    cutoff: float = 0.5,
    meant: Mapping[str, str] = MappingProxyType({}),
    last: Collection[str] = (),
) -> str:
    """A next step that offers the names closest to `word`, or all that are known when none is.

    `meant` has what names of `known` are called elsewhere: that comes first. Names in `last` are
    listed after all others.

    Examples
    --------
    >>> near("snr", ["snr_db", "speaker", "label"])
    'Did you mean snr_db?'
    """
    names: Sequence[str] = sorted(set(known), key=lambda each: (each in last, each))
    if not names:
        return "No names are defined."
    if meant.get(word.casefold()) in names:
        return f"Did you mean {meant[word.casefold()]}?"
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=limit, cutoff=cutoff)
    if close:
        return f"Did you mean {' or '.join(folded[name] for name in close)}?"
    shown = ", ".join(names[:12])
    return f"Known: {shown}{', …' if len(names) > 12 else ''}."
