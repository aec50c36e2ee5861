"""The search for shares: near the best there is, within its number of tries."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.recommend.mixtures import MOST_TRIES, STEPS, search_shares


def every(n: int) -> list[tuple[int, ...]]:
    return [parts for parts in itertools.product(range(STEPS + 1), repeat=n) if sum(parts) == STEPS]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_of_convex_costs_nearly_the_least_is_found(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    goal, scale = rng.dirichlet(np.ones(n)) * STEPS, rng.uniform(0.5, 2.0, n)

    def cost(parts: tuple[int, ...]) -> float:
        return float(np.max(scale * np.abs(np.array(parts) - goal)))

    found, value = search_shares(cost, n)
    assert sum(found) == STEPS
    assert min(found) >= 0
    assert value == cost(found)
    assert value <= min(map(cost, every(n))) + 1.5 * scale.max()
    assert value <= cost((STEPS, *[0] * (n - 1)))


@pytest.mark.parametrize("n", [2, 5, 10])
def test_no_more_costs_are_asked_for_than_allowed(n: int) -> None:
    asked: list[tuple[int, ...]] = []

    def cost(parts: tuple[int, ...]) -> float:
        asked.append(parts)
        return float(np.random.default_rng(abs(hash(parts)) % 2**32).random())

    search_shares(cost, n)
    assert len(asked) == len(set(asked)) <= MOST_TRIES


def test_a_single_part_that_is_best_is_found() -> None:
    assert search_shares(lambda parts: -parts[2], 4) == ((0, 0, STEPS, 0), -STEPS)
