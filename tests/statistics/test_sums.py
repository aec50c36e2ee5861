from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.runtime.errors import SettingsError
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics import tally
from calaudit.statistics.compare import compare, compare_sums
from calaudit.statistics.sums import Exact
from calaudit.statistics.tally import Partition, batch, describe_units, partitions
from tests.statistics.cases import NDCG, TOP1, WER, sums_of


def same(one, other):
    """Equal to the last bit, in their digits too."""
    return all(equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))


def equal(one, other):
    if isinstance(one, Exact):
        none = np.zeros(one.shape)
        return one.shape == other.shape and all(
            np.array_equal(one.digits.get(place, none), other.digits.get(place, none))
            for place in {*one.digits, *other.digits}
        )
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def world(seed, n, broken=0):
    """FP32's and two engines' scores, clusters, and codes of three slices."""
    rng = np.random.default_rng(seed)
    fp32 = np.where(rng.random(n) < 0.05, np.nan, rng.random(n))
    engines = [np.clip(fp32 + rng.normal(0, 0.1, n) * (rng.random(n) < 0.3), 0, 1) for _ in "ab"]
    engines[1][:broken] = np.nan
    clusters = rng.integers(0, max(2, n // 4), n)
    codes = rng.integers(-1, 3, n).astype(np.int32)
    scores = [UnitScores(NDCG, values) for values in engines]
    return UnitScores(NDCG, fp32), scores, clusters, codes


def summed(reference, engines, units, codes, rows):
    """Sums over some of the units."""
    scores = [UnitScores(NDCG, each.values[rows]) for each in (reference, *engines)]
    partition = Partition(("a", "b", "c"), codes[rows])
    return batch(scores[0], scores[1:], units.take(rows)).sums(partition)


@given(
    st.integers(0, 10**6),
    st.integers(1, 400),
    st.integers(1, 7),
    st.integers(0, 3),
    st.booleans(),
)
def test_batches_in_any_order_add_up_to_the_same_bits(seed, n, n_batches, broken, clustered):
    reference, engines, clusters, codes = world(seed, n, broken)
    units = describe_units(n, clusters if clustered else None)
    rng = np.random.default_rng(seed)
    whole = summed(reference, engines, units, codes, np.arange(n))
    parts = [
        summed(reference, engines, units, codes, rows)
        for rows in np.array_split(rng.permutation(n), n_batches)
    ]
    forwards, backwards = parts[0], parts[-1]
    for one, other in zip(parts[1:], parts[-2::-1], strict=True):
        forwards, backwards = forwards + one, backwards + other
    assert same(forwards, backwards)
    assert np.array_equal(forwards.total, whole.total)
    assert np.array_equal(
        np.broadcast_to(forwards.size, (2, *whole.size.shape[1:])),
        np.broadcast_to(whole.size, (2, *whole.size.shape[1:])),
    )
    assert np.array_equal(forwards.n_both, whole.n_both)
    assert np.array_equal(forwards.lost, whole.lost)


def test_sums_are_those_of_a_loop_over_units():
    reference, engines, clusters, codes = world(1, 300, broken=5)
    units = describe_units(300, clusters)
    sums = summed(reference, engines, units, codes, np.arange(300))
    for cell, engine in enumerate(engines):
        for place in range(3):
            both = ~np.isnan(reference.values) & ~np.isnan(engine.values) & (codes == place)
            drop = (reference.values - engine.values)[both]
            assert sums.n_both[cell, place] == both.sum()
            assert sums.lost[cell, place] == (drop > 0).sum()
            assert sums.gained[cell, place] == (drop < 0).sum()
            assert sums.drop[cell, place] == pytest.approx(drop.mean(), rel=1e-12)
            mean = reference.values[both].mean()
            assert sums.reference[cell, place] == pytest.approx(mean, rel=1e-12)
            after = sums.candidate(higher_is_better=True)[cell, place]
            assert after == pytest.approx(engine.values[both].mean(), rel=1e-12)
            by_cluster = np.bincount(clusters[both], drop, minlength=sums.total.shape[2])
            assert sums.total[cell, place] == pytest.approx(by_cluster, rel=1e-11, abs=1e-13)
    missing = np.isnan(reference.values)
    assert sums.n_left_out.tolist() == [(missing & (codes == place)).sum() for place in range(3)]


def test_what_is_summed_grows_with_neither_units_nor_clusters():
    few, many = (sums_of(np.zeros(n), clusters=np.arange(n) // 2) for n in (10_000, 200_000))
    assert few.total.shape == many.total.shape == (1, 1, 2048)


def test_comparing_sums_is_comparing_scores():
    reference, engines, clusters, codes = world(2, 900)
    units = describe_units(900, clusters)
    parts = [summed(reference, engines, units, codes, rows) for rows in np.split(np.arange(900), 3)]
    added = compare_sums(NDCG, ["x", "y"], [parts[0] + parts[1] + parts[2]], max_drop=0.05)
    slices = {name: np.flatnonzero(codes == i) for i, name in enumerate("abc")}
    cells = dict(zip("xy", engines, strict=True))
    assert added == compare(NDCG, reference, cells, slices, max_drop=0.05, clusters=clusters)


def test_a_slice_set_and_its_rows_give_the_same_answer():
    reference, engines, _, codes = world(3, 500)
    other = np.random.default_rng(3).integers(0, 2, 500).astype(np.int32)
    slices = SliceSet(
        500,
        (CodedDimension("d", ("a", "b", "c"), codes), CodedDimension("e", ("p", "q"), other)),
    )
    rows = {name: slices.rows(name) for name in slices.names}
    cells = {"x": engines[0]}
    assert compare(NDCG, reference, cells, slices) == compare(NDCG, reference, cells, rows)


def test_neighbours_that_do_not_overlap_are_counted_in_one_go():
    slices = {"a": np.arange(5), "b": np.arange(5, 9), "c": np.arange(3, 7), "d": np.arange(2)}
    found = [(part.names, part.codes.tolist()) for part in partitions(slices, 10, width=1)]
    assert [names for names, _ in found] == [("a", "b"), ("c", "d")]
    assert found[0][1] == [0] * 5 + [1] * 4 + [-1]
    one_by_one = [part.names for part in partitions(slices, 10, width=1 << 24)]
    assert one_by_one == [("a",), ("b",), ("c",), ("d",)]


def test_a_wide_dimension_is_cut_into_parts_that_fit():
    codes = np.random.default_rng(4).integers(-1, 5, 50).astype(np.int32)
    slices = SliceSet(50, (CodedDimension("d", tuple("abcde"), codes),))
    parts = list(partitions(slices, 50, width=1 << 23))
    assert [part.names for part in parts] == [("all",), ("a", "b"), ("c", "d"), ("e",)]
    for part in parts[1:]:
        for place, name in enumerate(part.names):
            assert (np.flatnonzero(part.codes == place) == slices.rows(name)).all()


def test_sums_of_other_slices_or_cells_are_refused():
    one, other = sums_of(np.zeros(10)), sums_of(np.zeros((2, 10)))
    with pytest.raises(SettingsError, match="don't add up"):
        one + other
    with pytest.raises(SettingsError, match="don't add up"):
        one + sums_of(np.zeros(10), names=("t",))


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"clusters": np.zeros(3, dtype=int)}, r"shape \(3,\), expected \(4,\)"),
        ({"clusters": np.array([0, 1, 2, -1])}, "at least 0"),
        ({"clusters": np.array([0.5, 1, 2, 3])}, "integers"),
        ({"weights": np.array([1, 1, np.nan, 1])}, "finite"),
        ({"weights": np.array([1, 1, -1.0, 1])}, "at least 0"),
    ],
)
def test_units_that_make_no_sense_are_refused(units, message):
    scores = UnitScores(TOP1, np.ones(4, dtype=bool))
    with pytest.raises(SettingsError, match=message):
        compare(TOP1, scores, {"c": scores}, {"all": np.arange(4)}, **units)


