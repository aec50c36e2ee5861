"""The fewest products to leave in float: a search over sets of them, judged by engines.

Each product alone in INT8 says how much it harms by itself, however much the others do; the
shortest start of that ranking that lets the gates pass is found by doubling and bisection. A second
way grows a set by what is gained, since products may harm together only. The smaller of the two is
then reduced: whatever can go back to INT8 does.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.explain.halving import halve
from calaudit.graph.macs import MacSum, sum_macs
from calaudit.runtime.words import counted, first_of

FINALISTS: Final = 2
"""Products of each round of growth that are judged."""
FEW: Final = 128
"""Samples on which each product is looked at alone in INT8: errors are means over all outputs."""
MOST: Final = 8
"""Products that are left in float at most, unless the caller says otherwise."""
_NAMED: Final = 4

Ops = frozenset[str]
Rows = NDArray[np.int64]
Loss = Callable[[Ops, Rows], float]
"""What an engine with these products in float loses on some of the samples (ascending positions):
its outputs' error, say. NaN counts as infinite."""


class Judged(Protocol):
    """How an engine did on all tuning rows."""

    @property
    def used(self) -> float:
        """Share of the gate that is used up where most is."""
        ...

    @property
    def holds(self) -> bool:
        """Whether the gates pass."""
        ...


Judge = Callable[[Ops], Judged]
"""Builds and judges an engine with these products in float."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An engine that was judged."""

    float_ops: tuple[str, ...]
    """In the order of the products given."""
    used: float
    holds: bool
    macs: int | None
    """Multiply-accumulates per sample left in float; None where some aren't known."""


@dataclass(frozen=True, slots=True)
class Exempted:
    """What a search found."""

    float_ops: tuple[str, ...]
    """The fewest products found that let the gates pass; where `holds` is False, those with which
    least of the gate is used up."""
    holds: bool
    macs: MacSum
    """All multiply-accumulates, and those that stay in INT8."""
    tried: tuple[Tried, ...]
    """Every engine that was judged, fewest products first, then least of the gate."""
    n_looked: int
    """Engines that were run on some samples only."""
    n_products: int
    sentence: str

    @property
    def curve(self) -> tuple[Tried, ...]:
        """Of each number of products in float the best engine that was judged."""
        best: dict[int, Tried] = {}
        for each in self.tried:
            best.setdefault(len(each.float_ops), each)
        return tuple(best.values())


