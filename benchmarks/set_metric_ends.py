"""Upper ends of set metrics where few units lose much: by which interval, and for a PASS.

First, for worlds whose metric is a function of sums: how often upper bounds (one-sided, 95 %) are
below the true drop, and how far above the measured one they are in the median: the jackknife's, a
BCa and a percentile bootstrap's, bootstrap-t's, and the jackknife's where three times the reach of
one unit, which the sample may not hold, is added to the drop. Then, by numbers of clusters, how
often the jackknife's are below, and how often that would be a PASS at a gate of the true drop,
which has to leave room for such a reach.

    python benchmarks/set_metric_ends.py [--simulations 60] [--only TEXT]
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from worlds.detections import DETECTIONS, Photographs
from worlds.masks import MASKS, MEAN_IOU, failing
from worlds.ordinary import Make, Sample

from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.unit_scores import SetScores
from calaudit.statistics.bounds import clopper_pearson_upper
from calaudit.statistics.estimate import Levels
from calaudit.statistics.jackknife import SetDrops

Floats = NDArray[np.float64]

REPLICATES = 799
TAIL = 0.05
CLUSTERS = (50, 100, 150, 300)
THREE = (8.0, 1.0, 1.0)
"""Objects of three classes in a photograph."""


@dataclass(frozen=True)
class Judged:
    """One slice by the jackknife."""

    drop: float
    high: float
    """One-sided upper bound."""
    room: float
    """What clusters that the sample doesn't hold may lose."""


def judged(sample: Sample, slices: int) -> Iterator[tuple[NDArray[np.int64], Judged]]:
    """Units and bounds of each slice of a sample."""
    assert isinstance(sample.reference, SetScores)
    assert isinstance(sample.candidate, SetScores)
    n = len(sample.reference) // slices
    drops = SetDrops(sample.reference, [sample.candidate], sample.clusters)
    for number in range(slices):
        rows = np.arange(number * n, (number + 1) * n)
        # a margin beside 0: the test by swaps, which isn't looked at, takes most of the time
        found = drops.compare(rows, Levels(), key=str(number), margin=np.array([1e-9]))
        whole = drops.groups(rows).effective
        unseen = clopper_pearson_upper(0, whole, TAIL) * drops.most(rows)(n) * n
        yield rows, Judged(float(found.drop[0]), float(found.ends[3, 0]), unseen)


def bootstrapped(sample: Sample, rows: NDArray[np.int64], rng: np.random.Generator) -> list[float]:
    """Upper bounds of one slice by BCa, bootstrap-t and percentiles."""
    one, other = (_clustered(each, sample.clusters, rows) for each in _sums(sample))
    functional = _sums(sample)[0].functional

    def drop(weights: Floats) -> Floats:
        return functional(weights @ one) - functional(weights @ other)

    k = len(one)
    every = np.ones((1, k))
    counts = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES).astype(np.float64)
    at, found = float(drop(every)[0]), drop(counts)
    errors = _errors(functional, one, other, counts)
    error = float(_errors(functional, one, other, every)[0])
    t = np.divide(found - at, errors, out=np.zeros_like(found), where=errors > 0)
    left = functional(one.sum(axis=0) - one) - functional(other.sum(axis=0) - other)
    pull = left.mean() - left
    skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5 + 1e-300)
    shift = ndtri(np.clip((found < at).mean(), 1 / REPLICATES, 1 - 1 / REPLICATES))
    z = shift + ndtri(1 - TAIL)
    place = float(ndtr(shift + z / (1 - skew * z)))
    return [
        float(np.quantile(found, place)),
        at - float(np.quantile(t, TAIL)) * error,
        float(np.quantile(found, 1 - TAIL)),
    ]


def _sums(sample: Sample) -> list[Sums]:
    found = []
    for scores in (sample.reference, sample.candidate):
        assert isinstance(scores, SetScores)
        assert isinstance(scores.statistics, Sums)
        found.append(scores.statistics)
    return found


def _clustered(sums: Sums, clusters: Any, rows: NDArray[np.int64]) -> Floats:
    """What clusters add to the sums, (k, m)."""
    columns: Floats = sums.columns[rows].toarray()
    if clusters is None:
        return columns
    _, place = np.unique(clusters[rows], return_inverse=True)
    found = np.zeros((place.max() + 1, columns.shape[1]))
    np.add.at(found, place, columns)
    return found


