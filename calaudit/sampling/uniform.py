"""Every candidate is as likely as any other."""

from calaudit.runtime.settings import setting
from calaudit.sampling.allocation import allocate
from calaudit.sampling.design import Design, DesignedRecipe, single_stratum
from calaudit.sampling.recipe import Candidates
from calaudit.slices.dimension import EVERYTHING


@setting
class Uniform(DesignedRecipe):
    """All candidates alike."""

    kind = "uniform"

    def design(self, candidates: Candidates) -> Design:
        """One stratum."""
        everything = single_stratum(len(candidates.rows), EVERYTHING)
        return Design(everything, allocate(self.size, everything.counts(), [1]))
