"""Observe: one FP32 pass over samples, every tap counted on all cores as it comes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.errors import ModelError, Problem, RangesError
from calaudit.graph import Model, tapped
from calaudit.progress import counter
from calaudit.ranges import (
    Accumulator,
    BadActivationsError,
    LeftOut,
    Observation,
    ObservedSamples,
    Parts,
    split_into_parts,
)
from calaudit.ranges.accumulate import bad_samples, warm_up
from calaudit.ranges.compiled import n_cores
from calaudit.steps.calibset_union import CalibsetUnion
from calaudit.steps.memory import give_back

TAP_BYTES: Final = 32 << 20
"""Activations of one run: more samples than give these don't make a pass faster."""


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


def load_tapped(model: Model, taps: tuple[str, ...], backend: Backend) -> TappedEngine:
    """Load a model for `observe`.

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
    fingerprint = model.fingerprint
    with ThreadPoolExecutor(1) as beside, tapped(model, taps) as shown:
        # Loading leaves Python's lock to others; to get the counting ready takes about as long.
        ready = beside.submit(warm_up)
        engine = backend.load(shown)
        ready.result()
    return TappedEngine(engine, taps, model.label, fingerprint)


def observe(
    model: TappedEngine,
    union: CalibsetUnion,
    *,
    batch_size: int,
    pool_fingerprint: str,
    skip_bad: bool = False,
) -> Observation:
    """Observe tensors on every sample of a union of calibration sets.

    Parameters
    ----------
    model : TappedEngine
        From `load_tapped`.
    union : CalibsetUnion
        Samples and groups.
    batch_size : int
        Samples per run at most; fewer where their activations take more than 32 MiB, so that
        memory doesn't grow with it. The histograms don't depend on it.
    pool_fingerprint : str
        Recorded.
    skip_bad : bool
        Leave out samples with an activation that is NaN or infinite, and record them.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples. Or all samples are bad.
    ModelError
        A tap has no batch axis.
    """
    give_back()
    work = _Work(model, union, skip_bad)
    with (
        counter(len(union), what="ranges") as done,
        ThreadPoolExecutor(n_cores()) as threads,
    ):
        size = 1
        for read in union.read():
            start = 0
            while start < len(read.places):
                piece = slice(start, start + size)
                places = read.places[piece]
                feeds = {name: values[piece] for name, values in read.inputs.items()}
                try:
                    n_bytes = work.run(feeds, places, threads)
                except (BadActivationsError, ModelError) as error:
                    raise type(error).of(
                        Problem(
                            p.message,
                            f"{model.label}, calibration set {read.calibset}",
                            p.next_step,
                        )
                        for p in error.problems
                    ) from None
                start += len(places)
                done.advance(len(places))
                size = int(np.clip(TAP_BYTES // max(n_bytes // len(places), 1), 1, batch_size))
    return work.observation(pool_fingerprint)


class _Work:
    def __init__(self, model: TappedEngine, union: CalibsetUnion, skip_bad: bool) -> None:
        self.model, self.union = model, union
        self.taps = model.taps
        self.skip_bad = skip_bad
        self.parts: Parts = split_into_parts(union.weights)
        self.accumulator = Accumulator(self.taps, self.parts.weights.shape[1], narrow=True)
        self.maxima = np.zeros((len(self.taps), len(union)), np.float32)
        self.left_out: dict[int, str] = {}

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        places: NDArray[np.int64],
        threads: ThreadPoolExecutor,
    ) -> int:
        """Run and count one batch; gives the size of its activations in bytes."""
        outputs = self.model.engine.run(feeds)
        values = [_batched(tap, outputs[tap], len(places)) for tap in self.taps]
        parts = self.parts.of_sample[places].copy()
        if self.skip_bad:
            for tap, bad in zip(self.taps, threads.map(bad_samples, values), strict=True):
                parts[bad] = -1
                for place in places[bad]:
                    self.left_out.setdefault(int(place), tap)

        def add(tap: int) -> None:
            try:
                self.maxima[tap, places] = self.accumulator.add(tap, values[tap], parts)
            except BadActivationsError as error:
                raise self._named(error, self.union.ids[places]) from None

        self.accumulator.reserve(max((each.size for each in values), default=0))
        # Large taps first, so that no core is left with one at the end.
        order = sorted(range(len(values)), key=lambda tap: -values[tap].size)
        list(threads.map(add, order))
        return sum(each.nbytes for each in values)

    def observation(self, pool_fingerprint: str) -> Observation:
        kept = np.ones(len(self.union), bool)
        kept[list(self.left_out)] = False
        if not kept.any():
            raise RangesError(
                f"every sample has an activation that is NaN or infinite, the first in tap "
                f"{self.left_out[0]}",
                where=self.model.label,
                next_step="Check the model: it may overflow, or expect inputs scaled otherwise.",
            )
        held = self.parts.of_sample[kept].reshape(-1)
        n_samples = np.bincount(held[held >= 0], minlength=self.parts.weights.shape[1])
        return Observation(
            self.accumulator.histograms,
            self.union.groups,
            self.parts.weights,
            n_samples.astype(np.int64),
            self.model.model_fingerprint,
            pool_fingerprint,
            self.parts.disjoint,
            ObservedSamples(
                self.union.ids[kept], self.maxima[:, kept], self.union.weights[:, kept] != 0
            ),
            tuple(
                LeftOut(str(self.union.ids[place]), tap)
                for place, tap in sorted(self.left_out.items())
            ),
        )

    @staticmethod
    def _named(error: BadActivationsError, ids: NDArray[np.str_]) -> BadActivationsError:
        bad = ids[list(error.positions)]
        shown = ", ".join(bad[:8]) + (", …" if len(bad) > 8 else "")
        return BadActivationsError(
            f"tap {error.tap} is NaN or infinite in {len(bad)} samples: {shown}",
            next_step="Look at those samples, take them out of the set, or skip such samples "
            "(--skip-bad-samples).",
            tap=error.tap,
            positions=error.positions,
        )


def _batched(tap: str, values: NDArray[Any], n: int) -> NDArray[Any]:
    if values.ndim == 0 or len(values) != n:
        raise ModelError(
            f"tensor {tap} has shape {values.shape} for a batch of {n}: its range can't be told "
            "apart by sample",
            next_step="Export the model with the batch as the first axis of every activation.",
        )
    return values
