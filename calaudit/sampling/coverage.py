"""Coverage of an embedding: k-center greedy (spread) and herding (mean matching).

Both algorithms work on whole numbers. The embedding is put on a 16-bit grid first, so that every
distance is an exact integer in float64: neither BLAS nor the order of a sum can decide which of two
samples is farther, and the same samples are chosen on every machine. Memory is O(n·d), time
O(n·k·d).
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem
from calaudit.runtime.settings import setting
from calaudit.sampling.keys import Keys, smallest
from calaudit.sampling.recipe import (
    Candidates,
    Choice,
    Embedding,
    Needs,
    Recipe,
    StratumDraw,
    check_finite,
)
from calaudit.slices.dimension import EVERYTHING

GRID = 2**16 - 1
"""Steps of the grid over the widest dimension."""
MAX_DIMENSIONS = 2**17
"""Beyond this many dimensions a squared distance may leave the 53 bits of float64."""
_CHUNK_VALUES = 2**22


@setting
class Coverage(Recipe):
    """Spread over an embedding. It has no inclusion probabilities: weights are 1."""

    kind = "coverage"

    embedding: Embedding | None = None
    """Where."""
    algorithm: Literal["k-center", "herding"] | None = None
    """Default k-center."""
    start: Literal["random", "mean"] | None = None
    """The first sample is drawn by the seed (default) or is the one nearest the mean."""

    def problems(self) -> Iterator[Problem]:
        """No embedding."""
        if self.embedding is None:
            yield Problem(
                "coverage needs an embedding", None, "Add embedding = {pca = 16}, for example."
            )

    @property
    def needs(self) -> Needs:
        """The embedding."""
        return Needs(embedding=self.embedding)

    def choose(self, candidates: Candidates, keys: Keys) -> Choice:
        """From the first sample on, what the algorithm takes."""
        embedding = candidates.embedding
        if embedding is None:
            raise ValueError("a coverage draw needs the candidates' embedding")
        check_finite(embedding, "the embedding")
        start = nearest_to_mean(embedding) if self.start == "mean" else int(smallest(keys, 1)[0])
        algorithm = herding if self.algorithm == "herding" else k_center
        chosen = algorithm(embedding, self.size, start=start)
        distinct = n_distinct(embedding, chosen)
        notices: tuple[Notice, ...] = ()
        if distinct < self.size:
            message = f"only {distinct} of the {self.size} samples differ in the embedding"
            notices = (Notice("coverage_repeats", message, self.name),)
        table = StratumDraw(EVERYTHING, len(candidates.rows), self.size, self.size)
        return Choice(chosen, np.ones(self.size), (table,), notices)

    def settled(self, candidates: Candidates) -> bool:
        """Whether the first sample doesn't depend on the seed."""
        return self.start == "mean"

    def details(self) -> str:
        """``"k-center over 16 principal components"``."""
        space = "" if self.embedding is None else self.embedding.title
        return f"{self.algorithm or 'k-center'} over {space}"


def k_center(embedding: NDArray[np.floating], k: int, *, start: int) -> NDArray[np.int64]:
    """Choose `k` samples, each the farthest from those chosen before (Gonzalez 1985).

    The largest distance from any sample to the nearest chosen one is at most twice the best
    possible.

    Parameters
    ----------
    embedding : float (n, d)
        Euclidean; finite.
    k : int
        At most n.
    start : int
        Position of the first sample.

    Returns
    -------
    int64 (k,)
        Positions in the order of choice; of equally far samples the earlier one. Once every
        remaining sample equals a chosen one, the earliest are taken.
    """
    grid = _on_grid(embedding)
    lengths = _squared_lengths(grid)
    nearest = np.full(len(grid), np.inf)
    chosen = np.empty(k, np.int64)
    for step in range(k):
        pick = start if step == 0 else int(np.argmax(nearest))
        chosen[step] = pick
        center = grid[pick].astype(np.float64)
        for part, rows in _chunks(grid):
            distance = lengths[part] + lengths[pick] - 2.0 * (rows @ center)
            np.minimum(nearest[part], distance, out=nearest[part])
        # Below every distance, and a minimum keeps it there: never chosen again.
        nearest[pick] = -1.0
    return chosen


