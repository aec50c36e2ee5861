"""A second pass over the samples, for histograms whose bins are known only after the first.

``entropy-trt`` needs TensorRT's bins, which every set's batches make for themselves. The first pass
leaves the largest |x| of each sample in each tap, so that all widths are known; the second counts
every sample in the bins of its batches, in whatever order samples run.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.equal_bins import EqualBins, Growth, count_equal, factors, grow
from calaudit.calibration.histogram import as_float32
from calaudit.steps.passes import Spread, run_through
from calaudit.steps.tapped import Run, SampleRunner, TappedEngine
from calaudit.steps.union import CalibsetUnion, Read


class Recount:
    """Equal bins of every tap over every calibration set of a union.

    Parameters
    ----------
    model : TappedEngine
    runner : SampleRunner
        As the first pass left it.
    union : CalibsetUnion
    kept : bool (n,)
        Samples that count; the others aren't in any batch.
    maxima : float32 (T, n)
        Largest |x| of each tap in each sample.
    batching : Batching
        Is fitted to each set.
    """

    def __init__(
        self,
        model: TappedEngine,
        runner: SampleRunner,
        union: CalibsetUnion,
        *,
        kept: NDArray[np.bool_],
        maxima: NDArray[np.float32],
        batching: Batching,
    ) -> None:
        self._taps, self._runner, self._union = model.taps, runner, union
        self._sets = [
            _Batches(union.positions(name), kept, batching, one_by_one=model.fixed_batch)
            for name in union.sets
        ]
        self._growth = [each.grown(maxima) for each in self._sets]
        self._first = np.stack([each.first for each in self._growth], axis=1)
        self._done = np.concatenate([each.doublings for each in self._growth], axis=1)
        self._all = np.stack([each.doublings[:, -1] for each in self._growth], axis=1)
        self._servings = _Servings(self._sets, len(union))
        self._counts = np.zeros((len(model.taps), len(self._sets), N_EQUAL), np.int64)
        self._locks = [threading.Lock() for _ in model.taps]

    def run(self, spread: Spread, *, batch_size: int) -> dict[str, EqualBins]:
        """Go through all samples, unless every tap is zero in all of them.

        Parameters
        ----------
        spread : Spread
            Has the taps of a run counted.
        batch_size : int
            Samples per run, as in the first pass: then they give the very same values.
        """
        if self._first.any():

            def look(run: Run, read: Read) -> None:
                self._count(run, read.places[run.samples], spread)

            what = "ranges, second pass"
            run_through(self._union, self._runner, look, batch_size=batch_size, what=what)
        return {
            name: EqualBins(
                self._taps,
                self._counts[:, number],
                grown.widths,
                grown.start,
                each.n_samples,
                each.batching,
            )
            for number, (name, each, grown) in enumerate(
                zip(self._union.sets, self._sets, self._growth, strict=True)
            )
        }

    def _count(self, run: Run, places: NDArray[np.int64], spread: Spread) -> None:
        rows, batches, sets = self._servings.of(places)

        def add(tap: int) -> None:
            values = as_float32(run.rows(tap))
            inverses, shifts = factors(
                self._first[tap, sets], self._done[tap, batches], self._all[tap, sets]
            )
            # sets whose largest values are of the same samples have one width
            order = np.lexsort((inverses, rows))
            with self._locks[tap]:
                count_equal(
                    values,
                    rows[order],
                    sets[order],
                    inverses[order],
                    shifts[order],
                    self._counts[tap],
                )
            run.let_go(tap)

        spread(add, [tap for tap in run.by_size if self._first[tap].any()])


class _Batches:
    """The batches of one set, of the places that its samples have in the union."""

    def __init__(
        self,
        places: NDArray[np.int64],
        kept: NDArray[np.bool_],
        batching: Batching,
        *,
        one_by_one: bool,
    ) -> None:
        held = places[kept[places]]
        self.n_samples = len(held)
        self.batching = batching.fitted(self.n_samples, one_by_one=one_by_one)
        self.places = [held[batch] for batch in self.batching.cut(self.n_samples)]

    def grown(self, maxima: NDArray[np.float32]) -> Growth:
        """How the bins grow, from the largest |x| of each tap in each sample (T, n)."""
        found = [maxima[:, batch].max(axis=1) for batch in self.places]
        # Of a set whose samples were all left out nothing grows.
        return grow(np.stack(found or [np.zeros(len(maxima), np.float32)], axis=1))


class _Servings:
    """In which batches, all sets' batches numbered on, each sample of a union is served."""

    def __init__(self, sets: list[_Batches], n: int) -> None:
        none = [np.zeros(0, np.int64)]
        batches = [batch for each in sets for batch in each.places or none]
        owners = [number for number, each in enumerate(sets) for _ in each.places or none]
        sizes = [len(batch) for batch in batches]
        places = np.concatenate(batches)
        order = np.argsort(places, kind="stable")
        self._batches = np.repeat(np.arange(len(batches)), sizes)[order]
        self._sets = np.repeat(owners, sizes)[order]
        self._ends = np.searchsorted(places[order], np.arange(n + 1))

    def of(
        self, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of samples at `places` in the union (b,): position among them, batch and set (k,)."""
        starts, sizes = self._ends[places], self._ends[places + 1] - self._ends[places]
        rows = np.repeat(np.arange(len(places)), sizes)
        entries = np.concatenate(
            [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        )
        return rows, self._batches[entries], self._sets[entries]
