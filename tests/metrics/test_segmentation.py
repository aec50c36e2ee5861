"""Metrics of masks, held to scikit-learn's, and how far one sample can move them."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import perfect, score
from calaudit.metrics.segmentation import Confused, count_pairs, iou_reach, matrices, mean_iou_reach
from calaudit.metrics.truth import Masks
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.statistics.compare import compare_cells
from tests.metrics.every_metric import confused, masks_world

CLASSES = ("road", "sky", "car", "pole", "never")
IGNORED = 255


def masks(n=30, side=12, seed=0):
    """True masks with ignored pixels, FP32's, and an engine's that answers something unknown."""
    rng = np.random.default_rng(seed)
    true = rng.choice(4, (n, side, side), p=[0.6, 0.25, 0.14, 0.01])
    true[rng.random(true.shape) < 0.1] = IGNORED
    fp32 = np.where(rng.random(true.shape) < 0.2, rng.integers(0, 4, true.shape), true % IGNORED)
    engine = np.where(rng.random(true.shape) < 0.1, rng.integers(0, 6, true.shape), fp32)
    return true, fp32, engine


def truth_of(true):
    return Masks(np.stack([(true == c).sum(axis=(1, 2)) for c in range(len(CLASSES))], 1), CLASSES)


@pytest.fixture(scope="module")
def world():
    true, fp32, engine = masks()
    return true, engine, confused(engine, true, fp32, len(CLASSES)), truth_of(true)


def test_confusion_matrices_equal_scikit_learns(world):
    true, engine, answers, _ = world
    for at, found in enumerate(matrices(answers, len(CLASSES)).toarray()):
        kept = true[at] != IGNORED
        ours = found.reshape(len(CLASSES) + 1, -1)
        given = np.where(engine[at] < len(CLASSES), engine[at], len(CLASSES))
        labels = range(len(CLASSES) + 1)
        assert np.array_equal(ours, confusion_matrix(true[at][kept], given[kept], labels=labels))


def test_metrics_of_a_slice_equal_scikit_learns(world):
    true, engine, answers, truth = world
    kept = true != IGNORED
    label, given = true[kept], engine[kept]
    occurring = range(4)  # not the class that no pixel is of
    oracle = {
        "mean_iou": jaccard_score(label, given, labels=occurring, average="macro"),
        "iou[pole]": jaccard_score(label, given, labels=[3], average="macro"),
        "pixel_accuracy": accuracy_score(label, given),
        "mean_pixel_accuracy": recall_score(label, given, labels=occurring, average="macro"),
    }
    for name, expected in oracle.items():
        assert score(parse_metric(name), answers, truth).value() == pytest.approx(expected), name


def test_likeness_is_held_against_fp32s_masks_ignored_pixels_and_unknown_classes_too():
    true, fp32, engine = masks()
    answers, truth = confused(engine, true, fp32, len(CLASSES)), truth_of(true)
    own = confused(fp32, true, fp32, len(CLASSES))
    agreement, mean_iou = parse_metric("pixel_agreement"), parse_metric("mean_iou_agreement")
    assert score(agreement, answers, truth, own).value() == pytest.approx((engine == fp32).mean())
    expected = jaccard_score(fp32.ravel(), engine.ravel(), labels=range(4), average="macro")
    assert score(mean_iou, answers, truth, own).value() == pytest.approx(expected)
    for metric in (agreement, mean_iou):
        assert perfect(metric, score(metric, own, truth, own)).value() == 1.0


def test_a_class_without_a_true_pixel_enters_no_mean_and_has_no_iou(world):
    true, engine, answers, truth = world
    assert (engine == CLASSES.index("never")).any()
    assert np.isnan(score(parse_metric("iou[never]"), answers, truth).value())
    fewer = Masks(truth.pixels[:, :4], CLASSES[:4])
    same = confused(engine, true, engine, 4)
    mean_iou = parse_metric("mean_iou")
    assert score(mean_iou, answers, truth).value() == score(mean_iou, same, fewer).value()


def test_a_sample_without_an_answer_has_no_score_and_batches_add_up(world):
    _, _, answers, truth = world
    broken = answers.copy()
    broken[4] = None
    others = np.delete(np.arange(len(broken)), 4)
    for name in ("mean_iou", "iou[car]", "pixel_accuracy", "mean_pixel_accuracy"):
        metric = parse_metric(name)
        found = score(metric, broken, truth)
        assert np.array_equal(np.flatnonzero(~found.present), [4])
        assert found.value() == score(metric, answers[others], truth.take(others)).value()
        parts = [np.arange(0, 7), np.arange(7, len(broken))]
        joined = concatenate([score(metric, broken[p], truth.take(p)) for p in parts])
        assert joined.value() == found.value()


def test_a_class_that_is_not_there_is_refused_with_the_near_ones(world):
    _, _, answers, truth = world
    with pytest.raises(SettingsError, match="no class 'pol'") as error:
        score(parse_metric("iou[pol]"), answers, truth)
    assert "pole" in str(error.value)
    with pytest.raises(SettingsError, match="iou needs the name of a class"):
        parse_metric("iou")
    with pytest.raises(SettingsError, match="mean_iou isn't made class by class"):
        parse_metric("mean_iou[pole]")
    with pytest.raises(PoolError, match="expected a number for each of 5 classes"):
        Masks(truth.pixels[:, :4], CLASSES)


def dense(scores):
    return scores.statistics.columns.toarray()


def test_one_sample_moves_mean_iou_as_far_as_it_is_said_to_and_no_further():
    """Against many masks for each sample, the true one among them."""
    rng = np.random.default_rng(2)
    metric = parse_metric("mean_iou")
    fp32, _, truth = masks_world(rng, 12, 0.3)
    before = score(metric, fp32, truth)
    sums, units = dense(before).sum(axis=0), dense(before)
    reach = mean_iou_reach(sums, units)
    classes = len(truth.classes)
    for unit in range(12):
        own = truth.pixels[unit]
        found = []
        for _ in range(300):
            wrong = rng.dirichlet([0.3] * classes, classes) * own[:, None]
            if rng.random() < 0.5:  # nothing in common with the true mask
                wrong[np.diag_indices(classes)] = 0.0
                wrong *= divide_rows(own, wrong)
            parts = own, wrong.sum(axis=0), np.diag(wrong)
            moved = sums - units[unit] + np.concatenate(parts)
            found.append(
                abs(before.statistics.functional(moved) - before.statistics.functional(sums))
            )
        right = np.concatenate([own, own, own]).astype(float)
        moved = sums - units[unit] + right
        found.append(abs(before.statistics.functional(moved) - before.statistics.functional(sums)))
        assert max(found) <= reach[unit] + 1e-12
        assert max(found) >= 0.8 * reach[unit]
    # The sample that holds most of the rare class reaches farthest.
    assert reach.argmax() == 6


def divide_rows(own, wrong):
    total = wrong.sum(axis=1)
    return np.where(total > 0, own / np.where(total > 0, total, 1.0), 0.0)[:, None]


def worst_flood(common, union, pixels):
    """The lowest change of Σ common/(union + a) with Σ a = pixels, by SciPy's optimiser."""
    classes = len(common)

    def change(a):
        return float((common / (union + np.abs(a))).sum() - (common / union).sum())

    starts = [*np.eye(classes), np.full(classes, 1 / classes)]
    constraint = {"type": "eq", "fun": lambda a: a.sum() - pixels}
    bounds = [(0, pixels)] * classes
    options = {"ftol": 1e-12}
    found = [
        minimize(change, start * pixels, bounds=bounds, constraints=constraint, options=options)
        for start in starts
    ]
    return min(each.fun for each in found)


