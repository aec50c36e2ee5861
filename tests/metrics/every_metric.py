"""A small world for every metric of the catalogue: FP32's outputs, an engine's, and the truth."""

import numpy as np

from calaudit.metrics.catalogue import definition_of, known_metrics, parse_metric
from calaudit.metrics.objects import found_objects
from calaudit.metrics.scoring import perfect, score
from calaudit.metrics.segmentation import Confused, count_pairs
from calaudit.metrics.truth import (
    Labels,
    Masks,
    ObjectTruth,
    Relevance,
    Texts,
    TrueObjects,
    Values,
)
from calaudit.statistics.compare import compare_cells
from tests.metrics.coco import scenes

K = 3
CLASSES, ITEMS = 5, 8
NAMES = ["top2" if name == "topk" else name.replace("@k", f"@{K}") for name in known_metrics()] + [
    "top1"
]

WORDS = np.array(["one two", "two", "three one", "four", ""], dtype=object)


def form_of(name):
    """What the metric's outputs are: ``logits``, ``probabilities``, ``scores``, ``values``, …"""
    if name.endswith("of_probabilities"):
        return "probabilities"
    needs = definition_of(parse_metric(name)).needs
    forms = {
        Texts: "texts",
        Values: "values",
        Relevance: "scores",
        ObjectTruth: "boxes",
        Masks: "masks",
        TrueObjects: "objects",
    }
    return forms.get(needs, "logits")


def world(name, n=60, seed=0, engine_noise=0.3):
    """FP32's outputs, an engine's that differ, and the truth of n units."""
    rng = np.random.default_rng(seed)
    form = form_of(name)
    if form == "texts":
        fp32, truth = rng.choice(WORDS, n), rng.choice(WORDS[:4], n)
        return (
            fp32,
            np.where(rng.random(n) < engine_noise, rng.choice(WORDS, n), fp32),
            Texts(truth),
        )
    if form in ("boxes", "objects"):
        return boxes_world(seed, n, one_by_one=form == "objects")
    if form == "masks":
        return masks_world(rng, n, engine_noise)
    if form == "values":
        true = rng.normal(size=(n, 2))
        fp32 = true + rng.normal(0, 0.1, true.shape)
        return fp32, fp32 + rng.normal(0, engine_noise, true.shape), Values(true)
    width = ITEMS if form == "scores" else CLASSES
    fp32 = rng.normal(size=(n, width)).astype(np.float32)
    engine = fp32 + rng.normal(0, engine_noise, fp32.shape).astype(np.float32)
    if form == "probabilities":
        fp32, engine = np.exp(fp32), np.exp(engine)
    if form != "scores":
        return fp32, engine, Labels(rng.integers(0, CLASSES, n))
    return fp32, engine, relevance(n, rng)


def boxes_world(seed, n, *, one_by_one):
    """Boxes of n images, or what became of n objects."""
    truth, fp32, engine = scenes(seed, n // 4 if one_by_one else n)
    if not one_by_one:
        return fp32, engine, truth
    units = np.flatnonzero(~truth.objects.crowd)[:n]
    found = (found_objects(truth, each)[units] for each in (fp32, engine))
    return *found, TrueObjects(truth.objects.label[units])


def masks_world(rng, n, engine_noise, side=8):
    """Masks of three classes, of which the metric `iou[…]` asks for the last, and ignored ones.

    The last class is rare, and one sample holds most of it.
    """
    classes = ("road", "sky", "…")
    true = rng.integers(0, 2, (n, side, side))
    true[rng.random(true.shape) < 0.01] = 2
    true[n // 2, : side // 2] = 2
    true[rng.random(true.shape) < 0.1] = 255
    fp32 = np.where(rng.random(true.shape) < 0.2, rng.integers(0, 3, true.shape), true % 255)
    other = np.where(rng.random((n, 1, 1)) < 0.3, 2, rng.integers(0, 3, true.shape))
    engine = np.where(rng.random(true.shape) < engine_noise / 2, other, fp32)
    pixels = np.stack([(true == number).sum(axis=(1, 2)) for number in range(3)], axis=1)
    return confused(fp32, true, fp32), confused(engine, true, fp32), Masks(pixels, classes)


def confused(masks, true, fp32, classes=3):
    """What a segmentation task makes of an engine's masks, (n,) of objects."""
    found = np.empty(len(masks), dtype=object)
    for at, (mask, own, reference) in enumerate(zip(masks, true, fp32, strict=True)):
        counted = own != 255
        found[at] = Confused(
            count_pairs(own[counted], mask[counted], classes),
            count_pairs(reference, mask, classes),
        )
    return found


def column_world(n=60, seed=0):
    """Outputs in a column, (n, 1), and their flat targets, (n,), of a model of single values."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=n)
    fp32 = true[:, None] + rng.normal(0, 0.1, (n, 1))
    return fp32, fp32 + rng.normal(0, 0.3, (n, 1)), Values(true)


def relevance(n, rng):
    """Relevance with all that a ranking metric may ask for."""
    return Relevance(
        (rng.random((n, ITEMS)) < 0.4).astype(np.uint8),
        exclude=rng.random((n, ITEMS)) < 0.15,
        popularity=rng.integers(1, 50, ITEMS).astype(np.float64),
        tail=np.arange(ITEMS) > 4,
        vectors=rng.normal(size=(ITEMS, 3)),
        genres=rng.random((ITEMS, 4)) < 0.5,
        history=rng.random((n, ITEMS)) < 0.3,
    )


def scored(name, fp32, engine, truth):
    """FP32's scores, as an audit takes them, and the engine's."""
    metric = parse_metric(name)
    reference = score(metric, fp32, truth, fp32)
    if metric.is_agreement:
        reference = perfect(metric, reference)
    return reference, score(metric, engine, truth, fp32)


def judged(name, fp32, engine, truth, *, rows=None, **options):
    """The comparison over `rows`, by default of all units."""
    reference, candidate = scored(name, fp32, engine, truth)
    rows = np.arange(len(fp32)) if rows is None else rows
    options = {"max_drop": 0.02, **options}
    (found,) = compare_cells(
        reference.metric, reference, {"int8": candidate}, {"s": rows}, **options
    )
    return found
