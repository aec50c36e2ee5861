"""Verify a calibration cache: what in it is wrong, missing, or hardly made from real data.

Tools that are given no calibration data draw random numbers instead, and say so in a warning at
best. Activations of a trained network on noise are much alike from draw to draw, and unlike those
on real samples, so scales that agree with them in most taps were hardly made of anything else.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.batching import Batching
from calaudit.calibration.equal_bins import EqualBins, GrowingBins
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.lint import Finding, agreement, lint_names, lint_scales
from calaudit.calibration.methods import ENTROPY_TRT
from calaudit.calibration.scales import SMALLEST_NORMAL, estimate_scales
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
from calaudit.graph.network import import_network
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.survey import name_tensors
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import BackendError, Notice, RangesError, near
from calaudit.runtime.words import counted

N_SAMPLES: Final = 8
"""Random samples to run. Ranges grow with the number of samples, but slowly."""
LIKE_RANDOM: Final = 0.8
"""Share of taps that must agree, the inputs among them. Measured on the two speech models, 28 taps
each, min-max and entropy scales of 1 to 512 samples: 44 of 48 random sets are recognized, and none
of 20 real ones. On the demo's small network, where noise looks more like data: 6 of 24 and none of
10."""
ENOUGH_TAPS: Final = 10
"""With fewer taps agreement may be chance."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
KINDS: Final[dict[str, Draw]] = {
    "uniform in [0, 1)": lambda random, shape: random.random(shape),
    "uniform in [-1, 1)": lambda random, shape: random.uniform(-1, 1, shape),
    "normal with mean 0 and variance 1": lambda random, shape: random.standard_normal(shape),
}
"""What tools draw: Polygraphy the first, trtexec the second, hand-written scripts the third."""

_ENTROPY_METHODS: Final = ("entropy", ENTROPY_TRT, "minmax")
"""Methods behind caches with an entropy header; other tools write any scales under it."""
_SET_HEADER: Final = "Set it with calaudit cache convert --tensorrt or --algorithm."


@dataclass(frozen=True, slots=True)
class RandomMatch:
    """The random numbers whose ranges come closest to a set of scales."""

    kind: str
    share: float
    """Share of the taps whose scales agree."""
    n_taps: int
    """Taps that were compared."""
    inputs_agree: bool
    """Whether all taps that are inputs of the model agree."""

    @property
    def alike(self) -> bool:
        """Whether the scales are those that such random numbers give."""
        return self.inputs_agree and self.share >= LIKE_RANDOM

    @property
    def convincing(self) -> bool:
        """Whether they are, in so many taps that it is no chance."""
        return self.alike and self.n_taps >= ENOUGH_TAPS


def match_random_data(
    model: Model,
    plan: QdqPlan,
    scales: Mapping[str, float],
    methods: Sequence[str],
    backend: Backend,
) -> RandomMatch | Notice:
    """Compare scales with those that random inputs give.

    Parameters
    ----------
    model : Model
        The prepared FP32 model.
    plan : QdqPlan
        Its taps are compared, where `scales` has them.
    scales : mapping
        Tensor → scale, positive and finite.
    methods : sequence of str
        Methods that may have estimated them.
    backend : Backend
        Runs the model, one sample at a time.

    Returns
    -------
    RandomMatch or Notice
        The closest match; or why there is none, in a notice ``random_data_not_tried``.

    Raises
    ------
    BackendError
        The backend can't run the model.
    """
    taps = [tap for tap in plan.taps if tap in scales]
    reason = _unsuitable(model)
    if not taps or reason is not None:
        return _not_tried(reason or "the cache has no scale of any tap")
    engine = backend.load(with_taps(model, taps))
    inputs = {tensor.name for tensor in model.inputs} & set(taps)
    given = {tap: scales[tap] for tap in inputs}
    matches = []
    for kind, draw in KINDS.items():
        try:
            histograms, equal = _observe(engine, taps, draw)
        except RangesError:
            continue
        for group in range(histograms.n_groups):
            for method in methods:
                table = estimate_scales(
                    histograms, group, method, calibset=kind, equal=equal[group]
                )
                share = float(agreement(table.scales, scales))
                same = not given or agreement(table.scales, given) == 1
                matches.append(RandomMatch(kind, share, len(taps), same))
    if not matches:
        return _not_tried("every kind of random input makes activations NaN or infinite")
    return max(matches, key=lambda match: (match.inputs_agree, match.share))


