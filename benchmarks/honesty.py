"""Is a recommendation honest where there is nothing to choose? All candidates are equal.

    python benchmarks/honesty.py [--worlds 400]

Every engine flips the same share of answers, drawn anew for each; so no engine is better than the
plain set's, and every claimed gain is luck. The winner is chosen on tuning rows by the functions
that `calaudit recommend` calls, and its gain over the plain set is measured as there, on evaluation
rows. Told are: the mean of the claimed gain, how often its 95 % interval holds the truth (0), how
often a gain is called certain, and beside it what the rows that chose would have claimed.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from calaudit.statistics.choice import Standing, ranked, standing
from calaudit.statistics.compare import compare
from calaudit.statistics.criteria import Comparison
from calaudit.statistics.verdict import judge

TOP1 = parse_metric("top1")
GATE = 0.03


@dataclass(frozen=True)
class World:
    title: str
    n_engines: int
    n_tuning: int
    n_evaluation: int
    flips: float
    n_slices: int = 8
    price: bool = True
    """Whether dearer remedies cost more; else the best of all is taken."""


WORLDS = (
    World("12 engines, by price", 12, 1600, 2400, 0.02),
    World("12 engines, one price", 12, 1600, 2400, 0.02, price=False),
    World("12 engines, many flips", 12, 1600, 2400, 0.12),
    World("12 engines, few rows", 12, 400, 2400, 0.04, price=False),
    World("40 engines, one price", 40, 1600, 2400, 0.04, price=False),
)


def engines(world: World, n: int, rng: np.random.Generator) -> tuple[UnitScores, list[UnitScores]]:
    """FP32's scores, and those of equal engines; the slices differ in how hard they are."""
    slice_of = np.arange(n) % world.n_slices
    right = rng.random(n) < np.linspace(0.97, 0.75, world.n_slices)[slice_of]
    made = []
    for _ in range(world.n_engines):
        flipped = rng.random(n) < world.flips / 2
        made.append(UnitScores(TOP1, (right ^ flipped).astype(np.float64)))
    return UnitScores(TOP1, right.astype(np.float64)), made


def slices(world: World, n: int) -> dict[str, NDArray[np.int64]]:
    rows = np.arange(n, dtype=np.int64)
    return {"all": rows} | {
        f"s{k}": rows[rows % world.n_slices == k] for k in range(world.n_slices)
    }


def compared(
    world: World, before: UnitScores, after: dict[str, UnitScores], n: int, seed: int
) -> list[Comparison]:
    return compare(TOP1, before, after, slices(world, n), max_drop=GATE, seed=seed)


@dataclass(frozen=True)
class Claim:
    plain: bool
    """Whether the plain set is recommended."""
    gain: float
    covered: bool
    certain: bool
    """Whether a gain is claimed to be certain."""
    tuning_gain: float
    """What the rows that chose would have claimed, in the same place."""


def one(world: World, seed: int) -> Claim:
    rng = np.random.default_rng(seed)
    reference, own = engines(world, world.n_tuning, rng)
    names = [str(k) for k in range(world.n_engines)]
    found = compared(world, reference, dict(zip(names, own, strict=True)), world.n_tuning, seed)
    standings: list[Standing] = []
    for number, name in enumerate(names):
        price = min(number // 4, 4) if world.price else 0
        mine = judge([each for each in found if each.cell == name])
        standings.append(standing(mine, price=price))
    winner = ranked(standings)[0]
    worst = standings[0].worst
    assert worst is not None
    place = worst.slice
    before, after = (float(each.used) for each in (standings[0], standings[winner]))
    reference, own = engines(world, world.n_evaluation, rng)
    if winner == 0:
        return Claim(True, 0.0, True, False, 0.0)
    rows = slices(world, world.n_evaluation)[place]
    (gain,) = compare(TOP1, own[winner], {"plain": own[0]}, {place: rows}, seed=seed)
    low, high = gain.low or 0.0, gain.high or 0.0
    return Claim(False, gain.drop or 0.0, low <= 0 <= high, low > 0, GATE * (before - after))


def row(world: World, n: int) -> str:
    claims = [one(world, seed) for seed in range(n)]
    others = [each for each in claims if not each.plain]
    gains = np.array([each.gain for each in others]) * 100
    error = gains.std() / np.sqrt(max(len(gains), 1)) if len(gains) else 0.0
    covered = np.mean([each.covered for each in others]) if others else float("nan")
    certain = np.mean([each.certain for each in claims])
    luck = np.mean([each.tuning_gain for each in others]) * 100 if others else float("nan")
    mean = gains.mean() if len(gains) else float("nan")
    return (
        f"{world.title:26s} {sum(each.plain for each in claims) / n:>9.2f} "
        f"{mean:>+9.3f} ± {error:.3f} {covered:>9.3f} {certain:>9.3f} {luck:>+12.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=400)
    given = parser.parse_args()
    print(
        f"{'world':26s} {'plain set':>9s} {'gain, points':>17s} {'coverage':>9s} "
        f"{'certain':>9s} {'tuning rows':>12s}"
    )
    for world in WORLDS:
        print(row(world, given.worlds), flush=True)


if __name__ == "__main__":
    main()
