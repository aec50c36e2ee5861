import numpy as np
import pytest

from calaudit.metrics.detections import Detections, detections_of, lists_of
from calaudit.metrics.matching import AREAS, iou, match
from calaudit.runtime.objects import Objects
from tests.metrics.coco import evaluated, scenes

HALF = np.array([0.5])


def one_image(boxes, labels, **known):
    known = {name: [values] for name, values in known.items()}
    return Objects.from_images([boxes], [labels], classes=("a", "b"), **known)


def answer(boxes, scores, labels=None):
    labels = np.zeros(len(scores), np.int32) if labels is None else np.array(labels, np.int32)
    return lists_of([Detections(np.array(boxes, np.float32), np.array(scores, np.float32), labels)])


def test_the_higher_score_takes_the_object_and_the_lower_one_nothing():
    truth = one_image([[0, 0, 10, 10]], [0])
    found = match(truth, answer([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.8]), HALF)
    assert found.matched.tolist() == [[0, -1]]
    assert found.found.tolist() == [[True]]
    assert found.right.tolist() == [[True, False]]
    assert not found.ignored.any()


def test_of_two_objects_the_one_that_overlaps_more_is_taken_and_only_of_its_class():
    truth = one_image([[0, 0, 10, 10], [2, 0, 12, 10], [2, 0, 12, 10]], [0, 0, 1])
    found = match(truth, answer([[2, 0, 12, 10], [2, 0, 12, 10]], [0.9, 0.8]), HALF)
    assert found.matched.tolist() == [[1, 0]]
    assert found.found.tolist() == [[True, True, False]]


def test_a_crowd_may_be_taken_often_and_counts_neither_way():
    truth = one_image([[0, 0, 40, 40], [0, 0, 10, 10]], [0, 0], crowd=[True, False])
    shown = answer([[0, 0, 10, 10], [20, 20, 30, 30], [30, 30, 40, 40]], [0.9, 0.8, 0.7])
    found = match(truth, shown, HALF)
    assert found.matched.tolist() == [[1, 0, 0]]
    assert found.right.tolist() == [[True, False, False]]
    assert found.ignored.tolist() == [[False, True, True]]
    assert found.objects_ignored.tolist() == [True, False]


def test_objects_and_detections_outside_the_areas_count_neither_way():
    truth = one_image([[0, 0, 10, 10], [50, 0, 150, 100]], [0, 0])
    shown = answer([[50, 0, 150, 100], [0, 0, 10, 10], [200, 0, 300, 100]], [0.9, 0.8, 0.7])
    found = match(truth, shown, HALF, area=AREAS["small"])
    assert found.right.tolist() == [[False, True, False]]
    assert found.ignored.tolist() == [[True, False, True]]
    doubled = one_image([[0, 0, 20, 20]], [0], area=[400.0])
    twice = Objects.from_images([[[0, 0, 20, 20]]], [[0]], classes=("a", "b"), unit_area=4.0)
    shown = answer([[0, 0, 20, 20], [60, 60, 80, 80]], [0.9, 0.8])
    assert match(doubled, shown, HALF, area=AREAS["medium"]).ignored.tolist() == [[True, True]]
    assert match(twice, shown, HALF, area=AREAS["medium"]).ignored.tolist() == [[False, False]]


def test_detections_below_a_score_are_not_looked_at():
    shown = lists_of(scenes(3)[1])
    kept = shown.at_least(0.5)
    assert len(kept) == len(shown)
    assert kept.score.min() >= 0.5
    assert len(kept.score) == (shown.score >= 0.5).sum()
    assert (shown.image[shown.score >= 0.5] == kept.image).all()


@pytest.mark.parametrize("area", ["all", "small", "medium", "large"])
def test_every_match_is_pycocotools(area):
    truth, outputs, _ = scenes(11, crowds=0.3)
    judged = evaluated(truth, outputs)
    place = list(AREAS).index(area)
    lists = lists_of(outputs)
    found = match(truth.objects, lists, np.linspace(0.5, 0.95, 10), area=AREAS[area])
    looked_at = 0
    for one in judged.evalImgs:
        if one is None or one["aRng"] != judged.params.areaRng[place]:
            continue
        theirs = np.array(one["dtMatches"], int) - 1
        mine = np.flatnonzero(
            (lists.image == one["image_id"] - 1) & (lists.label == one["category_id"] - 1)
        )
        mine = mine[np.argsort(-lists.score[mine], kind="stable")]
        assert (found.matched[:, mine] == theirs).all()
        assert (found.ignored[:, mine] == np.array(one["dtIgnore"], bool)).all()
        looked_at += len(mine)
    assert looked_at == len(lists.score)


def test_the_intersection_is_over_the_union():
    box = np.array([0.0, 0, 10, 10])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]])
    assert iou(box, others) == pytest.approx([1, 1 / 3, 0, 0])
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_detections_are_equal_where_all_of_them_are():
    one, other = (scenes(seed)[1] for seed in (0, 1))
    again = scenes(0)[1]
    assert (one == again).all()
    assert not (one == other).any()
    lists = lists_of(one)
    back = detections_of(lists.boxes, lists.score, lists.label, lists.offsets)
    assert (back == one).all()
    assert len({hash(each) for each in one}) == len({hash(each) for each in (*one, *again)})
