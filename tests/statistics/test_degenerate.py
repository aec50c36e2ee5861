"""Whatever a slice holds, every metric of the catalogue gives a number or None, and no warning."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from calaudit.metrics.catalogue import definitions, parse_metric
from calaudit.metrics.detections import Detections
from calaudit.metrics.scoring import tie_bounds
from calaudit.metrics.segmentation import Confused
from calaudit.metrics.truth import Labels, Masks, ObjectTruth, Relevance, Texts, TrueObjects, Values
from calaudit.results.comparison import Verdict
from calaudit.statistics.attribution import Origin, attribute
from calaudit.statistics.compare import compare_cells
from calaudit.statistics.criteria import Tolerance
from calaudit.statistics.ranking_change import change_of
from calaudit.statistics.worst_slice import worst_gaps
from tests.metrics.every_metric import ITEMS, NAMES, form_of, scored, world

N = 36
GATES = (0.02, Tolerance(max_relative_drop=0.1), None)


def test_every_family_of_metrics_is_walked():
    assert {parse_metric(name).family for name in NAMES} == set(definitions())


def check(name, fp32, engine, truth, slices, *, gates=GATES[1:2], **units):
    """Compare and look for the worst slice; numbers must be finite or None."""
    metric = parse_metric(name)
    reference, candidate = scored(name, fp32, engine, truth)
    found = []
    for gate in gates:
        for one in compare_cells(
            metric, reference, {"c": candidate}, slices, max_drop=gate, **units
        ):
            numbers = (
                one.reference, one.candidate, one.drop, one.low, one.high, one.one_sided_low,
                one.one_sided_high, one.p_value, one.p_adjusted, one.design_effect, one.max_drop,
            )  # fmt: skip
            assert all(x is None or math.isfinite(x) for x in numbers), one
            assert one.n + one.n_left_out + one.n_broken == len(slices[one.slice])
            if one.drop is None and one.max_drop is not None and not one.n_broken:
                assert one.verdict is Verdict.INCONCLUSIVE
            found.append(one)
    for gap in worst_gaps(metric, reference, {"c": candidate}, slices, min_support=1, **units):
        assert math.isfinite(gap.gap.value)
    return found


def slices_of(fp32):
    """Nobody, one unit, two, ten, everyone."""
    return {str(n): np.arange(n) for n in (0, 1, 2, 10, len(fp32))}


def ties(outputs):
    if isinstance(outputs[0], Detections):
        same = Detections(np.array([[1, 1, 9, 9]] * 2), np.full(2, 0.5), np.array([0, 1]))
        return np.array([same] * len(outputs), dtype=object)
    if isinstance(outputs[0], Confused):
        return np.array([outputs[0]] * len(outputs), dtype=object)
    return np.full(outputs.shape, "one" if outputs.dtype == object else 0.5, outputs.dtype)


def no_truth(truth):
    """Truths in which there is nothing to be found."""
    match truth:
        case Labels():
            return [Labels(np.zeros(N, np.int64)), Labels(np.full(N, 4))]
        case Values():
            return [Values(np.zeros_like(truth.value)), Values(np.full_like(truth.value, 1e9))]
        case ObjectTruth(objects):
            every = np.ones(len(objects.label), bool)
            none = objects.from_images([[]] * N, [[]] * N, classes=objects.classes)
            huge = replace(objects, boxes=objects.boxes * 1e300, area=objects.area * 1e300)
            return [ObjectTruth(each) for each in (none, replace(objects, crowd=every), huge)]
        case TrueObjects() | Texts():
            none = np.full(N, "") if isinstance(truth, Texts) else np.zeros(N, np.int64)
            return [type(truth)(none)]
        case Masks(pixels, classes):
            return [Masks(np.zeros_like(pixels), classes)]
        case Relevance():
            nothing = np.zeros_like(truth.relevance)
            everything = np.ones_like(truth.exclude)
            none = np.zeros_like(everything)
            return [
                replace(truth, relevance=nothing),
                replace(truth, exclude=everything),
                replace(truth, exclude=none, history=none),
                replace(truth, popularity=np.zeros(ITEMS), tail=np.zeros(ITEMS, dtype=bool)),
                replace(truth, vectors=np.zeros((ITEMS, 3)), genres=np.zeros((ITEMS, 4), bool)),
                replace(truth, relevance=truth.relevance * 1e300, popularity=np.full(ITEMS, 1e100)),
            ]


def check_attribution(name, fp32, engine, truth):
    """Split the drops of two recipes; numbers must be finite."""
    reference, bad = scored(name, fp32, engine, truth)
    _, good = scored(name, fp32, fp32, truth)
    cells = {"bad/m": bad, "bad#2/m": bad, "good/m": good}
    origins = {"bad/m": Origin("bad", "m"), "bad#2/m": Origin("bad", "m", 2)}
    origins["good/m"] = Origin("good", "m")
    slices = {"all": np.arange(N), "one": np.arange(1), "none": np.arange(0)}
    found = compare_cells(reference.metric, reference, cells, slices, max_drop=0.02)
    for one in attribute(
        reference.metric, reference, cells, slices, origins=origins, comparisons=found
    ):
        parts = [part for part in (one.price, one.addition, one.luck) if part is not None]
        assert all(math.isfinite(x) for part in parts for x in (part.value, part.low, part.high))
        assert math.isfinite(one.drop)


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_slices_give_numbers_or_none(name):
    fp32, engine, truth = world(name, n=N)
    everyone = {"all": np.arange(N)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(name, fp32, engine, truth, slices_of(fp32), gates=GATES)
        check(name, fp32, fp32, truth, slices_of(fp32))
        for clusters in (np.zeros(N, dtype=np.int64), np.arange(N) // 12):
            check(name, fp32, engine, truth, everyone, clusters=clusters)
        for one, other in ((ties(fp32), engine), (fp32, ties(fp32)), (ties(fp32), ties(fp32))):
            check(name, one, other, truth, everyone)
        for empty in no_truth(truth):
            check(name, fp32, engine, empty, {"all": np.arange(N), "one": np.arange(1)})
            check_attribution(name, fp32, engine, empty)
        broken = engine.copy()
        broken[3] = None if broken.dtype == object else np.nan
        check(name, fp32, broken, truth, everyone)
        check_attribution(name, fp32, broken, truth)
        if parse_metric(name).kind != "set":
            check(name, fp32, engine, truth, everyone, weights=np.zeros(N))
            check(name, fp32, engine, truth, everyone, weights=np.arange(N) * 1.0)


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("@3") and form_of(n) != "boxes"])
def test_cuts_beyond_the_catalogue_and_beyond_what_may_be_shown_are_no_trouble(name):
    fp32, engine, truth = world(name, n=N)
    crowded = replace(truth, exclude=np.arange(ITEMS) > np.arange(N)[:, None] % 3)
    metric = parse_metric(name.replace("@3", f"@{ITEMS + 5}"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for known in (truth, crowded):
            for outputs in (engine, ties(engine)):
                check(metric.name, fp32, outputs, known, {"all": np.arange(N)})
                tie_bounds(metric, outputs, known, fp32)
                for change in change_of([metric], outputs, known, fp32):
                    change.loss(metric, np.arange(N))
                    change.loss(metric, np.arange(0))
                    change.moved(np.arange(N))


@pytest.mark.parametrize("name", ["wer", "cer"])
def test_a_rate_without_words_is_not_defined_and_inconclusive(name):
    fp32, _, _ = world(name, n=N)
    silence, chatter = np.full(N, "", dtype=object), np.full(N, "one", dtype=object)
    for one, other in ((silence, chatter), (chatter, silence), (silence, silence)):
        found = check(name, one, other, Texts(np.full(N, "")), {"all": np.arange(N)})
        assert {(f.n, f.reference, f.drop, f.p_value) for f in found} == {(N, None, None, None)}
    assert len(fp32) == N


@pytest.mark.parametrize("name", [n for n in NAMES if form_of(n) in ("logits", "probabilities")])
def test_one_class_alone_is_judged_or_said_to_need_no_judging(name):
    truth = Labels(np.zeros(N, np.int64))
    outputs = np.full((N, 1), 0.5, np.float32)
    if name.startswith("top") and "agreement" not in name:
        with pytest.raises(ValueError, match="always right"):
            scored(name, outputs, outputs, truth)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(f.drop == 0 for f in check(name, outputs, outputs, truth, {"a": np.arange(N)}))
