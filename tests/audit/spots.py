"""A world of images with objects: four spots each, and a model that says which are lit.

An image's lit spots are its objects, but for some that are annotated wrongly. Quiet images suffer
from ranges of loud ones, as in `tests.audit.world`. The kind of task judges images (are all of
their objects found?) and their objects (is this one found?).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects
from tests.audit.world import AUDIT, N_CLASSES, N_FEATURES, make_world, weights
from tests.packages import installed, package_of

CLASSES = ("a", "b", "c", "d")
SPOTS = (
    AUDIT[: AUDIT.index("[[tasks]]")]
    .replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')
    .replace(
        "[[calibsets]]",
        """[[slices]]
by = "object.class"
name = "class"

[[slices]]
cross = ["class", "loudness"]

[[slices]]
by = "object.sure"

[[calibsets]]""",
        1,
    )
    + """
[[tasks]]
kind = "spots"
metrics = ["found_all", "spots_found"]

[[gates]]
metric = "spots_found"
slices = "class = * & loudness = *"
max_drop = 0.1

[[gates]]
metric = "found_all"
slices = "loudness = *"
max_drop = 0.1
"""
)
KIND = '''
"""Objects that are lit spots."""
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from calaudit.metrics.base import metric
from calaudit.runtime.objects import Objects
from calaudit.runtime.settings import setting
from calaudit.tasks.base import Task


@dataclass(frozen=True, eq=False)
class Images:
    what: ClassVar[str] = "images with spots"
    where_from: ClassVar[str] = "Use a task of spots."
    objects: Objects

    def __len__(self):
        return len(self.objects)

    @property
    def target(self):
        return self.objects.counts

    def take(self, rows):
        return Images(self.objects.take(rows))


@dataclass(frozen=True, eq=False)
class Spots:
    what: ClassVar[str] = "spots"
    where_from: ClassVar[str] = "Use a task of spots."
    label: np.ndarray

    def __len__(self):
        return len(self.label)

    @property
    def target(self):
        return self.label

    def take(self, rows):
        return Spots(self.label[rows])


@metric("binary", needs=Images, quality=True)
def found_all(case):
    """Share of images whose objects are all lit."""
    return case.outputs == 1.0


@metric("binary", needs=Spots, quality=True)
def spots_found(case):
    """Share of objects that are lit."""
    return case.outputs > 0


@setting
class SpotsTask(Task):
    """Lit spots."""

    kind: ClassVar[str] = "spots"
    truth: ClassVar[type] = Images
    further: ClassVar[tuple[type, ...]] = (Spots,)
    unit: ClassVar[str] = "image"

    target: str = "spots"
    output: str | None = None
    metrics: tuple[str, ...] = ("found_all", "spots_found")

    def read(self, samples):
        objects = samples.pool.read_objects(self.target, samples.evaluated)
        image, label = objects.image, objects.label

        def each(given, _, units):
            images, place = np.unique(image[units], return_inverse=True)
            return samples.read(given, images)[place, label[units]]

        def whole(given, reference, units):
            held = np.flatnonzero(np.isin(image, units))
            dark = image[held][each(given, reference, held) <= 0]
            return np.where(np.isin(units, dark), 0.0, 1.0)

        return (
            samples.eval_set(self, Images(objects), target=self.target, answer=whole),
            samples.eval_set(
                self,
                Spots(label),
                target=self.target,
                answer=each,
                unit="object",
                slices=samples.object_slices.over(self.target, samples.evaluated),
                row_of_unit=image,
                ids=lambda units: [f"spot {unit}" for unit in units],
            ),
        )
'''


@contextmanager
def spots_installed(folder: Path) -> Iterator[None]:
    """The kind of task, as a package that is installed."""
    members = {
        "calaudit.tasks": {"spots": "SpotsTask"},
        "calaudit.metrics": {"found_all": "found_all", "spots_found": "spots_found"},
    }
    package = package_of(folder / "package", "spots", members, KIND)
    with installed(package, folder / "metadata"):
        yield


def make_spots(folder: Path, audit: str = SPOTS, *, n: int = 1200) -> Path:
    """Write pool.h5, model.onnx and audit.toml; return the last."""
    path = make_world(folder, audit=audit, n=n)
    with h5py.File(folder / "pool.h5") as file:
        x = file["inputs/x"][:]
        meta = {
            "loudness": file["meta/loudness"].asstr()[:].tolist(),
            "split": file["meta/split"].asstr()[:].tolist(),
            "margin": file["meta/margin"][:],
        }
    rng = np.random.default_rng(3)
    assert x.shape[1] == N_FEATURES
    lit = x @ weights() > 0
    lit ^= rng.random(lit.shape) < 0.03
    label = [np.flatnonzero(row) for row in lit]
    assert lit.shape[1] == N_CLASSES
    (folder / "pool.h5").unlink()
    write_pool(
        folder / "pool.h5",
        inputs={"x": x},
        targets={
            "spots": Objects.from_images(
                [np.tile([0.0, 0.0, 4.0, 4.0], (len(each), 1)) for each in label],
                label,
                classes=CLASSES,
                columns={"sure": [rng.integers(0, 2, len(each)) for each in label]},
            )
        },
        meta=meta,
    )
    return path
