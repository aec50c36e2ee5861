"""Engines that trtexec timed: its files in place of a measurement of ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.matching import near_cells
from calaudit.formats.trtexec import TrtexecFiles, TrtexecTimes, open_trtexec
from calaudit.results.bench import BenchedEngine, Latency, LayerTime, Throughput
from calaudit.results.values import Estimate
from calaudit.runtime.errors import FileFormatError, Notice, SettingsError, near
from calaudit.runtime.words import counted
from calaudit.statistics.timing import mean, percentile

if TYPE_CHECKING:
    from calaudit.audit.prepare import Audit
    from calaudit.results.audited import EngineRecord
    from calaudit.results.report import Report

Ran = Literal["int8", "fp16", "fp32", "unknown"]
_PARTS: Final = 20
"""Stretches that a run is cut into: what drifts within it widens the intervals."""
_FEW: Final = 5
"""Queries of a stretch at least."""
_SPELL: Final = "Write --trtexec 'CELL=times.json,profile.json,layers.json,batch=64,streams=1'."
_WHERE: Final = "--trtexec"


@dataclass(frozen=True, slots=True)
class Traced:
    """An engine and the files that trtexec wrote of it."""

    cell: str
    """Its id, or the reference's."""
    paths: tuple[Path, ...]
    batch: int | None = None
    """Samples of each query; None: as the layers' file says."""
    streams: int = 1
    """``--infStreams``."""


def read_traced(text: str) -> Traced:
    """``CELL=times.json,profile.json,layers.json,batch=64,streams=1``; files in any order.

    Raises
    ------
    SettingsError
        It isn't written so.
    """
    cell, found, rest = text.partition("=")
    given = [each.strip() for each in rest.split(",") if each.strip()]
    paths = [each for each in given if "=" not in each]
    numbers = dict(each.split("=", 1) for each in given if "=" in each)
    unknown = [key for key in numbers if key not in {"batch", "streams"}]
    if not found or not cell.strip() or not paths or unknown:
        wrong = f"{unknown[0]} is no part of it" if unknown else "names no engine and its files"
        raise SettingsError(f"{text!r}: {wrong}", where=_WHERE, next_step=_SPELL)
    counts = {}
    for key, value in numbers.items():
        if not value.isdecimal() or not int(value):
            message = f"{text!r}: {key} must be a number from 1 on (got {value!r})"
            raise SettingsError(message, where=_WHERE, next_step=_SPELL)
        counts[key] = int(value)
    return Traced(cell.strip(), tuple(map(Path, paths)), **counts)


def check_files(traced: Sequence[Traced]) -> None:
    """Refuse what can't be used of trtexec's files, whatever audit they are of.

    Raises
    ------
    SettingsError
        An engine is named twice, or the batch of its queries isn't known.
    FileFormatError
        A file can't be read, or isn't trtexec's.
    """
    named: set[str] = set()
    for each in traced:
        if each.cell in named:
            raise _twice(each.cell)
        named.add(each.cell)
        _batch(each, open_trtexec(each.paths))


def check_traced(audit: "Audit", traced: Sequence[Traced]) -> None:
    """Refuse engines that the audit doesn't plan. Raises `SettingsError`."""
    planned = [audit.plan.reference, *audit.plan.cells]
    known = {each.id for each in planned}
    for each in traced:
        if each.cell not in known:
            raise _unknown(each.cell, near_cells(each.cell, planned))


def _twice(cell: str) -> SettingsError:
    step = "Give its files at once."
    return SettingsError(f"{cell!r} is named twice", where=_WHERE, next_step=step)


def _unknown(cell: str, step: str) -> SettingsError:
    return SettingsError(f"there is no engine {cell!r}", where=_WHERE, next_step=step)


def traced_engines(
    audit: "Audit", report: "Report", traced: Sequence[Traced]
) -> tuple[list[BenchedEngine], list[Notice]]:
    """What trtexec measured of an audit's engines.

    Parameters
    ----------
    audit : Audit
        Whose model's nodes layers are told by.
    report : Report
        Of this audit.
    traced : sequence of Traced

    Raises
    ------
    SettingsError
        There is no such engine, it is named twice, or its batch isn't known.
    FileFormatError
        A file can't be read, or isn't trtexec's.
    """
    records = _records(audit, report)
    found: list[BenchedEngine] = []
    notices: list[Notice] = []
    for each in traced:
        if each.cell not in records:
            raise _unknown(each.cell, near(each.cell, records))
        if any(other.engine == each.cell for other in found):
            raise _twice(each.cell)
        files = open_trtexec(each.paths)
        found.append(_timed(audit, each, files, records[each.cell]))
        notices += _notices(each, files)
    return found, notices


