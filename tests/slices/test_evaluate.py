import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import MAX_CROSSED, evaluate_slices
from calaudit.slices.sliceset import CodedDimension, SliceSet
from tests.slices.memory_pool import MemoryPool

frames = st.lists(
    st.tuples(
        st.none() | st.sampled_from([-5.0, 0.0, 2.5, 5.0, math.inf]),
        st.none() | st.sampled_from(["theo", "lucas", "é"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
).map(
    lambda rows: pl.DataFrame(
        rows, schema={"snr_db": pl.Float64, "speaker": pl.String, "label": pl.Int64}, orient="row"
    )
)
# None of these depends on which other samples there are.
FIXED = [
    Dimension(by="snr_db", edges=[0, 5, math.inf]),
    Dimension(by="speaker"),
    Dimension(name="loud", where="label > 1"),
    Dimension(cross=["snr_db", "speaker"]),
    Dimension(cross=["loud", "speaker", "snr_db"], name="three"),
]
ALL = [
    *FIXED,
    Dimension(by="label", tail=[0.5, 0.8]),
    Dimension(by="label", name="class", missing="drop"),
]


def names_of_row(slices: SliceSet, row: int) -> set[str]:
    return {name for name, mask in slices.masks() if mask[row]}


@given(frames)
def test_each_dimension_without_drops_partitions_the_samples(frame: pl.DataFrame) -> None:
    slices = evaluate_slices(ALL, frame)
    for title in ("snr_db", "speaker", "snr_db & speaker", "label", "class"):
        assert slices.dimension(title).counts().sum() == frame.height
        assert (slices.dimension(title).codes >= 0).all()


@given(frames)
def test_crosses_are_intersections(frame: pl.DataFrame) -> None:
    slices = evaluate_slices(ALL, frame)
    for title in ("snr_db & speaker", "three"):
        for label in slices.dimension(title).labels:
            parts = [slices.mask(part) for part in label.split(" & ")]
            assert (slices.mask(label) == np.logical_and.reduce(parts)).all()
            assert slices.mask(label).any()


@given(frames)
def test_no_combination_that_holds_samples_is_left_out_of_a_cross(frame: pl.DataFrame) -> None:
    slices = evaluate_slices(ALL, frame)
    crossed = slices.dimension("snr_db & speaker")
    pairs = set(
        zip(*(slices.dimension(x).codes.tolist() for x in ("snr_db", "speaker")), strict=True)
    )
    assert len(crossed.labels) == len(pairs)
    possible = len(slices.dimension("snr_db").labels) * len(slices.dimension("speaker").labels)
    told = {notice.where: notice for notice in slices.notices}.get("slices: snr_db & speaker")
    assert (told is None) == (possible == len(pairs))
    if told:
        assert told.message == f"{possible - len(pairs)} of {possible} combinations hold no sample"


@given(frames, st.data())
def test_taking_rows_equals_evaluating_on_them(frame: pl.DataFrame, data: st.DataObject) -> None:
    rows = np.array(
        sorted(data.draw(st.sets(st.integers(0, frame.height - 1), min_size=1))), np.int64
    )
    taken = evaluate_slices(FIXED, frame).take(rows)
    part = evaluate_slices(FIXED, frame[rows])
    assert {name: n for name, n in taken.counts().items() if n} == {
        name: n for name, n in part.counts().items() if n
    }
    for row in range(len(rows)):
        assert names_of_row(taken, row) == names_of_row(part, row)


@given(frames)
def test_views_of_a_slice_set_agree(frame: pl.DataFrame) -> None:
    slices = evaluate_slices(ALL, frame)
    table = slices.membership()
    assert table.shape == (len(slices.names), frame.height)
    for name, members in zip(slices.names, table, strict=True):
        assert (slices.mask(name) == members).all()
        assert slices.rows(name).tolist() == np.flatnonzero(members).tolist()
        assert slices.counts()[name] == members.sum()


def test_the_slice_of_everything_comes_first_then_dimensions_in_order() -> None:
    pool = MemoryPool(snr_db=[3, 7], speaker=["theo", "lucas"])
    dimensions = [
        Dimension(cross=["speaker", "snr_db"]),
        Dimension(by="speaker"),
        Dimension(by="snr_db", edges=[5]),
    ]
    assert evaluate_slices(dimensions, pool).names == [
        "all",
        "speaker = lucas & snr_db ≥ 5",
        "speaker = theo & snr_db < 5",
        "speaker = lucas",
        "speaker = theo",
        "snr_db < 5",
        "snr_db ≥ 5",
    ]


def test_each_column_is_read_once() -> None:
    pool = MemoryPool(a=[1, 2, 3], b=[1, 2, 3], c=[1, 2, 3])
    dimensions = [
        Dimension(by="a"),
        Dimension(by="a", edges=[2], name="a2"),
        Dimension(where="a > 1 AND b > 1", name="x"),
        Dimension(by="b", tail=[0.5], count="a"),
    ]
    evaluate_slices(dimensions, pool)
    assert sorted(pool.read) == ["a", "b"]


def test_missing_values_are_a_slice_of_their_own_unless_dropped_or_refused() -> None:
    pool = MemoryPool(snr_db=[1.0, math.nan, 7.0])
    kept = evaluate_slices([Dimension(by="snr_db", edges=[5])], pool)
    assert kept.rows("snr_db missing").tolist() == [1]
    dropped = evaluate_slices([Dimension(by="snr_db", edges=[5], missing="drop")], pool)
    assert dropped.names == ["all", "snr_db < 5", "snr_db ≥ 5"]
    assert [notice.code for notice in dropped.notices] == ["missing_dropped"]
    with pytest.raises(SliceError, match='1 sample has no value in column "snr_db"'):
        evaluate_slices([Dimension(by="snr_db", edges=[5], missing="error")], pool)


def test_all_problems_are_told_at_once_with_places_and_next_steps() -> None:
    pool = MemoryPool(snr_db=[1], speaker=["theo"])
    dimensions = [
        Dimension(by="snr"),
        Dimension(by="speaker"),
        Dimension(by="speaker", edges=[1]),
        Dimension(where="speaker <", name="x"),
        Dimension(where="speeker = 'a'", name="y"),
        Dimension(cross=["speaker", "snr_dB"]),
    ]
    with pytest.raises(SliceError) as caught:
        evaluate_slices(dimensions, pool, where="audit.toml: slices")
    problems = caught.value.problems
    assert [problem.where for problem in problems] == [
        "audit.toml: slices",
        "audit.toml: slices: snr",
        "audit.toml: slices: x",
        "audit.toml: slices: y",
        "audit.toml: slices: speaker & snr_dB",
    ]
    assert all(problem.next_step for problem in problems)
    assert "Did you mean snr_db?" in str(caught.value)


def test_a_cross_of_columns_that_make_no_dimension_says_to_add_them() -> None:
    pool = MemoryPool(light=["day"])
    with pytest.raises(SliceError) as caught:
        evaluate_slices([Dimension(cross=["light", "object.class"])], pool)
    assert [(each.message, each.next_step) for each in caught.value.problems] == [
        (
            f'no dimension is called "{name}"',
            f'A cross is of dimensions declared beside it: add [[slices]] by = "{name}".',
        )
        for name in ("light", "object.class")
    ]
    with pytest.raises(SliceError, match=r"Did you mean light\?"):
        evaluate_slices([Dimension(cross=["lihgt", "light"])], pool)


def test_two_slices_of_one_name_are_refused() -> None:
    pool = MemoryPool(speaker=["theo"])
    twice = Dimension(where="speaker <> ''", name="speaker = theo")
    with pytest.raises(SliceError, match='two slices are called "speaker = theo"'):
        evaluate_slices([Dimension(by="speaker"), twice], pool)


def test_an_unknown_slice_or_dimension_is_answered_with_the_near_ones() -> None:
    slices = evaluate_slices([Dimension(by="speaker")], MemoryPool(speaker=["theo"]))
    with pytest.raises(SliceError, match="Did you mean speaker = theo"):
        slices.rows("speaker = teo")
    with pytest.raises(SliceError, match="Did you mean speaker"):
        slices.dimension("speakers")


def test_codes_of_another_length_are_refused() -> None:
    with pytest.raises(SliceError, match=r"shape \(2,\) for 3 rows"):
        SliceSet(3, (CodedDimension("x", ("x",), np.zeros(2, np.int32)),))


def test_a_cross_of_too_many_combinations_is_refused() -> None:
    n = MAX_CROSSED + 1
    pool = MemoryPool(a=np.arange(n) % 1000, b=np.arange(n) // 1000, c=np.arange(n) % 997)
    dimensions = [Dimension(by=x) for x in "abc"]
    with pytest.raises(SliceError, match="10,001 combinations hold samples"):
        evaluate_slices([*dimensions, Dimension(cross=["a", "b", "c"])], pool)


def test_slicing_an_empty_pool_leaves_everything_empty() -> None:
    pool = MemoryPool(
        speaker=pl.Series([], dtype=pl.String), snr_db=pl.Series([], dtype=pl.Float64)
    )
    slices = evaluate_slices([Dimension(by="speaker"), Dimension(by="snr_db", edges=[0])], pool)
    assert slices.counts() == {"all": 0, "snr_db < 0": 0, "snr_db ≥ 0": 0}


def test_support_is_each_dimensions_own() -> None:
    pool = MemoryPool(speaker=["theo"], snr_db=[1])
    dimensions = [Dimension(by="speaker", min_support=5), Dimension(by="snr_db", edges=[0])]
    slices = evaluate_slices(dimensions, pool)
    assert slices.min_support("speaker = theo") == 5
    assert slices.min_support("snr_db ≥ 0") == slices.min_support("all") == 30
