import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from calaudit.evaluate import RatioScores, SetScores, UnitScores, parse_metric
from calaudit.evaluate.exemplars import Exemplar, find_exemplars

TOP1, NLL, WER = (parse_metric(name) for name in ("top1", "nll", "wer"))


def binary(*values):
    return UnitScores(TOP1, np.array(values, dtype=bool))


def test_units_that_flip_under_most_engines_are_listed_most_flips_first():
    fp32 = binary(1, 1, 1, 0, 0)
    engines = [binary(1, 0, 0, 1, 0), binary(1, 0, 1, 1, 0), binary(0, 0, 0, 1, 0)]
    found = find_exemplars(TOP1, fp32, engines)
    # Unit 0 flips under one engine of three: that isn't most.
    assert found.shown == (
        Exemplar(1, 3, 0, 1.0, 1.0),
        Exemplar(3, 0, 3, 0.0, -1.0),
        Exemplar(2, 2, 0, 1.0, pytest.approx(2 / 3)),
    )
    assert (found.n_engines, found.n_flipping) == (3, 3)
    shortened = find_exemplars(TOP1, fp32, engines, most=1)
    assert (len(shortened.shown), shortened.n_flipping) == (1, 3)


def test_flips_under_exactly_half_of_the_engines_are_not_most():
    found = find_exemplars(TOP1, binary(1, 1), [binary(0, 1), binary(1, 1)])
    assert (found.shown, found.n_flipping) == ((), 0)


def test_a_mean_flips_by_more_than_what_is_tolerable_and_rounding_is_no_flip():
    fp32 = UnitScores(NLL, np.array([1.0, 1.0, 1.0, np.nan]))
    engine = UnitScores(NLL, np.array([1.3, 1.05, 1.0 + 1e-12, 5.0]))
    assert [one.unit for one in find_exemplars(NLL, fp32, [engine], least=0.1).shown] == [0]
    loose = find_exemplars(NLL, fp32, [engine])
    assert [(one.unit, one.lost) for one in loose.shown] == [(0, 1), (1, 1)]
    assert loose.shown[0].mean_drop == pytest.approx(0.3)  # higher is worse


def test_a_unit_without_an_answer_is_lost():
    fp32 = UnitScores(NLL, np.array([1.0, 1.0]))
    found = find_exemplars(NLL, fp32, [UnitScores(NLL, np.array([np.nan, 1.0]))] * 2)
    assert found.shown == (Exemplar(0, 2, 0, 1.0, 0.0),)


def test_errors_of_a_ratio_flip_the_sample():
    fp32 = RatioScores(WER, np.array([0.0, 2.0]), np.array([3.0, 4.0]))
    engine = RatioScores(WER, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert find_exemplars(WER, fp32, [engine]).shown == (Exemplar(0, 1, 0, 0.0, 1.0),)


def test_sets_and_no_engines_have_no_exemplars_and_no_units_none_to_list():
    gini = parse_metric("gini@5")
    scores = SetScores(gini, sparse.csr_array(np.ones((2, 3))), np.sum, lambda *_: 1.0)
    assert find_exemplars(gini, scores, [scores]) is None
    assert find_exemplars(TOP1, binary(1), []) is None
    assert find_exemplars(TOP1, binary(), [binary()]).n_flipping == 0


@given(seed=st.integers(0, 10**6), n_engines=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_engines_changes_nothing(seed, n_engines):
    rng = np.random.default_rng(seed)
    fp32 = binary(*rng.integers(0, 2, 12))
    engines = [binary(*rng.integers(0, 2, 12)) for _ in range(n_engines)]
    found = find_exemplars(TOP1, fp32, engines)
    assert found == find_exemplars(TOP1, fp32, engines[::-1])
    flips = np.array([one.values != fp32.values for one in engines]).sum(axis=0)
    assert found.n_flipping == np.count_nonzero(flips > n_engines / 2)