def _records(audit: "Audit", report: "Report") -> Mapping[str, BenchedEngine]:
    """Engine → what its report says of it, without times."""
    reference = report.reference
    name = audit.plan.reference.id
    found = {name: _untimed(name, reference.backend, "fp32", reference.engine)}
    for cell in report.cells:
        if cell.engine is not None:
            found[cell.id] = _untimed(cell.id, cell.backend, cell.precision, cell.engine)
    return found


def _untimed(name: str, backend: str, precision: Ran, record: "EngineRecord") -> BenchedEngine:
    return BenchedEngine(
        engine=name,
        backend=backend,
        precision=precision,
        fingerprint=record.fingerprint,
        kernels="fused" if precision == "int8" else "float",
        source="trtexec",
    )


def _timed(audit: "Audit", of: Traced, files: TrtexecFiles, engine: BenchedEngine) -> BenchedEngine:
    batch, times = _batch(of, files), files.times
    layers = _layers(audit, files)
    made = replace(engine, layers=layers, layers_batch=batch if layers else None)
    if times is None:
        return made
    rate = batch * len(times.latency_ms) / times.seconds
    # of several streams it would be that of a batch that others run beside, and ours are of one
    alone = of.streams == 1
    return replace(
        made,
        latencies=(_latency(times, batch, audit.config.audit.level),) if alone else (),
        throughput=(Throughput(batch, of.streams, Estimate(rate)),),
    )


def _batch(of: Traced, files: TrtexecFiles) -> int:
    told = None if files.layers is None else files.layers.batch
    if of.batch is None and told is None:
        raise SettingsError(
            f"the files of {of.cell!r} don't say how many samples a query had",
            where=_WHERE,
            next_step=f"Add the batch of trtexec's --shapes: {of.cell}=…,batch=1",
        )
    if of.batch is not None and told is not None and of.batch != told:
        raise SettingsError(
            f"the layers of {of.cell!r} are of a batch of {told}, not {of.batch}",
            where=_WHERE,
            next_step="Leave batch out, or give the files of one engine.",
        )
    return of.batch or told or 1


def _latency(times: TrtexecTimes, batch: int, level: float) -> Latency:
    n = len(times.latency_ms)
    host, device = (_parts(each) for each in (times.latency_ms, times.device_ms))
    p50, p95, p99 = (percentile(host, q, level) for q in (0.5, 0.95, 0.99))
    on_device = [percentile(device, q, level) for q in (0.5, 0.95, 0.99)]
    return Latency(batch, n, p50, p95, p99, mean(host, level), *on_device)


def _parts(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """A run in stretches, which stand for rounds."""
    return np.array_split(values, max(1, min(_PARTS, len(values) // _FEW)))


def _layers(audit: "Audit", files: TrtexecFiles) -> tuple[LayerTime, ...]:
    if files.profile is None:
        return ()
    from calaudit.backends.tensorrt.layer_times import layer_times
    from calaudit.backends.tensorrt.precision import built_layers

    built = () if files.layers is None else built_layers(files.layers.layers)
    return layer_times(files.profile.ms, built, audit.folded)


def _notices(of: Traced, files: TrtexecFiles) -> Iterator[Notice]:
    where = f"engine {of.cell}"
    if files.times is not None:
        message = (
            "trtexec's latency is copies and computing by the GPU's events: the host's calls and "
            "waiting, which are in ours, aren't in it"
        )
        if of.streams > 1:
            message = (
                f"trtexec's latency with {of.streams} streams, of batches that run beside each "
                "other, was left out: latencies are of one batch alone, as --infStreams=1 times it"
            )
        yield Notice("trtexec_latency", message, where)
        if files.times.warm:
            left = counted(files.times.warm, "query", "queries")
            message = f"{left} of trtexec's warm-up, its first 200 ms, were left out"
            yield Notice("trtexec_warm_up", message, where)
    if files.layers is not None and not files.layers.layers:
        message = (
            "the layers' file has names alone, so what layers compute in isn't known: build the "
            "engine with --profilingVerbosity=detailed"
        )
        yield Notice("trtexec_names_alone", message, where)
    if files.profile is not None and files.layers is not None:
        strange = [name for name in files.profile.ms if name not in files.layers.names]
        if len(strange) == len(files.profile.ms):
            raise FileFormatError(
                "no layer of the profile is among the engine's layers",
                where=where,
                next_step="Give files of one engine.",
            )
