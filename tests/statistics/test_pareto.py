"""Domination that intervals vouch for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calaudit.statistics.pareto import Bounds, dominators

MARGIN = 0.05


def bounds(*ends: tuple[float, float]) -> Bounds:
    low, high = np.array(ends, float).reshape(-1, 2).T
    return Bounds(low, high)


def test_as_fast_with_less_loss_dominates_and_not_the_other_way_round():
    gain = bounds((2.00, 2.04), (2.01, 2.05))
    loss = bounds((0.15, 0.21), (-0.01, 0.02))
    assert dominators(gain, loss, margin=MARGIN) == [[1], []]


def test_faster_without_more_loss_dominates():
    gain = bounds((1.0, 1.0), (1.5, 1.6))
    assert dominators(gain, bounds((0.1, 0.2), (0.0, 0.1)), margin=MARGIN) == [[1], []]


def test_faster_with_a_loss_that_may_be_larger_dominates_nothing():
    gain = bounds((1.0, 1.0), (2.0, 2.1))
    assert dominators(gain, bounds((0.0, 0.0), (-0.01, 0.02)), margin=MARGIN) == [[], []]


def test_less_loss_dominates_nothing_that_may_be_faster_by_more_than_the_margin():
    loss = bounds((0.15, 0.21), (0.0, 0.02))
    assert dominators(bounds((1.9, 2.2), (1.9, 2.2)), loss, margin=MARGIN) == [[], []]
    assert dominators(bounds((1.9, 2.2), (1.9, 2.2)), loss, margin=0.2) == [[1], []]


def test_what_is_unknown_neither_dominates_nor_is_dominated():
    gain = bounds((1.0, 1.0), (2.0, 2.1), (3.0, 3.1))
    loss = bounds((-np.inf, np.inf), (0.0, 0.01), (-np.inf, np.inf))
    assert dominators(gain, loss, margin=MARGIN) == [[], [], []]


@given(
    st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(0, 2), st.floats(-1, 1), st.floats(0, 1)),
        min_size=1, max_size=8,
    ),
    st.randoms(),
)  # fmt: skip
def test_a_dominator_is_better_wherever_the_truth_is(rows, random):
    gain = bounds(*((g, g + w) for g, w, _, _ in rows))
    loss = bounds(*((x, x + w) for _, _, x, w in rows))
    found = dominators(gain, loss, margin=MARGIN)
    truth = [(random.uniform(g, g + w), random.uniform(x, x + v)) for g, w, x, v in rows]
    for beaten, by in enumerate(found):
        assert beaten not in by
        for better in by:
            assert truth[better][0] >= (1 - MARGIN) * truth[beaten][0] - 1e-12
            assert truth[better][1] <= truth[beaten][1] + 1e-12
    # some choice is never dominated
    assert not all(found)


def test_equal_choices_dominate_each_other_less_often_than_their_intervals_fail():
    rng = np.random.default_rng(3)
    half, false, n = 1.96, 0, 4000
    for _ in range(n):
        speed, lost = rng.normal(size=2), rng.normal(size=2)
        # gains of the same size on a scale on which the margin is 2.5 standard errors
        gain = Bounds(50 + speed - half, 50 + speed + half)
        found = dominators(gain, Bounds(lost - half, lost + half), margin=MARGIN)
        false += any(found)
    # 2 × 5 %: four ends of 2.5 % each
    assert false / n < 0.10
    assert false / n > 0
