"""Verify a calibration cache: what in it is wrong, missing, or hardly made from real data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calaudit.calibration.lint import Finding, lint_names, lint_scales
from calaudit.calibration.methods import METHODS
from calaudit.calibration.scales import SMALLEST_NORMAL
from calaudit.formats.trt_cache import TrtCache, open_trt_cache
from calaudit.formats.trt_header import (
    FIRST_WITHOUT_CACHES,
    KNOWN_ALGORITHMS,
    MINMAX,
    CacheHeader,
    TrtVersion,
)
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.plan import QdqPlan
from calaudit.graph.prepare import prepare
from calaudit.graph.survey import name_tensors
from calaudit.runtime.errors import BackendError, Notice, near
from calaudit.steps.random_data import match_random_data

_ENTROPY_METHODS: Final = ("entropy", "entropy-trt", "minmax")
"""Methods behind caches with an entropy header; other tools write any scales under it."""
_SET_HEADER: Final = "Set it with calaudit cache convert --tensorrt or --algorithm."


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a cache."""

    cache: TrtCache
    findings: tuple[Finding, ...]
    """Header, lines, scales, names, data; empty when the cache is clean."""
    notices: tuple[Notice, ...]
    """What couldn't be checked, and what is odd but may be right."""
    n_taps: int | None
    """Tensors of the model that INT8 needs scales of; None without a model."""


def verify_cache(
    path: Path,
    model_path: Path | None = None,
    *,
    version: TrtVersion | None = None,
    algorithm: str | None = None,
    try_random: bool = True,
) -> Verification:
    """Lint a calibration cache, whoever wrote it.

    Parameters
    ----------
    path : Path
        The cache.
    model_path : Path, optional
        The ONNX model it is for; without it names can't be checked.
    version : TrtVersion, optional
        The TensorRT that will read it.
    algorithm : str, optional
        What headers call the calibrator that will read it.
    try_random : bool
        Run the model on random numbers, to see whether the scales come from such data.

    Raises
    ------
    FileFormatError
        It isn't a calibration cache.
    ModelError
        The model can't be read.
    """
    cache = open_trt_cache(path)
    told: list[Finding | Notice | None] = []
    if cache.header is not None:
        told += [_version(cache.header, version), _algorithm(cache.header, algorithm)]
    told += _lines(cache, path)
    n_taps = None
    if model_path is None:
        told += lint_scales(cache.scales)
        told.append(Notice("no_model", "names weren't checked: no model was given"))
    else:
        n_taps, more = _against(load_model(model_path), cache, try_random=try_random)
        told += more
    return Verification(
        cache,
        tuple(each for each in told if isinstance(each, Finding)),
        tuple(each for each in told if isinstance(each, Notice)),
        n_taps,
    )


def _against(
    model: Model, cache: TrtCache, *, try_random: bool
) -> tuple[int, list[Finding | Notice | None]]:
    names = name_tensors(model)
    prepared = prepare(model)
    plan = plan_qdq(prepared)
    scales = {
        name: scale
        for name, scale in cache.scales.items()
        if names.has(name) and name not in names.not_float
    }
    # Nothing is known about what TensorRT's importer makes; constants may well be 1.
    may_end_at_one = names.ends_at_one | names.constants | (scales.keys() - names.all)
    told: list[Finding | Notice | None] = [*lint_scales(scales, ends_at_one=may_end_at_one)]
    told += lint_names(cache.scales, plan.taps, names.has, names.all - names.constants)
    if try_random:
        usable = {name: s for name, s in scales.items() if SMALLEST_NORMAL <= s < math.inf}
        told.append(_random_data(prepared, plan, usable, cache))
    return len(plan.taps), told


def _lines(cache: TrtCache, path: Path) -> list[Finding]:
    """The header's absence, and lines that couldn't be read."""
    places = [str(problem.where).removeprefix(f"{path}: ") for problem in cache.problems]
    found = [
        Finding("unreadable_line", problem.message, place, problem.next_step)
        for problem, place in zip(cache.problems, places, strict=True)
    ]
    if cache.header is None:
        message = f"{found[0].message}; TensorRT will ignore the file and calibrate again"
        return [Finding("no_header", message, found[0].where, found[0].next_step)]
    if not cache.entries:
        found.append(Finding("empty", "there are no scales", next_step="Calibrate again."))
    return found


def _version(header: CacheHeader, wanted: TrtVersion | None) -> Finding | Notice | None:
    found = header.version
    if found is None:
        message = f"the header's version, {header.number!r}, is no version of TensorRT"
    elif found.major >= FIRST_WITHOUT_CACHES:
        message = f"the header says TensorRT {found}, which has no calibration caches"
    elif wanted is None or wanted == found:
        return None
    else:
        message = f"made by TensorRT {found}, to be read by {wanted}"
        if wanted.major == found.major:
            return Notice("other_version", message, "line 1")
    return Finding("version", message, "line 1", _SET_HEADER)


def _algorithm(header: CacheHeader, wanted: str | None) -> Finding | None:
    found = header.algorithm
    if wanted is not None and wanted != found:
        message = f"{found} made it and {wanted} will read it: TensorRT will calibrate again"
        return Finding("algorithm", message, "line 1", _SET_HEADER)
    if found not in KNOWN_ALGORITHMS:
        message = f"the header's algorithm, {found!r}, is none of TensorRT's"
        return Finding("algorithm", message, "line 1", near(found, KNOWN_ALGORITHMS))
    return None


def _random_data(
    prepared: Model, plan: QdqPlan, scales: Mapping[str, float], cache: TrtCache
) -> Finding | Notice | None:
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

    minmax = cache.header is not None and cache.header.algorithm == MINMAX
    methods = [m for m in (("minmax",) if minmax else _ENTROPY_METHODS) if m in METHODS]
    try:
        found = match_random_data(prepared, plan, scales, methods, OnnxruntimeBackend())
    except BackendError as error:
        message = f"the scales weren't compared with those of random data: {error.problems[0]}"
        return Notice("random_data_not_tried", message)
    if isinstance(found, Notice):
        return found
    message = (
        f"{found.share:.0%} of {found.n_taps} taps have the scales that random numbers give, "
        f"{found.kind}"
    )
    if found.convincing:
        step = "Ask what it was calibrated on; calibrate on real samples."
        return Finding("random_data", message, next_step=step)
    if found.alike:
        return Notice("random_data_possible", f"{message}; too few taps to be sure")
    return None
