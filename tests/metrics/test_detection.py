"""AP and AR against pycocotools, for all images and for parts of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import definition_of, parse_metric
from calaudit.metrics.detections import Detections
from calaudit.metrics.scoring import score, score_all
from calaudit.metrics.set_statistics import Grouping
from calaudit.metrics.truth import ObjectTruth
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.objects import Objects
from tests.metrics.coco import CLASSES, SUMMARY, as_outputs, evaluated, of_class, scenes, summary

METRICS = [parse_metric(name) for name in SUMMARY]
NEAR = 1e-9


def values(truth, outputs, rows=None):
    found = score_all(METRICS, outputs, truth)
    return {metric.name: each.value(rows) for metric, each in found.items()}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_number_of_the_summary_is_pycocotools(seed, ties):
    truth, outputs, _ = scenes(seed, ties=ties, scale=(1.0, 4.0)[seed % 2])
    judged = evaluated(truth, outputs)
    assert values(truth, outputs) == pytest.approx(summary(judged), abs=NEAR, nan_ok=True)
    for number, name in enumerate(CLASSES):
        of_one = score(parse_metric(f"ap[{name}]"), outputs, truth).value()
        assert of_one == pytest.approx(of_class(judged, number), abs=NEAR, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 6),
    objects=st.sampled_from([0, 1, 12]),
    crowds=st.sampled_from([0.0, 0.5]),
    ties=st.booleans(),
)
def test_random_scenes_have_pycocotools_numbers(seed, images, objects, crowds, ties):
    truth, outputs, _ = scenes(seed, images, objects=objects, crowds=crowds, ties=ties)
    expected = summary(evaluated(truth, outputs))
    assert values(truth, outputs) == pytest.approx(expected, abs=NEAR, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_the_images_has_what_pycocotools_says_of_it_alone(seed):
    truth, outputs, _ = scenes(seed)
    rows = np.sort(np.random.default_rng(seed).choice(30, 11, replace=False))
    expected = summary(evaluated(truth.take(rows), outputs[rows]))
    assert values(truth, outputs, rows) == pytest.approx(expected, abs=NEAR, nan_ok=True)


def test_more_than_a_hundred_of_one_class_are_cut_as_pycocotools_cuts_them():
    rng = np.random.default_rng(0)
    truth, outputs, _ = scenes(1, 3, classes=("cell",), objects=120)
    crowded = [
        Detections(
            np.concatenate([each.boxes] * 2),
            rng.random(2 * len(each)).astype(np.float32),
            np.concatenate([each.label] * 2),
        )
        for each in outputs
    ]
    assert min(map(len, crowded)) > 150
    expected = summary(evaluated(truth, crowded))
    assert values(truth, as_outputs(crowded)) == pytest.approx(expected, abs=NEAR, nan_ok=True)


@pytest.mark.parametrize("name", SUMMARY)
def test_leaving_groups_out_is_the_value_of_the_others(name):
    truth, outputs, _ = scenes(4)
    scores = score(parse_metric(name), outputs, truth)
    rows = np.arange(2, 29)
    group = rows % 5
    whole, without = scores.statistics.without_groups(Grouping(rows, group, 5))
    assert whole == scores.value(rows)
    expected = [scores.value(rows[group != each]) for each in range(5)]
    assert without == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", SUMMARY)
def test_swapping_blocks_is_the_value_of_the_mixed_answers(name):
    truth, one, other = scenes(5)
    other[7] = one[7]
    metric = parse_metric(name)
    scores = [score(metric, outputs, truth) for outputs in (one, other)]
    pair = scores[0].statistics.beside(scores[1].statistics)
    rows = np.arange(1, 26)
    block = np.where(rows == 7, -1, rows % 6)
    swapped = np.random.default_rng(0).integers(0, 2, (9, 6)).astype(np.uint8)
    before, after = pair.swaps(rows, block, 6)(swapped)
    for pattern, *found in zip(swapped, before, after, strict=True):
        change = np.zeros(30, bool)
        change[rows] = np.append(pattern, 0)[block] == 1
        mixed = [np.where(change, b, a) for a, b in ((one, other), (other, one))]
        expected = [score(metric, outputs, truth).value(rows) for outputs in mixed]
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_batches_join_to_the_whole_and_images_may_come_in_any_order():
    truth, outputs, _ = scenes(6)
    for metric in METRICS:
        whole = score(metric, outputs, truth).value()
        parts = [np.arange(0, 9), np.arange(9, 10), np.arange(10, 30)]
        joined = concatenate([score(metric, outputs[p], truth.take(p)) for p in parts])
        assert joined.value() == pytest.approx(whole, abs=1e-12)
        order = np.random.default_rng(0).permutation(30)
        assert score(metric, outputs[order], truth.take(order)).value() == pytest.approx(whole)


def test_images_changed_are_those_with_other_boxes_classes_scores_or_hits():
    truth, one, _ = scenes(7)
    other = one.copy()
    other[3] = one[3].take(np.arange(len(one[3]) - 1))
    other[5] = Detections(one[5].boxes, one[5].score * np.float32(0.9), one[5].label)
    other[8] = Detections(one[8].boxes, one[8].score * np.float32(1 + 1e-7), one[8].label)
    other[11] = Detections(one[11].boxes + 300, one[11].score, one[11].label)
    ap = parse_metric("ap")
    scores = [score(ap, outputs, truth) for outputs in (one, other)]
    pair = scores[0].statistics.beside(scores[1].statistics)
    assert np.flatnonzero(pair.changed).tolist() == [3, 5, 11]


def test_an_image_without_an_answer_is_missing_and_counts_for_nothing():
    truth, outputs, _ = scenes(8)
    lacking = outputs.copy()
    lacking[[4, 9]] = None
    found = score(parse_metric("ap"), lacking, truth, outputs)
    kept = np.delete(np.arange(30), [4, 9])
    assert np.flatnonzero(~found.present).tolist() == [4, 9]
    assert found.value() == score(parse_metric("ap"), outputs, truth).value(kept)


def test_an_image_may_take_as_much_as_its_share_of_the_objects():
    labels = [[0, 0, 0, 1], [0], [1], []]
    boxes = [np.tile([0, 0, 9, 9], (len(each), 1)) for each in labels]
    truth = ObjectTruth(Objects.from_images(boxes, labels, classes=("a", "b")))
    nothing = as_outputs([Detections(np.empty((0, 4)), np.empty(0), np.empty(0, int))] * 4)
    rows = np.arange(4)
    most = score(parse_metric("ap"), nothing, truth).statistics.most(rows)
    assert most(4) == pytest.approx(((9 + 1) / 16 + 2 / 4) / 2)
    assert most(40) == pytest.approx(most(4) / 10)
    assert score(parse_metric("ap[b]"), nothing, truth).statistics.most(rows)(4) == 0.5
    assert score(parse_metric("ap"), nothing, truth).value() == 0.0
    assert np.isnan(score(parse_metric("ap"), nothing, truth).value(np.array([3])))


def test_a_class_that_is_not_there_is_refused_with_the_near_one():
    truth, outputs, _ = scenes(0)
    with pytest.raises(SettingsError, match="there is no class 'platelets'") as error:
        score(parse_metric("ap[platelets]"), outputs, truth)
    assert error.value.problems[0].next_step.startswith("Did you mean platelet?")


def test_conventions_say_what_is_averaged():
    told = {name: definition_of(parse_metric(name)).convention for name in SUMMARY}
    assert "at IoU .5 and" in told["ap50"]
    assert "32² to 96² pixels" in told["ap_medium"]
    assert len(set(told.values())) == len(SUMMARY) - 2  # ar@1, ar@10 and ar@100 share theirs
