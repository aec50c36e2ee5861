import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score, tie_bounds
from calaudit.metrics.truth import Labels
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import PoolError, SettingsError


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(3)
    label = rng.choice(6, 400, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    logits = rng.normal(0, 2, (400, 6)).astype(np.float32)
    logits[np.arange(400), label] += 2
    return logits, label


def softmax(logits):
    e = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_top_k_equals_scikit_learn(case):
    logits, label = case
    for k in (1, 2, 5):
        ours = score(parse_metric(f"top{k}"), logits, Labels(label)).value()
        assert ours == pytest.approx(top_k_accuracy_score(label, logits, k=k))


def test_nll_equals_scikit_learns_log_loss(case):
    logits, label = case
    loss = log_loss(label, softmax(logits), labels=range(6))
    assert score(parse_metric("nll"), logits, Labels(label)).value() == pytest.approx(loss)
    by_probability = score(parse_metric("nll_of_probabilities"), softmax(logits), Labels(label))
    assert by_probability.value() == pytest.approx(loss)


def test_balanced_accuracy_equals_scikit_learn_on_every_subset(case):
    logits, label = case
    scores = score(parse_metric("balanced_accuracy"), logits, Labels(label))
    for rows in (np.arange(400), np.arange(30), np.flatnonzero(label == 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of predicted classes that the subset doesn't hold
            theirs = balanced_accuracy_score(label[rows], logits[rows].argmax(axis=1))
        assert scores.value(rows) == pytest.approx(theirs)
    assert np.isnan(scores.value(np.array([], dtype=np.int64)))


def test_macro_f1_equals_scikit_learn_over_the_classes_that_occur_on_every_subset(case):
    logits, label = case
    scores = score(parse_metric("macro_f1"), logits, Labels(label))
    for rows in (np.arange(400), np.arange(7), np.flatnonzero(label >= 3), np.array([5])):
        theirs = f1_score(
            label[rows],
            logits[rows].argmax(axis=1),
            labels=np.unique(label[rows]),
            average="macro",
            zero_division=0,
        )
        assert scores.value(rows) == pytest.approx(theirs)
    assert np.isnan(scores.value(np.array([], dtype=np.int64)))


def plain_ece(probabilities, label, bins=15):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    total = 0.0
    for i in range(bins):
        chosen = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if chosen.any():
            total += chosen.mean() * abs(confidence[chosen].mean() - right[chosen].mean())
    return total


def test_ece_is_the_gap_between_confidence_and_accuracy_averaged_over_the_bins(case):
    logits, label = case
    for name, outputs in (("ece", logits), ("ece_of_probabilities", softmax(logits))):
        scores = score(parse_metric(name), outputs, Labels(label))
        assert scores.value() == pytest.approx(plain_ece(softmax(logits), label))
        rows = np.arange(100, 250)
        assert scores.value(rows) == pytest.approx(plain_ece(softmax(logits[rows]), label[rows]))


def test_ece_is_0_for_a_sure_and_right_model_and_1_for_a_sure_and_wrong_one():
    label = Labels(np.array([0, 1, 1]))
    sure = np.eye(2)[[0, 1, 1]] * 1e3
    assert score(parse_metric("ece"), sure, label).value() == pytest.approx(0.0)
    assert score(parse_metric("ece"), -sure, label).value() == pytest.approx(1.0)
    assert np.isnan(score(parse_metric("ece"), sure * np.nan, label).value())


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_a_changed_sample_moves_a_set_metric_no_more_than_its_influence(seed, n):
    rng = np.random.default_rng(seed)
    before, label = rng.normal(0, 2, (n, 4)), Labels(rng.integers(0, 4, n))
    after = before.copy()
    after[0] = rng.normal(0, 2, 4)
    for name in ("balanced_accuracy", "macro_f1", "ece"):
        one, other = (score(parse_metric(name), logits, label) for logits in (before, after))
        most = one.statistics.most(np.arange(n))(n)
        assert abs(one.value() - other.value()) <= most + 1e-9


def test_nll_is_stable_for_huge_logits():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]])
    found = score(parse_metric("nll"), logits, Labels(np.array([0, 0]))).values
    assert found == pytest.approx([0.0, 1e4])


def test_an_impossible_label_costs_a_finite_loss():
    probabilities = np.array([[1.0, 0.0], [0.0, 0.0]])
    found = score(parse_metric("nll_of_probabilities"), probabilities, Labels(np.array([1, 0])))
    assert np.isfinite(found.values).all()
    assert found.values.min() > 80


