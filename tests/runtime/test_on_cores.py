"""Work on all cores: results in order, items as they are needed, one thread for each product."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from calaudit.runtime.compiled import map_on_cores, map_pieces, n_cores


def _blas_threads(_: object = None) -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    blas = [each for each in threadpool_info() if each["user_api"] == "blas"]
    # SciPy may bring one of its own
    own = [each for each in blas if "scipy.libs" not in each["filepath"]]
    return [each["num_threads"] for each in own]


def test_results_stand_in_the_order_of_the_items() -> None:
    assert map_on_cores(lambda n: n * n, range(100)) == [n * n for n in range(100)]
    assert map_on_cores(str, []) == []


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 54, 100])
def test_results_of_pieces_stand_in_the_order_of_the_numbers(n: int) -> None:
    assert map_pieces(lambda number: number * number, n) == [k * k for k in range(n)]


def test_items_are_taken_few_ahead_of_the_work() -> None:
    done = 0
    lock = threading.Lock()
    ahead = 0

    def items() -> Iterator[int]:
        nonlocal ahead
        for n in range(200):
            ahead = max(ahead, n - done)
            yield n

    def work(_: int) -> None:
        nonlocal done
        with lock:
            done += 1

    map_on_cores(work, items())
    assert done == 200
    assert ahead <= 6 * n_cores()


def test_the_first_error_ends_it_and_what_waits_is_not_begun() -> None:
    begun = []

    def work(n: int) -> None:
        begun.append(n)
        if n == 3:
            raise ValueError("the fourth")

    with pytest.raises(ValueError, match="the fourth"):
        map_on_cores(work, range(10_000))
    assert len(begun) < 100


def test_products_keep_to_their_thread_and_have_their_own_again_afterwards() -> None:
    before = _blas_threads()

    def work(_: int) -> list[list[int]]:
        return [_blas_threads(), *map_on_cores(_blas_threads, range(2)), _blas_threads()]

    for found in map_on_cores(work, range(4)):
        assert all(set(each) == {1} for each in found)
    with pytest.raises(ZeroDivisionError):
        map_on_cores(lambda n: 1 / n, [1, 0])
    assert _blas_threads() == before