def test_the_flood_of_false_positives_that_hurts_most_is_the_optimisers():
    rng = np.random.default_rng(5)
    for _ in range(20):
        classes, pixels = int(rng.integers(2, 6)), 64.0
        true = np.round(rng.exponential(400, classes)) + 1
        common = np.round(true * rng.uniform(0.05, 0.9, classes))
        answered = common + np.round(rng.exponential(100, classes))
        sums = np.concatenate([true, answered, common])
        unit = np.concatenate([np.full(classes, pixels / classes)] + [np.zeros(classes)] * 2)
        union = true + answered - common

        best = worst_flood(common, union, pixels)
        # A sample without common pixels can only be flooded, or become right.
        own = pixels / classes
        right = float((np.minimum((common + own) / union, 1.0) - common / union).sum())
        (reach,) = mean_iou_reach(sums, unit[None])
        assert reach == pytest.approx(max(-best, right) / classes, rel=1e-5)


def test_one_sample_moves_a_classs_iou_as_far_as_it_is_said_to():
    sums = np.array([100.0, 120.0, 80.0, 10_000.0])
    units = np.array([[50.0, 50.0, 50.0, 500.0], [0.0, 0.0, 0.0, 500.0], [0.0, 40.0, 0.0, 500.0]])
    # Of 140 in the union 80 are common. All is lost and flooded; only flooded; or false ones leave.
    expected = [80 / 140 - 30 / (140 + 450), 80 / 140 - 80 / 640, 80 / 140 - 80 / (140 - 40 + 500)]
    assert iou_reach(sums, units) == pytest.approx(expected)
    gained = iou_reach(sums, np.array([[0.0, 60.0, 0.0, 60.0]]))
    assert gained == pytest.approx([80 / (140 - 60) - 80 / 140])


