"""Observe: one FP32 pass over samples, every tap counted on all cores as it comes."""

import ctypes
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend
from calaudit.calibration.accumulate import Accumulator, BadActivationsError, bad_samples, warm_up
from calaudit.calibration.batching import Batching
from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.groups import Parts, split_into_parts
from calaudit.calibration.observation import LeftOut, Observation, ObservedSamples, OneByOne
from calaudit.graph.model import Model
from calaudit.runtime.errors import Problem, RangesError
from calaudit.runtime.words import counted
from calaudit.steps.passes import Spread, run_through, spreading
from calaudit.steps.recount import Recount
from calaudit.steps.tapped import Run, SampleRunner, TappedEngine, load_tapped
from calaudit.steps.union import CalibsetUnion, Read, Samples


def release_memory() -> None:
    """Return what the C library keeps of freed memory, where it can be told to (glibc).

    After a model was loaded that is the size of its weights and more: it would stand beside all
    that is needed next.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def load_to_observe(model: Model, taps: tuple[str, ...], backend: Backend) -> TappedEngine:
    """As `load_tapped`, while the counting gets ready: each takes a part of a second or more."""
    with ThreadPoolExecutor(1) as beside:
        # Loading leaves Python's lock to others.
        ready = beside.submit(warm_up)
        engine = load_tapped(model, taps, backend)
        ready.result()
    return engine


def observe(
    model: TappedEngine,
    union: Samples,
    *,
    batch_size: int,
    pool_fingerprint: str,
    batching: Batching | None = None,
    skip_bad: bool = False,
) -> Observation:
    """Observe tensors on every one of some samples.

    Parameters
    ----------
    model : TappedEngine
        From `load_to_observe`.
    union : Samples
        Of a union of calibration sets, or of a pool.
    batch_size : int
        Samples per run at most, as `run_through` has it. The histograms don't depend on it.
    pool_fingerprint : str
        Recorded.
    batching : Batching, optional
        Run all samples of calibration sets a second time, and count each set's equal bins for
        ``entropy-trt`` as TensorRT would in these batches.
    skip_bad : bool
        Leave out samples with an activation that is NaN or infinite, and record them.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples. Or all samples are bad.
    """
    release_memory()
    equal: Mapping[str, EqualBins] = {}
    with spreading(model.at_a_time) as spread:
        work = _Work(model, union, spread, skip_bad)
        run_through(union, work.runner, work.look, batch_size=batch_size, what="ranges")
        work.check()
        if batching is not None:
            if not isinstance(union, CalibsetUnion):
                raise TypeError("only calibration sets are served in batches")
            recount = Recount(
                model, work.runner, union, kept=work.kept, maxima=work.maxima, batching=batching
            )
            equal = recount.run(spread, batch_size=batch_size)
    return work.observation(pool_fingerprint, equal)


class _Work:
    def __init__(self, model: TappedEngine, union: Samples, spread: Spread, skip_bad: bool) -> None:
        self.model, self.union, self.spread = model, union, spread
        self.taps = model.taps
        self.runner = SampleRunner(model)
        self.skip_bad = skip_bad
        self.parts: Parts = split_into_parts(union.weights)
        self.accumulator = Accumulator(self.taps, self.parts.weights.shape[1], narrow=True)
        self.maxima = np.zeros((len(self.taps), len(union)), np.float32)
        self.left_out: dict[int, str] = {}

    def look(self, run: Run, read: Read) -> None:
        """Count the taps of one run."""
        try:
            self._count(run, read.places[run.samples])
        except BadActivationsError as error:
            where = f"{self.model.label}, {read.source}"
            raise BadActivationsError.of(
                Problem(p.message, where, p.next_step) for p in error.problems
            ) from None

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which samples weren't left out (n,)."""
        kept = np.ones(len(self.union), bool)
        kept[list(self.left_out)] = False
        return kept

    def _count(self, run: Run, places: NDArray[np.int64]) -> None:
        parts = self.parts.of_sample[places].copy()
        if self.skip_bad:
            bad = np.zeros((len(self.taps), len(places)), bool)

            def look(tap: int) -> None:
                bad[tap] = bad_samples(run.rows(tap))

            self.spread(look, run.by_size)
            parts[bad.any(axis=0)] = -1
            for place, taps in zip(places.tolist(), bad.T, strict=True):
                if taps.any():
                    self.left_out[place] = self.taps[int(taps.argmax())]

        def add(tap: int) -> None:
            try:
                self.maxima[tap, places] = self.accumulator.add(tap, run.rows(tap), parts)
            except BadActivationsError as error:
                raise self._named(error, self.union.ids[places]) from None
            run.let_go(tap)

        self.accumulator.reserve(max((each.size for each in run.values), default=0))
        self.spread(add, run.by_size)

    def check(self) -> None:
        """Raise `RangesError` where nothing could be observed."""
        if not self.kept.any():
            raise RangesError(
                f"every sample has an activation that is NaN or infinite, the first in tap "
                f"{self.left_out[0]}",
                where=self.model.label,
                next_step="Check the model: it may overflow, or expect inputs scaled otherwise.",
            )

    def observation(
        self, pool_fingerprint: str, equal_bins: Mapping[str, EqualBins]
    ) -> Observation:
        """What was seen; `equal_bins` in a second pass."""
        kept = self.kept
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
            tuple(OneByOne(tap, why.reason, why.mixed) for tap, why in self.runner.unclear.items()),
            equal_bins,
        )

    @staticmethod
    def _named(error: BadActivationsError, ids: NDArray[np.str_]) -> BadActivationsError:
        bad = ids[list(error.positions)]
        shown = ", ".join(bad[:8]) + (", …" if len(bad) > 8 else "")
        return BadActivationsError(
            f"tap {error.tap} is NaN or infinite in {counted(len(bad), 'sample')}: {shown}",
            next_step="Fix those samples, or remove them from the set: by its recipe's "
            "candidates, or with calaudit calibrate --skip-bad-samples.",
            tap=error.tap,
            positions=error.positions,
        )
