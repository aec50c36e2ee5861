"""TensorRT's calibration cache: a header, then one line per tensor with its scale.

``<tensor name>: <hex>``, where hex is the float32 bits of the scale, most significant digit first
and without leading zeros. Nothing is escaped, so names may hold spaces, brackets and colons: the
last colon of a line ends the name.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.scales import (
    DEAD_AMAX,
    SMALLEST_NORMAL,
    ScaleTable,
    TapScale,
    scale_of,
)
from calaudit.formats.trt_header import CacheHeader, TrtVersion, header_for
from calaudit.formats.writing import atomic_write
from calaudit.runtime.errors import FileFormatError, Notice, OutputError, Problem
from calaudit.runtime.words import visible

_BITS = re.compile(r"[0-9a-fA-F]{1,8}")
_TEXT_STEP: Final = "Check the path; a cache is text that begins with TRT-<version>-<algorithm>."
_HEADER_STEP: Final = "Put TRT-<version>-<algorithm> there, such as TRT-8601-EntropyCalibration2."
_LINE_STEP: Final = "Write <tensor name>: <hex>, the float32 bits of amax / 127."


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One tensor's line."""

    tensor: str
    bits: int
    """float32 bits of the scale, 0 … 2³² − 1; they may spell zero, infinity or NaN."""

    @property
    def scale(self) -> float:
        """The scale, a float32."""
        (value,) = struct.unpack(">f", struct.pack(">I", self.bits))
        return float(value)

    @property
    def amax(self) -> float:
        """Largest magnitude that isn't clipped: 127 · scale."""
        return self.scale * N_STEPS

    @property
    def hex(self) -> str:
        """The bits as a cache spells them."""
        return f"{self.bits:x}"


@dataclass(frozen=True, slots=True)
class TrtCache:
    """A calibration cache, whoever wrote it: scales are kept bit for bit, sensible or not."""

    header: CacheHeader | None
    """None where the file has entries but no header: TensorRT would ignore it."""
    entries: tuple[CacheEntry, ...]
    """In the file's order; every tensor once."""
    problems: tuple[Problem, ...] = ()
    """Lines that couldn't be read, each with its number. They aren't among the entries."""

    @property
    def scales(self) -> dict[str, float]:
        """Scale of each tensor; may be zero, negative, denormal, infinite or NaN."""
        return {entry.tensor: entry.scale for entry in self.entries}

    def to_bytes(self) -> bytes:
        """The file's content, as TensorRT's ``read_calibration_cache`` wants it.

        Raises
        ------
        OutputError
            It has no header, or a name that the format can't hold.
        """
        if self.header is None:
            raise OutputError("a calibration cache without a header", next_step=_HEADER_STEP)
        problems = [
            Problem(
                f"a calibration cache can't hold the name {entry.tensor!r}",
                next_step="Rename the tensor: no line breaks, valid Unicode, not blank.",
            )
            for entry in self.entries
            if not _can_hold(entry.tensor)
        ]
        if problems:
            raise OutputError.of(problems)
        lines = [str(self.header), *(f"{entry.tensor}: {entry.hex}" for entry in self.entries)]
        return ("\n".join(lines) + "\n").encode()


def bits_of(scale: float) -> int:
    """float32 bits of a scale."""
    (bits,) = struct.unpack(">I", struct.pack(">f", scale))
    return int(bits)


def cache_of(table: ScaleTable, version: TrtVersion, *, algorithm: str | None = None) -> TrtCache:
    """The cache that gives TensorRT a scale table.

    Parameters
    ----------
    table : ScaleTable
        Scales of all taps, written in its order.
    version : TrtVersion
        The TensorRT that will read it, 10 or older.
    algorithm : str, optional
        The calibrator that will read it, as the header calls it; by default by the table's
        method, see `header_for`.

    Raises
    ------
    SettingsError
        This TensorRT reads no calibration caches.
    """
    entries = tuple(CacheEntry(name, bits_of(tap.scale)) for name, tap in table.taps.items())
    return TrtCache(header_for(version, algorithm or table.method), entries)


