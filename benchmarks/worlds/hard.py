"""Simulated worlds in which promises are hard to keep.

Large losses are rare, tails heavy, clusters few or unequal, classes rare, weights unequal.
"""

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Relevance, Values
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from worlds.ordinary import (
    BALANCED,
    NDCG,
    TOP1,
    WER,
    Floats,
    Generator,
    Make,
    Sample,
    World,
)

COSINE, NLL, RMSE = parse_metric("cosine"), parse_metric("nll"), parse_metric("rmse")
MACRO_F1, ECE, COVERAGE = (parse_metric(name) for name in ("macro_f1", "ece", "coverage@5"))


def jitter_and_collapse(
    share: float, *, metric: Metric = NDCG, jitter: float = 0.02, jittered: float = 0.3,
    loss: float = 1.0, log_weights: float | None = None,
) -> Make:  # fmt: skip
    """A share of the units moves a little, a small `share` loses (nearly) all; the null: as many
    gain."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        units = slices * n
        moved = rng.random(units) < jittered
        low = 0.0 if metric.is_agreement else -jitter
        drop = np.where(moved, rng.uniform(low, jitter, units), 0.0)
        collapsed = rng.random(units) < share
        sign: float | Floats = 1.0
        if not harmed:
            sign = 0.0 if metric.is_agreement else rng.choice([-1.0, 1.0], units)
        drop = np.where(collapsed, loss * sign, drop)
        mean = jittered * (low + jitter) / 2 * (1 - share) + (share * loss if harmed else 0.0)
        weights = None if log_weights is None else rng.lognormal(0.0, log_weights, units)
        return Sample(_scores(metric, np.zeros(units)), _scores(metric, drop), mean, None, weights)

    return make


def heavy_tailed(sigma: float) -> Make:
    """Losses of lognormal size; the null: losses and gains of such size."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        drop = rng.lognormal(0.0, sigma, slices * n)
        if not harmed:
            drop *= rng.choice([-1.0, 1.0], slices * n)
        truth = float(np.exp(sigma**2 / 2)) if harmed else 0.0
        return Sample(_scores(NLL, np.zeros(slices * n)), _scores(NLL, drop), truth)

    return make


def normal(mean: float, degrees: float = np.inf) -> Make:
    """Losses with a tail like the normal's, or Student's t's."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        noise = rng.normal(0, 1, slices * n)
        if np.isfinite(degrees):
            noise = rng.standard_t(degrees, slices * n)
        drop = noise + (mean if harmed else 0.0)
        truth = mean if harmed else 0.0
        return Sample(_scores(NLL, np.zeros(slices * n)), _scores(NLL, drop), truth)

    return make


def speakers(count: int, *, spread: float = 1.0, sizes: float = 0.0, words: float = 0.0) -> Make:
    """Word errors added by speaker, lognormal over speakers.

    `spread` is the log-sd of what a speaker loses, `sizes` that of how much each speaks, `words`
    that of an utterance's length.
    """

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        code = _members(rng, slices, n, count, sizes)
        length = np.maximum(np.rint(8 * rng.lognormal(0.0, words, (slices, n))), 1)
        own = rng.lognormal(-(spread**2) / 2, spread, (2, slices, count))
        rates = 0.03 * np.take_along_axis(own, code[None].repeat(2, 0), axis=2)
        added, removed = rng.poisson(length * rates)
        if harmed:
            removed = np.zeros_like(added)
        before = removed.ravel().astype(float)
        after = added.ravel().astype(float)
        total = length.ravel()
        return Sample(
            RatioScores(WER, before, total), RatioScores(WER, after, total),
            0.03 if harmed else 0.0, code.ravel(),
        )  # fmt: skip

    return make


def collapsing_clusters(
    count: int, share: float, *, metric: Metric = TOP1, flips: float = 0.04, sizes: float = 0.0
) -> Make:
    """Units change at random, and in a share of the clusters most are lost; the null: as many
    clusters gain."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        code = _members(rng, slices, n, count, sizes)
        fate = rng.random((slices, count)) < share
        sign = np.ones((slices, count)) if harmed else rng.choice([-1.0, 1.0], (slices, count))
        whole = np.take_along_axis(fate * sign, code, axis=1)
        chance = rng.random((slices, n))
        drop = np.where(chance < flips / 2, 1.0, np.where(chance > 1 - flips / 2, -1.0, 0.0))
        drop = np.where((whole != 0) & (rng.random((slices, n)) < 0.8), whole, drop)
        truth = share * 0.8 if harmed else 0.0
        if metric.kind == "binary":
            fp32 = np.where(drop == 0, rng.random((slices, n)) < 0.9, drop > 0).ravel()
            int8 = np.where(drop == 0, fp32.reshape(slices, n), drop < 0).ravel()
            return Sample(UnitScores(metric, fp32), UnitScores(metric, int8), truth, code.ravel())
        flat = drop.ravel() * rng.uniform(0.3, 1.0, drop.size)
        return Sample(
            _scores(metric, np.zeros(drop.size)), _scores(metric, flat), 0.65 * truth, code.ravel()
        )

    return make


