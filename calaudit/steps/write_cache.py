"""Write a calibration cache: complete, and without TensorRT or a GPU."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from calaudit.calibration.batching import Batching
from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.methods import ENTROPY_TRT, check_method
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_scales, is_importer_made
from calaudit.formats.ranges import open_ranges
from calaudit.formats.trt_cache import TrtCache, cache_of, write_trt_cache
from calaudit.formats.trt_header import TrtVersion, header_for
from calaudit.formats.writing import keep_apart
from calaudit.graph.load import check_pool_matches, load_model
from calaudit.graph.network import Network, import_network
from calaudit.runtime.errors import Notice, OutputError, RangesError, SettingsError
from calaudit.runtime.words import counted
from calaudit.slices.dimension import EVERYTHING
from calaudit.steps.cache import keep_foreign
from calaudit.steps.calibrate import batching_for, observation_notices, open_sets
from calaudit.steps.complete import observe_network, without_constants

SEEN: Final = (8, 5)
"""The release of TensorRT whose parser `import_network` follows."""


@dataclass(frozen=True, slots=True)
class CompleteCache:
    """A calibration cache with a range for every tensor that TensorRT has."""

    network: Network
    table: ScaleTable
    cache: TrtCache
    notices: tuple[Notice, ...]


def write_complete_cache(
    model_path: Path,
    set_paths: Sequence[Path],
    out: Path,
    *,
    method: str,
    version: TrtVersion,
    algorithm: str | None = None,
    ranges: Path | None = None,
    group: str | None = None,
    batch_size: int = 64,
    batching: Batching | None = None,
    threads: int = 0,
    skip_bad: bool = False,
    own: ScaleTable | None = None,
) -> CompleteCache:
    """Calibrate a model for TensorRT's implicit quantization, without TensorRT.

    Parameters
    ----------
    model_path : Path
        The ONNX model, as TensorRT will be given it.
    set_paths : sequence of Path
        Calibration sets: the cache is made of all their samples together. None where `ranges`
        were observed before.
    out : Path
        Calibration cache to write.
    method : str
        One of `calaudit.calibration.methods.ALL_METHODS`; ``entropy-trt`` of one set.
    version : TrtVersion
        The TensorRT that will read it.
    algorithm : str, optional
        What headers call the calibrator that will read it; by default by the method.
    ranges : Path, optional
        Ranges file of all tensors: written, or without sets read, for other methods.
    group : str, optional
        What the cache is made of where `ranges` are read and hold several sets: one of them, or
        ``all``.
    batch_size, threads : int
        Samples per run at most; onnxruntime's threads, 0 for all cores.
    batching : Batching, optional
        How TensorRT would be fed, for ``entropy-trt``; default: mixed batches of 64.
    skip_bad : bool
        Leave out samples with an activation that is NaN or infinite, with a notice.
    own : ScaleTable, optional
        Scales of some of the tensors, which stay as they are.

    Raises
    ------
    SettingsError
        There is neither a set nor a ranges file; an unknown method, batches that it doesn't look
        at, or several sets where it takes one; a group that isn't read or, of several recorded
        ones, none; or this TensorRT reads no caches.
    ModelError, RangesError, BackendError, FileFormatError, OutputError
        A file can't be read, written, or doesn't belong to the model.
    """
    header_for(version, method)
    check_method(method, {})
    _refuse_batches(method, set_paths, batching)
    _refuse_group(group, set_paths)
    batching = batching_for([method], batching)
    _keep_files(model_path, set_paths, out, ranges)
    network = import_network(load_model(model_path))
    observation = (
        _observed(network, set_paths, ranges, (batch_size, threads, batching), skip_bad=skip_bad)
        if set_paths
        else _found(network, ranges)
    )
    name = _taken(observation, group, method, ranges, read=not set_paths)
    table = estimate_scales(
        observation.whole() if name is None else observation.of(name),
        0,
        method,
        calibset=name or ", ".join(each for each in observation.groups if each != EVERYTHING),
        equal=None if name is None else _equal_bins(observation, method, name, ranges),
        model_fingerprint=observation.model_fingerprint,
        notices=observation_notices(observation),
    )
    table = without_constants(table, network)
    if own is not None:
        kept = {name: own.taps[name] for name in table.taps if name in own.taps}
        table = replace(table, taps={**table.taps, **kept})
    cache = cache_of(table, version, algorithm=algorithm)
    write_trt_cache(out, cache)
    notices = (*network.notices, *_other_numbers(network, version), *table.notices)
    return CompleteCache(network, table, cache, (*network.given.notices, *notices))


def _other_numbers(network: Network, version: TrtVersion) -> Iterator[Notice]:
    """That a release may number the parser's tensors otherwise than the one that was seen."""
    made = [name for name in network.names if is_importer_made(name)]
    if made and (version.major, version.minor) != SEEN:
        seen = ".".join(map(str, SEEN))
        message = (
            f"{counted(len(made), 'tensor')} that TensorRT's parser adds are called as {seen}'s "
            f"calls them, such as {made[0]}: {version} may number some otherwise, and would run "
            "the layers around those in float"
        )
        yield Notice("numbered_as_seen", message, network.given.label)


