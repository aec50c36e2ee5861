"""Whether intervals and verdicts keep their promise: simulated audits with known drops.

For every kind of interval, at n = 50, 200 and 1,000 units and realistic rates of change, how often
the bounds miss the true drop, how often a slice whose drop sits at its gate PASSes, and how often
one that loses nothing is called REGRESSED (5 % each is promised). Then the same over whole audits:
families of 50 slices, screening, the worst slice's gap, a planted drop among 40 slices against the
power that the contract predicts, and how often the units that an open slice is said to need decide
it.

    python benchmarks/interval_coverage.py [--simulations 2000] [--only TEXT]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from worlds.detections import APART, DETECTIONS
from worlds.hard import HARD, UNKNOWABLE
from worlds.masks import MASKS
from worlds.objects import BY_IMAGE, OBJECTS
from worlds.ordinary import ORDINARY, TOP1, Sample, World

from calaudit.metrics.unit_scores import UnitScores
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison, Tolerance
from calaudit.statistics.power import verdict_chances
from calaudit.statistics.verdict import judge, screen
from calaudit.statistics.worst_slice import worst_gaps

PROMISED = 0.05


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
    harmless_pass: float
    """PASS where nothing is lost: the power."""


def measure_world(world: World, n: int, simulations: int, seed: int = 0) -> Rates:
    """Simulate slices of n units, harmed ones and others."""
    slices = max(20, int(simulations * world.share))
    rng = np.random.default_rng(seed)
    harmed = world.make(rng, slices, n, True)
    truth = harmed.truth
    if truth is None:
        truth = float(np.mean([one.drop for one in _compared(harmed, slices, None)]))
    gate = Tolerance(truth)
    if world.relative:
        gate = Tolerance(max_relative_drop=truth / 0.9)
    gated = _compared(harmed, slices, gate)
    null = _compared(world.make(rng, slices, n, False), slices, gate)
    kinds = [one.interval or "none" for one in gated]
    at_gate, harmless = (
        [one.verdict for one in judge_each(found, tell_needed=False)] for found in (gated, null)
    )
    return Rates(
        slices,
        {kind: kinds.count(kind) / slices for kind in sorted(set(kinds))},
        _share(gated, lambda one: one.one_sided_high is not None and one.one_sided_high < truth),
        _share(gated, lambda one: one.one_sided_low is not None and one.one_sided_low > truth),
        _share(
            gated,
            lambda one: one.low is not None and not one.low <= truth <= (one.high or np.inf),
        ),
        at_gate.count(Verdict.PASS) / slices,
        harmless.count(Verdict.REGRESSED) / slices,
        harmless.count(Verdict.PASS) / slices,
    )


def _compared(sample: Sample, slices: int, gate: Tolerance | None) -> list[Comparison]:
    n = len(sample.reference) // slices
    rows = {str(i): np.arange(i * n, (i + 1) * n) for i in range(slices)}
    return compare(
        sample.reference.metric,
        sample.reference,
        {"engine": sample.candidate},
        rows,
        max_drop=gate,
        clusters=sample.clusters,
        weights=sample.weights,
    )


def _share(found: list[Comparison], holds: Callable[[Comparison], bool]) -> float:
    return float(np.mean([holds(one) for one in found]))


def show_worlds(simulations: int, only: str) -> None:
    """The table of all worlds."""
    headings = (
        "bound < truth",
        "bound > truth",
        "95 % misses",
        "false PASS",
        "false REGR.",
        "true PASS",
    )
    columns = "".join(f"{each:>15}" for each in headings)
    print(f"{'interval and world':46}{'n':>6}{columns}  ±2 se  intervals used")
    worlds = (*ORDINARY, *HARD, *OBJECTS, *DETECTIONS, *MASKS, *BY_IMAGE, *APART, *UNKNOWABLE)
    for world in worlds:
        if only not in world.name:
            continue
        for n in world.sizes:
            rates = measure_world(world, n, simulations)
            error = 2 * np.sqrt(PROMISED * (1 - PROMISED) / rates.simulations)
            used = ", ".join(f"{k} {v:.0%}" for k, v in rates.intervals.items())
            numbers = (
                rates.below, rates.above, rates.outside, rates.false_pass, rates.false_regressed,
                rates.harmless_pass,
            )  # fmt: skip
            told = "".join(f"{each:>15.3f}" for each in numbers)
            print(f"{world.name:46}{n:>6}{told}  {error:.3f}  {used}", flush=True)


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
        named = judge(compare(TOP1, fp32, cells, rows, max_drop=0.02), tell_needed=False)
        accused += any(one.verdict is Verdict.REGRESSED for one in named)
        listed += bool(screen(judge(compare(TOP1, fp32, cells, rows))))
    print(f"50 harmless slices of 200: any REGRESSED in {accused / simulations:.3f} of audits, "
          f"any listed by screening in {listed / simulations:.3f}")  # fmt: skip
    wrong = 0
    for fp32, int8, rows in audits(simulations // 4, 20, 200, 0.05, 0.06):
        (gap,) = worst_gaps(TOP1, fp32, {"engine": int8}, rows)
        low, high = gap.gap.low, gap.gap.high
        wrong += low is None or high is None or not low <= 0.05 <= high
    print(f"worst of 20 slices, 5 points worse than the rest: 95 % interval misses the gap in "
          f"{4 * wrong / simulations:.3f}")  # fmt: skip


AUDITED = (
    "tango, 6 % flip", "tango-clustered, 6 speakers", "bootstrap-t, 20 % change",
    "nDCG, jitter, .5 % collapse", "NLL, lognormal, log-sd 2", "WER, 6 speakers",
    "WER, 20 speakers, unequal", "top-1, 5 % of 20 unequal clusters collapse",
)  # fmt: skip
"""Worlds of which whole audits are made."""


def accused_audits(world: World, n: int, audits: int, seed: int = 0) -> float:
    """Share of harmless audits with a REGRESSED: 8 cells, 2 metrics, 40 slices of n units."""
    rng = np.random.default_rng(seed)
    accused = 0
    for _ in range(audits):
        found = _compared(world.make(rng, 640, n, False), 640, Tolerance(0.02))
        family = [
            replace(one, cell=str(i // 80), metric=f"{i // 40 % 2}") for i, one in enumerate(found)
        ]
        judged = judge(family, tell_needed=False)
        accused += any(one.verdict is Verdict.REGRESSED for one in judged)
    return accused / audits


def show_audits(simulations: int) -> None:
    """Harmless audits of 640 gated comparisons."""
    known = {world.name: world for world in (*ORDINARY, *HARD)}
    for name in AUDITED:
        share = accused_audits(known[name], known[name].sizes[-1], simulations)
        print(f"harmless audit of 640 comparisons, {name}: exit 1 in {share:.3f}", flush=True)


NEEDING = (
    "tango, 6 % flip", "tango-clustered, 5 per image", "bootstrap-t, 20 % change",
    "bootstrap-t, WER, 10 per speaker", "nDCG, jitter, 1 % collapse", "NLL, normal",
)  # fmt: skip
"""Worlds of which open slices are drawn anew."""

MOST_NEEDED = 50_000
"""Units that are drawn anew at most."""


@dataclass(frozen=True)
class Needed:
    """What became of the open slices of one world."""

    open: int
    """INCONCLUSIVE slices."""
    told: int
    """Of them: told how many units decide, `MOST_NEEDED` at most."""
    decided: float
    """Of these: PASS or REGRESSED, drawn anew with as many units."""


def measure_needed(world: World, n: int, slices: int, seed: int = 0) -> Needed:
    """Draw open slices anew with the units they need: harmless, and twice as bad as the gate."""
    rng = np.random.default_rng(seed)
    truth = world.make(rng, 1, 1000, True).truth
    if truth is None:
        raise ValueError(f"the true drop of {world.name} isn't known")
    unresolved = told = decided = 0
    for harmed in (False, True):
        gate = Tolerance(truth / 2 if harmed else truth)
        for one in judge_each(_compared(world.make(rng, slices, n, harmed), slices, gate)):
            if one.verdict is not Verdict.INCONCLUSIVE:
                continue
            unresolved += 1
            if one.n_needed is None or one.n_needed > MOST_NEEDED:
                continue
            told += 1
            again = _compared(world.make(rng, 1, one.n_needed, harmed), 1, gate)
            decided += judge_each(again)[0].verdict is not Verdict.INCONCLUSIVE
    return Needed(unresolved, told, decided / max(told, 1))


def judge_each(found: list[Comparison], *, tell_needed: bool = True) -> list[Comparison]:
    """Each comparison as an audit of its own."""
    return [judge([one], tell_needed=tell_needed)[0] for one in found]


def show_needed(slices: int) -> None:
    """How often `n_needed` units decide."""
    known = {world.name: world for world in (*ORDINARY, *HARD)}
    for name in NEEDING:
        for n in (50, 200):
            found = measure_needed(known[name], n, slices)
            print(f"{name}, {n} units: {found.open} of {2 * slices} open, {found.told} told what "
                  f"they need, which decided {found.decided:.2f}", flush=True)  # fmt: skip


def show_power(simulations: int) -> None:
    """A 3-point drop in one of 40 slices, against the power that the contract predicts."""
    for n in (400, 800, 1500):
        found = false = 0
        for fp32, int8, rows in audits(simulations // 4, 40, n, 0.03, 0.04):
            compared = compare(TOP1, fp32, {"engine": int8}, rows, max_drop=0.01)
            judged = judge(compared, tell_needed=False)
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
        show_audits(options.simulations // 10)
        show_needed(options.simulations // 10)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
