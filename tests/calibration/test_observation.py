import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator, observe
from calaudit.calibration.groups import split_into_parts
from calaudit.calibration.observation import Observation
from calaudit.runtime.errors import RangesError

membership_of_samples = st.tuples(st.integers(1, 10), st.integers(1, 20)).flatmap(
    lambda shape: hnp.arrays(np.bool_, shape)
)


@given(membership_of_samples)
def test_atoms_give_back_the_groups_they_were_split_from(membership: NDArray[np.bool_]) -> None:
    atoms = split_into_parts(membership.astype(np.float64))
    np.testing.assert_array_equal(atoms.weights[:, atoms.of_sample[:, 0]], membership)
    columns = {column.tobytes() for column in atoms.weights.T}
    assert len(columns) == atoms.weights.shape[1]


@given(membership_of_samples)
def test_one_pass_over_atoms_serves_every_overlapping_group(
    membership: NDArray[np.bool_],
) -> None:
    rows = np.random.default_rng(1).standard_normal((membership.shape[1], 4)).astype(np.float32)
    found = observation(membership, rows)
    for name, held in zip(found.groups, membership, strict=True):
        assert found.of(name).one(0, 0) == observe(rows[held])
        assert found.size(name) == held.sum()


@given(membership_of_samples)
def test_groups_of_one_tap_are_those_of_all_taps(membership: NDArray[np.bool_]) -> None:
    rows = np.random.default_rng(2).standard_normal((membership.shape[1], 4)).astype(np.float32)
    found = observation(membership, rows)
    backwards = found.groups[::-1]
    assert found.of_tap(0, backwards) == [found.of(name).one(0, 0) for name in backwards]
    with pytest.raises(RangesError, match="no ranges were recorded"):
        found.of_tap(0, ["nobody"])


def observation(membership: NDArray[np.bool_], rows: NDArray[np.float32]) -> Observation:
    atoms = split_into_parts(membership.astype(np.float64))
    collected = Accumulator(["t"], atoms.weights.shape[1])
    collected.add(0, rows, atoms.of_sample[:, 0])
    names = tuple(f"set {number}" for number in range(len(membership)))
    sizes = np.bincount(atoms.of_sample[:, 0], minlength=atoms.weights.shape[1])
    return Observation(collected.histograms, names, atoms.weights, sizes, "model", "pool")


def test_an_unknown_group_names_the_near_ones() -> None:
    found = observation(np.ones((2, 3), bool), np.ones((3, 1), np.float32))
    with pytest.raises(RangesError, match="Did you mean set"):
        found.of("sett 1")


def test_parts_that_contradict_one_another_are_refused() -> None:
    histograms = Accumulator(["t"], 2).histograms
    sizes = np.array([1, 1])
    with pytest.raises(RangesError, match="members has shape"):
        Observation(histograms, ("a",), np.ones((1, 3), bool), sizes, "m", "p")
    with pytest.raises(RangesError, match="n_samples has shape"):
        Observation(histograms, ("a",), np.ones((1, 2), bool), sizes[:1], "m", "p")
    with pytest.raises(RangesError, match="one name"):
        Observation(histograms, ("a", "a"), np.ones((2, 2), bool), sizes, "m", "p")
