import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator, observe
from calaudit.calibration.histogram import N_BINS, rebase
from tests.calibration.samples import KINDS, batches_of_rows, drawn

Batch = NDArray[np.float32]


@given(batches_of_rows(), batches_of_rows())
def test_merge_is_commutative(a: Batch, b: Batch) -> None:
    assert observe(a) + observe(b) == observe(b) + observe(a)


@given(batches_of_rows(), batches_of_rows(), batches_of_rows())
def test_merge_is_associative(a: Batch, b: Batch, c: Batch) -> None:
    x, y, z = observe(a), observe(b), observe(c)
    assert (x + y) + z == x + (y + z)


@given(batches_of_rows(), batches_of_rows())
def test_merge_equals_observing_both_at_once(a: Batch, b: Batch) -> None:
    assert observe(a) + observe(b) == observe(np.concatenate([a, b]))


@given(batches_of_rows())
def test_nothing_is_the_neutral_element(a: Batch) -> None:
    assert observe(a) + observe(np.empty(0, np.float32)) == observe(a)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_numpys_histogram_over_the_same_edges(kind: str) -> None:
    values = drawn(kind, 20_000, 5)
    found = observe(values)
    expected, _ = np.histogram(np.abs(values).astype(np.float64), bins=found.edges)
    np.testing.assert_array_equal(found.counts, expected)
    assert found.n == len(values)
    assert found.n_zero == (values == 0).sum()
    assert found.amax == np.abs(values).max()


@given(batches_of_rows(), st.sampled_from([np.float16, np.float32, np.float64]))
def test_dtype_of_the_same_numbers_does_not_matter(values: Batch, dtype: type) -> None:
    values = np.clip(values, -60000, 60000).astype(np.float16).astype(dtype)
    assert observe(values) == observe(values.astype(np.float32))


@given(st.integers(0, 3 * N_BINS), st.integers(0, 3 * N_BINS))
def test_rebase_composes_and_keeps_every_count(one: int, two: int) -> None:
    counts = np.random.default_rng(0).integers(0, 1 << 40, N_BINS)
    direct = rebase(counts, 0, one + two)
    np.testing.assert_array_equal(rebase(rebase(counts, 0, one), one, one + two), direct)
    assert direct.sum() == counts.sum()


def test_counts_go_beyond_32_bits() -> None:
    one = observe(np.ones(1 << 10, np.float32))
    for _ in range(30):
        one = one + one
    assert one.n == 1 << 40


@given(st.data(), batches_of_rows(20))
def test_group_equals_direct_observation_of_its_samples(data: st.DataObject, rows: Batch) -> None:
    atoms = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    members = np.array(
        data.draw(
            st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=3)
        ),
        dtype=bool,
    )
    collected = Accumulator(["t"], 4)
    collected.add(0, rows, atoms)
    groups = collected.histograms.group(members)
    for number, atoms_in in enumerate(members):
        assert groups.one(0, number) == observe(rows[atoms_in[atoms]])


def test_a_quiet_group_keeps_its_own_resolution_beside_a_loud_one() -> None:
    quiet, loud = drawn("gaussian", 500, 1) * 1e-9, drawn("gaussian", 500, 2) * 1e9
    collected = Accumulator(["t"], 2)
    collected.add(0, np.stack([loud, quiet]), np.array([0, 1]))
    assert collected.histograms.one(0, 1) == observe(quiet)


def test_histograms_of_other_taps_or_groups_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="same taps"):
        Accumulator(["a"], 1).histograms + Accumulator(["b"], 1).histograms
    with pytest.raises(ValueError, match="members is"):
        Accumulator(["a"], 2).histograms.group(np.ones((1, 3), bool))


@given(batches_of_rows(), batches_of_rows())
def test_sums_over_taps_and_groups_are_sums_of_each(a: Batch, b: Batch) -> None:
    parts = []
    for values in (a, b):
        collected = Accumulator(["t", "u"], 2)
        collected.add(0, values, np.arange(len(values)) % 2)
        collected.add(1, values * np.float32(0.5), np.zeros(len(values), np.int64))
        parts.append(collected.histograms)
    both = parts[0] + parts[1]
    for tap in range(2):
        for group in range(2):
            assert both.one(tap, group) == parts[0].one(tap, group) + parts[1].one(tap, group)