def test_a_slice_of_few_samples_does_not_pass_though_none_changed_and_one_of_many_does():
    verdicts = {}
    for n in (60, 1500):
        true, fp32, _ = masks(n, seed=1)
        own, truth = confused(fp32, true, fp32, len(CLASSES)), truth_of(true)
        for name in ("mean_iou", "pixel_accuracy", "mean_pixel_accuracy"):
            metric = parse_metric(name)
            scores = score(metric, own, truth, own)
            (found,) = compare_cells(
                metric, scores, {"int8": scores}, {"s": np.arange(n)}, max_drop=0.02
            )
            assert found.drop == 0.0
            verdicts[name, n] = found.verdict
    assert {verdict for (_, n), verdict in verdicts.items() if n == 60} == {"INCONCLUSIVE"}
    assert {verdict for (_, n), verdict in verdicts.items() if n == 1500} == {"PASS"}


def test_what_is_said_of_more_samples_is_what_they_show():
    """The influence at n samples, from fewer of them, is near that of n such samples."""
    metric = parse_metric("mean_iou")
    true, fp32, _ = masks(40, seed=3)
    own, truth = confused(fp32, true, fp32, len(CLASSES)), truth_of(true)
    once = score(metric, own, truth)
    often = concatenate([once] * 5)
    predicted = once.statistics.most(np.arange(40))(200)
    assert predicted == pytest.approx(often.statistics.most(np.arange(200))(200), rel=1e-9)
    assert once.statistics.most(np.arange(40))(40) > 4 * predicted


def test_counts_take_masks_of_any_integer_type():
    true = np.array([[0, 1], [255, 2]], dtype=np.uint8)
    for dtype in (np.uint8, np.int8, np.int64, np.uint16):
        given = np.array([[0, 1], [1, 0]], dtype=dtype)
        found = Confused(
            count_pairs(true[true < 3], given[true < 3], 3), count_pairs(given, given, 3)
        )
        assert found.truth.pair.tolist() == [0 * 4 + 0, 1 * 4 + 1, 2 * 4 + 0]
        assert found.fp32.pixels.sum() == 4
