"""Simulated worlds like those that engines were seen in: units, and what an engine does to them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import RatioScores, Scores, UnitScores

SIZES = (50, 200, 1000)
TOP1, NDCG = parse_metric("top1"), parse_metric("ndcg@10")
BALANCED, GINI = parse_metric("balanced_accuracy"), parse_metric("gini@5")
WER = Metric(
    name="wer", family="wer", k=None, title="Word error rate", kind="ratio",
    direction="lower_is_better", unit="fraction", span=None,
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


Make = Callable[[Generator, int, int, bool], Sample]


@dataclass(frozen=True)
class World:
    """How units come about: (generator, slices, n, harm) → a sample whose true drop is harm's."""

    name: str
    make: Make
    sizes: tuple[int, ...] = SIZES
    relative: bool = False
    share: float = 1.0
    """Of the simulations asked for: slow ones do fewer."""


def right_wrong(flip_rate: float, harm: float) -> Make:
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


def clustered_flips(per_cluster: int, correlation: float, *, lost: float, gained: float) -> Make:
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


def zero_inflated(changed: float, losing: float, weighted: bool = False) -> Make:
    """Drops of nDCG: most queries unchanged, the others skewed."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        units = slices * n
        worse = rng.random(units) < (losing if harmed else 0.5)
        size = rng.beta(0.6, 1.2, units) * np.where(worse, 1, -1)
        drop = np.where(rng.random(units) < changed, size, 0.0)
        truth = changed * (2 * losing - 1) / 3 if harmed else 0.0
        weights = rng.exponential(size=units) if weighted else None
        whole = np.ones(units)
        return Sample(UnitScores(NDCG, whole), UnitScores(NDCG, whole - drop), truth, None, weights)

    return make


def word_errors(per_speaker: int) -> Make:
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


ORDINARY = (
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