def correlated_flips(count: int, correlation: float, *, sizes: float) -> Make:
    """Flips that go together within clusters of unequal size (beta-binomial)."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        code = _members(rng, slices, n, count, sizes)
        shape = (1 - correlation) / correlation
        lost, gained = (0.06 if harmed else 0.03), 0.03
        own, back = (
            np.take_along_axis(rng.beta(p * shape, (1 - p) * shape, (slices, count)), code, axis=1)
            for p in (lost, gained)
        )
        chance = rng.random((slices, n))
        loses = (chance < own).ravel()
        gains = (~loses) & (1 - chance < back).ravel()
        right = rng.random(slices * n) < 0.9
        fp32, int8 = np.where(loses, True, right & ~gains), np.where(gains, True, right & ~loses)
        drop = lost - gained
        return Sample(UnitScores(TOP1, fp32), UnitScores(TOP1, int8), drop, code.ravel())

    return make


def rare_class(metric: Metric = BALANCED, harm: float = 0.6) -> Make:
    """Four classes, 90, 6, 3 and 1 %; the engine hurts the rarest one."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        label = rng.choice(4, slices * n, p=[0.9, 0.06, 0.03, 0.01])
        fp32 = rng.random(slices * n) < 0.85
        redone = rng.random(slices * n) < 0.2
        chance = np.where((label == 3) & harmed, 0.85 - harm, 0.85)
        int8 = np.where(redone | ((label == 3) & harmed), rng.random(slices * n) < chance, fp32)
        before, after = (
            score(metric, np.eye(4)[np.where(right, label, (label + 1) % 4)], Labels(label))
            for right in (fp32, int8)
        )
        return Sample(before, after, None)

    return make


