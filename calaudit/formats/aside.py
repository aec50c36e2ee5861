"""Files written aside and renamed into place: a reader never sees half of one."""

import atexit
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calaudit.errors import OutputError
from calaudit.interrupts import stop_if_asked, unbroken

_in_flight: set[Path] = set()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place.

    On any exception (Ctrl-C included) the temporary file is removed and `path` is untouched. Where
    `path` is a link, what it leads to is written.

    Raises
    ------
    OutputError
        `path` is a folder or a device, its folder can't be made or written to, or the disk is full.
    """
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    aside = place.parent / f".{place.name}.{secrets.token_hex(4)}.part"
    try:
        if not path.name or (place.exists() and not place.is_file()):
            kind = "folder" if path.is_dir() else "device or pipe"
            raise OutputError(
                f"is a {kind}, not a file to write",
                where=path,
                next_step="Name the file, such as results/out.h5.",
            )
        _create(aside)
        stop_if_asked()
        yield aside
        _sync(aside)
        os.replace(aside, place)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        _remove(aside)


def keep_apart(out: Path, *sources: Path) -> None:
    """Refuse to write a result over one of the files it is made from.

    Raises
    ------
    OutputError
        `out` is the same file as one of `sources`, whatever the two are called.
    """
    for source in sources:
        if out.exists() and source.exists() and out.samefile(source):
            raise OutputError(
                f"is an input of this command ({source}) and would be overwritten",
                where=out,
                next_step="Write to another file.",
            )


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


@unbroken
def _create(aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.touch(exist_ok=False)
    _in_flight.add(aside)


@unbroken
def _remove(aside: Path) -> None:
    if aside in _in_flight:
        _in_flight.discard(aside)
        # Where its folder became read-only, what kept the file from being finished is told already.
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@atexit.register
def _remove_all() -> None:
    # A request to end can arrive where Python leaves a `with` block without running its end.
    for aside in tuple(_in_flight):
        _remove(aside)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"can't be written: {error.strerror or error}",
        where=path,
        next_step="Choose another output folder, or free space and permissions there.",
    )
