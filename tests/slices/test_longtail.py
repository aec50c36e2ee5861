import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import SliceError
from calaudit.slices.categories import group_by_frequency
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from tests.slices.memory_pool import MemoryPool

counts = st.lists(st.integers(1, 50), min_size=1, max_size=30).map(np.array)
shares = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True).map(sorted)


@given(counts, shares)
def test_a_group_ends_with_the_class_that_reaches_its_share(
    counts: np.ndarray, shares: list[float]
) -> None:
    groups = group_by_frequency(counts, shares)
    total = counts.sum()
    for number, share in enumerate(shares):
        upto = counts[groups <= number]
        assert upto.sum() >= share * total * (1 - 1e-9)
        # Without its least common class it would fall short.
        last = counts[groups == number]
        if len(last):
            assert upto.sum() - last.min() < share * total


@given(counts, shares)
def test_no_class_is_more_common_than_one_nearer_the_head(
    counts: np.ndarray, shares: list[float]
) -> None:
    groups = group_by_frequency(counts, shares)
    for number in range(len(shares)):
        nearer, further = counts[groups <= number], counts[groups > number]
        assert not len(further) or nearer.min() >= further.max()


@given(counts, shares)
def test_the_head_is_never_empty(counts: np.ndarray, shares: list[float]) -> None:
    assert (group_by_frequency(counts, shares) == 0).any()


def test_equal_counts_are_ordered_by_class() -> None:
    counts = np.array([5, 9] * 200)
    groups = group_by_frequency(counts, [0.5])
    head = np.flatnonzero(groups == 0)
    assert head.tolist() == list(range(1, 2 * len(head), 2))


def test_a_share_met_exactly_ends_its_group() -> None:
    for percent in range(1, 100):
        groups = group_by_frequency(np.full(100, 7), [percent / 100])
        assert (groups == 0).sum() == percent


def test_tail_slices_count_samples_by_default() -> None:
    pool = MemoryPool(label=[1] * 5 + [2] * 3 + [3, 4])
    slices = evaluate_slices([Dimension(by="label", tail=[0.5, 0.8])], pool)
    assert slices.counts() == {
        "all": 10, "label in head": 5, "label in mid": 3, "label in tail": 2,
    }  # fmt: skip


def test_tail_slices_follow_a_count_column_where_one_is_named() -> None:
    pool = MemoryPool(item=["a", "a", "b", "c"], plays=[1, 1, 90, 9])
    dimension = Dimension(by="item", tail=[0.9], count="plays", name="item")
    slices = evaluate_slices([dimension], pool)
    assert slices.rows("item in head").tolist() == [2]
    assert slices.rows("item in tail").tolist() == [0, 1, 3]


def test_tail_labels_name_the_groups() -> None:
    pool = MemoryPool(item=[1, 1, 2, 3])
    dimension = Dimension(by="item", tail=[0.5], tail_labels=["hits", "niche"])
    assert evaluate_slices([dimension], pool).names == ["all", "item in hits", "item in niche"]


@pytest.mark.parametrize(
    ("plays", "said"),
    [
        ([1, 2, 3], 'the count of class a in column "plays" differs among its samples'),
        ([None, None, 3], 'the count of class a in column "plays" is nan'),
        ([1, 1, -3], 'the count of class b in column "plays" is -3'),
        (["x", "x", "y"], "not numbers"),
    ],
)
def test_a_count_that_is_no_count_is_refused(plays: list[object], said: str) -> None:
    pool = MemoryPool(item=["a", "a", "b"], plays=plays)
    with pytest.raises(SliceError, match="slices: item") as caught:
        evaluate_slices([Dimension(by="item", tail=[0.5], count="plays")], pool)
    assert said in str(caught.value)
