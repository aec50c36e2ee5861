"""Worlds of detectors: boxes with scores in images, crowded, in several lights, of rare classes.

Each object has a difficulty, which its photograph shares; FP32 and INT8 see it with noise of their
own. How well a box fits decides up to which IoU it is right. AP has no closed form here: the true
drop is the mean over all slices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.average_precision import RankedDetections, ranked
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import SetScores
from worlds.ordinary import Floats, Generator, Make, Sample, World

AP = parse_metric("ap")
LEVELS = 10
"""IoU thresholds."""


@dataclass(frozen=True)
class Photographs:
    """Photographs with objects of some classes, each seen in several lights."""

    per_class: tuple[float, ...]
    """Objects of each class in a photograph, on average."""
    crowding: float = 0.5
    """Log-SD of how many objects photographs have."""
    lights: int = 1
    false: float = 2.0
    """Boxes on nothing, of each class in an image."""
    share: float = 0.15
    """Of the objects, that a harmful engine sees worse."""
    collapse: float = 0.0
    """Share of the photographs in which a harmful engine sees nothing."""
    noise: float = 0.3
    """Of each engine, in the score's logit, and in levels of IoU."""
    by_image: bool = False
    """Whether each image is taken for itself, and not photographs."""

    def __call__(self, rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        """Slices of n images, of whole photographs."""
        photos = slices * n // self.lights
        size = rng.lognormal(-(self.crowding**2) / 2, self.crowding, photos)
        hard = rng.normal(0, 0.7, photos)
        counts = rng.poisson(size[:, None] * np.array(self.per_class))
        photo, label = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
        own = rng.normal(0, 1, len(photo)) + hard[photo]
        gone = rng.random(photos) < self.collapse
        worse = (rng.random(len(photo)) < self.share) if not self.collapse else gone[photo]
        seen = [
            self._seen(rng, (photo, label, own), size, worse if harm else None)
            for harm in (False, harmed)
        ]
        fp32, int8 = (SetScores(AP, each) for each in seen)
        clusters = None if self.by_image else np.arange(photos * self.lights) // self.lights
        drop = None if harmed else 0.0
        return Sample(fp32, int8, drop, clusters if self.lights > 1 else None)

    def _seen(
        self,
        rng: Generator,
        objects: tuple[NDArray[np.int64], NDArray[np.int64], Floats],
        size: Floats,
        worse: NDArray[np.bool_] | None,
    ) -> RankedDetections:
        """What one engine sees of the photographs in all lights."""
        photo, label, own = (np.repeat(each, self.lights) for each in objects)
        image = photo * self.lights + np.tile(np.arange(self.lights), len(objects[0]))
        logit = 1.0 + own + rng.normal(0, self.noise, len(own))
        level = 6.0 + 2 * own + rng.normal(0, 3 * self.noise, len(own))
        found = logit > -1.5
        if worse is not None:
            lost = np.repeat(worse, self.lights)
            logit, level = logit - 1.0 * lost, level - 3.0 * lost
            found &= ~lost if self.collapse else True
        wrong = rng.poisson(
            self.false * np.repeat(size, self.lights)[:, None] * np.ones(self.classes)
        )
        at, of = np.divmod(np.repeat(np.arange(wrong.size), wrong.ravel()), self.classes)
        right = (1 << np.clip(np.rint(level), 0, LEVELS).astype(np.int64)) - 1
        logit = np.concatenate([logit[found], rng.normal(-1.5, 1.0, len(at))])
        images = np.concatenate([image[found], at])
        order = np.argsort(images, kind="stable")
        true = np.argsort(image, kind="stable")
        return ranked(
            n=len(size) * self.lights,
            n_classes=self.classes,
            label=np.concatenate([label[found], of])[order],
            image=images[order],
            score=(1 / (1 + np.exp(-logit))).astype(np.float32)[order],
            right=np.append(right[found], np.zeros(len(at), np.int64)).astype(np.uint16)[order],
            ignored=np.zeros(len(images), np.uint16),
            true_image=image[true],
            true_class=label[true],
            thresholds=tuple(range(LEVELS)),
        )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.per_class)


def _world(name: str, photographs: Make, sizes: tuple[int, ...]) -> World:
    return World(f"AP, {name}", photographs, sizes=sizes, share=0.2)


DETECTIONS = (
    _world("3 classes", Photographs((8.0, 1.0, 1.0)), (50, 130)),
    _world("photographs in 4 lights", Photographs((8.0, 1.0, 1.0), lights=4), (120, 520)),
    _world("crowded images: 1 to 150 each", Photographs((12.0,), 1.2), (50, 130)),
    _world("30 boxes of a rare class", Photographs((0.06,), false=0.05), (500,)),
    _world("3 classes, of one 30 boxes", Photographs((8.0, 1.0, 0.1)), (300,)),
    _world("1 % of the images collapse", Photographs((8.0, 1.0, 1.0), collapse=0.01), (130, 500)),
    _world("5 % of the images collapse", Photographs((8.0, 1.0, 1.0), collapse=0.05), (130,)),
)
"""A photograph's images belong together."""
APART = (
    _world("4 lights, images apart", Photographs((8.0, 1.0, 1.0), lights=4, by_image=True), (520,)),
)
"""What ``cluster_by`` is for: the photographs are left out of account."""
