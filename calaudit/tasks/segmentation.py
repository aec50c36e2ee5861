"""Segmentation: a class for each pixel; the output holds a score per class, or the classes."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.graph.model import ModelTensor
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.segmentation import matrices, right_pixels
from calaudit.metrics.truth import Masks, Truth
from calaudit.runtime.errors import PoolError, Problem, SettingsError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted, shape_text
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import Closing, EvalSet, Proposed, Samples, Task, named
from calaudit.tasks.depiction import IGNORED, Losses, Shown, Sides
from calaudit.tasks.masks import OF_ANOTHER_SIZE, MaskReader, MaskReduction, TrueMasks
from calaudit.tasks.reduced import Reduced
from calaudit.tasks.reduced_masks import GivenConfusion, GivenMasks
from calaudit.tasks.reduction import Reduction
from calaudit.tasks.resizing import Resize

_METRICS: Final = ("mean_iou", "pixel_accuracy", "pixel_agreement", "mean_iou_agreement")
_MOST_NAMED = 20
"""Classes up to which ``calaudit init`` has each judged."""


@setting
class Segmentation(Task):
    """A class for each pixel of an image."""

    kind: ClassVar[str] = "segmentation"
    truth: ClassVar[type[Truth]] = Masks
    unit: ClassVar[str] = "image"
    alike: ClassVar[str | None] = "pixel_agreement"
    proposed: ClassVar[int | None] = 15
    target: str = "mask"
    output: str | None = None
    """The model's output; not needed when it has only one."""
    classes: tuple[str, ...] | None = None
    """Names of the classes, in the order of their numbers; not needed where the pool keeps them."""
    ignore: int | None = None
    """The number that says nothing of a pixel; by default the pool's."""
    threshold: float | None = None
    """Of an output with one channel: where it is above, the pixel is of class 1."""
    resize: Resize | None = None
    """How an output of another size is brought to that of the masks: "bilinear" (of scores) or
    "nearest". By default such an output is refused."""
    metrics: tuple[str, ...] = _METRICS

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")

    def class_names(self, pool: Pool) -> tuple[str, ...]:
        """Those of the table, or of the pool."""
        return tuple(self.classes or pool.class_names(self.target))

    def read(self, samples: Samples) -> EvalSet:
        """Count the true pixels of the evaluated rows."""
        masks = self._masks(samples)
        truth = Masks(masks.count(samples.evaluated), masks.names)
        answer = MaskReader(self._reduction(samples, masks), samples.evaluated)
        return samples.eval_set(self, truth, target=self.target, answer=answer, classes=masks.names)

    def reduces(self, samples: Samples) -> Reduction | None:
        """To masks, and confusion matrices with the true ones."""
        return self._reduction(samples, self._masks(samples))

    def check(self, eval_set: EvalSet, width: int | None, pool: Pool) -> None:
        """Refuse metrics of numbers: an answer is a mask."""
        problems = [
            Problem(
                f"{metric} compares numbers, and the answers of a segmentation are masks",
                f"{eval_set.where}.metrics",
                "Use pixel_agreement or mean_iou_agreement.",
            )
            for metric in eval_set.metrics
            if definition_of(metric).is_ours and definition_of(metric).needs is None
        ]
        if problems:
            raise SettingsError.of(problems)

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Its own pixels dealt out (Cohen's kappa is 0 for them), and the commonest class."""
        classes = len(case.truth_of(Masks).classes)
        found = matrices(case.outputs, classes)
        cells = np.asarray(found.sum(axis=0)).reshape(classes + 1, classes + 1)
        if cells.sum() == 0:
            return []
        row, column = np.divmod(np.arange(cells.size), classes + 1)
        labelled = np.asarray(found.sum(axis=1), dtype=np.float64)
        labelled[labelled == 0] = np.nan
        right = np.asarray(found[:, np.flatnonzero(row == column)].sum(axis=1)) / labelled
        answered = cells.sum(axis=0) / cells.sum()
        dealt = np.asarray(found @ answered[row]) / labelled
        commonest = int(cells.sum(axis=1).argmax())
        always = np.asarray(found[:, np.flatnonzero(row == commonest)].sum(axis=1)) / labelled
        share = cells[commonest].sum() / cells.sum()
        return [
            Rival("its own pixels in random order", (right - dealt,), True),
            Rival(
                f"always answering the most common class ({share:.3f} of the pixels right)",
                (right - always,),
                False,
            ),
        ]

    def losses(self, eval_set: EvalSet, units: Rows, fp32: Given, engine: Given) -> Losses | None:
        """What images lost of the share of their pixels that is right."""
        classes = len(eval_set.classes)
        answers = (eval_set.answers(given, fp32, units) for given in (fp32, engine))
        before, after = (right_pixels(each, classes) for each in answers)
        after[np.isnan(after) & ~np.isnan(before)] = 0.0
        return Losses("the share of their pixels that is right", before, before - after)

    def depict(
        self, eval_set: EvalSet, units: Rows, fp32: Given, engine: Given
    ) -> list[Sides] | None:
        """Masks: the true one, FP32's, the engine's."""
        reader: Any = eval_set.answer
        true = reader.true_masks(units)
        masks = [true]
        for given in (fp32, engine):
            found = reader.masks(given, units)
            if found is None:  # counts were given
                return None
            masks.append(found)
        shown = ([Shown(mask=_bytes(one, len(eval_set.classes))) for one in all_] for all_ in masks)
        return [Sides(*each) for each in zip(*shown, strict=True)]

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> Proposed | None:
        """Masks for an output of scores per class, or of classes, of their size."""
        targets = [s for s in pool.targets.values() if len(s.shape) == 2 and s.dtype.kind in "iu"]
        for target in sorted(targets, key=lambda each: (each.name != "mask", each.name)):
            names = pool.class_names(target.name)
            fitting = [each for each in outputs if _may_hold(each, target.shape, len(names))]
            smaller = [each for each in outputs if _scaled(each, target.shape, len(names))]
            if not fitting and not smaller:
                continue
            output = max(fitting or smaller, key=lambda each: len(each.shape))
            kind = "a score per class" if len(output.shape) == 3 else "the class"
            metrics = [*_METRICS]
            if 0 < len(names) <= _MOST_NAMED:
                metrics.insert(1, "iou[*]")
            values = {
                "kind": "segmentation",
                **({} if target.name == "mask" else {"target": target.name}),
                **named(output, outputs),
                **({} if fitting else {"resize": "bilinear"}),
                "metrics": metrics,
            }
            remark = (
                f"The output {output.name} holds {kind} of each pixel, the target {target.name} "
                "the true class."
            )
            if not fitting:
                remark += (
                    f" It is {shape_text(output.shape)} for masks of {shape_text(target.shape)}: "
                    "scores are brought to the masks' size before the best class is taken, as "
                    "training frameworks do."
                )
            return Proposed(values, remark, ("mean_iou",))
        return None

    @classmethod
    def hint(cls, pool: Pool, outputs: Sequence[ModelTensor]) -> str:
        """The way out for masks of another size than the outputs."""
        masks = [s for s in pool.targets.values() if len(s.shape) == 2 and s.dtype.kind in "iu"]
        maps = [each for each in outputs if len(each.shape) == 3]
        if not masks or not maps:
            return ""
        return (
            f"If {masks[0].name} holds masks of {shape_text(masks[0].shape)} for the output "
            f"{maps[0].name} ({shape_text(maps[0].shape)}), import the pool with masks of the "
            "output's height and width, or name their classes with --classes, so that init may "
            "resize the output."
        )

    def _reduction(self, samples: Samples, masks: TrueMasks) -> MaskReduction:
        return MaskReduction(
            samples.output, masks, self.threshold, samples.where,
            resize=self.resize, task=samples.name,
        )  # fmt: skip

    def _masks(self, samples: Samples) -> "TrueMasks":
        pool = samples.pool
        place = f"{pool.label}: /targets/{self.target}"
        spec = pool.targets.get(self.target)
        if spec is None:
            raise PoolError(
                f"there is no target {self.target!r}",
                where=pool.label,
                next_step=near(self.target, pool.targets),
            )
        if len(spec.shape) != 2 or spec.dtype.kind not in "iu":
            raise PoolError(
                f"is {spec.dtype} of shape {shape_text(spec.shape)}, expected a whole number for "
                "each pixel of (height, width)",
                where=place,
                next_step="Name a target of masks, or use another kind of task.",
            )
        ignored = pool.ignored_class(self.target) if self.ignore is None else self.ignore
        names = self.class_names(pool)
        scored = _channels(samples.shapes.get(samples.output), spec.shape, self.threshold, names)
        if names and scored is not None and scored != len(names):
            raise SettingsError(
                f"{counted(len(names), 'class is', 'classes are')} named, the output "
                f"{samples.output} scores {scored}",
                where=f"{samples.where}.classes" if self.classes else place,
                next_step="Name all classes of the model, in the order of its output.",
            )
        if not names and scored is None:
            raise SettingsError(
                "nothing says how many classes there are",
                where=samples.where,
                next_step='Name them: classes = ["background", …].',
            )
        names = names or tuple(map(str, range(scored or 0)))
        self._check_size(samples, spec.shape)
        return TrueMasks(pool, self.target, names, ignored)

    def _check_size(self, samples: Samples, size: tuple[int, ...]) -> None:
        """Refuse an output of another size than the masks, as far as the model says its own."""
        shape = samples.shapes.get(samples.output, ())
        sizes = [shape] if len(shape) == 2 else [shape[1:], shape[:2]] if len(shape) == 3 else []
        if not sizes or self.resize is not None or any(_same(each, size) for each in sizes):
            return
        raise SettingsError(
            f"the output {samples.output} is {shape_text(shape)} for a sample, the masks of "
            f"{self.target} are {shape_text(size)}",
            where=samples.where,
            next_step=OF_ANOTHER_SIZE,
        )

    def reduced(self, samples: Samples) -> tuple[Reduced, ...]:
        """Masks, or confusion counts."""
        reduction = self._reduction(samples, self._masks(samples))
        return GivenMasks(reduction), GivenConfusion(reduction)


def _bytes(mask: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    """A mask as pictures have it; classes from 255 on share the numbers of others."""
    known = (mask >= 0) & (mask < classes)
    return np.where(known, mask % IGNORED, IGNORED).astype(np.uint8)


def _channels(
    shape: tuple[int | None, ...] | None,
    mask: tuple[int, ...],
    threshold: float | None,
    names: Sequence[str],
) -> int | None:
    """Classes that an output of that shape scores; None where it doesn't say."""
    if shape is None or len(shape) != 3:
        return None
    last = _same(shape[:2], mask) or shape[2] == len(names) != shape[0]
    one = shape[2] if last and not _same(shape[1:], mask) else shape[0]
    return 2 if one == 1 and threshold is not None else None if one == 1 else one


def _same(shape: tuple[int | None, ...], mask: tuple[int, ...]) -> bool:
    return all(one is None or one == other for one, other in zip(shape, mask, strict=True))


def _may_hold(output: ModelTensor, mask: tuple[int, ...], classes: int) -> bool:
    """Whether an output may score the classes of masks of that size, or hold them."""
    shape = output.shape
    if len(shape) == 2:
        return output.dtype.kind in "iu" and _same(shape, mask)
    if len(shape) != 3 or output.dtype.kind != "f":
        return False
    for channels, rest in ((shape[0], shape[1:]), (shape[2], shape[:2])):
        if _same(rest, mask) and channels != 1 and channels in {classes or channels, None}:
            return True
    return False


def _scaled(output: ModelTensor, mask: tuple[int, ...], classes: int) -> bool:
    """Whether an output scores that many named classes for pixels in another size of the masks."""
    shape = output.shape
    if len(shape) != 3 or shape[0] != classes or classes < 2 or output.dtype.kind != "f":
        return False
    height, width = shape[1:]
    return bool(height and width and height * mask[1] == width * mask[0])
