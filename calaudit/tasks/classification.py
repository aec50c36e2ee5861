"""Classification: one class per sample; the output holds a logit, or a probability, per class."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.graph.model import ModelTensor
from calaudit.metrics.base import Metric
from calaudit.metrics.case import Case, unanswered
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.classification import holds_probabilities, predicted
from calaudit.metrics.truth import Labels, Truth, check_labels
from calaudit.runtime.errors import Notice, Problem, SettingsError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import Closing, EvalSet, Proposed, Samples, Task, named, width_of
from calaudit.tasks.depiction import Shown, Sides, class_name
from calaudit.tasks.labels import holds_names, read_labels
from calaudit.tasks.placed import placed
from calaudit.tasks.reduced import Reduced, highest_of
from calaudit.tasks.reduction import Scoring

OF_LOGITS: Final = frozenset({"nll", "ece"})
"""Metrics that put a softmax of their own on what they are given."""
ENDS_IN_PROBABILITIES: Final = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
_ONE_BY_ONE: Final = frozenset({"Sigmoid", "HardSigmoid"})
"""A probability per class: they needn't add up to 1."""
_SUFFIX = "_of_probabilities"
_METRICS = ("top1", "balanced_accuracy", "nll", "top1_agreement", "cosine", "max_abs_diff")


