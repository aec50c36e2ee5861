"""A folder of files written whole or not at all, with their SHA-256 sums, and never over others."""

import atexit
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from calaudit.formats.writing import write_text
from calaudit.runtime.errors import OutputError
from calaudit.runtime.interrupts import listening, stop_if_asked, unbroken

SUMS: Final = "SHA256SUMS"
"""Lists every other file of the folder, as ``sha256sum --check`` reads it."""
_SHOWN: Final = 3
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_in_flight: set[Path] = set()


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path`, with its sums, if all goes well.

    What is at `path` may be nothing, an empty folder, or one that this function wrote and nobody
    changed since; its mode is kept. On any exception (Ctrl-C included) it stays as it is.

    Raises
    ------
    OutputError
        `path` holds anything else, which would be lost; or it is read-only, or can't be written.
    """
    place = Path(os.path.realpath(path))
    check_replaceable(path)
    aside = place.parent / f".{place.name}.{secrets.token_hex(4)}.part"
    with listening():
        try:
            _create(aside)
            stop_if_asked()
            yield aside
            _write_sums(aside)
            check_replaceable(path)  # again: what was written meanwhile isn't ours
            _swap(aside, place)
        except OSError as error:
            raise OutputError(
                f"can't be written: {error.strerror or error}",
                where=path,
                next_step="Choose another folder, or check its free space and permissions.",
            ) from error
        finally:
            _remove(aside)


def check_replaceable(path: Path) -> None:
    """Refuse a read-only folder, and one with files that :func:`written_folder` didn't write.

    Raises
    ------
    OutputError
        It is one of these, or a file.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError("is a file, not a folder", where=path, next_step="Name another folder.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _WRITABLE or not os.access(path, os.W_OK):  # root may write to any
        raise OutputError(
            f"is read-only (mode {mode:o})",
            where=path,
            next_step="Name another folder, or make it writable (chmod u+w).",
        )
    foreign = _foreign(path)
    if foreign:
        more = f", … {len(foreign)} in all" if len(foreign) > _SHOWN else ""
        raise OutputError(
            f"holds files that would be lost: {', '.join(foreign[:_SHOWN])}{more}",
            where=path,
            next_step="Name another folder, or move them away.",
        )


def read_sums(folder: Path) -> dict[str, str]:
    """File → SHA-256 (64 hexadecimal digits), as listed in the folder; empty without a list."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _foreign(folder: Path) -> list[str]:
    """What of a folder its sums don't list, or not with this content."""
    listed = read_sums(folder)
    found = sorted(folder.iterdir())
    return [
        each.name
        for each in found
        if each.name != SUMS or not listed
        if not each.is_file() or each.is_symlink() or listed.get(each.name) != sha256_of(each)
    ]


def _write_sums(folder: Path) -> None:
    names = sorted(each.name for each in folder.iterdir())
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
    write_text(folder / SUMS, "".join(lines))


@unbroken
def _create(aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.mkdir()
    _in_flight.add(aside)


@unbroken
def _swap(made: Path, place: Path) -> None:
    """Put `made` in the place of what is there, which comes back where that fails."""
    if not place.exists():
        made.rename(place)
        return
    made.chmod(stat.S_IMODE(place.stat().st_mode))
    before = place.with_name(f"{made.name}.old")
    place.rename(before)
    try:
        made.rename(place)
    except OSError:
        before.rename(place)
        raise
    shutil.rmtree(before, ignore_errors=True)


@unbroken
def _remove(aside: Path) -> None:
    if aside in _in_flight:
        _in_flight.discard(aside)
        shutil.rmtree(aside, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    # A request to end can arrive where Python leaves a `with` block without running its end.
    for aside in tuple(_in_flight):
        _remove(aside)
