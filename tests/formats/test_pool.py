from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import PoolError
from tests.formats.pools import tiny, write_by_hand


@pytest.fixture
def pool(tmp_path: Path) -> PoolFile:
    return open_pool(write_by_hand(tmp_path / "tiny.h5", tiny()))


def test_a_pool_written_with_h5py_alone_is_read(pool: PoolFile) -> None:
    assert len(pool) == 4
    assert pool.inputs["x"].shape == (3,)
    assert pool.inputs["x"].dtype == np.float32
    assert pool.targets["label"].shape == ()
    assert pool.column_names() == ["snr_db", "speaker", "label"]


def test_missing_values_are_null_and_infinities_stay(pool: PoolFile) -> None:
    frame = pool.columns(["snr_db", "speaker", "label"])
    assert frame["snr_db"].to_list() == [float("inf"), 5.0, None, -5.0]
    assert frame["speaker"].to_list() == ["theo", None, "zoë", "theo"]
    assert frame["label"].to_list() == [0, 1, 2, 1]


def test_columns_of_some_rows_equal_those_rows_of_all(pool: PoolFile) -> None:
    names, rows = pool.column_names(), np.array([1, 3])
    assert pool.columns(names, rows).equals(pool.columns(names)[rows.tolist()])


def test_row_numbers_serve_as_ids_when_none_are_stored(pool: PoolFile) -> None:
    assert not pool.has_ids
    assert pool.ids(np.array([0, 3])).tolist() == ["0", "3"]


def test_stored_ids_are_read(tmp_path: Path) -> None:
    arrays = tiny() | {"ids": ["a", "b", "c", "ü"]}
    with open_pool(write_by_hand(tmp_path / "ids.h5", arrays)) as pool:
        assert pool.ids(np.array([1, 3])).tolist() == ["b", "ü"]


def test_ids_that_occur_twice_are_refused(tmp_path: Path) -> None:
    arrays = tiny() | {"ids": ["a", "b", "a", "c"]}
    with (
        open_pool(write_by_hand(tmp_path / "ids.h5", arrays)) as pool,
        pytest.raises(PoolError, match="more than once: 'a'"),
    ):
        pool.ids(np.array([0]))


def test_an_unknown_column_is_named_with_the_near_ones(pool: PoolFile) -> None:
    with pytest.raises(PoolError, match="'snr'") as caught:
        pool.columns(["snr", "speaker", "spaeker"])
    assert [p.next_step for p in caught.value.problems] == [
        "Did you mean snr_db?",
        "Did you mean speaker?",
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_name_file_input_and_samples(tmp_path: Path, bad: float) -> None:
    arrays = tiny() | {"ids": ["a", "b", "c", "d"]}
    arrays["inputs/x"][[1, 3], 2] = bad
    with open_pool(write_by_hand(tmp_path / "bad.h5", arrays)) as pool:
        pool.read_inputs(np.array([0, 2]))
        with pytest.raises(PoolError, match="NaN or infinity in 2 samples: b, d") as caught:
            pool.read_inputs(np.arange(4))
        assert str(tmp_path / "bad.h5") in str(caught.value)
        assert "/inputs/x" in str(caught.value)


def test_finite_inputs_whose_sum_overflows_are_fine(tmp_path: Path) -> None:
    arrays = tiny() | {"inputs/x": np.full((4, 2), np.finfo(np.float64).max)}
    with open_pool(write_by_hand(tmp_path / "large.h5", arrays)) as pool:
        assert pool.read_inputs(np.arange(4))["x"].shape == (4, 2)


def test_tensor_names_with_slashes_are_one_name(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"encoder/x": np.zeros((2, 3)), "y": np.ones((2, 1))})
    with open_pool(tmp_path / "p.h5") as pool:
        assert list(pool.inputs) == ["encoder/x", "y"]
        assert pool.read_inputs(np.array([1]))["encoder/x"].shape == (1, 3)


