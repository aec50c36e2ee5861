from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.sliceset import CodedDimension, SliceSet, describe_slices

rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.none() | st.sampled_from("xyz")),
    min_size=1,
    max_size=50,
)


@given(rows)
def test_a_summary_agrees_with_counting_by_hand(rows: list[tuple[str, int, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema=["speaker", "level", "label"], orient="row")
    dimensions = [
        Dimension(by="speaker", min_support=3),
        Dimension(name="high", where="level > 4"),
        Dimension(cross=["speaker", "high"]),
    ]
    slices = evaluate_slices(dimensions, frame)
    for summary in describe_slices(slices, frame["label"]):
        labels = [rows[row][2] or "missing" for row in slices.rows(summary.name)]
        assert summary.n == len(labels)
        assert summary.share == pytest.approx(len(labels) / len(rows))
        assert summary.support_ok == (len(labels) >= summary.min_support)
        counted = {label: n / len(labels) for label, n in Counter(labels).items()}
        assert summary.label_mix == pytest.approx(counted)


def test_an_empty_slice_has_no_label_mix() -> None:
    frame = pl.DataFrame({"speaker": ["a", "b"], "label": [0, 1]})
    slices = evaluate_slices([Dimension(by="speaker")], frame).take(np.array([1]))
    [_, empty, full] = describe_slices(slices, frame["label"][1:])
    assert (empty.n, empty.share, empty.label_mix) == (0, 0.0, {})
    assert full.label_mix == {"1": 1.0}


def test_without_labels_there_is_no_mix() -> None:
    frame = pl.DataFrame({"speaker": ["a"]})
    summaries = describe_slices(evaluate_slices([Dimension(by="speaker")], frame))
    assert [summary.label_mix for summary in summaries] == [{}, {}]


def test_more_labels_than_can_be_read_are_refused() -> None:
    frame = pl.DataFrame({"label": np.arange(2000)})
    with pytest.raises(SliceError, match="labels: label"):
        describe_slices(evaluate_slices([], frame), frame["label"])


def test_sums_over_slices_are_those_of_their_rows():
    rng = np.random.default_rng(2)
    codes = rng.integers(-1, 3, (2, 50)).astype(np.int32)
    first, second = (
        CodedDimension(name, tuple(f"{name} {place}" for place in range(4)), own)
        for name, own in zip("ab", codes, strict=True)
    )
    slices = SliceSet(50, (first, second))
    values = rng.random(50)
    names = ["b 2", "all", "a 0", "a 3"]
    wanted = [values[slices.mask(name)].sum() for name in names]
    assert slices.sums(values, names) == pytest.approx(wanted, rel=1e-12)
    assert slices.sums(values, []).shape == (0,)
    with pytest.raises(SliceError, match='no slice is called "c"'):
        slices.sums(values, ["c"])
