"""Whether intervals and verdicts keep their promise: simulated audits with known drops.

For every kind of interval, at n = 50, 200 and 1,000 units and realistic rates of change, how often
the bounds miss the true drop, how often a slice whose drop sits at its gate PASSes, and how often
one that loses nothing is called REGRESSED (5 % each is promised). Then the same over whole audits:
families of 50 slices, screening, the worst slice's gap, and a planted drop among 40 slices against
the power that the contract predicts.

    python benchmarks/promises.py [--simulations 2000] [--only TEXT]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.evaluate import (
    Comparison,
    Labels,
    RatioScores,
    Relevance,
    Scores,
    Tolerance,
    UnitScores,
    Verdict,
    compare,
    judge,
    parse_metric,
    score,
    screen,
    verdict_chances,
    worst_gaps,
)
from calaudit.evaluate.metric import Metric

SIZES = (50, 200, 1000)
PROMISED = 0.05
TOP1, NDCG = parse_metric("top1"), parse_metric("ndcg@10")
BALANCED, GINI = parse_metric("balanced_accuracy"), parse_metric("gini@5")
WER = Metric(
    name="wer", family="wer", k=None, title="Word error rate", kind="ratio",
    direction="lower_is_better", unit="fraction", needs="labels", span=None,
)  # fmt: skip
Generator = np.random.Generator
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Simulated slices: `slices` of `n` units each, one after the other."""

    reference: Scores
    candidate: Scores
    truth: float | None
    """The true drop; None: the mean over all slices."""
    clusters: NDArray[np.int64] | None = None
    weights: Floats | None = None


@dataclass(frozen=True)
class World:
    """How units come about: (generator, slices, n, harm) → a sample whose true drop is harm's."""

    name: str
    make: Callable[[Generator, int, int, bool], Sample]
    sizes: tuple[int, ...] = SIZES
    relative: bool = False
    share: float = 1.0
    """Of the simulations asked for: slow ones do fewer."""


def right_wrong(flip_rate: float, harm: float) -> Callable[[Generator, int, int, bool], Sample]:
    """Flips, as many lost as gained but for the harm."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        drop = harm if harmed else 0.0
        fate = rng.choice(
            3, slices * n, p=[(flip_rate + drop) / 2, (flip_rate - drop) / 2, 1 - flip_rate]
        )
        right = rng.random(slices * n) < 0.9
        fp32 = np.where(fate == 2, right, fate == 0)
        int8 = np.where(fate == 2, right, fate == 1)
        return Sample(UnitScores(TOP1, fp32), UnitScores(TOP1, int8), drop)

    return make


def clustered_flips(
    per_cluster: int, correlation: float, *, lost: float, gained: float
) -> Callable[[Generator, int, int, bool], Sample]:
    """Flips that go together: each cluster has its own chance to lose (beta-binomial)."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        clusters = max(n // per_cluster, 2)
        size = n // clusters
        shape = (1 - correlation) / correlation
        mean = lost if harmed else gained
        own = rng.beta(mean * shape, (1 - mean) * shape, (slices, clusters, 1))
        back = rng.beta(gained * shape, (1 - gained) * shape, (slices, clusters, 1))
        chance = rng.random((slices, clusters, size))
        loses = (chance < own).ravel()
        gains = (~loses) & (1 - chance < back).ravel()
        right = rng.random(loses.size) < 0.9
        fp32, int8 = np.where(loses, True, right & ~gains), np.where(gains, True, right & ~loses)
        codes = np.tile(np.repeat(np.arange(clusters), size), slices)
        drop = lost - gained if harmed else 0.0
        return Sample(UnitScores(TOP1, fp32), UnitScores(TOP1, int8), drop, codes)

    return make


def zero_inflated(
    changed: float, losing: float, weighted: bool = False
) -> Callable[[Generator, int, int, bool], Sample]:
    """Drops of nDCG: most queries unchanged, the others skewed."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        units = slices * n
        worse = rng.random(units) < (losing if harmed else 0.5)
        size = rng.beta(0.6, 1.2, units) * np.where(worse, 1, -1)
        drop = np.where(rng.random(units) < changed, size, 0.0)
        truth = changed * (2 * losing - 1) / 3 if harmed else 0.0
        weights = rng.exponential(size=units) if weighted else None
        zeros = np.zeros(units)
        return Sample(UnitScores(NDCG, zeros), UnitScores(NDCG, -drop), truth, None, weights)

    return make


def word_errors(per_speaker: int) -> Callable[[Generator, int, int, bool], Sample]:
    """Word errors of speakers, some of whom the engine hurts more."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        speakers = max(n // per_speaker, 2)
        size = n // speakers
        words = rng.integers(3, 20, (slices, speakers, size))
        own = rng.gamma(2.0, 0.5, (2, slices, speakers, 1))
        common = rng.binomial(words, 0.06)
        more = rng.binomial(words, np.minimum((0.04 if harmed else 0.02) * own[0], 1.0))
        less = rng.binomial(words, np.minimum(0.02 * own[1], 1.0))
        codes = np.tile(np.repeat(np.arange(speakers), size), slices)
        before, after = (each.ravel().astype(float) for each in (common + less, common + more))
        total, drop = words.ravel().astype(float), 0.02 if harmed else 0.0
        return Sample(RatioScores(WER, before, total), RatioScores(WER, after, total), drop, codes)

    return make


