import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.matching import iou
from calaudit.tasks.detection.decoders import Candidates
from calaudit.tasks.detection.suppression import best_of


def candidates(seed, images=3, each=20, ties=False):
    rng = np.random.default_rng(seed)
    n = images * each
    corner = rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (n, 2))], axis=1)
    score = np.round(rng.random(n), 1) if ties else rng.random(n)
    return Candidates(
        rng.permutation(np.repeat(np.arange(images), each)), boxes.astype(np.float32),
        score.astype(np.float32), rng.integers(0, 3, n).astype(np.int32), np.ones(images, bool),
    )  # fmt: skip


def greedy(found, image, most, threshold):
    """The textbook's loop over one image."""
    left = [at for at in np.argsort(-found.score, kind="stable") if found.image[at] == image]
    kept = []
    while left and len(kept) < most:
        best = left.pop(0)
        kept.append(best)
        boxes = found.boxes.astype(np.float64)
        left = [
            at
            for at in left
            if found.label[at] != found.label[best] or iou(boxes[best], boxes[at]) <= threshold
        ]
    return kept


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    most=st.sampled_from([1, 5, 100]),
    threshold=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    ties=st.booleans(),
)
def test_boxes_are_kept_as_by_the_textbooks_loop(seed, most, threshold, ties):
    found = candidates(seed, ties=ties)
    chosen, counts = best_of(found, most, iou=threshold)
    expected = [greedy(found, image, most, threshold) for image in range(3)]
    assert chosen.tolist() == [at for each in expected for at in each]
    assert counts.tolist() == [len(each) for each in expected]


def test_without_a_threshold_the_best_are_kept_however_they_overlap():
    found = candidates(1)
    chosen, counts = best_of(found, 7)
    assert counts.tolist() == [7, 7, 7]
    for image in range(3):
        own = np.sort(found.score[found.image == image])[::-1][:7]
        assert found.score[chosen[found.image[chosen] == image]].tolist() == own.tolist()


def test_images_without_candidates_keep_none():
    none = Candidates(
        np.empty(0, int), np.empty((0, 4), np.float32), np.empty(0, np.float32),
        np.empty(0, np.int32), np.ones(4, bool),
    )  # fmt: skip
    chosen, counts = best_of(none, 10, iou=0.5)
    assert (len(chosen), counts.tolist()) == (0, [0, 0, 0, 0])
