"""Was a model calibrated on random numbers? Run it on some, and see whether the scales agree.

Tools that are given no calibration data draw random numbers instead, and say so in a warning at
best. Activations of a trained network on noise are much alike from draw to draw, and unlike those
on real samples, so scales that agree with them in most taps were hardly made of anything else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.lint import agreement
from calaudit.calibration.scales import estimate_scales
from calaudit.graph.model import Model
from calaudit.graph.plan import QdqPlan
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import Notice, RangesError

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
            histograms = _observe(engine, taps, draw)
        except RangesError:
            continue
        for group in range(histograms.n_groups):
            for method in methods:
                table = estimate_scales(histograms, group, method, calibset=kind)
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


def _observe(engine: Engine, taps: Sequence[str], draw: Draw) -> Histograms:
    """Histograms over two groups: the first sample alone, and all of them."""
    random = np.random.default_rng(0)
    collected = Accumulator(taps, 2)
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
    return collected.histograms.group(np.array([[True, False], [True, True]]))