def _unsuitable(model: Model) -> str | None:
    for tensor in model.inputs:
        if tensor.dtype.kind != "f":
            return f"input {tensor.name} is {tensor.dtype}"
        if None in tensor.shape:
            return f"input {tensor.name} has no fixed shape"
    return None


def _not_tried(reason: str) -> Notice:
    message = f"the scales weren't compared with those of random data: {reason}"
    return Notice("random_data_not_tried", message)


def _observe(
    engine: Engine, taps: Sequence[str], draw: Draw
) -> tuple[Histograms, tuple[EqualBins, EqualBins]]:
    """Histograms, and equal bins of batches of 1, over the first sample alone and over all."""
    random = np.random.default_rng(0)
    collected = Accumulator(taps, 2)
    growing = [GrowingBins() for _ in taps]
    alone: EqualBins | None = None
    for sample in range(N_SAMPLES):
        feeds: dict[str, NDArray[Any]] = {
            tensor.name: draw(random, (1, *(size or 1 for size in tensor.shape))).astype(
                tensor.dtype
            )
            for tensor in engine.inputs
        }
        outputs = engine.run(feeds)
        for position, tap in enumerate(taps):
            values = outputs[tap]
            collected.add(position, values.reshape(1, -1), np.array([min(sample, 1)]))
            growing[position].add(values)
        alone = alone or _equal_bins(taps, growing, 1)
    assert alone is not None  # N_SAMPLES is positive
    histograms = collected.histograms.group(np.array([[True, False], [True, True]]))
    return histograms, (alone, _equal_bins(taps, growing, N_SAMPLES))


def _equal_bins(taps: Sequence[str], growing: Sequence[GrowingBins], n: int) -> EqualBins:
    return EqualBins(
        tuple(taps),
        np.stack([each.counts for each in growing]),
        np.array([each.width for each in growing]),
        np.array([each.start for each in growing]),
        n,
        Batching(1),
    )


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a cache."""

    cache: TrtCache
    findings: tuple[Finding, ...]
    """Header, lines, scales, names, data; empty when the cache is clean."""
    notices: tuple[Notice, ...]
    """What couldn't be checked, and what is odd but may be right."""
    n_taps: int | None
    """Tensors that TensorRT asks for scales of; None without a model."""


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
    network = import_network(model)
    told += network.notices
    others = [
        name
        for name in cache.scales
        if names.has(name) and name not in names.all and name not in network.names
    ]
    if others:
        told.append(_other_parser(others))
    wanted = [
        each.name
        for each in network.tensors
        if each.asked and (each.name in names.all or not (others or each.name in network.guessed))
    ]
    told += lint_names(cache.scales, wanted, names.has, names.all - names.constants)
    if try_random:
        usable = {name: s for name, s in scales.items() if SMALLEST_NORMAL <= s < math.inf}
        told.append(_random_data(prepared, plan, usable, cache))
    return len(network.tensors), told


def _other_parser(others: Sequence[str]) -> Notice:
    message = (
        f"{counted(len(others), 'name')} of tensors that TensorRT's parser adds are others than "
        f"8.5.3.1's, such as {others[0]}: another version made it, or of another export of the "
        "model"
    )
    return Notice("other_parser", message)


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
        message = f"the header's version, {header.number!r}, is not a valid TensorRT version"
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
    methods = ("minmax",) if minmax else _ENTROPY_METHODS
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
        step = "Check its calibration data; calibrate on real samples."
        return Finding("random_data", message, next_step=step)
    if found.alike:
        return Notice("random_data_possible", f"{message}; too few taps to be sure")
    return None
