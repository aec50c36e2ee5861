"""So many from each stratum: proportional, equal, or Neyman's allocation."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import Notice, Problem
from calaudit.runtime.settings import setting
from calaudit.sampling.allocation import allocate, neyman_weights
from calaudit.sampling.design import Design, DesignedRecipe, Strata, cross_strata
from calaudit.sampling.recipe import FP32_LOSS, Candidates, Loss, Needs, check_finite
from calaudit.slices.dimension import Dimension


@setting
class Stratified(DesignedRecipe):
    """So many from each stratum."""

    kind = "stratified"

    strata: tuple[Dimension, ...] = ()
    """The strata are the crosses of these dimensions."""
    allocation: Literal["proportional", "equal", "neyman"] | None = None
    """Default proportional."""
    deviation: str | None = None
    """Neyman: the column whose standard deviation counts, or ``"fp32-loss"``."""
    loss: Loss | None = None
    """With ``deviation = "fp32-loss"``: which output and target."""
    floor: int | None = None
    """At least this many from every stratum; default 1."""
    cap: int | None = None
    """At most this many from any stratum."""

    def problems(self) -> Iterator[Problem]:
        """Strata missing, bounds that contradict one another, half of Neyman's settings."""
        if not self.strata:
            yield Problem(
                "a stratified draw needs strata", None, 'Add [[strata]] with by = "a column".'
            )
        if (self.allocation == "neyman") != (self.deviation is not None):
            yield Problem(
                'allocation = "neyman" and deviation go together',
                None,
                f'Add both, with deviation = "a column" or "{FP32_LOSS}".',
            )
        if self.loss is not None and self.deviation != FP32_LOSS:
            yield Problem(f'loss goes with deviation = "{FP32_LOSS}"', None, "Drop it.")
        floor, cap = self.floor, self.cap
        if floor is not None and floor < 0:
            yield Problem(f"floor must not be negative, got {floor}")
        if cap is not None and cap < max(1, floor or 0):
            yield Problem(f"cap must be at least 1 and at least the floor, got {cap}")

    @property
    def needs(self) -> Needs:
        """The strata, and what Neyman's allocation weighs them by."""
        return Needs(dimensions=self.strata, deviation=self.deviation, loss=self.loss)

    def design(self, candidates: Candidates) -> Design:
        """The crosses of the dimensions, and what the allocation gives each."""
        if candidates.strata is None:
            raise ValueError("a stratified draw needs the candidates' strata")
        floor = 1 if self.floor is None else self.floor
        strata = cross_strata(candidates.strata, self.strata, floor=floor)
        weights, notices = self._weights(strata, candidates.deviation)
        allocation = allocate(
            self.size,
            strata.counts(),
            weights,
            floor=floor,
            cap=self.cap,
            margins=strata.margins,
        )
        return Design(strata, allocation, (*strata.notices, *notices))

    def check(self, candidates: Candidates) -> None:
        """Make the design, unless the deviation isn't known yet."""
        if self._known(candidates):
            self.design(candidates)

    def settled(self, candidates: Candidates) -> bool:
        """Whether strata are drawn whole or not at all, as far as that is known."""
        return self._known(candidates) and DesignedRecipe.settled(self, candidates)

    def details(self) -> str:
        """``"equal over noise × label"``."""
        over = " × ".join(dimension.title for dimension in self.strata)
        by = f" by the deviation of {self.deviation}" if self.deviation else ""
        return f"{self.allocation or 'proportional'} over {over}{by}"

    def _known(self, candidates: Candidates) -> bool:
        return self.deviation is None or candidates.deviation is not None

    def _weights(
        self, strata: Strata, deviation: NDArray[np.float64] | None
    ) -> tuple[Sequence[Fraction | int], tuple[Notice, ...]]:
        counts = strata.counts()
        if self.allocation == "equal":
            return [1] * len(counts), ()
        if self.allocation != "neyman":
            return counts, ()
        if deviation is None:
            raise ValueError("Neyman's allocation needs the candidates' deviation")
        check_finite(deviation, f"the deviation {self.deviation}")
        weights = neyman_weights(deviation, strata.codes, len(counts))
        if sum(weights) > 0:
            return weights, ()
        message = f"{self.deviation} doesn't vary within any stratum; allocated proportionally"
        return counts, (Notice("neyman_flat", message, self.name),)
