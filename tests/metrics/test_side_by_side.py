"""Several engines' scores asked together: the same as asking each, slice by slice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.set_statistics import Grouping, Sums
from calaudit.metrics.side_by_side import memberships, side_by_side, values_in
from calaudit.metrics.unit_scores import RatioScores, SetScores, UnitScores

N = 40
MEAN = parse_metric("ndcg@10")
SET = parse_metric("coverage@10")


def functional(totals):
    return totals.max(axis=-1) - totals.min(axis=-1) / (1.0 + np.abs(totals).sum(axis=-1))


def sums(seed, width, share=0.2):
    rng = np.random.default_rng(seed)
    columns = np.where(rng.random((N, width)) < share, rng.normal(size=(N, width)), 0.0)
    return Sums(sparse.csr_array(columns), functional, lambda totals, n: 1.0)


def slices_of(seed, n_slices=7):
    rng = np.random.default_rng(seed)
    found = [np.flatnonzero(rng.random(N) < share) for share in rng.random(n_slices)]
    return [np.array([], dtype=np.int64), *found, np.arange(N)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([3, 64, 65, 300]), st.integers(1, 9))
def test_groups_are_left_out_of_all_engines_as_of_each(seed, width, n_engines):
    engines = [sums(seed + k, width) for k in range(n_engines)]
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(N) < 0.7)
    of = Grouping(rows, rng.integers(0, 6, len(rows)), 6)
    whole, left = side_by_side(engines).without_groups(of)
    for k, each in enumerate(engines):
        alone = sums(seed + k, width).without_groups(of)
        assert whole[k] == pytest.approx(alone[0], rel=1e-12)
        np.testing.assert_allclose(left[k], alone[1], rtol=1e-12)
        # kept for what is asked next about these rows
        assert each.value(rows) == pytest.approx(alone[0], rel=1e-12)


def test_engines_too_large_to_stand_side_by_side_give_the_same(monkeypatch):
    engines = [sums(k, 300) for k in range(5)]
    of = Grouping(np.arange(N), np.arange(N) % 4, 4)
    together = side_by_side(engines).without_groups(of)
    for most in (1, 2 * 64 * 300):
        monkeypatch.setattr("calaudit.metrics.side_by_side._STACKED", most)
        apart = side_by_side(engines).without_groups(of)
        for one, other in zip(together, apart, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def units(seed, missing):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=N)
    values[rng.random(N) < missing] = np.nan
    return UnitScores(MEAN, values)


def ratios(seed, missing):
    rng = np.random.default_rng(seed)
    top = rng.integers(0, 5, N).astype(float)
    top[rng.random(N) < missing] = np.nan
    return RatioScores(MEAN, top, rng.integers(0, 4, N).astype(float))


def sets(seed, missing):
    absent = np.random.default_rng(seed).random(N) < missing
    return SetScores(SET, sums(seed, 70), absent)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([units, ratios, sets]), st.integers(0, 999), st.sampled_from([0.0, 0.4, 1.0])
)
def test_values_of_all_slices_are_those_of_each(make, seed, missing):
    scores = [make(seed + k, missing) for k in range(3)]
    slices = slices_of(seed)
    found = np.concatenate([values_in(scores, member) for member in memberships(slices, N)], axis=1)
    expected = [[each.value(rows) for rows in slices] for each in scores]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("most", [1, 50, 10**6])
def test_every_slice_is_in_one_membership_in_order(monkeypatch, most):
    monkeypatch.setattr("calaudit.metrics.side_by_side._MEMBERS", most)
    slices = slices_of(3)
    parts = list(memberships(slices, N))
    whole = np.concatenate([part.toarray() for part in parts])
    expected = [np.isin(np.arange(N), rows) for rows in slices]
    np.testing.assert_array_equal(whole, expected)
    assert all(part.nnz <= most or part.shape[0] == 1 for part in parts)
