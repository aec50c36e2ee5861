"""Scales in files: compare two, turn a calibration cache into a scale table and back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from calaudit.calibration.diff import ScaleDiff, diff_scales
from calaudit.calibration.histogram import Histogram
from calaudit.calibration.scales import ScaleTable, is_importer_made
from calaudit.formats.ranges import open_ranges
from calaudit.formats.scales import open_scales, write_scales
from calaudit.formats.trt_cache import (
    cache_of,
    open_trt_cache,
    table_of,
    write_trt_cache,
)
from calaudit.formats.trt_header import CacheHeader, TrtVersion, header_for
from calaudit.formats.writing import keep_apart
from calaudit.runtime.errors import FileFormatError, Notice, OutputError, SettingsError
from calaudit.runtime.words import counted


def read_scales(path: Path) -> tuple[dict[str, float], list[Notice]]:
    """Scales of a calibration cache or a scale table, whichever the file is.

    Returns
    -------
    dict
        Tensor → scale; those of a cache may be unusable.
    list of Notice
        Lines of a cache that couldn't be read.

    Raises
    ------
    FileFormatError
        It is neither.
    """
    if _is_table(path):
        return open_scales(path).scales, []
    cache = open_trt_cache(path)
    return cache.scales, [Notice("unreadable_line", p.message, p.where) for p in cache.problems]


def open_table(path: Path, *, name: str) -> ScaleTable:
    """The scale table of a file, which holds one or is a calibration cache.

    Parameters
    ----------
    path : Path
    name : str
        What the table calls the samples behind a cache's ranges; the cache doesn't say.

    Raises
    ------
    FileFormatError
        It is neither, or broken.
    RangesError
        Scales that no engine can use.
    """
    if _is_table(path):
        return open_scales(path)
    return table_of(open_trt_cache(path), calibset=name)


def keep_foreign(out: Path) -> None:
    """Refuse to write scales over a file that holds something else.

    Raises
    ------
    OutputError
        `out` is neither a calibration cache nor a scale table, nor empty.
    """
    if not out.is_file() or not out.stat().st_size:
        return
    try:
        read_scales(out)
    except FileFormatError:
        raise OutputError(
            "isn't a calibration cache or a scale table, and would be overwritten",
            where=out,
            next_step="Write to another file, or remove this one first.",
        ) from None


def diff_files(
    first: Path, second: Path, *, ranges: Path | None = None, group: str | None = None
) -> tuple[ScaleDiff, list[Notice]]:
    """Compare the scales of two files, each a calibration cache or a scale table.

    Parameters
    ----------
    first, second : Path
        The files.
    ranges : Path, optional
        Ranges file of the same model, to tell what each scale clips.
    group : str, optional
        Group of samples in it, written as slices are; by default all that were observed.

    Raises
    ------
    FileFormatError
        A file can't be read.
    RangesError
        There is no such group, or several match.
    SettingsError
        A group without a ranges file.
    """
    if group is not None and ranges is None:
        raise SettingsError(
            f"group {group!r} of no ranges file", where="--group", next_step="Give --ranges too."
        )
    here, notices = read_scales(first)
    there, more = read_scales(second)
    known = {} if ranges is None else _distributions(ranges, group)
    found = diff_scales(here, there, known)
    unseen = sum(each.tap not in known for each in found.shared)
    if ranges is not None and unseen:
        message = f"has no distribution of {unseen} of the {len(found.shared)} shared taps"
        more.append(Notice("unobserved_taps", message, str(ranges)))
    return found, notices + more


def _distributions(path: Path, group: str | None) -> dict[str, Histogram]:
    observed = open_ranges(path)
    histograms = observed.whole() if group is None else observed.of(observed.find(group))
    return {tap: histograms.one(position, 0) for position, tap in enumerate(histograms.taps)}


def cache_to_table(source: Path, out: Path, *, calibset: str | None = None) -> tuple[Notice, ...]:
    """Write the scale table of a calibration cache.

    Parameters
    ----------
    source : Path
        The cache.
    out : Path
        Scale table (JSON) to write.
    calibset : str, optional
        What the table calls the samples behind the ranges; by default the cache's file name.

    Returns
    -------
    tuple of Notice
        Fallbacks of dead tensors, see `table_of`.

    Raises
    ------
    FileFormatError, RangesError
        The cache can't be read whole, or holds scales that no engine may get.
    OutputError
        `out` can't be written, is `source`, or holds something else than scales.
    """
    keep_apart(out, source)
    keep_foreign(out)
    table = table_of(open_trt_cache(source), calibset=calibset or source.stem)
    write_scales(out, table)
    return table.notices


def make_cache(
    source: Path,
    out: Path,
    *,
    version: TrtVersion | None = None,
    algorithm: str | None = None,
) -> tuple[Notice, ...]:
    """Write a calibration cache: of a scale table, or of another cache with a changed header.

    Scales are kept bit for bit, sensible or not.

    Parameters
    ----------
    source : Path
        A scale table (JSON) or a cache.
    out : Path
        Cache to write.
    version : TrtVersion, optional
        The TensorRT that will read it. A scale table names none, so there it is needed.
    algorithm : str, optional
        What headers call the calibrator that will read it; by default by the table's method, or
        as it was.

    Returns
    -------
    tuple of Notice
        The scale table's own.

    Raises
    ------
    SettingsError
        A version is needed, there is nothing to change, or this TensorRT reads no caches.
    FileFormatError
        The source can't be read whole.
    OutputError
        `out` can't be written, is `source`, or holds something else than scales.
    """
    keep_apart(out, source)
    keep_foreign(out)
    if _is_table(source):
        if version is None:
            raise SettingsError(
                "a calibration cache names the TensorRT that will read it",
                where=source,
                next_step="Give its version, such as --tensorrt 8.6.1.",
            )
        table = open_scales(source)
        cache = cache_of(table, version, algorithm=algorithm)
        write_trt_cache(out, cache)
        return (*table.notices, *_incomplete(table, source))
    cache = open_trt_cache(source)
    header = _changed(cache.header, version, algorithm, source)
    unread = cache.problems if cache.header is not None else ()
    if unread:
        raise FileFormatError.of(unread)
    write_trt_cache(out, replace(cache, header=header, problems=()))
    return ()


def _incomplete(table: ScaleTable, source: Path) -> Iterator[Notice]:
    """That a table of ours has the tensors alone that Q/DQ needs, unless it has more."""
    if table.ranges_by == "calaudit" and not any(map(is_importer_made, table.taps)):
        message = (
            f"the cache has the scale table's {counted(len(table.taps), 'tensor')}; TensorRT asks "
            "for every tensor of its network and runs layers without a range in float. calaudit "
            "cache write makes a complete one, calaudit cache verify --model tells what is missing"
        )
        yield Notice("incomplete", message, str(source))


def _changed(
    header: CacheHeader | None, version: TrtVersion | None, algorithm: str | None, source: Path
) -> CacheHeader:
    if version is None and algorithm is None:
        raise SettingsError(
            "nothing to change in this cache",
            where=source,
            next_step="Give --tensorrt or --algorithm, or an output that ends in .json.",
        )
    numbered = header if version is None else header_for(version, "entropy")
    name = algorithm or (None if header is None else header.algorithm)
    if numbered is None or name is None:
        raise SettingsError(
            "this cache has no header to change",
            where=source,
            next_step="Give both --tensorrt and --algorithm.",
        )
    return CacheHeader(numbered.number, name)


def _is_table(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False
