import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.binning import SHARE_TOLERANCE, bin_by_edges, bin_by_quantiles

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
values = st.lists(st.none() | finite | st.just(math.inf), min_size=1, max_size=60)
edge_lists = st.lists(finite, min_size=1, max_size=6, unique=True).map(sorted)


def series(numbers: object, dtype: type[pl.DataType] = pl.Float64) -> pl.Series:
    return pl.Series("x", numbers, dtype=dtype)


def text_of(label: str) -> tuple[float, float]:
    """Bounds of the half-open interval that a label states."""
    words = [math.inf if word == "∞" else word for word in label.split()]
    if len(words) == 5:
        return float(words[0]), float(words[4])
    return (-math.inf, float(words[2])) if words[1] == "<" else (float(words[2]), math.inf)


@given(values, edge_lists)
def test_bins_partition_the_present_values(numbers: list[float | None], edges: list[float]) -> None:
    bins = bin_by_edges(series(numbers), "x", edges, where="")
    assert ((bins.codes < 0) == [number is None for number in numbers]).all()
    assert bins.codes.max() < len(bins.labels)


@given(values, edge_lists)
def test_bins_agree_with_a_loop_over_half_open_intervals(
    numbers: list[float | None], edges: list[float]
) -> None:
    bins = bin_by_edges(series(numbers), "x", edges, where="")
    bounds = [-math.inf, *edges, math.inf]
    wanted = [sum(edge <= number for edge in edges) for number in numbers if number is not None]
    first = 1 if bins.labels[0] != f"x < {bins.labels[0].split()[-1]}" else 0
    found = [code for code in bins.codes.tolist() if code >= 0]
    assert [code + first for code in found] == wanted
    assert all(bounds[w] <= n for w, n in zip(wanted, filter(None.__ne__, numbers), strict=True))


@given(values, edge_lists)
def test_bins_agree_with_numpy_digitize(numbers: list[float | None], edges: list[float]) -> None:
    present = np.array([number for number in numbers if number is not None])
    bins = bin_by_edges(series(present), "x", edges, where="")
    reference = np.digitize(present, edges)
    assert (np.diff(bins.codes) == np.diff(reference)).all()


def test_a_value_on_an_edge_is_counted_once_in_the_upper_bin() -> None:
    bins = bin_by_edges(series([-1, 0, 2.5, 5, 20, 21]), "snr_db", [0, 5, 20], where="")
    assert bins.labels == ("snr_db < 0", "0 ≤ snr_db < 5", "5 ≤ snr_db < 20", "snr_db ≥ 20")
    assert bins.codes.tolist() == [0, 1, 1, 2, 3, 3]


def test_an_infinite_edge_gives_infinity_a_slice_of_its_own() -> None:
    bins = bin_by_edges(series([-1, 1e300, math.inf]), "snr_db", [0, math.inf], where="")
    assert bins.labels == ("snr_db < 0", "0 ≤ snr_db < ∞", "snr_db = ∞")
    assert bins.codes.tolist() == [0, 1, 2]


def test_without_an_infinite_edge_infinity_is_in_the_last_bin() -> None:
    bins = bin_by_edges(series([-1, 3, math.inf]), "x", [0], where="")
    assert bins.labels[bins.codes[2]] == "x ≥ 0"


def test_a_float32_value_reaches_the_edge_that_is_written_alike() -> None:
    column = series([0.1, 0.2, 0.7], pl.Float32)
    bins = bin_by_edges(column, "x", [0.1, 0.7], where="")
    assert [bins.labels[code] for code in bins.codes] == [
        "0.1 ≤ x < 0.7",
        "0.1 ≤ x < 0.7",
        "x ≥ 0.7",
    ]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    st.lists(
        st.integers(-(2**65), 2**65) | st.floats(-1e20, 1e20), min_size=1, max_size=6, unique=True
    ).map(sorted),
)
def test_whole_numbers_of_any_size_are_binned_without_rounding(
    numbers: list[int], edges: list[float]
) -> None:
    bins = bin_by_edges(series(numbers, pl.Int64), "x", edges, where="")
    reached = [sum(edge <= number for edge in edges) for number in numbers]
    assert (bins.codes - bins.codes.min()).tolist() == [one - min(reached) for one in reached]