@setting
class Classification(Task):
    """One class index per sample; the output holds one logit per class."""

    kind: ClassVar[str] = "classification"
    truth: ClassVar[type[Truth]] = Labels
    top: ClassVar[int | None] = 1
    by_row: ClassVar[bool] = True
    proposed: ClassVar[int | None] = 30
    target: str = "label"
    output: str | None = None
    """The model's output; not needed when it has only one."""
    classes: tuple[str, ...] | None = None
    """Where the target holds names: the classes in the order of the model's outputs. Not needed
    where the pool keeps them."""
    metrics: tuple[str, ...] = _METRICS

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")

    def read(self, samples: Samples) -> EvalSet:
        """Class numbers of the evaluated rows."""
        pool = samples.pool
        with placed(target=f"{pool.label}: /targets/{self.target}"):
            truth = read_labels(
                pool, self.target, samples.evaluated, classes=self.classes, where=samples.where
            )
            names = tuple(self.classes or pool.class_names(self.target))
        return samples.eval_set(self, truth, target=self.target, classes=names)

    def reduced(self, samples: Samples) -> tuple[Reduced, ...]:
        """The highest classes."""
        shape = samples.shapes.get(samples.output)
        return tuple(highest_of(samples.metrics, samples.output, shape, what="class"))

    def check(self, eval_set: EvalSet, width: int | None, pool: Pool) -> None:
        """Refuse cuts that are always right, and names or labels of more classes than scored."""
        if width is None:
            return
        wrong = [
            Problem(
                f"{m.name} is always right: the model scores {counted(width, 'class', 'classes')}",
                f"{eval_set.where}.metrics",
                "Lower k.",
            )
            for m in eval_set.metrics
            if m.family == "top" and m.k is not None and m.k >= width
        ]
        if wrong:
            raise SettingsError.of(wrong)
        check_names(self, pool, width, where=f"{eval_set.where}.classes")
        if isinstance(eval_set.truth, Labels):
            check_labels(eval_set.truth.label, width, where=eval_set.target, ids=eval_set.ids)

    def class_names(self, pool: Pool) -> tuple[str, ...]:
        """Those of the table, or of the pool."""
        return tuple(self.classes or pool.class_names(self.target))

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Its own answers dealt out (Cohen's kappa is 0 for them), and the commonest class."""
        if case.outputs.ndim != 2 or case.outputs.shape[1] < 2:
            return []
        pieces = [(p.label(), predicted(p.logits()), p.unanswered) for p in case.pieces()]
        label, answer, missing = (np.concatenate(each) for each in zip(*pieces, strict=True))
        if missing.all():
            return []
        right = np.where(missing, np.nan, answer == label)
        classes = case.outputs.shape[1]
        answers = np.bincount(answer[~missing], minlength=classes) / np.count_nonzero(~missing)
        counts = np.bincount(label[~missing], minlength=classes)
        commonest = int(counts.argmax())
        share = counts[commonest] / counts.sum()
        return [
            Rival("its own predictions in random order", (right - answers[label],), True),
            Rival(
                f"always predicting the most common class ({share:.3f} right)",
                (right - (label == commonest),),
                False,
            ),
        ]

    def depict(
        self, eval_set: EvalSet, units: Rows, fp32: Given, engine: Given
    ) -> list[Sides] | None:
        """Names of the true class, FP32's and the engine's; numbers where classes have no names."""
        theirs = eval_set.answers(fp32, fp32, units)
        if not isinstance(eval_set.truth, Labels) or theirs.ndim != 2:
            return None

        def told(classes: NDArray[np.int64]) -> list[Shown]:
            return [Shown(label=class_name(eval_set.classes, int(each))) for each in classes]

        def said(given: Given) -> list[Shown]:
            kept = eval_set.reduction
            if isinstance(kept, Scoring) and kept.scores_of(given):
                best, broken = kept.best(given, units)
            else:
                outputs = eval_set.answers(given, fp32, units)
                best, broken = predicted(outputs), unanswered(outputs)
            pairs = zip(told(best), broken, strict=True)
            return [Shown(label="no finite answer") if lost else one for one, lost in pairs]

        sides = (told(eval_set.truth.label[units]), said(fp32), said(engine))
        return [Sides(*each) for each in zip(*sides, strict=True)]

    def gives_probabilities(self, eval_set: EvalSet, fp32: NDArray[Any]) -> bool:
        """Whether every row is a distribution, whatever op made it so, or comes from a sigmoid.

        A second softmax over them would be nearly flat: the loss of a sure and right answer of ten
        classes is 1.46 nats then, not 0.
        """
        if fp32.ndim != 2:
            return False
        return eval_set.closing in _ONE_BY_ONE or holds_probabilities(fp32)

    def computed(self, metric: Metric, *, probabilities: bool) -> Metric:
        """A metric of logits, of probabilities where outputs are these."""
        if probabilities and metric.family in OF_LOGITS:
            found = parse_metric(f"{metric.family}{_SUFFIX}")
            return found if metric.task is None else found.of_task(metric.task)
        return metric

    def notices(self, eval_set: EvalSet, *, probabilities: bool) -> Iterator[Notice]:
        """Metrics computed otherwise than their names say, and those that can't mean much."""
        names = [metric.family for metric in eval_set.metrics]
        where = f"output {eval_set.output}"
        logits = [name for name in names if name in OF_LOGITS]
        if probabilities and logits:
            told = (
                f"it ends in {eval_set.closing}"
                if eval_set.closing in _ONE_BY_ONE
                else ("each row lies in 0 … 1 and adds up to 1")
            )
            better = " and ".join(f"{name}{_SUFFIX}" for name in logits)
            share = ", each divided by its row's sum" if eval_set.closing in _ONE_BY_ONE else ""
            yield Notice(
                "probabilities",
                f"holds probabilities ({told}){share}: {' and '.join(logits)}, which are of "
                f"logits, are computed as {better}; name these in the task's metrics",
                where,
            )
        odd = [name for name in names if name.endswith(_SUFFIX)]
        if odd and not probabilities:
            better = " and ".join(name.removesuffix(_SUFFIX) for name in odd)
            yield Notice(
                "no_probabilities",
                f"holds no probabilities: its rows don't add up to 1, so {' and '.join(odd)} read "
                f"them as shares; name {better} in the task's metrics if they are logits",
                where,
            )

    @classmethod
    def propose(
        cls, pool: Pool, outputs: Sequence[ModelTensor], closing: Closing
    ) -> Proposed | None:
        """Class numbers or names for an output of logits."""
        targets = [s for s in pool.targets.values() if s.shape == ()]
        for target in sorted(targets, key=lambda target: (target.name != "label", target.name)):
            name = target.name
            if target.dtype.kind in "iu":
                found = _numbered(pool, name, outputs)
            elif target.dtype.kind in "UT":
                found = _in_names(pool, name, outputs)
            else:
                continue
            if found is None:
                continue
            output, more, remark = found
            op, metrics = closing(output.name), list(_METRICS)
            if op in ENDS_IN_PROBABILITIES:
                metrics = [f"{m}{_SUFFIX}" if m in OF_LOGITS else m for m in metrics]
                told = f"a probability per class (it ends in {op})"
                remark = remark.replace("a logit per class", told)
            values = {
                "kind": "classification",
                **({} if name == "label" else {"target": name}),
                **named(output, outputs),
                **more,
                "metrics": metrics,
            }
            return Proposed(values, remark, ("top1",), label=name)
        return None

    @classmethod
    def hint(cls, pool: Pool, outputs: Sequence[ModelTensor]) -> str:
        """The way out for class names that are more or fewer than the outputs."""
        widths = sorted({width_of(each) or 0 for each in outputs} - {0})
        texts = [s.name for s in pool.targets.values() if s.shape == () and s.dtype.kind in "UT"]
        if not texts or not widths:
            return ""
        name = "label" if "label" in texts else texts[0]
        return (
            f"If {name} holds class names, import the pool again with --classes {name}=names.txt, "
            f"a file with all {' or '.join(map(str, widths))} names, one a line, in the order of "
            "the model's outputs."
        )


def check_names(task: Classification, pool: Pool, width: int, *, where: str) -> None:
    """Refuse names of more or fewer classes than the model scores: their order would be off.

    Raises
    ------
    SettingsError
        There are.
    """
    if not holds_names(pool, task.target):
        return
    names = task.classes or pool.class_names(task.target)
    if len(names) != width:
        raise SettingsError(
            f"{counted(len(names), 'class is', 'classes are')} named, the model scores {width:,}",
            where=where if task.classes else f"{pool.label}: /classes/{task.target}",
            next_step="Name all classes of the model, in the order of its outputs, also those "
            "without a sample.",
        )


def _numbered(
    pool: Pool, target: str, outputs: Sequence[ModelTensor]
) -> tuple[ModelTensor, dict[str, Any], str] | None:
    known = pool.read_target(target, np.arange(len(pool), dtype=np.int64))
    known = known[~np.isnan(known)]  # missing ones are float
    if known.size == 0 or known.min() < 0:
        return None
    output = _logits(outputs, int(known.max()) + 1)
    if output is None:
        return None
    remark = f"The output {output.name} holds a logit per class, the target {target} the class."
    return output, {}, remark


def _in_names(
    pool: Pool, target: str, outputs: Sequence[ModelTensor]
) -> tuple[ModelTensor, dict[str, Any], str] | None:
    """A target of class names: in the pool's order, else by name where their number fits."""
    names = pool.class_names(target)
    given = bool(names)
    if not given:
        names = tuple(pool.columns([target])[target].drop_nulls().unique().sort())
    output = _logits(outputs, len(names))
    if output is None or width_of(output) not in (len(names), None):
        return None
    remark = f"The output {output.name} holds a logit per class, the target {target} its name."
    if given:
        return output, {}, remark
    remark += (
        " The pool doesn't say which name is which output: here they are sorted by name, as "
        "torchvision's folders and scikit-learn number them. Check that the model was trained "
        "with this order."
    )
    return output, {"classes": list(names)}, remark


def _logits(outputs: Sequence[ModelTensor], n_classes: int) -> ModelTensor | None:
    """The output that is called so, else the one whose width is nearest above the classes."""
    wide = [each for each in outputs if (width_of(each) or n_classes) >= max(2, n_classes)]
    wide = [each for each in wide if len(each.shape) == 1]
    return min(
        wide,
        key=lambda each: ("logit" not in each.name.lower(), width_of(each) or n_classes),
        default=None,
    )
