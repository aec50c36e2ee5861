"""What metrics share of a case: found once, whichever engine or list they look at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.metrics import case as cases
from calaudit.metrics import ranking
from calaudit.metrics.case import Case
from calaudit.metrics.shown import order_within, show
from calaudit.metrics.truth import Relevance

RNG = np.random.default_rng(3)


def ranked_case(n=20, items=12):
    fp32 = RNG.normal(size=(n, items)).astype(np.float32)
    return Case(fp32, Relevance(RNG.integers(0, 3, (n, items))), fp32)


def test_engines_share_what_is_known_of_the_truth_and_of_fp32(monkeypatch):
    shown, ideals = [], []
    monkeypatch.setattr(cases, "show", lambda *given: shown.append(given) or show(*given))
    ideal = ranking._Gain._ideal
    monkeypatch.setattr(
        ranking._Gain, "_ideal", lambda *given: ideals.append(given) or ideal(*given)
    )
    base = ranked_case()
    for _ in range(3):
        engine = base.with_outputs(RNG.normal(size=base.outputs.shape).astype(np.float32))
        alone = Case(engine.outputs, base.truth, base.reference_outputs)
        n_shown, n_ideals = len(shown), len(ideals)
        found = ranking.ndcg(engine, 5), ranking.ndcg_bounds(engine, 5)
        engine.reference_shown(5)
        # FP32's list and the ideal order belong to the first engine alone
        first = n_shown == 0
        assert len(shown) - n_shown == (2 if first else 1)
        assert len(ideals) - n_ideals == (1 if first else 0)
        np.testing.assert_array_equal(found[0], ranking.ndcg(alone, 5))
        np.testing.assert_array_equal(found[1], ranking.ndcg_bounds(alone, 5))
        shown.pop()  # the case alone shows its own list
        ideals.pop()


def test_another_list_keeps_what_is_known_of_the_outputs(monkeypatch):
    looked = []
    find = cases.unanswered
    monkeypatch.setattr(cases, "unanswered", lambda *given: looked.append(given) or find(*given))
    base = ranked_case()
    outputs = base.outputs.copy()
    outputs[3, 1] = np.nan
    engine = base.with_outputs(outputs)
    assert np.flatnonzero(engine.unanswered).tolist() == [3]
    other = engine.with_shown(4, engine.reference_shown(4))
    assert np.flatnonzero(other.unanswered).tolist() == [3]
    assert not other.answers[3].any()
    assert not base.unanswered.any()
    # FP32's outputs once, and the engine's once
    assert len(looked) == 2
    assert not engine.with_outputs(base.outputs + 1).unanswered.any()


def test_outputs_that_are_fp32s_show_its_list():
    base = ranked_case()
    assert base.shown(4) is base.reference_shown(4)
    broken = np.zeros(len(base), dtype=bool)
    broken[2] = True
    one = Case(base.outputs, base.truth, base.outputs, broken=broken)
    assert not one.answers[2].any()
    assert one.shown(4) is not one.reference_shown(4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    long=st.integers(0, 200),
    seed=st.integers(0, 99),
)
def test_entries_are_sorted_by_query_and_keys_as_lexsort_sorts_them(counts, long, seed, dtype):
    rng = np.random.default_rng(seed)
    counts = [*counts, long]
    query = np.repeat(np.arange(len(counts)), counts)
    first = rng.integers(0, 3, len(query)).astype(dtype)
    second = rng.choice(np.array([0, 1, 2, -3, 1e9]), len(query)).astype(dtype)
    if dtype is not np.int64:
        second[rng.random(len(query)) < 0.2] = np.inf
    found = order_within(query, len(counts), first, second)
    np.testing.assert_array_equal(found, np.lexsort((second, first, query)))
    np.testing.assert_array_equal(
        order_within(query, len(counts), second), np.lexsort((second, query))
    )
