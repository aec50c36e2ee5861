"""The design of a draw: the strata that a recipe makes of the candidates, and what each gives."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, Notice, Problem
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted
from calaudit.sampling.allocation import Allocation
from calaudit.sampling.keys import Keys, smallest_per_stratum
from calaudit.sampling.recipe import Candidates, Choice, Recipe, StratumDraw
from calaudit.slices.dimension import CROSS, Dimension
from calaudit.slices.sliceset import CodedDimension, SliceSet


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Disjoint sets of the candidates."""

    labels: tuple[str, ...]
    codes: NDArray[np.int32]
    """(n,) stratum of each candidate; -1 for a candidate that isn't drawn from."""
    margins: tuple[NDArray[np.int64], ...] = ()
    """For strata that are crosses: each stratum's slice (H,) in every dimension."""
    notices: tuple[Notice, ...] = ()

    def counts(self) -> list[int]:
        """Samples N_h per stratum (H,)."""
        found = np.bincount(self.codes + 1, minlength=len(self.labels) + 1)[1:]
        return [int(n) for n in found]


@dataclass(frozen=True, slots=True)
class Design:
    """Strata, and how many samples each gives."""

    strata: Strata
    allocation: Allocation
    notices: tuple[Notice, ...] = ()


@setting
class DesignedRecipe(Recipe):
    """A recipe that draws at random within strata: of each those with the smallest keys.

    Weights are N_h/n_h, scaled to mean 1.
    """

    @abstractmethod
    def design(self, candidates: Candidates) -> Design:
        """Strata, and how many samples each gives.

        Raises
        ------
        DrawError
            Too few candidates, empty strata or named slices, contradicting bounds.
        SliceError
            A slice is named that the candidates' strata don't have.
        """

    def choose(self, candidates: Candidates, keys: Keys) -> Choice:
        """The samples with the smallest keys of each stratum."""
        design = self.design(candidates)
        strata, allocation = design.strata, design.allocation
        positions = smallest_per_stratum(keys, strata.codes, allocation.drawn)
        table = tuple(
            StratumDraw(label, n, int(asked), int(drawn))
            for label, n, asked, drawn in zip(
                strata.labels, strata.counts(), allocation.asked, allocation.drawn, strict=True
            )
        )
        return Choice(
            positions=positions,
            weights=_weights(table)[strata.codes[positions]],
            strata=table,
            notices=(*design.notices, *_shortages(table, self.name)),
        )

    def check(self, candidates: Candidates) -> None:
        """Make the design."""
        self.design(candidates)

    def settled(self, candidates: Candidates) -> bool:
        """Whether strata are drawn whole or not at all."""
        design = self.design(candidates)
        drawn, counts = design.allocation.drawn, np.asarray(design.strata.counts())
        return bool(((drawn == 0) | (drawn == counts)).all())


def _weights(table: Sequence[StratumDraw]) -> NDArray[np.float64]:
    """N_h/n_h per stratum (H,), scaled so that the mean over the drawn samples is 1."""
    size = sum(each.drawn for each in table)
    reached = sum(each.population for each in table if each.drawn)
    return np.array(
        [float(Fraction(each.population * size, max(each.drawn, 1) * reached)) for each in table]
    )


def _shortages(table: Sequence[StratumDraw], where: str) -> tuple[Notice, ...]:
    return tuple(
        Notice(
            "stratum_short",
            f'stratum "{each.label}" holds {counted(each.population, "candidate")} of {each.asked} '
            "asked for; "
            f"the other {each.asked - each.population} were drawn from other strata",
            where,
        )
        for each in table
        if each.population < each.asked
    )


def single_stratum(n: int, label: str, inside: NDArray[np.bool_] | None = None) -> Strata:
    """One stratum of all `n` candidates, or of those `inside`."""
    codes = np.zeros(n, np.int32)
    if inside is not None:
        codes[~inside] = -1
    return Strata((label,), codes)


def cross_strata(slices: SliceSet, dimensions: Sequence[Dimension], *, floor: int = 1) -> Strata:
    """The strata that `dimensions` make together.

    Parameters
    ----------
    slices : SliceSet
        `dimensions` evaluated over the n candidates.
    dimensions : sequence of Dimension
        Crosses among them add nothing, as all of them are crossed anyway. A predicate makes two
        strata, itself and ``not`` itself. Candidates without a value are a stratum of their own,
        or left out with a notice where the dimension says ``missing = "drop"``.
    floor : int
        Samples that every stratum must give. With 0 a slice that holds no candidate is noted;
        else it is an error.

    Returns
    -------
    Strata
        Labels joined by `` & ``. Combinations of slices that no candidate has make no stratum.

    Raises
    ------
    DrawError
        A slice holds no candidate, and the floor asks for some.
    """
    plain = [_completed(slices, each) for each in dimensions if each.cross is None]
    notices = _empty(plain, floor)
    present, codes = _present(plain[0].codes, len(plain[0].labels))
    labels, margins = [plain[0].labels[i] for i in present], [present]
    for each in plain[1:]:
        width = len(each.labels)
        present, codes = _crossed(codes, each, len(labels))
        labels = [f"{labels[i // width]}{CROSS}{each.labels[i % width]}" for i in present]
        margins = [*(margin[present // width] for margin in margins), present % width]
    n_possible = math.prod(np.count_nonzero(each.counts()) for each in plain)
    if len(labels) < n_possible:
        message = f"{n_possible - len(labels)} of {n_possible} combinations hold no candidate"
        notices.append(Notice("empty_combinations", message))
    n_out = int(np.count_nonzero(codes < 0))
    if n_out:
        candidates = counted(n_out, "candidate is", "candidates are")
        message = f"{candidates} in no stratum and {'was' if n_out == 1 else 'were'} not drawn from"
        notices.append(Notice("candidates_dropped", message))
    return Strata(tuple(labels), codes, tuple(margins), tuple(notices))


def _completed(slices: SliceSet, dimension: Dimension) -> CodedDimension:
    """A dimension that leaves out only what it says it drops."""
    coded = slices.dimension(dimension.title)
    if dimension.where is None:
        return coded
    rest = f"not {coded.labels[0]}"
    codes = np.where(coded.codes < 0, np.int32(1), coded.codes)
    return CodedDimension(coded.name, (coded.labels[0], rest), codes, coded.min_support)


def _empty(dimensions: Sequence[CodedDimension], floor: int) -> list[Notice]:
    empty = [
        (each.name, label)
        for each in dimensions
        for label, n in zip(each.labels, each.counts(), strict=True)
        if n == 0
    ]
    if empty and floor > 0:
        step = "Change the strata, widen the candidates, or allow empty strata (floor = 0)."
        raise DrawError.of(
            Problem(f'stratum "{label}" has no samples among the candidates', None, step)
            for _, label in empty
        )
    return [
        Notice("stratum_empty", f'stratum "{label}" has no samples among the candidates', name)
        for name, label in empty
    ]


def _present(
    cells: NDArray[np.integer], n_cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The cells that some candidate is in, and each candidate's position among them."""
    present = np.flatnonzero(np.bincount(cells + 1, minlength=n_cells + 1)[1:])
    position = np.full(n_cells + 1, -1, np.int32)
    position[present] = np.arange(len(present), dtype=np.int32)
    # The appended -1 is what a candidate in no cell, -1, picks.
    return present, position[cells]


def _crossed(
    codes: NDArray[np.int32], other: CodedDimension, n_strata: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    width = len(other.labels)
    cells = codes.astype(np.int64) * width + other.codes
    cells[(codes < 0) | (other.codes < 0)] = -1
    return _present(cells, n_strata * width)