def test_a_ratio_whose_denominator_the_engine_moves_is_refused():
    fp32 = RatioScores(WER, np.ones(4), np.full(4, 5.0))
    int8 = RatioScores(WER, np.ones(4), np.full(4, 6.0))
    with pytest.raises(SettingsError, match="denominators of wer differ"):
        compare(WER, fp32, {"c": int8}, {"all": np.arange(4)})


@pytest.mark.parametrize("clustered", [False, True])
def test_many_units_are_prepared_in_pieces_that_add_up_to_the_same_bits(
    clustered, monkeypatch
) -> None:
    reference, engines, clusters, codes = world(7, 500, broken=40)
    units = describe_units(500, clusters if clustered else None)
    named = {name: np.flatnonzero(codes == place) for place, name in enumerate("abc")}
    named["every"] = np.arange(500)
    (first, second) = tally.sums_of(reference, engines, named, units)
    monkeypatch.setattr(tally, "_MOST_UNITS", 64)
    monkeypatch.setattr(tally, "_FEWEST_UNITS", 64)
    (in_pieces, rest) = tally.sums_of(reference, engines, named, units)
    for whole, pieces in ((first, in_pieces), (second, rest)):
        assert whole.slices == pieces.slices
        for each in ("size", "before", "total", "squared", "n", "n_left_out", "lost", "gained"):
            wanted, found = getattr(whole, each), getattr(pieces, each)
            assert np.array_equal(*np.broadcast_arrays(wanted, found)), each
        assert np.array_equal(whole.n_broken, pieces.n_broken)


def test_sums_of_many_slices_are_held_some_at_a_time(monkeypatch) -> None:
    reference, engines, _, codes = world(8, 300)
    units = describe_units(300)
    slices = SliceSet(300, (CodedDimension("d", ("a", "b", "c"), codes),))
    whole = list(tally.sums_of(reference, engines, slices, units))
    monkeypatch.setattr(tally, "_MOST_CELLS", 1)
    apart = list(tally.sums_of(reference, engines, slices, units))
    assert [each.slices for each in apart] == [("all",), ("a",), ("b",), ("c",)]
    joined = np.concatenate([each.total for each in apart], axis=1)
    assert np.array_equal(joined, np.concatenate([each.total for each in whole], axis=1))