def herding(embedding: NDArray[np.floating], k: int, *, start: int) -> NDArray[np.int64]:
    """Choose `k` samples whose mean follows the mean of all (Welling 2009, in the input space).

    Each step takes the sample that brings the mean of the chosen nearest to the mean of all.

    Parameters
    ----------
    embedding : float (n, d)
        Finite.
    k : int
        At most n.
    start : int
        Position of the first sample.

    Returns
    -------
    int64 (k,)
        Positions in the order of choice; of equally good samples the earlier one.
    """
    grid = _on_grid(embedding)
    lengths = _squared_lengths(grid)
    total = np.zeros(grid.shape[1], np.int64)
    for _, rows in _chunks(grid):
        total += rows.sum(axis=0).astype(np.int64)
    n = len(grid)
    taken = np.zeros(n, bool)
    chosen_sum = np.zeros_like(total)
    chosen = np.empty(k, np.int64)
    for step in range(k):
        # ‖mean − (S + x)/t‖² is smallest where ‖x − (t·mean − S)‖² is; rounding that target to the
        # grid costs half a step once and keeps the arithmetic exact.
        target = ((step + 1) * total - n * chosen_sum + n // 2) // n
        pick = start if step == 0 else _nearest(grid, lengths, target, taken)
        chosen[step] = pick
        taken[pick] = True
        chosen_sum += grid[pick].astype(np.int64)
    return chosen


def nearest_to_mean(embedding: NDArray[np.floating]) -> int:
    """Position of the sample nearest to the mean of all; the earliest of equals.

    Parameters
    ----------
    embedding : float (n, d)
    """
    grid = _on_grid(embedding)
    mean = np.rint(grid.mean(axis=0, dtype=np.float64)).astype(np.int64)
    return _nearest(grid, _squared_lengths(grid), mean, np.zeros(len(grid), bool))


def n_distinct(embedding: NDArray[np.floating], chosen: NDArray[np.int64]) -> int:
    """How many different points the chosen samples are."""
    return len(np.unique(_on_grid(embedding)[chosen], axis=0))


def _nearest(
    grid: NDArray[np.float32],
    lengths: NDArray[np.float64],
    target: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> int:
    """The sample nearest to `target` (d,) that isn't taken."""
    scores = lengths.copy()
    aim = target.astype(np.float64)
    for part, rows in _chunks(grid):
        scores[part] -= 2.0 * (rows @ aim)
    scores[taken] = np.inf
    return int(np.argmin(scores))


def _on_grid(embedding: NDArray[np.floating]) -> NDArray[np.float32]:
    """The embedding as whole numbers 0…65535 on one scale for all dimensions, (n, d)."""
    if embedding.shape[1] > MAX_DIMENSIONS:
        raise DrawError(
            f"an embedding of {embedding.shape[1]} dimensions is too wide",
            next_step=f"Use pca = 64, or a tap or column of at most {MAX_DIMENSIONS} values.",
        )
    low = embedding.min(axis=0).astype(np.float64)
    span = float(np.max(embedding.max(axis=0).astype(np.float64) - low, initial=0.0))
    grid = np.zeros(embedding.shape, np.float32)
    if span > 0:
        for part, rows in _chunks(embedding):
            grid[part] = np.rint((rows - low) / span * GRID)
    return grid


def _squared_lengths(grid: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate([np.einsum("nd,nd->n", rows, rows) for _, rows in _chunks(grid)])


def _chunks(array: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Pieces of rows in float64: a small working set, whatever n is."""
    step = max(1, _CHUNK_VALUES // max(1, array.shape[1]))
    for begin in range(0, len(array), step):
        part = slice(begin, begin + step)
        yield part, array[part].astype(np.float64)