def test_the_largest_uint64_reaches_an_edge_of_its_size() -> None:
    column = series([2**64 - 1, 2**64 - 2, 2**63, 0], pl.UInt64)
    bins = bin_by_edges(column, "x", [2**64 - 1], where="")
    assert bins.codes.tolist() == [1, 0, 0, 0]
    assert bins.labels == ("x < 18446744073709551615", "x ≥ 18446744073709551615")


def test_quantiles_of_ids_beyond_float64_tell_neighbours_apart() -> None:
    column = series([2**53 + 1] * 5 + [2**53 + 2] * 5, pl.Int64)
    bins = bin_by_quantiles(column, "x", 2, where="")
    assert bins.codes.tolist() == [0] * 5 + [1] * 5


def test_an_empty_end_bin_is_left_out_and_an_empty_inner_one_kept() -> None:
    bins = bin_by_edges(series([1, 7]), "x", [0, 5, 6, 10], where="")
    assert bins.labels == ("0 ≤ x < 5", "5 ≤ x < 6", "6 ≤ x < 10")
    assert bins.codes.tolist() == [0, 2]


def test_text_has_no_numeric_bins() -> None:
    with pytest.raises(SliceError, match='column "x" holds String'):
        bin_by_edges(pl.Series("x", ["a"]), "x", [0], where="")


@given(
    st.lists(finite, min_size=2, max_size=80).filter(lambda numbers: len(set(numbers)) > 1),
    st.integers(2, 6),
)
def test_quantile_labels_state_exactly_what_is_in_their_bin(numbers: list[float], n: int) -> None:
    bins = bin_by_quantiles(series(numbers), "x", n, where="")
    for number, code in zip(numbers, bins.codes, strict=True):
        low, high = text_of(bins.labels[code])
        assert low <= number < high or high == math.inf


@given(st.permutations(range(37)), st.integers(2, 9))
def test_quantiles_of_few_different_values_split_as_evenly_as_can_be(
    numbers: list[int], n: int
) -> None:
    bins = bin_by_quantiles(series(numbers, pl.Int64), "x", n, where="")
    counts = np.bincount(bins.codes)
    assert len(counts) == n
    assert counts.max() - counts.min() <= 2


def test_quantiles_of_many_values_have_round_edges_and_nearly_equal_shares() -> None:
    numbers = np.random.default_rng(5).lognormal(size=20_000)
    bins = bin_by_quantiles(series(numbers), "rms", 4, where="")
    shares = np.bincount(bins.codes) / len(numbers)
    assert np.abs(shares - 0.25).max() <= 2 * SHARE_TOLERANCE + 1e-4
    assert all(len(word) <= 6 for label in bins.labels for word in label.split())


def test_probabilities_may_be_given_instead_of_a_number() -> None:
    bins = bin_by_quantiles(series(range(100), pl.Int64), "x", [0.1, 0.9], where="")
    assert np.bincount(bins.codes).tolist() == [10, 80, 10]


def test_quantiles_that_fall_on_equal_values_merge_and_say_so() -> None:
    bins = bin_by_quantiles(series([1, 1, 1, 1, 1, 1, 2, 3]), "x", 4, where="slices: x")
    assert bins.labels == ("x < 2", "x ≥ 2")
    [notice] = bins.notices
    assert notice.code == "quantiles_merged"
    assert notice.message == "4 bins were asked, equal values leave 2"


@pytest.mark.parametrize("numbers", [[], [None], [3, 3, None]])
def test_a_column_without_two_values_has_no_quantiles(numbers: list[float | None]) -> None:
    with pytest.raises(SliceError, match="no quantiles"):
        bin_by_quantiles(series(numbers), "x", 2, where="")


def test_quantiles_ignore_missing_values_and_put_infinity_last() -> None:
    bins = bin_by_quantiles(series([None, 1, 2, 3, math.inf]), "x", 2, where="")
    assert bins.codes.tolist() == [-1, 0, 0, 1, 1]
