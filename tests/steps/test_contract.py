import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics.power import (
    Expectation,
    slice_power,
    smallest_provable_drop,
    units_to_prove,
)

TOP1 = parse_metric("top1")


def slices(*sizes: int) -> SliceSet:
    codes = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    labels = tuple(f"s{i}" for i in range(len(sizes)))
    return SliceSet(len(codes), (CodedDimension("d", labels, codes),))


def test_every_slice_promises_what_the_contract_says() -> None:
    found = slice_power(slices(20, 300, 5000), 0.01, flip_rate=0.05)
    usual = Expectation(0.05)
    needed = units_to_prove(TOP1, 0.01, expected=usual)
    assert list(found) == ["all", "s0", "s1", "s2"]
    assert {each.n_needed for each in found.values()} == {needed}
    assert found["s0"].smallest_provable_drop is None
    assert found["s1"].smallest_provable_drop == smallest_provable_drop(TOP1, 300, expected=usual)
    assert [each.enough for each in found.values()] == [True, False, False, True]


def test_in_clusters_a_slice_proves_what_their_number_does() -> None:
    clusters = np.arange(4000) // 8
    found = slice_power(slices(4000), 0.02, flip_rate=0.0, clusters=clusters)["s0"]
    assert found.n_independent == pytest.approx(500)
    assert found.smallest_provable_drop == smallest_provable_drop(TOP1, 500)
    assert found.n_needed == 8 * 133
    assert found.enough


def test_an_empty_slice_proves_nothing_and_says_what_it_needs() -> None:
    found = slice_power(slices(0, 100), 0.02, flip_rate=0.0)["s0"]
    assert (found.n, found.smallest_provable_drop, found.n_needed) == (0, None, 133)
    assert not found.enough
