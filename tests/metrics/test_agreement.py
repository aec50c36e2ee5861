import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import perfect, score
from calaudit.metrics.truth import Relevance
from calaudit.metrics.unit_scores import UnitScores
from calaudit.runtime.errors import PoolError, SettingsError

AGREEMENT = ["top1_agreement", "cosine", "max_abs_diff", "overlap@3"]


@pytest.mark.parametrize("name", AGREEMENT)
@pytest.mark.parametrize("levels", [2, 10**6])
def test_an_engine_that_equals_fp32_is_perfect_also_where_scores_tie(name, levels):
    outputs = np.random.default_rng(0).integers(0, levels, (20, 8)).astype(np.float32)
    outputs[0] = 0
    metric = parse_metric(name)
    found = score(metric, outputs, Relevance(np.ones((20, 8))), outputs)
    best = perfect(metric, found)
    assert isinstance(best, UnitScores)
    assert np.allclose(found.values, best.values)


def test_agreement_counts_equal_predictions_whatever_the_label():
    fp32 = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    int8 = np.array([[0.4, 0.3], [0.1, 0.2], [np.nan, np.nan]])
    found = score(parse_metric("top1_agreement"), int8, None, fp32)
    assert found.values.tolist() == [True, False, False]


def test_cosine_flattens_each_sample():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, 3))
    found = score(parse_metric("cosine"), ours, None, theirs).values
    plain = [
        (a.ravel() @ b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    assert found == pytest.approx(plain)


def test_vectors_of_length_0_agree_with_one_another_only():
    ours = np.array([[0.0, 0.0], [0.0, 0.0]])
    theirs = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert score(parse_metric("cosine"), ours, None, theirs).values == pytest.approx([1, 0])


def test_a_broken_output_is_left_out_and_one_that_fp32_masks_is_not_looked_at():
    theirs = np.array([[np.inf, 1.0], [1.0, 0.0], [-np.inf, 1.0], [1.0, 0.0]])
    ours = np.array([[np.inf, 3.0], [2.0, 0.5], [-9.0, 1.5], [np.inf, 0.0]])
    cosines, differences = (
        score(parse_metric(name), ours, None, theirs).values for name in ("cosine", "max_abs_diff")
    )
    assert cosines == pytest.approx([1.0, 2 / np.hypot(2, 0.5), 1.0, np.nan], nan_ok=True)
    assert differences == pytest.approx([2.0, 1.0, 0.5, np.nan], nan_ok=True)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_cosines_are_those_of_vectors_of_any_length(size):
    theirs = np.array([[3.0, 4.0]])
    found = score(parse_metric("cosine"), np.array([[4.0, 3.0]]) * size, None, theirs / size)
    assert found.values == pytest.approx([24 / 25])


def test_overlap_counts_common_items():
    fp32 = np.array([[5.0, 4, 3, 2, 1]])
    int8 = np.array([[5.0, 1, 3, 4, 2]])
    truth = Relevance(np.ones((1, 5)))
    assert score(parse_metric("overlap@3"), int8, truth, fp32).value() == pytest.approx(2 / 3)


def test_a_tie_of_the_engine_gives_the_expected_overlap():
    fp32 = np.array([[5.0, 4, 3, 2, 1]])
    int8 = np.array([[5.0, 1, 1, 1, 0]])
    truth = Relevance(np.ones((1, 5)))
    # Item 0 surely; one of items 1, 2, 3 takes the second place, and is FP32's second in 1 of 3.
    assert score(parse_metric("overlap@2"), int8, truth, fp32).value() == pytest.approx(
        (1 + 1 / 3) / 2
    )


def test_agreement_needs_what_fp32_gave():
    with pytest.raises(SettingsError, match="FP32"):
        score(parse_metric("cosine"), np.zeros((2, 3)), None)
    with pytest.raises(PoolError, match="shape"):
        score(parse_metric("cosine"), np.zeros((2, 3)), None, np.zeros((2, 4)))


@pytest.mark.parametrize("name", AGREEMENT)
def test_no_samples_have_no_scores(name):
    outputs = np.zeros((0, 5), dtype=np.float32)
    found = score(parse_metric(name), outputs, Relevance(np.zeros((0, 5))), outputs)
    assert len(found) == 0
    assert np.isnan(found.value())
