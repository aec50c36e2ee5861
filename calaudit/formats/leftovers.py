"""Partial files: locked while they are written, so that those of killed commands are told apart.

The operating system holds the lock (flock) and ends it with the process. It is a shared one, since
HDF5 locks what it reads. Where there are no such locks nothing is removed.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from calaudit.runtime.errors import Notice

fcntl: Any
try:
    import fcntl
except ImportError:
    fcntl = None


def open_locked(aside: Path) -> int:
    """Make a partial file, and hold it until the file descriptor that is returned is closed.

    Raises
    ------
    OSError
        There is such a file, or it can't be made.
    """
    while True:
        file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            os.close(file)  # such a system doesn't rename files that are open
            return os.open(os.devnull, os.O_RDONLY)
        with suppress(OSError):  # a disk without locks, where nobody removes it either
            fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # another process found it before it was locked, and removed it


def remove_leftovers(path: Path) -> tuple[Notice, ...]:
    """Remove the partial files of `path` that no living process writes; a notice for each.

    Parameters
    ----------
    path : Path
        The file that was to be written; where it is a link, what it leads to.
    """
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    name = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.part")
    try:
        found = sorted(each for each in place.parent.iterdir() if name.fullmatch(each.name))
    except OSError:
        return ()  # writing there says why
    notices = []
    for aside in found:
        size = _removed(aside)
        if size is not None:
            message = f"removed ({size / 1e6:,.1f} MB): a command that was killed left it behind"
            notices.append(Notice("leftover_removed", message, str(aside)))
    return tuple(notices)


def _removed(aside: Path) -> int | None:
    """Remove a partial file that nobody writes. Returns its bytes; None: it stays."""
    if fcntl is None or aside.is_symlink() or not aside.is_file():
        return None
    try:
        file = os.open(aside, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(file)
        if not found.st_nlink:
            return None  # another process was faster, and the name may be another file's now
        aside.unlink()
        return found.st_size
    except OSError:
        return None
    finally:
        os.close(file)
