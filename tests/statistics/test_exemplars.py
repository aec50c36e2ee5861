import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.unit_scores import RatioScores, SetScores, UnitScores
from calaudit.results.drops import Exemplar
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics.exemplars import find_exemplars

TOP1, NLL, WER = (parse_metric(name) for name in ("top1", "nll", "wer"))


def exemplars(metric, reference, candidates, **how):
    """Units are called by their positions; the even ones are a slice."""
    n = len(reference)
    codes = -(np.arange(n) % 2).astype(np.int32)
    slices = SliceSet(n, (CodedDimension("parity", ("even",), codes),))
    return find_exemplars(
        metric,
        reference,
        candidates,
        ids=lambda units: [f"u{at}" for at in units],
        slices=slices,
        **how,
    )


def binary(*values):
    return UnitScores(TOP1, np.array(values, dtype=bool))


def test_units_that_flip_under_most_engines_are_listed_most_flips_first():
    fp32 = binary(1, 1, 1, 0, 0)
    engines = [binary(1, 0, 0, 1, 0), binary(1, 0, 1, 1, 0), binary(0, 0, 0, 1, 0)]
    found = exemplars(TOP1, fp32, engines)
    # Unit 0 flips under one engine of three: that isn't most.
    assert found.shown == (
        Exemplar("u1", 3, 0, 1.0, 1.0, ()),
        Exemplar("u3", 0, 3, 0.0, -1.0, ()),
        Exemplar("u2", 2, 0, 1.0, pytest.approx(2 / 3), ("even",)),
    )
    assert (found.engines, found.flipping) == (3, 3)
    shortened = exemplars(TOP1, fp32, engines, most=1)
    assert (len(shortened.shown), shortened.flipping) == (1, 3)


def test_flips_under_exactly_half_of_the_engines_are_not_most():
    found = exemplars(TOP1, binary(1, 1), [binary(0, 1), binary(1, 1)])
    assert (found.shown, found.flipping) == ((), 0)


def test_a_mean_flips_by_more_than_what_is_tolerable_and_rounding_is_no_flip():
    fp32 = UnitScores(NLL, np.array([1.0, 1.0, 1.0, np.nan]))
    engine = UnitScores(NLL, np.array([1.3, 1.05, 1.0 + 1e-12, 5.0]))
    assert [one.id for one in exemplars(NLL, fp32, [engine], least=0.1).shown] == ["u0"]
    loose = exemplars(NLL, fp32, [engine])
    assert [(one.id, one.lost) for one in loose.shown] == [("u0", 1), ("u1", 1)]
    assert loose.shown[0].mean_drop == pytest.approx(0.3)  # higher is worse


def test_a_unit_without_an_answer_is_lost():
    fp32 = UnitScores(NLL, np.array([1.0, 1.0]))
    found = exemplars(NLL, fp32, [UnitScores(NLL, np.array([np.nan, 1.0]))] * 2)
    assert found.shown == (Exemplar("u0", 2, 0, 1.0, 0.0, ("even",)),)


def test_errors_of_a_ratio_flip_the_sample():
    fp32 = RatioScores(WER, np.array([0.0, 2.0]), np.array([3.0, 4.0]))
    engine = RatioScores(WER, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert exemplars(WER, fp32, [engine]).shown == (Exemplar("u0", 1, 0, 0.0, 1.0, ("even",)),)


def test_sets_and_no_engines_have_no_exemplars_and_no_units_none_to_list():
    gini = parse_metric("gini@5")
    statistics = Sums(sparse.csr_array(np.ones((2, 3))), np.sum, lambda *_: 1.0)
    scores = SetScores(gini, statistics)
    assert exemplars(gini, scores, [scores]) is None
    assert exemplars(TOP1, binary(1), []) is None
    assert exemplars(TOP1, binary(), [binary()]).flipping == 0


@given(seed=st.integers(0, 10**6), n_engines=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_engines_changes_nothing(seed, n_engines):
    rng = np.random.default_rng(seed)
    fp32 = binary(*rng.integers(0, 2, 12))
    engines = [binary(*rng.integers(0, 2, 12)) for _ in range(n_engines)]
    found = exemplars(TOP1, fp32, engines)
    assert found == exemplars(TOP1, fp32, engines[::-1])
    flips = np.array([one.values != fp32.values for one in engines]).sum(axis=0)
    assert found.flipping == np.count_nonzero(flips > n_engines / 2)


def test_memory_does_not_grow_with_the_number_of_engines():
    rng = np.random.default_rng(4)
    fp32 = UnitScores(NLL, rng.random(20_000))
    engines = [UnitScores(NLL, fp32.values + rng.normal(0, 0.1, 20_000)) for _ in range(24)]
    peaks = []
    for n in (3, 24):
        tracemalloc.start()
        exemplars(NLL, fp32, engines[:n], least=0.05)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
