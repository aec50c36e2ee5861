"""Worlds of true objects that are found or missed: in images, and in photographs of several images.

Objects of one photograph share its chance to be lost, and one object seen in several lights mostly
shares its fate: units that a detector is judged by are far from independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from worlds.ordinary import Floats, Generator, Make, Sample, World

RECALL = parse_metric("object_recall")
FOUND = 0.85
"""Share of the objects that FP32 finds."""


@dataclass(frozen=True)
class Scenes:
    """Photographs with objects, each seen in several lights."""

    mean: float
    """Objects of a photograph."""
    spread: float
    """Of their number: its variance beyond Poisson's is mean²/spread."""
    lights: int = 1
    same: float = 0.8
    """Share of the objects that have one fate in all lights."""
    correlation: float = 0.15
    """Of the losses within a photograph."""
    crowding: float = 0.0
    """How losses grow with the objects of a photograph: as this power of their number."""
    lost: float = 0.05
    gained: float = 0.02
    by_image: bool = False
    """Whether an image's objects belong together, and not a photograph's."""

    def __call__(self, rng: Generator, slices: int, n: int, harmed: bool) -> Sample:
        """Slices of n units: objects times lights."""
        m = n // self.lights
        photo, size = self._photographs(rng, slices, m)
        own = self._chance(rng, size, self.lost if harmed else self.gained)
        back = self._chance(rng, size, self.gained)
        own, back = (np.take_along_axis(each, photo, axis=1)[..., None] for each in (own, back))
        luck = self._alike(rng, slices, m)
        loses, gains = luck < own, 1 - luck < back
        right = self._alike(rng, slices, m) < FOUND
        fp32, int8 = np.where(loses, True, right & ~gains), np.where(gains, True, right & ~loses)
        codes = np.broadcast_to(photo[..., None], loses.shape)
        if self.by_image:
            codes = codes * self.lights + np.arange(self.lights)
        drop: float | None = self.lost - self.gained if harmed else 0.0
        if harmed and self.crowding:
            drop = None
        before, after = (UnitScores(RECALL, each.reshape(-1)) for each in (fp32, int8))
        return Sample(before, after, drop, np.ascontiguousarray(codes).reshape(-1))

    def _photographs(
        self, rng: Generator, slices: int, m: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Photograph of each of m objects (slices, m), and objects of each photograph."""
        count = int(np.ceil(4 * m / self.mean)) + 8
        shape = (slices, count)
        size = 1 + rng.poisson(rng.gamma(self.spread, (self.mean - 1) / self.spread, shape))
        ends = np.cumsum(size, axis=1)
        photo = np.stack([np.searchsorted(each, np.arange(m), side="right") for each in ends])
        return np.minimum(photo, count - 1), size

    def _chance(self, rng: Generator, size: NDArray[np.int64], mean: float) -> Floats:
        shape = (1 - self.correlation) / self.correlation
        found = rng.beta(mean * shape, (1 - mean) * shape, size.shape)
        if self.crowding:
            found = np.minimum(found * (size / self.mean) ** self.crowding, 0.5)
        return np.minimum(found, 0.5)

    def _alike(self, rng: Generator, slices: int, m: int) -> Floats:
        """Numbers in [0, 1), mostly one for an object in all its lights."""
        one = rng.random((slices, m, 1))
        each = rng.random((slices, m, self.lights))
        return np.where(rng.random((slices, m, 1)) < self.same, one, each)


def _world(name: str, scenes: Make, sizes: tuple[int, ...]) -> World:
    return World(f"objects, {name}", scenes, sizes=sizes)


OBJECTS = (
    _world("12 per image", Scenes(12, 4), (200, 1000, 5000)),
    _world("crowded images: 1 to 150 each", Scenes(25, 0.8), (200, 1000, 5000)),
    _world("crowded images that lose more", Scenes(25, 0.8, crowding=0.5), (1000, 5000)),
    _world("photographs in 4 lights", Scenes(12, 4, lights=4), (400, 2000, 8000)),
    _world("photographs in 4 lights, alike", Scenes(12, 4, lights=4, same=1.0), (400, 2000, 8000)),
    _world("30 boxes of a rare class", Scenes(1.5, 4, lost=0.15, gained=0.03), (30,)),
    _world("30 boxes in 4 lights", Scenes(1.5, 4, lights=4, lost=0.15, gained=0.03), (120,)),
)
"""Objects of a photograph belong together."""
BY_IMAGE = (_world("4 lights, images apart", Scenes(12, 4, lights=4, by_image=True), (2000, 8000)),)
"""What ``cluster_by`` is for: the photographs are left out of account."""
