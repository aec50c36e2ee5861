"""A small pool for every kind of task, with a model's outputs that are mostly right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects

N, CLASSES, ITEMS = 360, 4, 9


@dataclass(frozen=True)
class World:
    """What a task of one kind is tried on."""

    targets: Mapping[str, Any]
    outputs: Mapping[str, np.ndarray]
    """(N, …) of FP32."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Of the audit file's table, beside `kind`."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    sample: tuple[int, ...] = (1,)
    """Shape of the model's input."""
    classes: Mapping[str, Any] = field(default_factory=dict)
    """Target → names of its classes."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Target of masks → the number that says nothing."""
    proposed: bool = True
    """Whether ``calaudit init`` proposes this kind for it."""

    def write(self, path: Path) -> Path:
        """Its pool."""
        write_pool(
            path,
            inputs={"x": np.zeros((N, *self.sample), np.float32)},
            targets=dict(self.targets),
            classes=dict(self.classes),
            ignored=dict(self.ignored),
            meta={"half": np.where(np.arange(N) < N / 2, "first", "second"), **self.meta},
        )
        return path


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _classification() -> World:
    label = _rng().integers(0, CLASSES, N)
    logits = _rng().normal(size=(N, CLASSES)) + 2 * np.eye(CLASSES)[label]
    return World({"label": label}, {"logits": logits.astype(np.float32)})


def _segmentation() -> World:
    mask = _rng().integers(0, CLASSES, (N, 6, 5))
    noise = np.random.default_rng(1).normal(size=(N, CLASSES, 6, 5))
    logits = noise + 2 * np.eye(CLASSES)[mask].transpose(0, 3, 1, 2)
    mask[_rng().random(mask.shape) < 0.1] = 255
    return World(
        {"mask": mask},
        {"logits": logits.astype(np.float32)},
        classes={"mask": [f"kind {number}" for number in range(CLASSES)]},
        ignored={"mask": 255},
    )


def _regression() -> World:
    value = _rng().normal(size=N)
    output = value[:, None] + 0.1 * np.random.default_rng(1).normal(size=(N, 1))
    return World({"value": value}, {"y": output.astype(np.float32)}, proposed=False)


def _sequence() -> World:
    texts = [" ".join(["a", "b"] * (1 + i % 3)) for i in range(N)]
    tokens = np.full((N, 12), -1)
    for row, text in enumerate(texts):
        written = ["ab ".index(sign) for sign in text]
        tokens[row, : len(written)] = written
    tokens[::9, 0] = 1
    return World(
        {"text": texts}, {"tokens": tokens}, {"vocabulary": ["a", "b", " "]}, proposed=False
    )


def _ranking() -> World:
    relevance = (_rng().random((N, ITEMS)) < 0.3).astype(np.uint8)
    scores = relevance + np.random.default_rng(1).normal(size=relevance.shape)
    keys = {"metrics": ["ndcg@3", "recall@3", "coverage@3", "overlap@3", "ties_at_cut@3"]}
    return World({"relevance": relevance}, {"scores": scores.astype(np.float32)}, keys)


def _pairwise() -> World:
    listwise = _ranking()
    query, item = np.divmod(np.arange(N), ITEMS)
    relevance = listwise.targets["relevance"][query, item]
    score = listwise.outputs["scores"][query, item][:, None]
    meta = {"query": query, "item": item, "half": np.where(query < 5, "first", "second")}
    return World({"relevance": relevance}, {"score": score}, listwise.keys, meta)


def _retrieval() -> World:
    label = _rng().integers(0, CLASSES, N)
    embedding = 3 * np.eye(CLASSES)[label] + np.random.default_rng(1).normal(size=(N, CLASSES))
    keys = {"gallery": "half = 'second'", "metrics": ["ndcg@3", "recall@3", "coverage@3"]}
    return World({"label": label}, {"e": embedding.astype(np.float32)}, keys, proposed=False)


def _grading() -> World:
    grade = _rng().integers(0, 3, N)
    score = grade[:, None] + 0.4 * np.random.default_rng(1).normal(size=(N, 1))
    thresholds = np.tile([0.5, 1.5], (N, 1))
    outputs = {"score": score.astype(np.float32), "thresholds": thresholds.astype(np.float32)}
    return World({"grade": grade}, outputs)


def _detection() -> World:
    rng = _rng()
    corner = rng.uniform(0, 80, (N, 3, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, 40, (N, 3, 2))], axis=2)
    label = rng.integers(0, CLASSES, (N, 3))
    objects = Objects.from_images(boxes, label, classes=[f"kind {k}" for k in range(CLASSES)])
    anchors = np.concatenate([boxes, rng.uniform(0, 60, (N, 5, 4))], axis=1)
    anchors[:, 3:, 2:] += anchors[:, 3:, :2]
    anchors += rng.normal(0, 1, anchors.shape)
    centre, size = (anchors[..., 2:] + anchors[..., :2]) / 2, anchors[..., 2:] - anchors[..., :2]
    scores = 0.4 * rng.random((N, 8, CLASSES))
    scores[:, :3] += 0.5 * np.eye(CLASSES)[label]
    output = np.concatenate([centre, size, scores], axis=2).transpose(0, 2, 1)
    return World(
        {"objects": objects},
        {"output0": output.astype(np.float32)},
        {"format": "yolov8"},
        sample=(3, 96, 128),
    )


WORLDS: Mapping[str, Callable[[], World]] = {
    "classification": _classification,
    "regression": _regression,
    "sequence": _sequence,
    "ranking": _ranking,
    "pairwise": _pairwise,
    "retrieval": _retrieval,
    "detection": _detection,
    "segmentation": _segmentation,
    "grading": _grading,
}
"""By kind; the last is the example package's."""
