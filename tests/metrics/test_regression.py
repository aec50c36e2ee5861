import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Values
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import PoolError, SettingsError

ORACLES = {
    "mae": metrics.mean_absolute_error,
    "mse": metrics.mean_squared_error,
    "rmse": metrics.root_mean_squared_error,
    "r2": metrics.r2_score,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shape", [(200,), (200, 1), (200, 3)])
@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_every_metric_equals_scikit_learn_on_every_subset(name, shape, offset):
    rng = np.random.default_rng(len(shape))
    true = rng.normal(offset, 2, shape)
    given = true + rng.normal(0.1, 1, shape)
    scores = score(parse_metric(name), given, Values(true))
    for rows in (np.arange(200), np.arange(20, 90)):
        if name == "rmse":  # ours takes the root of the mean over a sample's values
            theirs = np.sqrt(metrics.mean_squared_error(true[rows], given[rows]))
        else:
            theirs = ORACLES[name](true[rows], given[rows])
        assert scores.value(rows) == pytest.approx(theirs, rel=1e-6)


def test_the_root_equals_scikit_learns_for_one_value_per_sample():
    rng = np.random.default_rng(0)
    true, given = rng.normal(size=50), rng.normal(size=50)
    found = score(parse_metric("rmse"), given[:, None], Values(true)).value()
    assert found == pytest.approx(metrics.root_mean_squared_error(true, given))


@pytest.mark.parametrize("name", ORACLES)
def test_batches_join_to_the_whole(name):
    rng = np.random.default_rng(1)
    truth, given = Values(rng.normal(1e5, 1, 60)), rng.normal(1e5, 1, 60)
    rows = np.arange(60)
    parts = [
        score(parse_metric(name), given[part], truth.take(part)) for part in (rows[:7], rows[7:])
    ]
    whole = score(parse_metric(name), given, truth).value()
    assert concatenate(parts).value() == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("name", ["mae", "mse", "rmse", "r2"])
def test_an_output_that_is_not_finite_or_whose_square_is_not_has_no_error(name):
    truth = Values(np.array([1.0, 2.0, 4.0, 5.0, 6.0]))
    given = np.array([1.5, np.nan, np.inf, 1e200, 7.0])
    found = score(parse_metric(name), given, truth)
    beyond = name == "mae"  # |1e200 - 5| is too large to be squared, too
    assert found.present.tolist() == [True, False, False, False, True] or beyond
    rest = Values(np.array([1.0, 6.0]), truth.center)
    assert found.value() == pytest.approx(score(parse_metric(name), given[[0, 4]], rest).value())


@given(value=st.floats(-1e6, 1e6), n=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_r2_of_a_target_that_does_not_vary_is_not_defined(value, n):
    scores = score(parse_metric("r2"), np.zeros(n), Values(np.full(n, value)))
    assert np.isnan(scores.value())


def test_no_samples_have_no_error():
    for name in ORACLES:
        assert np.isnan(score(parse_metric(name), np.zeros((0, 1)), Values(np.zeros(0))).value())


def test_a_target_of_another_shape_or_with_nan_is_refused():
    with pytest.raises(PoolError, match=r"shape \(3, 2\).*target has \(3,\)"):
        score(parse_metric("mae"), np.zeros((3, 2)), Values(np.zeros(3)))
    with pytest.raises(PoolError, match="first at position 1"):
        Values(np.array([0.0, np.nan]))
    with pytest.raises(SettingsError, match="values to predict"):
        score(parse_metric("mae"), np.zeros(3), Labels(np.zeros(3, dtype=int)))
