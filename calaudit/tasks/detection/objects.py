"""A detector's images, object by object: which true objects are found at the working point."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.metrics.objects import found_objects
from calaudit.metrics.truth import ObjectTruth, TrueObjects
from calaudit.runtime.pool import Rows
from calaudit.slices.dimension import OBJECT
from calaudit.slices.objects import is_unit
from calaudit.tasks.base import EvalSet, Samples, Task
from calaudit.tasks.names import Names, ids_of

Read = Callable[[Given, Rows], NDArray[Any]]
"""What an engine gave, and pool rows → `calaudit.metrics.detections.Detections` of each."""


def object_set(
    samples: Samples, task: Task, truth: ObjectTruth, *, target: str, read: Read
) -> EvalSet:
    """The evaluation set whose units are the objects that aren't crowds.

    Parameters
    ----------
    samples : Samples
    task : Task
    truth : ObjectTruth
        Of the evaluated images.
    target : str
        The pool's, which holds them.
    read : callable
    """
    objects = truth.objects
    places = np.flatnonzero(is_unit(objects)).astype(np.int64, copy=False)
    image = objects.image[places]
    slices = samples.slices.take(image)  # where nobody declares others
    if samples.object_slices is not None:
        slices = samples.object_slices.over(target, samples.evaluated)

    def answer(given: Given, _: Given, units: NDArray[np.int64]) -> NDArray[Any]:
        images, place = np.unique(image[units], return_inverse=True)
        part = truth.take(images)
        found = found_objects(part, read(given, samples.evaluated[images]))
        within = places[units] - objects.offsets[image[units]]
        asked: NDArray[Any] = found[part.objects.offsets[place] + within]
        return asked

    return samples.eval_set(
        task,
        TrueObjects(objects.label[places]),
        target=target,
        answer=answer,
        slices=slices,
        ids=_names(samples, truth, places),
        unit=OBJECT,
        row_of_unit=image,
        classes=objects.classes,
    )


def _names(samples: Samples, truth: ObjectTruth, places: NDArray[np.int64]) -> Names:
    """``"cells-012 #3 (RBC)"``: the image, the object's number in it from 1, and its class."""
    objects = truth.objects
    of_images = ids_of(samples.pool, samples.evaluated)

    def names(units: Rows) -> list[str]:
        at = places[units]
        images = objects.image[at]
        different, which = np.unique(images, return_inverse=True)
        known = of_images(different)
        number = at - objects.offsets[images] + 1
        return [
            f"{known[one]} #{each} ({objects.classes[label]})"
            for one, each, label in zip(which, number, objects.label[at], strict=True)
        ]

    return names
