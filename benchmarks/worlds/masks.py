"""Simulated segmentations: images of common and rare classes, engines that fail on some of them.

An image holds pixels of classes whose shares vary from image to image; FP32 finds most of them and
takes others for them. An engine changes every image a little. What it does to few images is what an
interval may not have seen: it loses the rare class where it is, or takes all pixels for one class.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import definition_of, parse_metric
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.unit_scores import RatioScores, Scores, SetScores
from worlds.ordinary import Floats, Generator, Make, Sample, World

PIXELS = 10_000
SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
RARE = len(SHARES) - 1
FOUND = np.array([0.92, 0.9, 0.8, 0.75, 0.6, 0.5])
"""Share of a class's pixels that FP32 finds."""
MEAN_IOU, RARE_IOU = parse_metric("mean_iou"), parse_metric(f"iou[{RARE}]")
ACCURACY = parse_metric("pixel_accuracy")


@dataclass(frozen=True)
class Masks:
    """Pixels by image and class: true, answered, and both at once, each (n, classes)."""

    true: Floats
    answered: Floats
    common: Floats

    def scores(self, metric: Metric) -> Scores:
        """Their scores, as those of confusion matrices."""
        total = self.true.sum(axis=1, keepdims=True)
        if metric == ACCURACY:
            return RatioScores(metric, self.common.sum(axis=1), total[:, 0])
        parts = [self.true, self.answered, self.common]
        if metric == RARE_IOU:
            parts = [*(each[:, RARE:] for each in parts), total]
        columns = sparse.csr_array(np.concatenate(parts, axis=1))
        definition = definition_of(metric)
        assert definition.functional is not None
        sums = Sums(columns, definition.functional, lambda *_: np.inf, definition.reach)
        return SetScores(metric, sums)


def fp32(rng: Generator, n: int, rare_in: float) -> Masks:
    """Images by FP32; the rare class is in a share of them."""
    shares = rng.gamma(3.0 * SHARES / SHARES.min() * 0.05, size=(n, len(SHARES)))
    shares[:, RARE] = np.where(rng.random(n) < rare_in, 0.01 * rng.gamma(2.0, size=n), 0.0)
    true = np.rint(PIXELS * shares / shares.sum(axis=1, keepdims=True))
    common = np.rint(true * rng.beta(12 * FOUND, 12 * (1 - FOUND), true.shape))
    return Masks(true, common + _wrong(rng, true - common), common)


def _wrong(rng: Generator, missed: Floats) -> Floats:
    """What missed pixels are taken for."""
    to = rng.gamma(8 * SHARES, size=missed.shape)
    shared: Floats = missed.sum(axis=1, keepdims=True) * to / to.sum(axis=1, keepdims=True)
    return np.rint(shared)


def changed(rng: Generator, masks: Masks, size: float, shift: float = 0.0) -> Masks:
    """Every image's found pixels a little more or fewer, `shift` of them lost on average."""
    factor = rng.normal(1.0 - shift, size, masks.common.shape)
    common = np.rint(np.clip(masks.common * factor, 0, masks.true))
    extra = np.maximum(masks.answered - masks.common, 0)
    lost = (masks.common - common).sum(axis=1, keepdims=True)
    spread = np.maximum(extra + np.rint(lost * SHARES), 0)
    return Masks(masks.true, common + spread, common)


def mixed(one: Masks, other: Masks, where: Floats) -> Masks:
    """The other's images where it is said, elsewhere the one's."""
    pick = where[:, None]
    return Masks(
        one.true,
        np.where(pick, other.answered, one.answered),
        np.where(pick, other.common, one.common),
    )


def flooded(rng: Generator, masks: Masks) -> Masks:
    """All pixels of an image taken for one class."""
    kind = rng.integers(0, len(SHARES), len(masks.true))[:, None] == np.arange(len(SHARES))
    total = masks.true.sum(axis=1, keepdims=True)
    return Masks(masks.true, np.where(kind, total, 0.0), np.where(kind, masks.true, 0.0))


def without_rare(_: Generator, masks: Masks) -> Masks:
    """No pixel of the rare class found; those that were are taken for the commonest."""
    answered, common = masks.answered.copy(), masks.common.copy()
    answered[:, 0] += answered[:, RARE]
    answered[:, RARE] = common[:, RARE] = 0.0
    return Masks(masks.true, answered, common)


def drifting(metric: Metric, shift: float) -> Make:
    """Every image loses a little on average; the null: none does."""

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        same = fp32(rng, slices * n, 0.5)
        # Both change: a change alone loses pixels, as no more can be found than there are.
        before = changed(rng, same, 0.02)
        after = changed(rng, same, 0.02, shift if harmed else 0.0)
        return Sample(before.scores(metric), after.scores(metric), None)

    return make


def failing(
    metric: Metric, how: str, share: float, *, rare_in: float = 0.3, per_scene: int = 1
) -> Make:
    """A share of the images fail under the engine; the null: half of them do so under FP32 instead.

    `how` they fail is ``"flood"`` or ``"rare"``; of a scene of several images all do.
    """
    failed = {"flood": flooded, "rare": without_rare}[how]

    def make(rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        scene = np.arange(slices * n) // per_scene
        same = fp32(rng, slices * n, rare_in)
        before, after = changed(rng, same, 0.005), changed(rng, same, 0.005)
        hit = (rng.random(scene[-1] + 1) < share)[scene]
        back = np.zeros_like(hit) if harmed else (rng.random(scene[-1] + 1) < 0.5)[scene]
        one = mixed(before, failed(rng, before), hit & back)
        other = mixed(after, failed(rng, after), hit & ~back)
        clusters = None if per_scene == 1 else scene
        return Sample(one.scores(metric), other.scores(metric), None, clusters)

    return make


MASKS = (
    World("mean IoU, all lose a little", drifting(MEAN_IOU, 0.01), sizes=(300, 1000), share=0.3),
    World("mean IoU, .5 % flooded", failing(MEAN_IOU, "flood", 0.005), sizes=(300, 1000),
          share=0.3),
    World("mean IoU, 2 % flooded", failing(MEAN_IOU, "flood", 0.02), sizes=(300, 1000), share=0.3),
    World("mean IoU, rare class lost in 3 %", failing(MEAN_IOU, "rare", 0.1), sizes=(300, 1000),
          share=0.3),
    World("mean IoU, class in 2 % lost in half", failing(MEAN_IOU, "rare", 0.5, rare_in=0.02),
          sizes=(300, 1000), share=0.3),
    World("mean IoU, 2 % of scenes of 10 flooded", failing(MEAN_IOU, "flood", 0.02, per_scene=10),
          sizes=(1000,), share=0.3),
    World("IoU of the rare class, all lose a little", drifting(RARE_IOU, 0.03), sizes=(300, 1000),
          share=0.3),
    World("IoU of the rare class, lost in 3 %", failing(RARE_IOU, "rare", 0.1), sizes=(300, 1000),
          share=0.3),
    World("IoU of the rare class, .5 % flooded", failing(RARE_IOU, "flood", 0.005),
          sizes=(300, 1000), share=0.3),
    World("pixel accuracy, .5 % flooded", failing(ACCURACY, "flood", 0.005), sizes=(300, 1000),
          share=0.3),
    World("pixel accuracy, all lose a little", drifting(ACCURACY, 0.005), sizes=(300, 1000),
          share=0.3),
)  # fmt: skip