def recalls(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
    """Balanced accuracy over four classes of unequal size."""
    label = rng.choice(4, slices * n, p=[0.4, 0.3, 0.2, 0.1])
    fp32 = rng.random(slices * n) < 0.85
    redone = rng.random(slices * n) < 0.25
    int8 = np.where(redone, rng.random(slices * n) < (0.7 if harmed else 0.85), fp32)
    before, after = (
        score(BALANCED, np.eye(4)[np.where(right, label, (label + 1) % 4)], Labels(label))
        for right in (fp32, int8)
    )
    return Sample(before, after, None)


def exposures(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
    """Gini of exposure over 60 items; harm makes scores lean to the popular ones."""
    shape = (slices * n, 60)
    base = rng.normal(size=shape) - 0.03 * np.arange(60)
    lean = (0.008 if harmed else 0.0) * np.arange(60)
    truth = Relevance(np.ones(shape, dtype=np.uint8))
    noise = [rng.normal(0, 0.3, shape) for _ in range(2)]
    before, after = score(GINI, base + noise[0], truth), score(GINI, base - lean + noise[1], truth)
    return Sample(before, after, None)


WORLDS = (
    World("tango, 2 % flip", right_wrong(0.02, 0.01)),
    World("tango, 6 % flip", right_wrong(0.06, 0.02)),
    World("tango, 12 % flip", right_wrong(0.12, 0.03)),
    World("tango, 6 % flip, relative gate", right_wrong(0.06, 0.02), relative=True),
    World("tango-clustered, 5 per image", clustered_flips(5, 0.3, lost=0.04, gained=0.02)),
    World("tango-clustered, 10 per user", clustered_flips(10, 0.1, lost=0.05, gained=0.03)),
    World("tango-clustered, 6 speakers", clustered_flips(167, 0.02, lost=0.04, gained=0.02),
          sizes=(1000,)),
    World("bootstrap-t, 20 % change", zero_inflated(0.2, 0.6)),
    World("bootstrap-t, 50 % change", zero_inflated(0.5, 0.6)),
    World("bootstrap-t, 5 % change, most lose", zero_inflated(0.05, 0.8)),
    World("bootstrap-t, weighted", zero_inflated(0.3, 0.6, weighted=True)),
    World("bootstrap-t, WER, 10 per speaker", word_errors(10)),
    World("jackknife, balanced accuracy", recalls, share=0.25),
    World("jackknife, Gini of exposure", exposures, sizes=(50, 200), share=0.1),
)  # fmt: skip
"""Sparse changes turn bootstrap-t and jackknife into Clopper–Pearson by themselves."""


@dataclass(frozen=True)
class Rates:
    """How often a world broke a promise."""

    simulations: int
    intervals: dict[str, float]
    """Share of each kind of interval."""
    below: float
    """One-sided upper bounds below the true drop."""
    above: float
    """One-sided lower bounds above it."""
    outside: float
    """Two-sided 95 % intervals without it."""
    false_pass: float
    """PASS where the true drop is the gate."""
    false_regressed: float
    """REGRESSED where nothing is lost."""


def measure_world(world: World, n: int, simulations: int, seed: int = 0) -> Rates:
    """Simulate slices of n units, harmed ones and others."""
    slices = max(20, int(simulations * world.share))
    rng = np.random.default_rng(seed)
    harmed, found = _compared(world, world.make(rng, slices, n, True), slices, None)
    truth = float(np.mean([one.drop for one in found])) if harmed.truth is None else harmed.truth
    gate = Tolerance(truth)
    if world.relative:
        gate = Tolerance(max_relative_drop=truth / 0.9 if truth else 1.0)
    _, gated = _compared(world, harmed, slices, gate)
    _, null = _compared(world, world.make(rng, slices, n, False), slices, gate)
    kinds = [one.interval or "none" for one in gated]
    return Rates(
        slices,
        {kind: kinds.count(kind) / slices for kind in sorted(set(kinds))},
        _share(gated, lambda one: one.one_sided_high is not None and one.one_sided_high < truth),
        _share(gated, lambda one: one.one_sided_low is not None and one.one_sided_low > truth),
        _share(
            gated,
            lambda one: one.low is not None and not one.low <= truth <= (one.high or np.inf),
        ),
        _share(gated, lambda one: judge([one])[0].verdict is Verdict.PASS),
        _share(null, lambda one: judge([one])[0].verdict is Verdict.REGRESSED),
    )


def _compared(
    world: World, sample: Sample, slices: int, gate: Tolerance | None
) -> tuple[Sample, list[Comparison]]:
    n = len(sample.reference) // slices
    rows = {str(i): np.arange(i * n, (i + 1) * n) for i in range(slices)}
    found = compare(
        sample.reference.metric,
        sample.reference,
        {"engine": sample.candidate},
        rows,
        max_drop=gate,
        clusters=sample.clusters,
        weights=sample.weights,
    )
    return sample, found


def _share(found: list[Comparison], holds: Callable[[Comparison], bool]) -> float:
    return float(np.mean([holds(one) for one in found]))


def show_worlds(simulations: int, only: str) -> None:
    """The table of all worlds."""
    headings = ("bound < truth", "bound > truth", "95 % misses", "false PASS", "false REGR.")
    columns = "".join(f"{each:>15}" for each in headings)
    print(f"{'interval and world':38}{'n':>6}{columns}  ±2 se  intervals used")
    for world in WORLDS:
        if only not in world.name:
            continue
        for n in world.sizes:
            rates = measure_world(world, n, simulations)
            error = 2 * np.sqrt(PROMISED * (1 - PROMISED) / rates.simulations)
            used = ", ".join(f"{k} {v:.0%}" for k, v in rates.intervals.items())
            numbers = (
                rates.below, rates.above, rates.outside, rates.false_pass, rates.false_regressed
            )  # fmt: skip
            told = "".join(f"{each:>15.3f}" for each in numbers)
            print(f"{world.name:38}{n:>6}{told}  {error:.3f}  {used}", flush=True)


def audits(
    simulations: int, slices: int, n: int, planted: float, flip_rate: float
) -> Iterator[tuple[UnitScores, UnitScores, dict[str, Any]]]:
    """Whole audits of right/wrong scores; slice 0 loses `planted`."""
    rng = np.random.default_rng(1)
    rows = {str(i): np.arange(i * n, (i + 1) * n) for i in range(slices)}
    for _ in range(simulations):
        chance = rng.random(slices * n)
        lost = chance < flip_rate / 2 + np.where(np.arange(slices * n) < n, planted, 0.0)
        gained = 1 - chance < flip_rate / 2
        right = rng.random(slices * n) < 0.9
        fp32, int8 = np.where(gained, False, right | lost), np.where(lost, False, right | gained)
        yield UnitScores(TOP1, fp32), UnitScores(TOP1, int8), rows


def show_families(simulations: int) -> None:
    """Whole audits: is anyone accused who is innocent?"""
    accused = listed = 0
    for fp32, int8, rows in audits(simulations, 50, 200, 0.0, 0.06):
        cells = {"engine": int8}
        named = judge(compare(TOP1, fp32, cells, rows, max_drop=0.02))
        accused += any(one.verdict is Verdict.REGRESSED for one in named)
        listed += bool(screen(judge(compare(TOP1, fp32, cells, rows))))
    print(f"50 harmless slices of 200: any REGRESSED in {accused / simulations:.3f} of audits, "
          f"any listed by screening in {listed / simulations:.3f}")  # fmt: skip
    wrong = 0
    for fp32, int8, rows in audits(simulations // 4, 20, 200, 0.05, 0.06):
        (gap,) = worst_gaps(TOP1, fp32, {"engine": int8}, rows)
        wrong += not gap.low <= 0.05 <= gap.high
    print(f"worst of 20 slices, 5 points worse than the rest: 95 % interval misses the gap in "
          f"{4 * wrong / simulations:.3f}")  # fmt: skip


def show_power(simulations: int) -> None:
    """A 3-point drop in one of 40 slices, against the power that the contract predicts."""
    for n in (400, 800, 1500):
        found = false = 0
        for fp32, int8, rows in audits(simulations // 4, 40, n, 0.03, 0.04):
            judged = judge(compare(TOP1, fp32, {"engine": int8}, rows, max_drop=0.01))
            verdicts = {one.slice: one.verdict for one in judged}
            found += verdicts["0"] is Verdict.REGRESSED
            false += any(v is Verdict.REGRESSED for s, v in verdicts.items() if s != "0")
        chances = verdict_chances(n, 0.05, 0.02, max_drop=0.01, tests=40)
        share = 4 / simulations
        print(f"3 points lost by one of 40 slices of {n:>5}: found in {found * share:.3f}, "
              f"predicted {chances[Verdict.REGRESSED]:.3f}; another accused in "
              f"{false * share:.3f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", default="", help="worlds whose name holds this text")
    options = parser.parse_args()
    started = time.perf_counter()
    show_worlds(options.simulations, options.only)
    if not options.only:
        show_families(options.simulations // 2)
        show_power(options.simulations)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
