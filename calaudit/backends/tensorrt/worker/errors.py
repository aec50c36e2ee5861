"""What a worker tells its host when something doesn't work."""

from __future__ import annotations

from typing import NamedTuple


class RefusedError(Exception):
    """A request that can't be met; the host makes a ``BackendError`` of it.

    Parameters
    ----------
    message : str
        What is wrong.
    next_step : str
        What to do about it.
    kind : str
        What the host may tell apart: ``"memory"`` when the GPU's memory is exhausted.
    fatal : bool
        Whether nothing more can be expected of this process.
    """

    def __init__(
        self, message: str, next_step: str = "", *, kind: str = "", fatal: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.kind = kind
        self.fatal = fatal


class Missing(NamedTuple):
    """Something that is needed and isn't usable here."""

    what: str
    reason: str
    next_step: str


MEMORY = "Free memory on the GPU, or lower batch_size."
OUT_OF_MEMORY = ("out of memory", "outofmemory", "OutOfMemory", "cudaErrorMemoryAllocation")
"""How libraries say that the GPU's memory is exhausted."""


def says_out_of_memory(text: str) -> bool:
    """Whether a message is about exhausted memory."""
    return any(words in text for words in OUT_OF_MEMORY)