def _errors(
    functional: Callable[[Floats], Floats], one: Floats, other: Floats, weights: Floats
) -> Floats:
    """Linearised standard errors of the drop, (replicates,)."""

    def slopes(totals: Floats) -> Floats:
        found = np.empty_like(totals)
        for column in range(totals.shape[1]):
            step = np.zeros_like(totals)
            step[:, column] = np.maximum(np.abs(totals[:, column]) * 1e-4, 1e-3)
            apart = functional(totals + step) - functional(totals - step)
            found[:, column] = apart / (2 * step[:, column])
        return found

    pull = slopes(weights @ one) @ one.T - slopes(weights @ other) @ other.T
    centre = (weights * pull).sum(axis=1, keepdims=True) / len(one)
    return np.asarray(np.sqrt((weights * (pull - centre) ** 2).sum(axis=1)))


def show_ends(slices: int, only: str) -> None:
    """The table of intervals."""
    print("upper bounds below the true drop, and their median distance from the drop in points")
    names = ("jackknife", "BCa", "bootstrap-t", "percentile", "with reach")
    print(f"{'world':42}{'n':>6}" + "".join(f"{name:>14}" for name in names))
    for world in (*MASKS, *DETECTIONS):
        for n in world.sizes:
            if only not in world.name:
                continue
            sample = world.make(np.random.default_rng(0), slices, n, True)
            if not isinstance(sample.reference, SetScores):
                continue
            rng, found, drops = np.random.default_rng(5), [], []
            of_sums = isinstance(sample.reference.statistics, Sums)
            for rows, one in judged(sample, slices):
                others = bootstrapped(sample, rows, rng) if of_sums else [np.nan] * 3
                found.append([one.high, *others, max(one.high, one.drop + one.room)])
                drops.append(one.drop)
            _print_row(f"{world.name:42}{n:>6}", np.array(found), np.array(drops))


def _print_row(head: str, found: Floats, drops: Floats) -> None:
    below = (found < drops.mean()).mean(axis=0)
    far = 100 * np.median(found - drops[:, None], axis=0)
    cells = (
        "" if np.isnan(points) else f"{share:.2f}, {points:.2f}"
        for share, points in zip(below, far, strict=True)
    )
    print(head + "".join(f"{cell:>14}" for cell in cells), flush=True)


def worlds() -> Iterator[tuple[str, Make, int]]:
    """Name, world, units of a cluster."""
    for share in (0.02, 0.05, 0.1):
        for lights in (1, 4):
            name = f"AP, {share:.0%} of photographs collapse, {lights} lights"
            yield name, Photographs(THREE, lights=lights, collapse=share), lights
    yield "AP, all lose a little, 4 lights", Photographs(THREE, lights=4), 4
    for share in (0.02, 0.05, 0.1):
        for size in (1, 5):
            name = f"mean IoU, {share:.0%} of scenes of {size} flooded"
            yield name, failing(MEAN_IOU, "flood", share, per_scene=size), size
    name = "mean IoU, rare class lost in 10 % of scenes of 5"
    yield name, failing(MEAN_IOU, "rare", 0.3, per_scene=5), 5


def show_clusters(slices: int, only: str) -> None:
    """The table of numbers of clusters."""
    print("bounds below the true drop, and of these such that a gate leaves room for the unseen")
    print(f"{'world':50}" + "".join(f"{k:>12}" for k in CLUSTERS))
    for name, make, size in worlds():
        if only not in name:
            continue
        cells = []
        for clusters in CLUSTERS:
            sample = make(np.random.default_rng(1), slices, clusters * size, True)
            found = [one for _, one in judged(sample, slices)]
            truth = float(np.mean([one.drop for one in found]))
            below = [one for one in found if one.high < truth]
            passed = [one for one in below if one.room < truth]
            cells.append(f"{len(below) / slices:.2f} {len(passed) / slices:.2f}")
        print(f"{name:50}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--simulations", type=int, default=60, help="slices of each world")
    parser.add_argument("--only", default="", help="worlds with this in their names")
    asked = parser.parse_args()
    show_ends(asked.simulations, asked.only)
    print()
    show_clusters(asked.simulations, asked.only)
