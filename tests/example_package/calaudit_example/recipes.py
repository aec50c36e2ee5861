"""A kind of recipe that calaudit doesn't have."""

import numpy as np

from calaudit.runtime.settings import setting
from calaudit.sampling.recipe import Choice, Recipe, StratumDraw


@setting
class Systematic(Recipe):
    """Every n-th candidate in the pool's order, from a random start."""

    kind = "systematic"

    phase: float | None = None
    """Start within the first interval, in [0, 1); by the seed where none is given."""

    def choose(self, candidates, keys):
        n = len(candidates.rows)
        phase = float(keys[0]) / 2.0**64 if self.phase is None else self.phase
        positions = np.floor((np.arange(self.size) + phase) * n / self.size).astype(np.int64)
        positions = np.minimum(positions, n - 1)
        return Choice(
            positions,
            np.ones(self.size),
            (StratumDraw("all", n, self.size, self.size),),
        )

    def settled(self, candidates):
        return self.phase is not None

    def details(self):
        return "from a random start" if self.phase is None else f"from {self.phase:g}"
