"""What one pass over the samples saw: histograms of every tap, and which samples they hold."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import RangesError, near
from calaudit.ranges.histogram import Histograms


class Atoms(NamedTuple):
    """Samples sorted into atoms: those of one atom belong to the same groups."""

    of_sample: NDArray[np.int64]
    """Atom of each sample (n,)."""
    members: NDArray[np.bool_]
    """(n_groups, n_atoms): which atoms make up each group."""


def split_into_atoms(membership: NDArray[np.bool_]) -> Atoms:
    """Split overlapping groups into disjoint atoms, so that every sample is counted once.

    Parameters
    ----------
    membership : bool (n_groups, n)
        Which samples each group holds.

    Returns
    -------
    Atoms
        Numbered in an order that depends only on which combinations of groups occur.
    """
    membership = np.asarray(membership, dtype=bool)
    packed = np.packbits(membership, axis=0)
    _, first, of_sample = np.unique(packed, axis=1, return_index=True, return_inverse=True)
    return Atoms(of_sample.reshape(-1).astype(np.int64), membership[:, first])


@dataclass(frozen=True, slots=True)
class Observation:
    """Histograms of T taps over A atoms, the groups those atoms make up, and where it all is from.

    Raises
    ------
    RangesError
        The shapes of the parts don't agree, or a group's name occurs twice.
    """

    histograms: Histograms
    """T taps × A atoms."""
    groups: tuple[str, ...]
    """Names of the G groups: calibration sets, slices, strata."""
    members: NDArray[np.bool_]
    """(G, A): which atoms make up each group."""
    n_samples: NDArray[np.int64]
    """Samples in each atom (A,)."""
    model_fingerprint: str
    pool_fingerprint: str

    def __post_init__(self) -> None:
        n_atoms = self.histograms.n_groups
        if self.members.shape != (len(self.groups), n_atoms):
            raise RangesError(
                f"members has shape {self.members.shape} for {len(self.groups)} groups of "
                f"{n_atoms} atoms"
            )
        if self.n_samples.shape != (n_atoms,):
            raise RangesError(f"n_samples has shape {self.n_samples.shape} for {n_atoms} atoms")
        if len(set(self.groups)) != len(self.groups):
            raise RangesError("two groups have one name", next_step="Name each group differently.")

    def of(self, group: str) -> Histograms:
        """Histograms of all taps over one group, as the only group of the result.

        Raises
        ------
        RangesError
            There is no such group; the next step names the near ones.
        """
        return self.histograms.group(self.members[[self._position(group)]])

    def size(self, group: str) -> int:
        """Number of samples in one group. Raises `RangesError` as `of` does."""
        return int(self.n_samples[self.members[self._position(group)]].sum())

    def _position(self, group: str) -> int:
        if group not in self.groups:
            raise RangesError(
                f"no ranges were recorded for {group!r}", next_step=near(group, self.groups)
            )
        return self.groups.index(group)
