"""One run at a time: a lock in the results folder that ends with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from calaudit.runtime.errors import OutputError

NAME = ".lock"
"""The lock file. It stays; what counts is whether a living process holds it."""
GRACE = 0.5
"""Seconds before a second run is refused: `is_locked` takes the lock for an instant."""


@contextmanager
def hold_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a results folder, which is made if it isn't there.

    The operating system holds the lock (flock), so a run that was killed leaves none behind.

    Parameters
    ----------
    folder : Path
    wait : bool
        Wait for a run that holds it instead of refusing.

    Raises
    ------
    OutputError
        Another run holds the folder, or it can't be written to or locked.
    """
    lock = FileLock(folder / NAME, timeout=-1 if wait else GRACE, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            "another run is at work on this audit",
            where=folder,
            next_step="Wait for it to end (calaudit compare --wait does), or name another folder "
            "with --out.",
        ) from None
    except (OSError, NotImplementedError) as error:  # the latter: no flock on this file system
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(
            f"can't be written or locked: {reason or error}",
            where=folder,
            next_step="Choose another output folder, or free space and permissions there.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a run is at work on a results folder. Asks without leaving anything behind."""
    if not (folder / NAME).exists():
        return False
    try:
        with FileLock(folder / NAME, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False  # where nothing can be locked, no run gets to work
