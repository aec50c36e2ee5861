"""Strata: a partition of the candidates into the crosses of one or more dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import DrawError, Notice, Problem
from calaudit.slices import CodedDimension, Dimension, SliceSet
from calaudit.slices.dimension import CROSS


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Disjoint sets of the candidates."""

    labels: tuple[str, ...]
    codes: NDArray[np.int32]
    """(n,) stratum of each candidate; -1 for a candidate that isn't drawn from."""
    notices: tuple[Notice, ...] = ()

    def counts(self) -> list[int]:
        """Samples N_h per stratum (H,)."""
        found = np.bincount(self.codes + 1, minlength=len(self.labels) + 1)[1:]
        return [int(n) for n in found]


def single_stratum(n: int, label: str, inside: NDArray[np.bool_] | None = None) -> Strata:
    """One stratum of all `n` candidates, or of those `inside`."""
    codes = np.zeros(n, np.int32)
    if inside is not None:
        codes[~inside] = -1
    return Strata((label,), codes)


def cross_strata(slices: SliceSet, dimensions: Sequence[Dimension]) -> Strata:
    """The strata that `dimensions` make together.

    Parameters
    ----------
    slices : SliceSet
        `dimensions` evaluated over the n candidates.
    dimensions : sequence of Dimension
        Crosses among them add nothing, as all of them are crossed anyway. A predicate makes two
        strata, itself and ``not`` itself. Candidates without a value are a stratum of their own,
        or left out with a notice where the dimension says ``missing = "drop"``.

    Returns
    -------
    Strata
        Labels joined by `` & ``; combinations that no candidate has are left out.

    Raises
    ------
    DrawError
        A declared bin, group or predicate holds no candidate.
    """
    plain = [_completed(slices, each) for each in dimensions if each.cross is None]
    _check_filled(plain)
    labels, codes = list(plain[0].labels), plain[0].codes
    for each in plain[1:]:
        labels, codes = _crossed(labels, codes, each)
    return Strata(tuple(labels), codes, tuple(_left_out(codes)))


def _completed(slices: SliceSet, dimension: Dimension) -> CodedDimension:
    """A dimension that leaves out only what it says it drops."""
    coded = slices.dimension(dimension.title)
    if dimension.where is None:
        return coded
    rest = f"not {coded.labels[0]}"
    codes = np.where(coded.codes < 0, np.int32(1), coded.codes)
    return CodedDimension(coded.name, (coded.labels[0], rest), codes, coded.min_support)


def _check_filled(dimensions: Sequence[CodedDimension]) -> None:
    problems = [
        Problem(
            f'stratum "{label}" has no samples',
            f"strata: {each.name}",
            "Change the edges or the predicate, or widen the candidates.",
        )
        for each in dimensions
        for label, n in zip(each.labels, each.counts(), strict=True)
        if n == 0
    ]
    if problems:
        raise DrawError.of(problems)


def _crossed(
    labels: list[str], codes: NDArray[np.int32], other: CodedDimension
) -> tuple[list[str], NDArray[np.int32]]:
    width = len(other.labels)
    both = np.where(
        (codes < 0) | (other.codes < 0), -1, codes.astype(np.int64) * width + other.codes
    )
    present = np.unique(both[both >= 0])
    crossed = [f"{labels[cell // width]}{CROSS}{other.labels[cell % width]}" for cell in present]
    positions = np.searchsorted(present, both).astype(np.int32)
    return crossed, np.where(both < 0, np.int32(-1), positions)


def _left_out(codes: NDArray[np.int32]) -> list[Notice]:
    n = int(np.count_nonzero(codes < 0))
    if n == 0:
        return []
    return [
        Notice("candidates_dropped", f"{n} candidates are in no stratum and weren't drawn from")
    ]
