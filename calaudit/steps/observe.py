"""Observe: one FP32 pass over samples, every tap counted on all cores as it comes.

The samples are the union of several calibration sets: every distinct one once.
"""

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend
from calaudit.calibration.accumulate import Accumulator, BadActivationsError, bad_samples, warm_up
from calaudit.calibration.compiled import n_cores
from calaudit.calibration.groups import Parts, split_into_parts
from calaudit.calibration.observation import LeftOut, Observation, ObservedSamples, OneByOne
from calaudit.formats.calibset import Calibset
from calaudit.graph.model import Model
from calaudit.runtime.errors import Problem, RangesError
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted
from calaudit.slices.dimension import EVERYTHING
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.tapped import Run, SampleRunner, TappedEngine, load_tapped

SampleKey = tuple[str, int]
"""Content digest, and which of its occurrences within one set."""
_READ_BYTES: Final = 4 << 20
"""Inputs read from a set at a time."""
_READ_AT_MOST: Final = 256

TAP_BYTES: Final = 32 << 20
"""Activations of one run: more samples than give these don't make a pass faster."""


def release_memory() -> None:
    """Return what the C library keeps of freed memory, where it can be told to (glibc).

    After a model was loaded that is the size of its weights and more: it would stand beside all
    that is needed next.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Read(NamedTuple):
    """Samples that were read: from which set, their places in the union, and their inputs."""

    calibset: str
    places: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]]


class CalibsetUnion:
    """Every distinct sample of some calibration sets.

    A sample that several sets hold is here once; one that a set holds twice is here twice.

    Parameters
    ----------
    sets : mapping
        By name, at least one.
    weighted : bool
        Count a set's samples by its weights (how many candidates each stands for) instead of once.
    slices : mapping
        Set → slices over its samples; each becomes a group over the whole union.
    """

    def __init__(
        self,
        sets: Mapping[str, Calibset],
        *,
        weighted: bool = False,
        slices: Mapping[str, SliceSet] | None = None,
    ) -> None:
        self._sets = sets
        self._places: dict[str, NDArray[np.int64]] = {}
        place: dict[SampleKey, int] = {}
        ids: list[str] = []
        for name, drawn in sets.items():
            keys = _keys(drawn)
            for key, label in zip(keys, drawn.ids, strict=True):
                if place.setdefault(key, len(ids)) == len(ids):
                    ids.append(str(label))
            self._places[name] = np.array([place[key] for key in keys], np.int64)
        self.ids: NDArray[np.str_] = np.array(ids, np.str_)
        """(n,)."""
        found: dict[str, NDArray[np.float64]] = {}
        for name, drawn in sets.items():
            found[name] = self._spread(name, drawn.weights if weighted else np.ones(len(drawn)))
        for name, each in (slices or {}).items():
            for label, mask in each.masks():
                if label not in sets:
                    held = self._spread(name, mask.astype(np.float64))
                    found[label] = np.maximum(found.get(label, held), held)
        if len(found) > 1:
            found.setdefault(EVERYTHING, np.ones(len(ids)))
        held_by_some = {name: row for name, row in found.items() if name in sets or row.any()}
        self.groups = tuple(held_by_some)
        """Sets, then slices that hold samples, then all."""
        self.weights: NDArray[np.float64] = np.stack(list(held_by_some.values()))
        """(n_groups, n) how often each group counts each sample."""

    def __len__(self) -> int:
        return len(self.ids)

    def read(self) -> Iterator[Read]:
        """Every sample once, in pieces of a few megabytes. Raises as `Calibset.read_inputs`."""
        done = np.zeros(len(self), bool)
        for name, drawn in self._sets.items():
            places = self._places[name]
            size = _read_size(drawn)
            for start in range(0, len(drawn), size):
                here = places[start : start + size]
                fresh = np.flatnonzero(~done[here])
                if len(fresh):
                    values = drawn.read_inputs(start, start + len(here))
                    done[here] = True
                    yield Read(name, here[fresh], {key: v[fresh] for key, v in values.items()})

    def _spread(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        row = np.zeros(len(self.ids))
        row[self._places[name]] = values
        return row


def _keys(drawn: Calibset) -> list[SampleKey]:
    seen: Counter[str] = Counter()
    keys = []
    for digest in map(str, drawn.digests):
        keys.append((digest, seen[digest]))
        seen[digest] += 1
    return keys


def _read_size(drawn: Calibset) -> int:
    one = sum(spec.dtype.itemsize * int(np.prod(spec.shape)) for spec in drawn.inputs.values())
    return int(np.clip(_READ_BYTES // max(one, 1), 1, _READ_AT_MOST))


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
        From `load_to_observe`.
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
    """
    release_memory()
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
                except BadActivationsError as error:
                    raise BadActivationsError.of(
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
        self.runner = SampleRunner(model)
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
        return sum(self._count(run, places[run.samples], threads) for run in self.runner.run(feeds))

    def _count(self, run: Run, places: NDArray[np.int64], threads: ThreadPoolExecutor) -> int:
        parts = self.parts.of_sample[places].copy()
        every = range(len(self.taps))
        if self.skip_bad:
            for tap, bad in enumerate(threads.map(lambda tap: bad_samples(run.rows(tap)), every)):
                parts[bad] = -1
                for place in places[bad]:
                    self.left_out.setdefault(int(place), self.taps[tap])

        def add(tap: int) -> None:
            try:
                self.maxima[tap, places] = self.accumulator.add(tap, run.rows(tap), parts)
            except BadActivationsError as error:
                raise self._named(error, self.union.ids[places]) from None

        self.accumulator.reserve(max((each.size for each in run.values), default=0))
        # Large taps first, so that no core is left with one at the end.
        order = sorted(every, key=lambda tap: -run.values[tap].size)
        list(threads.map(add, order))
        return sum(each.nbytes for each in run.values)

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
            tuple(OneByOne(tap, why.reason, why.mixed) for tap, why in self.runner.unclear.items()),
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
