import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.calibration.batching import Batching, LastBatch, SampleOrder
from calaudit.runtime.errors import SettingsError


@given(
    n=st.integers(1, 80),
    size=st.integers(1, 90),
    last=st.sampled_from(["fill", "drop"]),
    order=st.sampled_from(["mixed", "stored"]),
)
def test_batches_are_full_and_take_samples_equally_often(
    n: int, size: int, last: LastBatch, order: SampleOrder
) -> None:
    batches = Batching(size, last, order).cut(n)
    assert [len(batch) for batch in batches] == [size] * len(batches)
    counts = np.bincount(np.concatenate([[], *batches]).astype(int), minlength=n)
    if last == "fill":
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1
    else:
        assert counts.max(initial=0) <= 1
        assert n - counts.sum() < size


def test_mixed_batches_go_through_the_whole_set_in_even_steps() -> None:
    assert [b.tolist() for b in Batching(3).cut(9)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert [b.tolist() for b in Batching(3).cut(7)] == [[0, 3, 6], [1, 4, 2], [5, 0, 3]]


def test_stored_batches_follow_the_file() -> None:
    assert [b.tolist() for b in Batching(3, order="stored").cut(7)] == [
        [0, 1, 2], [3, 4, 5], [6, 0, 1]
    ]  # fmt: skip


def test_a_batch_is_no_larger_than_its_set_and_one_sample_where_the_model_takes_one() -> None:
    assert Batching(64, order="stored").fitted(24) == Batching(24, order="stored")
    assert Batching(64).fitted(100) == Batching(64)
    assert Batching(64).fitted(100, one_by_one=True) == Batching(1)


def test_what_cant_be_cut_is_refused() -> None:
    with pytest.raises(SettingsError, match="batches of 0"):
        Batching(0)
    with pytest.raises(SettingsError, match="order 'shuffled'"):
        Batching(8, order="shuffled")  # type: ignore[arg-type]
