"""Detection: objects with boxes; the model's outputs hold boxes, classes and scores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.graph.model import ModelTensor
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import make_importable
from calaudit.metrics.detections import lists_of
from calaudit.metrics.division import divide
from calaudit.metrics.matching import match
from calaudit.metrics.truth import ObjectTruth, TrueObjects, Truth
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near
from calaudit.runtime.objects import Objects
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import setting
from calaudit.runtime.user_code import check_call, find_function
from calaudit.runtime.words import counted
from calaudit.statistics.baselines import Floats, Rival
from calaudit.tasks.base import Closing, EvalSet, Proposed, Samples, Task
from calaudit.tasks.depiction import Losses, Sides
from calaudit.tasks.detection.decoders import FORMATS, BoxFormat, Format, Layout
from calaudit.tasks.detection.depicted import losses_of_boxes, sides_of_boxes
from calaudit.tasks.detection.detecting import NAME, Detecting
from calaudit.tasks.detection.objects import object_set
from calaudit.tasks.detection.proposing import WORDS, guess_format, hint_of
from calaudit.tasks.detection.reduced import GivenDetections
from calaudit.tasks.names import find_output
from calaudit.tasks.reduced import Reduced

METRICS: Final = ("ap", "ap50", "ap75", "ar@100", "object_recall")
_GATED: Final = ("ap", "object_recall")
_ROLES: Final = ("boxes", "scores", "labels", "counts")
_WORKING_SCORE: Final = 0.25
_DEALT: Final = 4
"""Times that answers are dealt out among the images."""


@setting(choices={"format": (*FORMATS, "module:function")})
class Detection(Task):
    """Objects with boxes; the model's outputs hold boxes, classes and scores."""

    kind: ClassVar[str] = "detection"
    truth: ClassVar[type[Truth]] = ObjectTruth
    further: ClassVar[tuple[type[Truth], ...]] = (TrueObjects,)
    unit: ClassVar[str] = "image"
    alike: ClassVar[str | None] = "boxes_kept"
    proposed: ClassVar[int | None] = 5
    format: str
    """How the outputs hold boxes: "yolov8", "yolov5", "end-to-end", "detr", or module:function."""
    target: str | None = None
    """The pool's objects; not needed where it has only one target of them."""
    output: str | None = None
    """The model's output; not needed when it has only one."""
    boxes: str | None = None
    """Output of the boxes, of a format that has them in an output of their own."""
    scores: str | None = None
    """Output of the scores; of "detr", of the logits."""
    labels: str | None = None
    """Output of the class numbers; of "end-to-end"."""
    counts: str | None = None
    """Output that says how many boxes count; of "end-to-end", where there is one."""
    classes: tuple[str, ...] | None = None
    """The classes in the order of the model's outputs; by default the pool's."""
    score_threshold: float = 0.001
    """Boxes with at most this score are dropped."""
    nms_iou: float | None = None
    """Boxes that overlap a better one of their class by more than this IoU are dropped. By default
    .7 for "yolov8" and .6 for "yolov5"; nothing is dropped by the others."""
    max_detections: int = 100
    """Boxes kept per image, those with the highest scores."""
    box_format: BoxFormat | None = None
    """"xyxy", "xywh" or "cxcywh", where it isn't the format's own."""
    normalised: bool | None = None
    """Whether boxes run from 0 to 1, where the format's own do otherwise."""
    first_class: int = 0
    """The number that the model gives the first class; lower ones are background."""
    working_score: float = _WORKING_SCORE
    """The score that a box needs where the detector is used: for metrics of single objects and
    boxes."""
    working_iou: float = 0.5
    """The intersection over union from which on a box finds an object, for these."""
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        if self.format not in FORMATS and ":" not in self.format:
            raise SettingsError(
                f"there is no format {self.format!r}",
                next_step=f"{near(self.format, list(FORMATS))} Or name a function of your own: "
                "module:function.",
            )
        for name in ("score_threshold", "nms_iou", "working_score", "working_iou"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise SettingsError(
                    f"{name} must lie between 0 and 1 (got {share})",
                    next_step=f"Give {name} a number from 0 to 1.",
                )
        if self.score_threshold == 1:
            raise SettingsError(
                "score_threshold = 1 drops every box: no score is above 1",
                next_step="Lower it; the default is 0.001, so that low scores count for AP.",
            )
        if self.working_score < self.score_threshold:
            # Whether the default was written can't be told, so that it is called what it is.
            default = " (the default)" if self.working_score == _WORKING_SCORE else ""
            raise SettingsError(
                f"score_threshold = {self.score_threshold:g} drops boxes that count at the working "
                f"point: working_score is {self.working_score:g}{default}",
                next_step="Lower score_threshold, or raise working_score.",
            )
        if self.max_detections < 1 or self.first_class < 0:
            raise SettingsError("max_detections must be at least 1, and first_class at least 0")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")

    def outputs(self, known: Sequence[str], where: str) -> tuple[str, ...]:
        """Those that the format reads, in its order; a function of the user's own gets all."""
        named = {role: getattr(self, role) for role in _ROLES if getattr(self, role) is not None}
        found = FORMATS.get(self.format)
        roles = () if found is None else found.roles
        problems = [
            Problem(
                f"the format {self.format!r} has no output of {role}",
                f"{where}.{role}",
                "Leave it out, or choose another format.",
            )
            for role in named
            if role not in roles
        ]
        if problems:
            raise SettingsError.of(problems)
        if found is None and self.output is None:
            return tuple(known)
        if found is not None and len(known) == 1 and (named or not found.single):
            raise _several_needed(self.format, found, known[0], where)
        if not named and (found is None or found.single):
            return (find_output(self.output, known, where),)
        return tuple(
            find_output(named.get(role) or _role_in(known, role, where), known, where)
            for role in roles
            if role != "counts" or role in named
        )

    def reduces(self, samples: Samples) -> Detecting:
        """Detections, since the outputs are large."""
        found = FORMATS.get(self.format)
        own = None if found is not None else _own(self.format, samples.folder)
        objects = self._objects(samples.pool, samples.evaluated[:0])
        box_format: BoxFormat = "xyxy" if found is None else found.box_format
        layout = Layout(
            n_classes=len(objects.classes),
            size=_input_size(samples.pool),
            score_threshold=self.score_threshold,
            box_format=self.box_format or box_format,
            normalised=found is not None and found.normalised
            if self.normalised is None
            else self.normalised,
            first_class=self.first_class,
        )
        usual = None if found is None else found.nms_iou
        return Detecting(
            format=self.format,
            outputs=samples.outputs,
            layout=layout,
            nms_iou=usual if self.nms_iou is None else self.nms_iou,
            max_detections=self.max_detections,
            where=samples.where,
            own=own,
            name=f"{NAME} of {samples.name}" if samples.name else NAME,
        )

    def reduced(self, samples: Samples) -> tuple[Reduced, ...]:
        """Detections."""
        return (GivenDetections(self.reduces(samples)),)

    def read(self, samples: Samples) -> tuple[EvalSet, ...]:
        """The evaluated images and their objects, with classes in the order of the outputs."""
        objects = self._objects(samples.pool, samples.evaluated)
        detecting = self.reduces(samples)
        _check_shapes(detecting, samples)

        def answer(given: Given, _: Given, units: Rows) -> NDArray[np.object_]:
            return detecting.read(given, samples.evaluated[units])

        target = self._target(samples.pool)
        truth = ObjectTruth(objects, self.working_score, self.working_iou)
        images = samples.eval_set(
            self, truth, target=target, answer=answer, classes=objects.classes
        )
        if not samples.metrics_of(self, TrueObjects):
            return (images,)
        return images, object_set(samples, self, truth, target=target, read=detecting.read)

    def class_names(self, pool: Pool) -> tuple[str, ...]:
        """Those of the table, or of the pool's objects."""
        return self._objects(pool, np.empty(0, np.int64)).classes

    def check(self, eval_set: EvalSet, width: int | None, pool: Pool) -> None:
        """Refuse images without any object."""
        if isinstance(eval_set.truth, ObjectTruth) and not len(eval_set.truth.objects.label):
            raise PoolError(
                "no evaluated image has an object",
                where=eval_set.target,
                next_step="Evaluate images with annotations, or import the pool again with them.",
            )

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Who shows an image the boxes of another one; single objects know none."""
        if not isinstance(case.truth, ObjectTruth):
            return []
        truth, rng = case.truth_of(ObjectTruth).objects, np.random.default_rng(0)
        own = _found(truth, case.outputs)
        dealt = [_found(truth, case.outputs[rng.permutation(len(truth))]) for _ in range(_DEALT)]
        gain = np.where(case.unanswered, np.nan, own - np.mean(dealt, axis=0))
        return [Rival("its own boxes dealt out at random among the images", (gain,), True)]

    def losses(self, eval_set: EvalSet, units: Rows, fp32: Given, engine: Given) -> Losses | None:
        """What images lost of the F1 score of their boxes."""
        if not isinstance(eval_set.truth, ObjectTruth):
            return None
        answers = (eval_set.answers(given, fp32, units) for given in (fp32, engine))
        return losses_of_boxes(eval_set.truth.take(units), *answers)

    def depict(
        self, eval_set: EvalSet, units: Rows, fp32: Given, engine: Given
    ) -> list[Sides] | None:
        """Boxes at the working point: true, FP32's, the engine's."""
        if not isinstance(eval_set.truth, ObjectTruth):
            return None
        answers = (eval_set.answers(given, fp32, units) for given in (fp32, engine))
        return sides_of_boxes(eval_set.truth.take(units), *answers)

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> Proposed | None:
        """Objects for outputs whose layout can be told from their shapes and names."""
        for target in pool.objects:
            found = guess_format(outputs, len(pool.class_names(target)))
            if found is None:
                continue
            values = {
                "kind": cls.kind,
                "format": found.format,
                **({} if len(pool.objects) == 1 else {"target": target}),
                **({"output": found.outputs[0]} if len(found.outputs) == 1 < len(outputs) else {}),
                **found.more,
                "metrics": list(METRICS),
            }
            return Proposed(values, f"{found.remark}.", _GATED, objects=target)
        return None

    @classmethod
    def hint(cls, pool: Pool, outputs: Sequence[ModelTensor]) -> str:
        """The way out for another number of classes, and for heads that aren't decoded."""
        return hint_of(pool, outputs)

    def _target(self, pool: Pool) -> str:
        if self.target is None and len(pool.objects) == 1:
            return next(iter(pool.objects))
        if self.target in pool.objects:
            return str(self.target)
        known = list(pool.objects)
        told = f"has {len(known)} targets of objects ({', '.join(known) or 'none'})"
        if self.target is not None:
            told = f"has no objects {self.target!r}"
        raise PoolError(
            told,
            where=pool.label,
            next_step=near(self.target or "", known)
            if known
            else "Import images with their boxes: calaudit pool import.",
        )

    def _objects(self, pool: Pool, rows: Rows) -> Objects:
        """Objects of some rows, numbered as the task's classes are."""
        name = self._target(pool)
        objects = pool.read_objects(name, rows)
        if self.classes is None:
            return objects
        strange = [each for each in objects.classes if each not in self.classes]
        if strange:
            raise PoolError.of(
                Problem(
                    f"has the class {each!r}, which the task's classes lack",
                    f"{pool.label}: /targets/{name}",
                    f"The pool's classes are {', '.join(objects.classes)}: name all of them, in "
                    "the order of the model's outputs.",
                )
                for each in strange
            )
        number = np.array([self.classes.index(each) for each in objects.classes], np.int64)
        label = number[objects.label] if len(number) else objects.label
        return replace(objects, label=label, classes=self.classes)


def _check_shapes(detecting: Detecting, samples: Samples) -> None:
    """Decode an image of zeros in the shapes that the model says: what doesn't fit fails now."""
    shapes = [samples.shapes.get(name, (None,)) for name in detecting.outputs]
    sizes = [tuple(size for size in shape if size is not None) for shape in shapes]
    if detecting.own is None and all(map(len, sizes)) and sizes == shapes:
        zeros = {
            name: np.zeros((1, *size), np.float32)
            for name, size in zip(detecting.outputs, sizes, strict=True)
        }
        detecting(zeros, np.zeros(1, np.int64), None)


def _role_in(known: Sequence[str], role: str, where: str) -> str | None:
    """The only output whose name speaks of boxes, scores or labels."""
    words = WORDS[role]
    found = [name for name in known if any(word in name.casefold() for word in words)]
    if len(found) == 1:
        return found[0]
    raise SettingsError(
        f"the model has {counted(len(known), 'output')} ({', '.join(known)}); say which one holds "
        f"the {role}",
        where=f"{where}.{role}",
        next_step=f'Add {role} = "…".',
    )


def _several_needed(name: str, found: Format, output: str, where: str) -> SettingsError:
    """Of a format that has more outputs than a model."""
    single = " or ".join(f'"{other}"' for other, each in FORMATS.items() if each.single)
    roles = " and ".join(role for role in found.roles if role != "counts")
    return SettingsError(
        f"the format {name!r} has {roles} in outputs of their own, the model has one output "
        f"({output})",
        where=f"{where}.format",
        next_step=f"Choose a format that may have one output: {single}; without {roles}."
        if found.single
        else f"Choose a format that may have one output: {single}.",
    )


def _own(path: str, folder: Path) -> Any:
    """The user's function, whose file may lie beside the audit file."""
    make_importable(folder)
    function = find_function(
        path, next_step="Put the file beside the audit file, or install its package."
    )
    check_call(function, path, ("outputs", "height", "width"))
    return function


def _input_size(pool: Pool) -> tuple[int, int]:
    """Height and width of the images that the model takes."""
    images = [spec.shape for spec in pool.inputs.values() if len(spec.shape) == 3]
    if not images:
        raise PoolError(
            "has no input of images (channels, height, width)",
            where=pool.label,
            next_step="Detection needs images as the model takes them.",
        )
    first, second, third = images[0]
    # Few channels, many pixels: images are (channels, height, width), or have channels last.
    return (second, third) if first <= third else (first, second)


def _found(truth: Objects, outputs: NDArray[np.object_]) -> Floats:
    """Share of each image's objects that as many of its best boxes find, (n,); NaN without any."""
    counted = ~truth.crowd
    objects = np.bincount(truth.image[counted], minlength=len(truth))
    best = outputs.copy()
    for image, each in enumerate(outputs):
        if each is not None:
            order = np.argsort(-each.score, kind="stable")[: objects[image]]
            best[image] = each.take(order)
    found = match(truth, lists_of(best), np.array([0.5])).found[0] & counted
    hits = np.bincount(truth.image[found], minlength=len(truth))
    return divide(hits, objects, np.nan)
