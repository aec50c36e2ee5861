"""An FP32 model that shows its taps: run in batches, and whose sample each value is of.

A tap need not have the batch as its first axis: attention is often computed on (time, batch,
features), on (batch · heads, …) or on (batch · windows, …). In row-major order all of these are
(blocks, batch, rest), with one block where the batch comes first. So a layout is one number, and it
is found by looking: of all numbers that the shapes allow, the one under which a sample's values in
a batch are those that it has alone.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.backends.shared import Sharing
from calaudit.graph.model import Model
from calaudit.graph.taps import shaped_by_values, tapped

N_COMPARED: Final = 1 << 16
"""Values of a sample that are compared at most."""
TOLERANCE: Final = 1e-3
"""Values that differ by no more than this share of the largest are equal up to rounding: kernels
sum in another order in a batch of another size."""

Arrays = Mapping[str, NDArray[Any]]
TAP_BYTES: Final = 32 << 20
"""Activations of one run: more samples than give these don't make a pass faster."""
_TRIALS: Final = 3
"""Pairs of samples that are looked at before a tap is given up."""
_BY_VALUES: Final = "how many values it has depends on what the samples hold"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each sample's values lie in a tap."""

    shape: tuple[int, ...]
    """The tap's shape for one sample."""
    axis: int
    """The axis that grows with the batch, alone or multiplied by others."""
    blocks: int
    """Blocks of values, each of which holds a part of every sample in turn."""

    def fits(self, values: NDArray[Any], n: int) -> bool:
        """Whether `values` have the shape that `n` samples have in this layout."""
        return values.shape == _grown(self.shape, self.axis, n)

    def rows(self, values: NDArray[Any], n: int) -> NDArray[Any]:
        """The values of each of `n` samples (n, m); a view where the batch comes first."""
        size = math.prod(self.shape)
        split = values.reshape(self.blocks, n, size // self.blocks)
        return split.swapaxes(0, 1).reshape(n, size)


@dataclass(frozen=True, slots=True)
class Unclear:
    """Why a tap's values can't be told apart by sample."""

    reason: str
    for_good: bool
    """Other samples wouldn't tell more."""
    mixed: bool = False
    """A sample's values depend on the rest of its batch."""


@dataclass(frozen=True, slots=True)
class Alone:
    """What is remembered of a tap that one sample was run through by itself."""

    shape: tuple[int, ...]
    step: int
    """Of how many values in the flattened tap one is kept."""
    values: NDArray[Any]
    """Those values (k,)."""

    @property
    def places(self) -> NDArray[np.int64]:
        """Positions of the values in the flattened tap (k,)."""
        return np.arange(len(self.values)) * self.step


def remember(values: NDArray[Any]) -> Alone:
    """Keep what `find_layout` needs of a tap's `values` for one sample: a small part of them."""
    step = -(-values.size // N_COMPARED) | 1  # odd: no power of two that axes have
    return Alone(values.shape, step, values.reshape(-1)[::step].copy())


def find_layout(alone: Alone, pair: NDArray[Any]) -> Layout | Unclear:
    """Where samples lie, from one sample alone and from it and another in a batch of two.

    Parameters
    ----------
    alone : Alone
        Of the sample that comes first in `pair`.
    pair : array
        The tap for both samples.
    """
    size = math.prod(alone.shape)
    axis = _axis_that_doubles(alone.shape, pair.shape)
    if axis is None or size == 0:
        return Unclear(f"its shape is {alone.shape} for one sample, {pair.shape} for two", True)
    before, length = math.prod(alone.shape[:axis]), alone.shape[axis]
    alone_at, found = alone.places, []
    for part in (part for part in range(1, length + 1) if length % part == 0):
        rest = size // (before * part)
        places = alone_at + alone_at // rest * rest  # past the other sample's blocks
        if _equal(alone.values, pair.reshape(-1)[places]):
            found.append(before * part)
    if len(found) == 1:
        return Layout(alone.shape, axis, found[0])
    if found:
        return Unclear(f"samples may lie in its {pair.shape} in {len(found)} ways", False)
    return Unclear("a sample's values change with the others of its batch", True, mixed=True)


def _axis_that_doubles(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """The one axis that is twice as long in `two`, where all others are as long."""
    return next((axis for axis in range(len(one)) if two == _grown(one, axis, 2) != one), None)


def _grown(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] * n, *shape[axis + 1 :])


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether they are the same up to rounding; NaN and infinities in the same places."""
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    a, b = one[finite].astype(np.float64), other[finite].astype(np.float64)
    return bool((np.abs(a - b) <= TOLERANCE * np.abs(a).max(initial=0)).all())


@dataclass(frozen=True, slots=True)
class TappedEngine:
    """An FP32 model that runs and shows its taps.

    It doesn't hold the graph: let that go, and a pass has the weights in memory once.
    """

    engine: Engine
    taps: tuple[str, ...]
    """The tensors to observe."""
    label: str
    """What messages call the model."""
    model_fingerprint: str
    fixed_batch: bool = False
    """It takes one sample at a time."""
    shaped_by_values: frozenset[str] = frozenset()
    """Taps whose shape depends on more than the inputs' shapes."""
    at_a_time: int = 1
    """Runs that are best under way at a time, in a thread each."""


def load_tapped(model: Model, taps: tuple[str, ...], backend: Backend) -> TappedEngine:
    """Load a model to look at its taps.

    Parameters
    ----------
    model : Model
        The prepared FP32 model.
    taps : tuple of str
        Its tensors to observe.
    backend : Backend
        Runs it.

    Raises
    ------
    ModelError
        The model doesn't have one of the taps.
    BackendError
        The backend can't load it.
    """
    at_a_time = 1
    with tapped(model, taps) as shown:
        if isinstance(backend, Sharing):
            engine, at_a_time = backend.load_shared(shown)
        else:
            engine = backend.load(shown)
    return TappedEngine(
        engine,
        taps,
        model.label,
        model.fingerprint,
        model.fixed_batch,
        shaped_by_values(model, taps),
        at_a_time,
    )


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed."""

    samples: slice
    """Which of the samples that were asked for."""
    values: list[NDArray[Any]]
    """Of each tap, (samples, …) or in any layout that `layouts` tells."""
    layouts: list[Layout] | None
    """Of each tap; None where one sample was run alone, to which all values belong."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.samples.stop - self.samples.start)

    @property
    def n_bytes(self) -> int:
        """Of all taps."""
        return sum(each.nbytes for each in self.values)

    @property
    def by_size(self) -> list[int]:
        """Positions of the taps, large ones first, so that no core is left with one at the end."""
        return sorted(range(len(self.values)), key=lambda tap: -self.values[tap].size)

    def let_go(self, tap: int) -> None:
        """Free the values of a tap that nobody will look at again."""
        self.values[tap] = np.empty(0, self.values[tap].dtype)

    def rows(self, tap: int) -> NDArray[Any]:
        """The values of each sample (n, m) in the tap at a position."""
        if self.layouts is None:
            return self.values[tap].reshape(1, -1)
        return self.layouts[tap].rows(self.values[tap], self.n)


@dataclass(frozen=True, slots=True)
class Planned:
    """Samples to run, and how."""

    feeds: Arrays
    layouts: list[Layout] | None
    """Of each tap, for a run of them all; None where they are run one by one."""
    remembered: bool = False
    """Whether what it shows is kept, to find layouts by: the first where several are under way."""
    misfits: list[str] = field(default_factory=list)
    """Taps that turned out not to lie as was thought: then they were run one by one after all."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(next(iter(self.feeds.values())))


class SampleRunner:
    """Runs samples, in batches where it is known which values belong to which sample.

    What is known is learnt from the first samples of each shape of inputs: one is run alone, then
    with another. Where that doesn't tell, samples are run one by one, and `unclear` says so.
    """

    def __init__(self, model: TappedEngine) -> None:
        self._model = model
        self._known: dict[tuple[tuple[int, ...], ...], list[Layout | Unclear]] = {}
        self._alone: tuple[Arrays, list[Alone]] | None = None
        self._asked: tuple[tuple[int, ...], ...] | None = None
        self._trials = 0
        self.unclear: dict[str, Unclear] = {}
        """Taps because of which samples were run one by one, and why."""

    @property
    def at_a_time(self) -> int:
        """How many threads best go through `show` at a time; one at a time calls the others."""
        return self._model.at_a_time

    def run(self, feeds: Arrays) -> Iterator[Run]:
        """Run samples in as few runs as can be; raises as `Engine.run` does.

        Parameters
        ----------
        feeds : mapping
            Input name → array (batch, …), of any one shape per call.
        """
        planned = self.plan(feeds)
        yield from self.show(planned)
        self.learn(planned)

    def plan(self, feeds: Arrays) -> Planned:
        """Decide how samples are run, from what is known; runs a few where that isn't enough."""
        one, shapes = len(next(iter(feeds.values()))) == 1, _shapes(feeds)
        remembered = one and self._is_new(shapes) and shapes != self._asked
        if remembered:
            self._asked = shapes
        alone = one or self._model.fixed_batch
        return Planned(feeds, None if alone else self._layouts(feeds), remembered)

    def show(self, planned: Planned) -> Iterator[Run]:
        """Run samples as planned; raises as `Engine.run` does."""
        feeds, layouts, n = planned.feeds, planned.layouts, planned.n
        if layouts is not None:
            values = self._values(feeds)
            fits = zip(self._model.taps, layouts, values, strict=True)
            planned.misfits.extend(tap for tap, each, found in fits if not each.fits(found, n))
            if not planned.misfits:
                yield Run(slice(0, n), values, layouts)
                return
            del values
        for place in range(n):
            one = {name: values[place : place + 1] for name, values in feeds.items()}
            run = Run(slice(place, place + 1), self._values(one), None)
            # Of a sample that is too large for a batch nothing needs to be known.
            if planned.remembered and 2 * run.n_bytes <= TAP_BYTES:
                self._remember(one, run.values)
            yield run

    def learn(self, planned: Planned) -> None:
        """Remember what a run taught; in the order in which they were planned."""
        for tap in planned.misfits:
            why = Unclear(_BY_VALUES, for_good=True)
            self._known[_shapes(planned.feeds)][self._model.taps.index(tap)] = why
            self.unclear.setdefault(tap, why)

    def _values(self, feeds: Arrays) -> list[NDArray[Any]]:
        outputs = self._model.engine.run(feeds)
        return [outputs[tap] for tap in self._model.taps]

    def _remember(self, feeds: Arrays, values: list[NDArray[Any]]) -> None:
        """Keep what tells where samples lie in a batch, of one sample that was run alone."""
        if not self._model.fixed_batch and self._is_new(_shapes(feeds)):
            self._alone = _kept_alone(feeds, values)

    def _is_new(self, shapes: tuple[tuple[int, ...], ...]) -> bool:
        kept = self._alone
        return shapes not in self._known and (kept is None or _shapes(kept[0]) != shapes)

    def _layouts(self, feeds: Arrays) -> list[Layout] | None:
        """Of every tap, for samples of these shapes; None where some aren't known."""
        shapes = _shapes(feeds)
        found = self._known.get(shapes)
        if found is None:
            found = self._tried(feeds)
            self._trials += 1
            again = any(isinstance(each, Unclear) and not each.for_good for each in found)
            if again and self._trials < _TRIALS:
                return None
            self._known[shapes], self._trials, self._alone = found, 0, None
        layouts = [each for each in found if isinstance(each, Layout)]
        if len(layouts) == len(found):
            return layouts
        for tap, each in zip(self._model.taps, found, strict=True):
            if isinstance(each, Unclear):
                self.unclear.setdefault(tap, each)
        return None

    def _tried(self, feeds: Arrays) -> list[Layout | Unclear]:
        kept = self._alone  # which a run that is under way may replace
        if kept is None or _shapes(kept[0]) != _shapes(feeds):
            one = {name: values[:1] for name, values in feeds.items()}
            kept = _kept_alone(one, self._values(one))
        first, alone = kept
        pair = self._values(
            {name: np.concatenate([first[name], values[-1:]]) for name, values in feeds.items()}
        )
        self._alone = None
        return [
            Unclear(_BY_VALUES, for_good=True)
            if tap in self._model.shaped_by_values
            else find_layout(one, both)
            for tap, one, both in zip(self._model.taps, alone, pair, strict=True)
        ]


def _shapes(feeds: Arrays) -> tuple[tuple[int, ...], ...]:
    """Of one sample, input by input."""
    return tuple(values.shape[1:] for _, values in sorted(feeds.items()))


def _kept_alone(feeds: Arrays, values: list[NDArray[Any]]) -> tuple[Arrays, list[Alone]]:
    return {name: each.copy() for name, each in feeds.items()}, [remember(each) for each in values]