def search_exemptions(
    products: Mapping[str, int | None],
    judge: Judge,
    loss: Loss,
    n: int,
    *,
    most: int = MOST,
    prior: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Exempted:
    """Find the fewest products that let the gates pass when they stay in float.

    Parameters
    ----------
    products : mapping
        Product in INT8 → its multiply-accumulates per sample, where known; in graph order.
    judge : callable
        Of a set of products in float; an engine on all tuning rows.
    loss : callable
        Of the same, on some of the samples: cheap.
    n : int
        Samples there are.
    most : int
        Products in float at most; one always stays in INT8.
    prior : mapping, optional
        Product → predicted harm, which takes the place of looking at each alone in INT8.
    seed : int
        Of the order in which samples are taken.

    Returns
    -------
    Exempted
        Equal arguments give an equal result; of sets of one size the one with fewest
        multiply-accumulates in float.
    """
    # with all of them in float the engine is FP32
    search = _Search(dict(products), judge, loss, n, min(most, len(products) - 1), seed)
    if not search.holds(frozenset()) and search.most > 0:
        ranked = search.ranked(prior)
        search.double(ranked)
        search.grow()
        search.reduce()
    return search.result()


@dataclass(slots=True, eq=False)
class _Search:
    products: dict[str, int | None]
    judge: Judge
    loss: Loss
    n: int
    most: int
    seed: int
    judged: dict[Ops, Judged] = field(default_factory=dict)
    looked: int = 0

    def used(self, ops: Ops) -> float:
        if ops not in self.judged:
            self.judged[ops] = self.judge(ops)
        used = float(self.judged[ops].used)
        return np.inf if np.isnan(used) else used

    def holds(self, ops: Ops) -> bool:
        self.used(ops)
        return bool(self.judged[ops].holds)

    def look(self, ops: Ops, rows: Rows) -> float:
        self.looked += 1
        return self.loss(ops, rows)

    def cost(self, ops: Ops) -> tuple[int, float, float]:
        """What is to be small: products, multiply-accumulates in float, what is used up."""
        macs = sum_macs((self.products[each], False) for each in ops)
        known = float(macs.all or 0) if not macs.uncounted else np.inf
        return len(ops), known, self.used(ops)

    def best(self) -> Ops | None:
        """The cheapest set that holds."""
        holding = [ops for ops, each in self.judged.items() if each.holds]
        return min(holding, key=self.cost, default=None)

    def ranked(self, prior: Mapping[str, float] | None) -> list[str]:
        """Products by the harm that each does by itself, the largest first."""
        every = frozenset(self.products)
        rows = np.random.default_rng(self.seed).permutation(self.n)[: min(FEW, self.n)]
        harm = dict(prior or {})
        for op in self.products:
            if op not in harm:
                harm[op] = self.look(every - {op}, np.sort(rows))
        order = {op: (np.inf if np.isnan(harm[op]) else harm[op]) for op in self.products}
        return sorted(order, key=lambda op: -order[op])

    def double(self, ranked: Sequence[str]) -> None:
        """The shortest start of a ranking that holds: 1, 2, 4, … products, then in between."""
        below, size = 0, 1
        while not self.holds(frozenset(ranked[:size])):
            if size == self.most:
                return
            below, size = size, min(2 * size, self.most)
        while size - below > 1:
            middle = (below + size) // 2
            if self.holds(frozenset(ranked[:middle])):
                size = middle
            else:
                below = middle

    def grow(self) -> None:
        """Leave in float, again and again, the product that takes back most of the loss."""
        chosen: Ops = frozenset()
        while True:
            best = self.best()
            longest = self.most if best is None else len(best) - 1
            rest = [op for op in self.products if op not in chosen]
            if len(chosen) >= longest or not rest:
                return
            taken = chosen
            finalists = halve(
                rest,
                lambda op, rows: self.look(taken | {op}, rows),  # noqa: B023  # used at once
                self.n,
                keep=FINALISTS,
                seed=self.seed,
            )
            chosen = min((chosen | {op} for op in finalists), key=self._promise)
            if self.holds(chosen):
                return

    def _promise(self, ops: Ops) -> tuple[bool, float, float]:
        """What the next round starts from: a set that holds cheaply, else the least used up."""
        _, macs, used = self.cost(ops)
        return not self.holds(ops), macs if self.holds(ops) else used, used

    def reduce(self) -> None:
        """Bring back to INT8 what isn't needed, the costliest products first."""
        kept = self.best()
        while kept:
            costly = sorted(kept, key=lambda op: -(self.products[op] or 0))
            fewer = next((kept - {op} for op in costly if self.holds(kept - {op})), None)
            if fewer is None:
                return
            kept = fewer

    def result(self) -> Exempted:
        found = self.best()
        chosen = min(self.judged, key=self.used) if found is None else found
        macs = sum_macs((each, op not in chosen) for op, each in self.products.items())
        tried = sorted(map(self._tried, self.judged), key=lambda e: (len(e.float_ops), e.used))
        return Exempted(
            float_ops=self._ordered(chosen),
            holds=found is not None,
            macs=macs,
            tried=tuple(tried),
            n_looked=self.looked,
            n_products=len(self.products),
            sentence=self._sentence(found, chosen, macs),
        )

    def _tried(self, ops: Ops) -> Tried:
        macs = sum_macs((self.products[each], False) for each in ops)
        known = None if macs.uncounted else macs.all or 0
        return Tried(self._ordered(ops), self.used(ops), self.holds(ops), known)

    def _ordered(self, ops: Collection[str]) -> tuple[str, ...]:
        return tuple(op for op in self.products if op in ops)

    def _sentence(self, found: Ops | None, chosen: Ops, macs: MacSum) -> str:
        of = counted(len(self.products), "product")
        if found is not None and not found:
            return "the gates pass with every product in INT8"
        left = _share_left(macs)
        if found is not None:
            names = first_of(self._ordered(found)[:_NAMED], len(found))
            return f"with {names} in float{left} the gates pass"
        least = f"{self.used(chosen):.3g} times what a gate allows"
        if self.most < 1:
            return f"{least} is lost, and with its only product in float the engine would be FP32"
        return (
            f"with up to {self.most} of {of} in float the gates don't pass, as far as was tried: "
            f"at best, with {len(chosen)}{left}, {least} is lost"
        )


def _share_left(macs: MacSum) -> str:
    """`` (4 % of multiply-accumulates)``; empty where it is unknown."""
    if not macs.all or macs.int8 is None or macs.uncounted:
        return ""
    return f" ({100 * (1 - macs.int8 / macs.all):.3g} % of multiply-accumulates)"