def test_item_columns_and_listwise_targets_are_read(tmp_path: Path) -> None:
    relevance = np.eye(2, 3, dtype=np.uint8)
    write_pool(
        tmp_path / "rank.h5",
        inputs={"x": np.zeros((2, 3), np.float32)},
        targets={"relevance": relevance},
        items={"popularity": [5, 1, 2], "title": ["a", None, "c"]},
    )
    with open_pool(tmp_path / "rank.h5") as pool:
        assert pool.item_column("title").to_list() == ["a", None, "c"]
        np.testing.assert_array_equal(pool.read_target("relevance", np.array([1])), [[0, 1, 0]])
        assert pool.column_names() == []
        with pytest.raises(PoolError, match="no item column"):
            pool.item_column("popular")
        with pytest.raises(PoolError, match="no target"):
            pool.read_target("relevence", np.array([0]))


def test_text_targets_are_read_as_text(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((2, 1))}, targets={"words": ["ab", "c"]})
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.read_target("words", np.array([0, 1])).tolist() == ["ab", "c"]


def test_booleans_are_booleans(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((2, 1))}, meta={"loud": [True, False]})
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["loud"])["loud"].to_list() == [True, False]


def test_half_precision_columns_are_widened(tmp_path: Path) -> None:
    arrays = tiny() | {"meta/half": np.array([1, 2, np.nan, 4], np.float16)}
    with open_pool(write_by_hand(tmp_path / "p.h5", arrays)) as pool:
        assert pool.columns(["half"])["half"].to_list() == [1, 2, None, 4]


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=90),
    min_size=1,
    max_size=20,
)


@given(texts=TEXTS)
@settings(max_examples=40, deadline=None)
def test_text_survives_whatever_its_length_and_script(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("texts") / "p.h5"
    write_pool(path, inputs={"x": np.zeros((len(texts), 1))}, meta={"text": texts})
    with open_pool(path) as pool:
        assert pool.columns(["text"])["text"].fill_null("").to_list() == texts


def test_short_text_gets_fixed_length_and_one_long_text_does_not_widen_all(tmp_path: Path) -> None:
    meta = {"short": ["ab"] * 999 + ["abcd"], "long": ["ab"] * 999 + ["x" * 5000]}
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((1000, 1), np.float32)}, meta=meta)
    with h5py.File(tmp_path / "p.h5") as file:
        assert h5py.check_string_dtype(file["meta/short"].dtype).length == 4
        assert h5py.check_string_dtype(file["meta/long"].dtype).length is None
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["long"], np.array([999]))["long"].to_list() == ["x" * 5000]


def test_columns_may_be_polars_series_categories_and_times(tmp_path: Path) -> None:
    meta = {
        "place": pl.Series(["a", "b", None], dtype=pl.Categorical),
        "day": pl.Series(["2024-01-02", None, "2024-03-04"]).str.to_date(),
        "count": pl.Series([1, None, 3]),
    }
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((3, 1))}, meta=meta)
    with open_pool(tmp_path / "p.h5") as pool:
        frame = pool.columns(["place", "day", "count"])
    assert frame.to_dict(as_series=False) == {
        "place": ["a", "b", None],
        "day": ["2024-01-02", None, "2024-03-04"],
        "count": [1.0, None, 3.0],
    }


def test_items_may_have_vectors(tmp_path: Path) -> None:
    path = tmp_path / "items.h5"
    vectors = np.arange(6.0).reshape(3, 2).astype(np.float32)
    write_pool(
        path,
        inputs={"x": np.zeros((2, 1), np.float32)},
        targets={"relevance": np.zeros((2, 3))},
        items={"genre": ["a", "b", "a"], "vector": vectors},
    )
    with open_pool(path) as pool:
        assert pool.items["vector"].shape == (2,)
        found = pool.item_vectors("vector")
        assert found.dtype == np.float64
        assert found.tolist() == vectors.tolist()
        with pytest.raises(PoolError, match="holds vectors"):
            pool.item_column("vector")
        with pytest.raises(PoolError, match="holds no vectors") as error:
            pool.item_vectors("genre")
        assert error.value.problems[0].next_step == "Known: vector."
        with pytest.raises(PoolError, match="no item column"):
            pool.item_vectors("vectors")


def test_a_vector_that_is_not_finite_names_its_item(tmp_path: Path) -> None:
    path = tmp_path / "items.h5"
    vectors = np.array([[0.0, 1], [np.nan, 1]])
    write_pool(path, inputs={"x": np.zeros((2, 1), np.float32)}, items={"vector": vectors})
    with open_pool(path) as pool, pytest.raises(PoolError, match="vector of item 1"):
        pool.item_vectors("vector")