def test_tied_logits_go_to_the_lowest_class_and_the_bounds_say_so():
    logits = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    truth, top1 = Labels(np.array([0, 1])), parse_metric("top1")
    assert score(top1, logits, truth).values.tolist() == [True, False]
    bounds = tie_bounds(top1, logits, truth)
    assert bounds.worst.values.tolist() == [False, False]
    assert bounds.best.values.tolist() == [True, True]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_top1_is_argmax_also_on_ties(seed):
    rng = np.random.default_rng(seed)
    logits, label = rng.integers(0, 3, (20, 4)) * 1.0, rng.integers(0, 4, 20)
    right = score(parse_metric("top1"), logits, Labels(label)).values
    assert (right == (logits.argmax(axis=1) == label)).all()


@pytest.mark.parametrize(
    "name", ["top1", "top2", "nll", "ece", "balanced_accuracy", "macro_f1", "top1_agreement"]
)
def test_a_sample_with_a_nan_among_its_logits_has_no_score(name):
    logits = np.array([[np.nan, 1.0, 0.0], [1.0, np.nan, np.nan], [np.nan] * 3, [1.0, 0.0, 0.5]])
    truth = Labels(np.array([0, 0, 0, 0]))
    found = score(parse_metric(name), logits, truth, np.abs(np.nan_to_num(logits)))
    assert found.present.tolist() == [False, False, False, True]
    alone = score(parse_metric(name), logits[3:], truth.take(np.array([3])), logits[3:])
    assert found.value() == alone.value()
    assert found.n_left_out() == 3


def test_masked_classes_are_no_classes():
    logits = np.array([[0.0, -np.inf, np.log(3)], [-np.inf, 1.0, 2.0]])
    truth = Labels(np.array([0, 1]))
    found = {
        name: score(parse_metric(name), logits, truth, logits)
        for name in ("top1", "nll", "top1_agreement", "cosine")
    }
    assert found["top1"].values.tolist() == [False, False]
    assert found["nll"].values == pytest.approx([np.log(4), np.log1p(np.e)])
    assert found["top1_agreement"].value() == found["cosine"].value() == 1.0


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32])
def test_logits_are_compared_in_the_precision_in_which_they_were_given(dtype):
    high = 2**62 if dtype != np.int32 else 2**30
    logits = np.array([[high, high + 1, 0], [high + 1, high, 0]], dtype=dtype)
    truth = Labels(np.array([1, 1]))
    assert score(parse_metric("top1"), logits, truth).values.tolist() == [True, False]
    assert score(parse_metric("top1_agreement"), logits, truth, logits[::-1]).value() == 0.0


def test_labels_out_of_range_are_named():
    with pytest.raises(PoolError, match=r"1 of 2 labels.*: 7 .*position 1.*3 classes"):
        score(parse_metric("top1"), np.zeros((2, 3)), Labels(np.array([0, 7])))


def test_a_top_k_that_is_always_right_is_refused():
    with pytest.raises(SettingsError, match="top3 is always right"):
        score(parse_metric("top3"), np.zeros((2, 3)), Labels(np.array([0, 1])))


def test_outputs_of_another_shape_or_number_are_refused():
    with pytest.raises(SettingsError, match="expected"):
        score(parse_metric("top1"), np.zeros((2, 3, 1)), Labels(np.array([0, 1])))
    with pytest.raises(PoolError, match="2 units"):
        score(parse_metric("top1"), np.zeros((2, 3)), Labels(np.array([0])))


@pytest.mark.parametrize("name", ["top1", "nll", "balanced_accuracy", "macro_f1", "ece"])
def test_batches_join_to_the_whole(case, name):
    logits, label = case
    metric = parse_metric(name)
    parts = [score(metric, logits[s], Labels(label[s])) for s in (slice(0, 150), slice(150, 400))]
    whole = score(metric, logits, Labels(label))
    assert concatenate(parts).value() == pytest.approx(whole.value())


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "ece"])
def test_what_is_kept_of_a_set_metric_is_narrow(name):
    rng = np.random.default_rng(3)
    truth = Labels(rng.integers(0, 4, 50))
    parts = [score(parse_metric(name), rng.random((50, 4)), truth) for _ in range(2)]
    for each in (parts[0], concatenate(parts)):
        columns = each.statistics.columns
        assert columns.indices.dtype == columns.indptr.dtype == np.int32
        assert columns.dtype == (np.float64 if name == "ece" else np.int8)  # counts are small
