"""Successive halving keeps the best, and spends most on the good ones."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.explain.halving import FIRST, halve


@pytest.mark.parametrize("keep", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 40, 1000])
def test_the_best_are_kept_in_order_where_samples_agree(keep: int, n: int) -> None:
    losses = {f"c{i}": float((7 * i) % 23) for i in range(23)}
    found = halve(list(losses), lambda name, _: losses[name], n, keep=keep, seed=0)
    assert found == sorted(losses, key=losses.__getitem__)[:keep]


def test_the_worse_half_goes_and_samples_double() -> None:
    sizes: dict[str, list[int]] = {f"c{i}": [] for i in range(16)}

    def loss(name: str, taken: NDArray[np.int64]) -> float:
        assert (np.diff(taken) > 0).all()
        sizes[name].append(len(taken))
        return float(name[1:])

    halve(list(sizes), loss, 10_000, keep=2, seed=1)
    rounds = Counter(len(each) for each in sizes.values())
    assert rounds == {1: 8, 2: 4, 3: 2, 4: 2}
    assert sizes["c0"] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]


def test_later_rounds_look_at_the_samples_of_earlier_ones_again() -> None:
    seen: list[set[int]] = []

    def loss(name: str, taken: NDArray[np.int64]) -> float:
        if name == "a":
            seen.append(set(taken.tolist()))
        return {"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}[name]

    halve(["a", "b", "c", "d"], loss, 500, keep=1, seed=5)
    assert all(one < other for one, other in pairwise(seen))


def test_what_has_no_loss_is_the_worst() -> None:
    losses = {"broken": float("nan"), "good": 1.0, "bad": 2.0}
    assert halve(list(losses), lambda n, _: losses[n], 64, keep=3, seed=0) == [
        "good", "bad", "broken",
    ]  # fmt: skip


def test_no_candidates_are_none() -> None:
    assert halve([], lambda *_: 0.0, 64, keep=2, seed=0) == []
