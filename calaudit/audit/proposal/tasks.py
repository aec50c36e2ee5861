"""What the model's output is for: classes if the pool has class indices, else a ranking."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calaudit.audit.proposal.table import Table
from calaudit.graph.model import ModelTensor
from calaudit.runtime.errors import PoolError
from calaudit.runtime.pool import Pool, TensorSpec

CUT = 10
"""Places of a ranking that are looked at, where there are more items."""
CLASSIFIED = ("top1", "balanced_accuracy", "nll", "top1_agreement", "cosine", "max_abs_diff")
RANKED = ("ndcg", "recall", "coverage", "gini", "long_tail_share", "overlap", "ties_at_cut")


@dataclass(frozen=True, slots=True)
class Guess:
    """A task, the metrics worth a gate, and the columns that belong to it."""

    task: Table
    gated: tuple[str, ...]
    used: tuple[str, ...] = ()
    """Columns that identify what is judged; they make no slices."""
    label: str | None = None
    """The class column."""
    query: str | None = None
    """Pairwise: samples of one query are judged together."""

    @property
    def units(self) -> str:
        """What is judged, in the plural."""
        return "samples" if self.task.values["kind"] == "classification" else "queries"


def guess_task(pool: Pool, outputs: Sequence[ModelTensor]) -> Guess:
    """The task that the pool's targets and the model's outputs fit.

    Raises
    ------
    PoolError
        None of those that can be guessed.
    """
    guess = _ranking(pool, outputs) or _pairwise(pool, outputs) or _classes(pool, outputs)
    if guess is not None:
        return guess
    targets = ", ".join(map(_described, pool.targets.values()))
    found = ", ".join(f"{each.name} {each.shape}" for each in outputs)
    raise PoolError(
        f"what to judge by can't be guessed from the targets ({targets or 'none'}) and the model's "
        f"outputs ({found})",
        where=pool.label,
        next_step=_by_names(pool, outputs)
        or "A target of class indices for an output of logits, or relevance (N, items) for "
        "an output of scores, can be. For other tasks write the file by docs/audit.md.",
    )


def _described(target: TensorSpec) -> str:
    dtype = "text" if target.dtype.kind in "UT" else target.dtype.name
    return f"{target.name} {dtype} {target.shape or ''}".strip()


def _by_names(pool: Pool, outputs: Sequence[ModelTensor]) -> str:
    """The way out for a target of class names that are more or fewer than the outputs."""
    widths = sorted({_width(each) or 0 for each in outputs} - {0})
    texts = [s.name for s in pool.targets.values() if s.shape == () and s.dtype.kind in "UT"]
    if not texts or not widths:
        return ""
    name = "label" if "label" in texts else texts[0]
    return (
        f"If {name} holds class names, import the pool again with --classes {name}=names.txt, a "
        f"file with all {' or '.join(map(str, widths))} names, one a line, in the order of the "
        "model's outputs."
    )


def _ranking(pool: Pool, outputs: Sequence[ModelTensor]) -> Guess | None:
    relevance = pool.targets.get("relevance")
    if relevance is None or len(relevance.shape) != 1:
        return None
    items = relevance.shape[0]
    fitting = [each for each in outputs if _width(each) in (items, None)]
    if not fitting:
        return None
    k = min(CUT, max(1, items // 2))
    values = {
        "kind": "ranking",
        **_named(fitting[0], outputs),
        "tail": {"head_interactions": 0.8},
        "metrics": [f"{name}@{k}" for name in RANKED],
    }
    remark = (
        f"Each sample is a query, its output scores {items:,} items. The head is the most popular "
        "items that hold 80 % of the interactions; the others are the long tail."
    )
    return Guess(Table(values, remark), (f"ndcg@{k}", f"long_tail_share@{k}"))


def _pairwise(pool: Pool, outputs: Sequence[ModelTensor]) -> Guess | None:
    relevance = pool.targets.get("relevance")
    if relevance is None or relevance.shape or not {"query", "item"} <= set(pool.meta):
        return None
    values = {
        "kind": "pairwise",
        **_named(outputs[0], outputs),
        "tail": {"head_interactions": 0.8},
        "metrics": [f"{name}@{CUT}" for name in RANKED],
    }
    remark = "Each sample is an item of a query; its output is the item's score."
    used = ("query", "item", "relevance")
    gated = (f"ndcg@{CUT}", f"long_tail_share@{CUT}")
    return Guess(Table(values, remark), gated, used, query="query")


def _classes(pool: Pool, outputs: Sequence[ModelTensor]) -> Guess | None:
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
        values = {
            "kind": "classification",
            **({} if name == "label" else {"target": name}),
            **_named(output, outputs),
            **more,
            "metrics": list(CLASSIFIED),
        }
        return Guess(Table(values, remark), ("top1",), label=name)
    return None


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
    if output is None or _width(output) not in (len(names), None):
        return None
    remark = f"The output {output.name} holds a logit per class, the target {target} its name."
    if given:
        return output, {}, remark
    remark += (
        " The pool doesn't say which name is which output: here they stand sorted by name, as "
        "torchvision's folders and scikit-learn number them. Check that the model was trained so."
    )
    return output, {"classes": list(names)}, remark


def _logits(outputs: Sequence[ModelTensor], n_classes: int) -> ModelTensor | None:
    """The output that is called so, else the one whose width is nearest above the classes."""
    wide = [each for each in outputs if (_width(each) or n_classes) >= max(2, n_classes)]
    wide = [each for each in wide if len(each.shape) == 1]
    return min(
        wide,
        key=lambda each: ("logit" not in each.name.lower(), _width(each) or n_classes),
        default=None,
    )


def _width(output: ModelTensor) -> int | None:
    """Values per sample of a flat output; None where the model doesn't say."""
    return output.shape[0] if len(output.shape) == 1 else 0


def _named(output: ModelTensor, outputs: Sequence[ModelTensor]) -> dict[str, str]:
    return {"output": output.name} if len(outputs) > 1 else {}