def _observed(
    network: Network,
    set_paths: Sequence[Path],
    ranges: Path | None,
    how: tuple[int, int, Batching | None],
    *,
    skip_bad: bool,
) -> Observation:
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

    batch_size, threads, batching = how
    sets = open_sets(set_paths)
    for drawn in sets.values():
        check_pool_matches(network.given.inputs, drawn.inputs, where=str(drawn.path))
    with TemporaryDirectory(prefix="calaudit-") as folder:
        return observe_network(
            network,
            sets,
            OnnxruntimeBackend(threads=threads),
            ranges or Path(folder) / "ranges.h5",
            batch_size=batch_size,
            batching=batching,
            skip_bad=skip_bad,
        )


def _refuse_batches(method: str, set_paths: Sequence[Path], batching: Batching | None) -> None:
    if batching is not None and not set_paths:
        raise SettingsError(
            "a ranges file holds the batches that its bins were counted in",
            where="--calibration-batch, --calibration-order",
            next_step="Give the calibration set to count again, or leave them out.",
        )
    if method == ENTROPY_TRT and len(set_paths) > 1:
        raise SettingsError(
            f"{ENTROPY_TRT} depends on the batches of one calibration set, and "
            f"{len(set_paths)} are given",
            where=", ".join(map(str, set_paths)),
            next_step="Give one set, drawn from all that the cache is to be made of, or take "
            "--method minmax or entropy.",
        )


def _refuse_group(group: str | None, set_paths: Sequence[Path]) -> None:
    if group is not None and set_paths:
        raise SettingsError(
            f"group {group!r} beside calibration sets, which are taken together",
            where="--group",
            next_step="Give the one set alone, or no set and --ranges to read.",
        )


def _keep_files(
    model_path: Path, set_paths: Sequence[Path], out: Path, ranges: Path | None
) -> None:
    """Refuse to write over what the cache is made from, or anything but a cache."""
    if ranges is not None:
        if out.resolve() == ranges.resolve():
            raise OutputError(
                "is the ranges file, too, and the cache would take its place",
                where=out,
                next_step="Write the cache to another file.",
            )
        keep_apart(out, ranges)
        if set_paths:
            keep_apart(ranges, model_path, *set_paths)
    keep_apart(out, model_path, *set_paths)
    keep_foreign(out)


def _taken(
    observation: Observation, group: str | None, method: str, ranges: Path | None, *, read: bool
) -> str | None:
    """The recorded group that a cache is made of; None: all sets, taken together."""
    sets = [name for name in observation.groups if name != EVERYTHING]
    if len(sets) < 2 and group is None:
        return sets[0] if sets else EVERYTHING  # a set may be called as all samples are
    if not read:
        return None
    if group is None:
        every = f", or {EVERYTHING} for their union" if method != ENTROPY_TRT else ""
        raise SettingsError(
            f"holds ranges of {len(sets)} groups, and the cache is made of one: {', '.join(sets)}",
            where=ranges,
            next_step=f"Name it in --group{every}.",
        )
    return observation.find(group)


def _equal_bins(
    observation: Observation, method: str, group: str, ranges: Path | None
) -> EqualBins | None:
    try:
        return observation.equal_for(method, group)
    except RangesError as error:
        raise RangesError(
            error.problems[0].message,
            where=ranges,
            next_step="Give one calibration set with the model, or take --method minmax or "
            "entropy.",
        ) from None


def _found(network: Network, ranges: Path | None) -> Observation:
    """What was observed before; raises where it isn't for this network."""
    if ranges is None:
        raise SettingsError(
            "no calibration set",
            next_step="Give one or more, or with --ranges what was observed on some before.",
        )
    observation = open_ranges(ranges)
    if observation.model_fingerprint != network.given.fingerprint:
        raise RangesError(
            f"these ranges were observed on another model ({observation.model_fingerprint}; "
            f"{network.given.label} is {network.given.fingerprint})",
            where=ranges,
            next_step="Give the model that was observed, or its calibration sets.",
        )
    missing = [name for name in network.names if name not in observation.histograms.taps]
    if missing:
        raise RangesError(
            f"holds no range of {counted(len(missing), 'tensor')} that TensorRT asks for, the "
            f"first {missing[0]}",
            where=ranges,
            next_step="Give calibration sets, and with --ranges a file to keep all ranges in.",
        )
    return observation