def one_holds_half(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
    """Balanced accuracy in 20 clusters of which one holds half the units; clusters differ."""
    member = np.minimum(rng.integers(0, 38, (slices, n)), 19)
    label = rng.choice(4, slices * n, p=[0.4, 0.3, 0.2, 0.1])
    fp32 = rng.random(slices * n) < 0.85
    own = rng.normal(0.1 if harmed else 0.0, 0.1, (slices, 20))
    chance = np.clip(0.85 - np.take_along_axis(own, member, axis=1), 0, 1).ravel()
    redone = rng.random(slices * n) < 0.5
    int8 = np.where(redone, rng.random(slices * n) < chance, fp32)
    before, after = (
        score(BALANCED, np.eye(4)[np.where(right, label, (label + 1) % 4)], Labels(label))
        for right in (fp32, int8)
    )
    return Sample(before, after, 0.05 if harmed else 0.0, member.ravel())


def confidences(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
    """Calibration error: most outputs jitter, 1 % become sure and wrong."""
    units = slices * n
    logits = rng.normal(0, 1, (units, 5))
    label = np.array([rng.choice(5, p=p) for p in np.exp(logits) / np.exp(logits).sum(1)[:, None]])
    other = logits + rng.normal(0, 0.02, (units, 5))
    if harmed:
        struck = np.flatnonzero(rng.random(units) < 0.01)
        other[struck, (label[struck] + 1) % 5] += 20.0
    truth = Labels(label)
    return Sample(score(ECE, logits, truth), score(ECE, other, truth), None)


def shown_items(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
    """Coverage of 400 items: scores jitter, and a few queries no longer show what only they do."""
    shape = (slices * n, 400)
    base = rng.normal(size=shape) - 0.02 * np.arange(400)
    noise = rng.normal(0, 0.02, shape)
    lost = (rng.random(slices * n) < 0.2) if harmed else np.zeros(slices * n, dtype=bool)
    rare = np.argsort(rng.random((slices * n, 100)), axis=1)[:, :5] + 300
    shows = rng.random(slices * n) < 0.1
    base[np.flatnonzero(shows)[:, None], rare[shows]] += 20.0
    other = base + noise
    gone = np.flatnonzero(lost & shows)
    other[gone[:, None], rare[gone]] -= 40.0
    truth = Relevance(np.ones(shape, dtype=np.uint8))
    return Sample(score(COVERAGE, base, truth), score(COVERAGE, other, truth), None)


def squared_errors(sigma: float) -> Make:
    """Root mean squared error with lognormal errors."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        target = np.zeros(slices * n)
        size = rng.lognormal(0.0, sigma, slices * n)
        other = size if harmed else rng.permutation(size)
        before = rng.normal(0, 1, slices * n)
        after = before + (0.5 * other if harmed else rng.normal(0, 0.1, slices * n))
        truth = Values(target)
        return Sample(score(RMSE, before, truth), score(RMSE, after, truth), None)

    return make


def _members(rng: Generator, slices: int, n: int, count: int, sizes: float) -> NDArray[np.int64]:
    """(slices, n) cluster of each unit; `sizes` is the log-sd of the clusters' sizes."""
    share = rng.lognormal(0.0, sizes, (slices, count))
    edges = np.cumsum(share, axis=1)
    edges /= edges[:, -1:]
    if sizes == 0.0:
        return np.tile(np.arange(n) * count // n, (slices, 1)).astype(np.int64)
    place = rng.random((slices, n))
    found: NDArray[np.int64] = np.count_nonzero(place[:, :, None] > edges[:, None, :-1], axis=2)
    return found


def _scores(metric: Metric, drop: Floats) -> UnitScores:
    return UnitScores(metric, 1.0 - drop if metric.higher_is_better else drop)


HARD = (
    World("nDCG, jitter, .2 % collapse", jitter_and_collapse(0.002), sizes=(300, 1000)),
    World("nDCG, jitter, .5 % collapse", jitter_and_collapse(0.005), sizes=(300, 1000)),
    World("nDCG, jitter, 1 % collapse", jitter_and_collapse(0.01), sizes=(300, 1000)),
    World("nDCG, large jitter, .5 % collapse", jitter_and_collapse(0.005, jitter=0.2, jittered=1.0),
          sizes=(300, 1000)),
    World("nDCG, jitter, 1 % lose .5", jitter_and_collapse(0.01, loss=0.5), sizes=(300, 1000)),
    World("nDCG, jitter, weights log-sd 1.5", jitter_and_collapse(0.01, log_weights=1.5),
          sizes=(300, 1000)),
    World("cosine, .5 % collapse", jitter_and_collapse(0.005, metric=COSINE, jitter=1e-3,
          jittered=1.0), sizes=(300,)),
    World("cosine, .2 % collapse", jitter_and_collapse(0.002, metric=COSINE, jitter=1e-3,
          jittered=1.0), sizes=(1000,)),
    World("cosine, .1 % collapse", jitter_and_collapse(0.001, metric=COSINE, jitter=1e-3,
          jittered=1.0), sizes=(2000,)),
    World("NLL, normal", normal(0.2), sizes=(300, 1000)),
    World("NLL, Student's t, 3 degrees", normal(0.2, 3.0), sizes=(300, 1000)),
    World("NLL, lognormal, log-sd 1", heavy_tailed(1.0), sizes=(300, 1000)),
    World("NLL, lognormal, log-sd 2", heavy_tailed(2.0), sizes=(300, 1000)),
    World("NLL, lognormal, log-sd 3", heavy_tailed(3.0), sizes=(300, 1000)),
    World("RMSE, lognormal, log-sd 2", squared_errors(2.0), sizes=(300, 1000), share=0.25),
    World("WER, 20 speakers", speakers(20), sizes=(1000,)),
    World("WER, 6 speakers", speakers(6), sizes=(1000,)),
    World("WER, 20 speakers, unequal", speakers(20, sizes=1.0), sizes=(1000,)),
    World("WER, 60 speakers", speakers(60), sizes=(1000,)),
    World("WER, 20 alike speakers", speakers(20, spread=0.3), sizes=(1000,)),
    World("WER, 100 alike speakers", speakers(100, spread=0.3), sizes=(1000,)),
    World("WER, 100 speakers, lengths log-sd 1.5", speakers(100, words=1.5), sizes=(1000,)),
    World("top-1, 5 % of 20 clusters collapse", collapsing_clusters(20, 0.05), sizes=(1000,)),
    World("top-1, 2 % of 100 clusters collapse", collapsing_clusters(100, 0.02), sizes=(1000,)),
    World("nDCG, 2 % of 100 clusters collapse", collapsing_clusters(100, 0.02, metric=NDCG),
          sizes=(1000,)),
    World("top-1, 5 % of 20 unequal clusters collapse", collapsing_clusters(20, 0.05, sizes=1.0),
          sizes=(1000,)),
    World("top-1, 6 unequal speakers", correlated_flips(6, 0.1, sizes=1.0), sizes=(1000,)),
    World("top-1, 20 unequal speakers", correlated_flips(20, 0.3, sizes=1.0), sizes=(1000,)),
    World("balanced accuracy, class of 1 % harmed", rare_class(), sizes=(300, 1000), share=0.25),
    World("macro F1, class of 1 % harmed", rare_class(MACRO_F1), sizes=(300, 1000), share=0.25),
    World("balanced accuracy, a cluster holds half", one_holds_half, sizes=(300, 1000), share=0.25),
    World("ECE, 1 % sure and wrong", confidences, sizes=(300, 1000), share=0.1),
    World("coverage, rare items lost", shown_items, sizes=(300,), share=0.1),
)  # fmt: skip

UNKNOWABLE = (
    World("NLL, jitter, .5 % lose 10", jitter_and_collapse(0.005, metric=NLL, loss=10.0),
          sizes=(300, 1000)),
)  # fmt: skip
"""Nothing bounds what a unit may lose, and the sample that holds none that does can't tell: no
promise is made."""