def table_of(cache: TrtCache, *, calibset: str) -> ScaleTable:
    """The scale table of a cache; its method is what the header calls the algorithm.

    TensorRT writes zero for tensors that were zero in every sample. As in `estimate_scales`, a
    zero or denormal scale becomes that of amax 1, with a notice.

    Parameters
    ----------
    cache : TrtCache
        With a header, and without unreadable lines.
    calibset : str
        What the table calls the samples behind the ranges; the cache doesn't say.

    Raises
    ------
    FileFormatError
        Lines that couldn't be read, the header among them: a table made from the rest would lack
        taps.
    RangesError
        Scales that are negative, infinite or NaN.
    """
    if cache.problems or cache.header is None:
        raise FileFormatError.of(cache.problems or [Problem("has no header", None, _HEADER_STEP)])
    taps: dict[str, TapScale] = {}
    notices: list[Notice] = []
    for entry in cache.entries:
        taps[entry.tensor] = TapScale(entry.amax, entry.scale)
        if 0 <= entry.scale < SMALLEST_NORMAL:
            message = f"the cache's scale is {entry.scale:.3g}: taken as amax = {DEAD_AMAX:g}"
            notices.append(Notice("dead_tap", message, f"tap {entry.tensor!r}"))
            taps[entry.tensor] = TapScale(DEAD_AMAX, scale_of(DEAD_AMAX))
    return ScaleTable(
        taps, cache.header.algorithm, calibset, ranges_by="tensorrt", notices=tuple(notices)
    )


def write_trt_cache(path: Path, cache: TrtCache) -> None:
    """Write a cache, whole or not at all.

    Raises
    ------
    OutputError
        The file can't be written, or the format can't hold the cache.
    """
    content = cache.to_bytes()
    with atomic_write(path) as aside:
        aside.write_bytes(content)


def open_trt_cache(path: Path) -> TrtCache:
    """Read a cache file.

    Raises
    ------
    FileFormatError
        The file is missing, or isn't a calibration cache. Single bad lines don't raise: they are
        the cache's `problems`.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except OSError as error:
        raise FileFormatError(f"can't be read: {error.strerror or error}", where=path) from None
    return parse_trt_cache(content, where=path)


def parse_trt_cache(content: bytes, *, where: object) -> TrtCache:
    """Read a cache's content, such as TensorRT hands to ``write_calibration_cache``.

    Parameters
    ----------
    content : bytes
        Any bytes.
    where : object
        What messages call it: its path.

    Raises
    ------
    FileFormatError
        It isn't a calibration cache: no header, and not every other line is an entry.
    """
    lines = content.split(b"\n")
    header = CacheHeader.parse(lines[0].decode(errors="replace"))
    read = _Lines(where)
    if header is not None:
        entries = tuple(read.entries(lines[1:], start=2))
        return TrtCache(header, entries, tuple(read.problems.values()))
    if b"\0" in content:
        raise _foreign(content, where)
    entries = tuple(read.entries(lines, start=1))
    if not entries or set(read.problems) - {1}:
        raise _foreign(content, where)
    message = f"the first line is no header: {_shown(lines[0])}"
    return TrtCache(None, entries, (Problem(message, f"{where}: line 1", _HEADER_STEP),))


class _Lines:
    """Reads entries line by line and collects what is wrong with them."""

    def __init__(self, where: object) -> None:
        self.problems: dict[int, Problem] = {}
        self._where = where
        self._first_line: dict[str, int] = {}

    def entries(self, lines: list[bytes], *, start: int) -> Iterator[CacheEntry]:
        """The entries among `lines`, the first of which has the number `start`."""
        for number, line in enumerate(lines, start):
            if line.strip():
                entry = self._entry(line, number)
                if entry is not None:
                    yield entry

    def _entry(self, line: bytes, number: int) -> CacheEntry | None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self._note(number, f"isn't UTF-8: {_shown(line)}", "Write tensor names in UTF-8.")
            return None
        name, colon, value = text.rpartition(":")
        digits = value.strip()
        if not colon or not name.strip():
            self._note(number, f"has no tensor name and colon: {_shown(line)}", _LINE_STEP)
        elif not _BITS.fullmatch(digits):
            self._note(number, f"the scale isn't 1 to 8 hex digits: {_shown(line)}", _LINE_STEP)
        elif name in self._first_line:
            first = self._first_line[name]
            self._note(number, f"has {name!r} again, first on line {first}", "Remove one of them.")
        else:
            self._first_line[name] = number
            return CacheEntry(name, int(digits, 16))
        return None

    def _note(self, number: int, message: str, next_step: str) -> None:
        self.problems[number] = Problem(message, f"{self._where}: line {number}", next_step)


def _can_hold(name: str) -> bool:
    return bool(name.strip()) and "\n" not in name and not re.search("[\ud800-\udfff]", name)


def _foreign(content: bytes, where: object) -> FileFormatError:
    found = _shown(content.split(b"\n", 1)[0]) if content.strip() else "nothing"
    return FileFormatError(
        f"isn't a TensorRT calibration cache: it begins with {found}",
        where=where,
        next_step=_TEXT_STEP,
    )


def _shown(line: bytes) -> str:
    text = visible(line[:60].decode(errors="backslashreplace").rstrip("\r"))
    return f"'{text}{'…' if len(line) > 60 else ''}'"
