"""What one pass over the samples saw: histograms of every tap, and which samples they hold."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.histogram import Histogram, Histograms
from calaudit.calibration.methods import ENTROPY_TRT
from calaudit.runtime.errors import RangesError, SliceError, near
from calaudit.slices.dimension import EVERYTHING
from calaudit.slices.sliceset import match_slices

REST: Final = "rest"
"""In a mixture: the samples that none of the other groups holds."""
_DIGITS: Final = 12
"""Weights are rounded to so many decimals, so that shares as they were observed weigh exactly 1."""


@dataclass(frozen=True, slots=True, eq=False)
class ObservedSamples:
    """The samples, one by one."""

    ids: NDArray[np.str_]
    """(n,)."""
    maxima: NDArray[np.float32]
    """(T, n): largest |x| of each tap in each sample."""
    membership: NDArray[np.bool_]
    """(G, n): which samples each group holds."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample that was skipped because an activation is NaN or infinite."""

    id: str
    tap: str


@dataclass(frozen=True, slots=True)
class OneByOne:
    """A tap because of which samples were run one by one."""

    tap: str
    reason: str
    """Why its values can't be told apart by sample in a batch."""
    mixed: bool
    """A sample's values depend on the rest of its batch."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Histograms of T taps over P parts, the groups those parts make up, and where it is all from.

    Raises
    ------
    RangesError
        The shapes of the parts don't agree, or a group's name occurs twice.
    """

    histograms: Histograms
    """T taps × P parts."""
    groups: tuple[str, ...]
    """Names of the G groups: calibration sets, slices, strata."""
    members: NDArray[np.bool_] | NDArray[np.float64]
    """(G, P): how often each group counts each part."""
    n_samples: NDArray[np.int64]
    """Samples in each part (P,)."""
    model_fingerprint: str
    pool_fingerprint: str
    disjoint: bool = True
    """Whether every sample lies in one part; else parts belong to one group each."""
    samples: ObservedSamples | None = None
    left_out: tuple[LeftOut, ...] = ()
    one_by_one: tuple[OneByOne, ...] = ()
    """Empty where samples ran in batches, or the model takes one at a time."""
    equal_bins: Mapping[str, EqualBins] = field(default_factory=dict)
    """Calibration set → its equal bins; empty where ``entropy-trt`` wasn't asked for."""

    def __post_init__(self) -> None:
        n_parts = self.histograms.n_groups
        if self.members.shape != (len(self.groups), n_parts):
            raise RangesError(
                f"members has shape {self.members.shape} for {len(self.groups)} groups of "
                f"{n_parts} parts"
            )
        if self.n_samples.shape != (n_parts,):
            raise RangesError(f"n_samples has shape {self.n_samples.shape} for {n_parts} parts")
        if len(set(self.groups)) != len(self.groups):
            raise RangesError("two groups have one name", next_step="Name each group differently.")
        if self.samples is not None:
            n = len(self.samples.ids)
            expected = (len(self.histograms.taps), n), (len(self.groups), n)
            found = self.samples.maxima.shape, self.samples.membership.shape
            if found != expected:
                raise RangesError(f"of {n} samples, maxima and membership have shapes {found}")

    def of(self, group: str) -> Histograms:
        """Histograms of all taps over one group, as the only group of the result.

        Raises
        ------
        RangesError
            There is no such group; the next step names the near ones.
        """
        return self.histograms.group(self.members[[self._position(group)]])

    def of_tap(self, tap: int, groups: Sequence[str]) -> list[Histogram]:
        """Histograms of one tap over some groups, in their order. Raises as `of` does."""
        places = [self._position(group) for group in groups]
        here = slice(tap, tap + 1)
        every = self.histograms
        one = Histograms(
            every.taps[here], every.counts[here], every.n_zero[here], every.amax[here]
        ).group(self.members[places])
        return [one.one(0, number) for number in range(len(places))]

    def size(self, group: str) -> int:
        """Number of samples in one group. Raises `RangesError` as `of` does."""
        return int(self.n_samples[self.members[self._position(group)] != 0].sum())

    def union(self, groups: Collection[str]) -> Histograms:
        """Histograms of all taps over the samples that lie in any of some groups, each once.

        Raises
        ------
        RangesError
            An unknown group, or the parts aren't disjoint: the ranges were recorded for too many
            groups at once.
        """
        return self.histograms.group(self._held(groups)[None])

    def whole(self) -> Histograms:
        """Histograms of all taps over all samples. Raises `RangesError` as `union` does."""
        return self.of(EVERYTHING) if EVERYTHING in self.groups else self.union(self.groups)

    def equal_for(self, method: str, group: str) -> EqualBins | None:
        """What a method needs besides a group's histogram: ``entropy-trt`` its equal bins.

        Raises
        ------
        RangesError
            They weren't counted, or the group isn't a calibration set.
        """
        if method != ENTROPY_TRT:
            return None
        if not self.equal_bins:
            raise RangesError(
                f"these ranges hold nothing that {ENTROPY_TRT} could be estimated from: its bins "
                "are counted in a second pass, which wasn't asked for",
                next_step=f"Calibrate the sets again with {ENTROPY_TRT} among the methods.",
            )
        if group not in self.equal_bins:
            raise RangesError(
                f"{ENTROPY_TRT} depends on the batches of one calibration set, and {group!r} isn't "
                "one: histograms of slices, unions and mixtures have no batches",
                next_step=f"Name one of {', '.join(self.equal_bins)}, draw such a set, or take "
                "another method.",
            )
        return self.equal_bins[group]

    def mixture(self, shares: Mapping[str, float]) -> Histograms:
        """Histograms of all taps as a set would give them that mixes groups in given shares.

        Each sample of a group counts equally, and the groups' samples make up the shares. The
        counts are scaled to as many samples as the groups hold.

        Parameters
        ----------
        shares : mapping
            Group → its share of the samples; relative to their sum. ``"rest"`` means the samples
            that no other named group holds.

        Raises
        ------
        RangesError
            An unknown or empty group, a share that isn't positive, or the rest of groups whose
            parts aren't disjoint.
        """
        total = sum(shares.values())
        if not shares or not all(share > 0 for share in shares.values()) or math.isinf(total):
            raise RangesError(
                f"the shares of a mixture must be positive, got {dict(shares)}",
                next_step="Leave out groups that should have no share.",
            )
        weights = np.zeros(self.histograms.n_groups)
        n_all = 0.0
        for group, share in shares.items():
            counted = self._weights(group, [name for name in shares if name != group])
            n = float(counted @ self.n_samples)
            if n == 0:
                raise RangesError(
                    f"{group!r} holds no sample", next_step="Leave it out of the mixture."
                )
            weights += share / total * counted / n
            n_all += n
        return self.histograms.group(np.round(weights * n_all, _DIGITS)[None])

    def maxima(self, ids: Collection[str]) -> NDArray[np.float32]:
        """Largest |x| of every tap (T,) over any choice of the observed samples: min-max exactly.

        Raises
        ------
        RangesError
            Samples weren't observed, or were left out; names some.
        """
        if self.samples is None:
            raise RangesError("these ranges hold no maxima of single samples")
        chosen = np.isin(self.samples.ids, list(ids))
        missing = sorted(set(ids) - set(self.samples.ids[chosen].tolist()))
        if missing or not len(ids):
            raise RangesError(
                f"{len(missing)} of {len(ids)} samples weren't observed: {', '.join(missing[:8])}",
                next_step="Calibrate with a set that holds them.",
            )
        found: NDArray[np.float32] = self.samples.maxima[:, chosen].max(axis=1)
        return found

    def find(self, name: str) -> str:
        """The one group that a name means, written as slices are (``snr_db<5``).

        Raises
        ------
        RangesError
            None or several.
        """
        try:
            found = match_slices(name, self.groups)
        except SliceError as error:
            raise RangesError(
                f"no ranges were recorded for {name!r}", next_step=error.problems[0].next_step
            ) from None
        if len(found) > 1:
            raise RangesError(f"{name!r} means several groups: {', '.join(found)}")
        return found[0]

    def _weights(self, group: str, others: Collection[str]) -> NDArray[np.float64]:
        if group == REST and REST not in self.groups:
            return (~self._held(others)).astype(np.float64)
        weights: NDArray[np.float64] = self.members[self._position(group)].astype(np.float64)
        return weights

    def _held(self, groups: Collection[str]) -> NDArray[np.bool_]:
        """Which parts lie in any of the groups (P,)."""
        if not self.disjoint:
            raise RangesError(
                f"these ranges hold {len(self.groups)} groups, each counted separately: unions and "
                f"{REST!r} can't be computed",
                next_step="Record fewer groups in one file.",
            )
        held: NDArray[np.bool_] = (
            self.members[[self._position(group) for group in groups]] != 0
        ).any(axis=0)
        return held

    def _position(self, group: str) -> int:
        if group not in self.groups:
            raise RangesError(
                f"no ranges were recorded for {group!r}", next_step=near(group, self.groups)
            )
        return self.groups.index(group)
