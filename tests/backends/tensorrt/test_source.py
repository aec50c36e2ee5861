from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.backends.tensorrt.source import BatchReader
from calaudit.calibration.batching import Batching
from calaudit.formats.calibset import Calibset
from calaudit.runtime.errors import BackendError, FileFormatError, PoolError
from tests.backends.tensorrt.calibsets import damage, make_calibset, two_inputs

N = 23
DTYPES = {"item": np.dtype(np.int64), "x": np.dtype(np.float32)}


@pytest.fixture(scope="module")
def calibset(tmp_path_factory: pytest.TempPathFactory) -> Calibset:
    return make_calibset(tmp_path_factory.mktemp("sets") / "set.h5", two_inputs(N))


@given(
    size=st.integers(1, 60),
    last=st.sampled_from(["fill", "drop"]),
    order=st.sampled_from(["mixed", "stored"]),
)
def test_every_batch_is_full_and_holds_samples_of_the_set(
    calibset: Calibset, size: int, last: str, order: str
) -> None:
    if last == "drop" and size > N:
        with pytest.raises(BackendError, match=f"{N} samples can't fill"):
            BatchReader(calibset, DTYPES, Batching(size, last, order))
        return
    reader = BatchReader(calibset, DTYPES, Batching(size, last, order))
    batches = list(reader.read())
    whole = calibset.read_inputs(0, N)
    for batch in batches:
        assert {name: (values.shape, values.dtype) for name, values in batch.items()} == {
            name: (reader.shapes[name], DTYPES[name]) for name in DTYPES
        }
        at = batch["x"][:, 0].astype(int)
        for name, values in batch.items():
            np.testing.assert_array_equal(values, whole[name][at])
    counts = np.bincount(
        np.concatenate([batch["x"][:, 0] for batch in batches]).astype(int), minlength=N
    )
    assert counts.sum() == len(batches) * size
    if last == "fill":
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1
    else:
        assert counts.max() == 1
        assert N - counts.sum() < size
    over = len(batches) * size - N
    code = "calibration_filled" if over > 0 else "calibration_dropped"
    assert [notice.code for notice in reader.notices] == ([code] if over else [])


def test_mixed_batches_spread_evenly_over_the_set(calibset: Calibset) -> None:
    reader = BatchReader(calibset, DTYPES, Batching(6))
    steps = np.diff(np.sort(reader.batches[0]))
    assert set(steps.tolist()) == {4}


def test_stored_batches_follow_the_file(calibset: Calibset) -> None:
    reader = BatchReader(calibset, DTYPES, Batching(10, "drop", "stored"))
    assert np.concatenate(reader.batches).tolist() == list(range(20))


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (np.array([0, 2**31]), np.int32, "int32 can't hold v of 1 sample in a batch: sample-1"),
        (np.array([0.0, 1e300]), np.float32, "float32 can't hold v"),
        (np.array([0.5, 1.0]), np.int64, "int64 can't hold v of 1 sample in a batch: sample-0"),
        (np.array([2, 1]), np.bool_, "bool can't hold v"),
    ],
)
def test_values_that_the_network_cant_take_are_named(
    tmp_path: Path, values: np.ndarray, wanted: type, message: str
) -> None:
    narrow = make_calibset(tmp_path / "set.h5", {"v": values})
    reader = BatchReader(narrow, {"v": np.dtype(wanted)}, Batching(2))
    with pytest.raises(BackendError, match=message):
        list(reader.read())


def test_values_that_fit_are_cast(tmp_path: Path) -> None:
    wide = make_calibset(tmp_path / "set.h5", {"v": np.array([3, -4]), "w": np.array([0.1, 2.0])})
    dtypes = {"v": np.dtype(np.int32), "w": np.dtype(np.float32)}
    (batch,) = BatchReader(wide, dtypes, Batching(2, order="stored")).read()
    assert batch["v"].tolist() == [3, -4]
    assert batch["w"].dtype == np.float32


def test_damaged_and_not_finite_samples_are_errors(tmp_path: Path) -> None:
    damaged = make_calibset(tmp_path / "set.h5", two_inputs(N))
    damage(damaged, "item", 3)
    with pytest.raises(FileFormatError, match="sample-3"):
        list(BatchReader(damaged, DTYPES, Batching(4)).read())
    broken = two_inputs(N)
    broken["x"][5, 1] = np.nan
    with pytest.raises(PoolError, match="sample-5"):
        list(BatchReader(make_calibset(tmp_path / "nan.h5", broken), DTYPES, Batching(4)).read())


def test_a_missing_input_is_named_with_the_near_one(calibset: Calibset) -> None:
    with pytest.raises(BackendError, match="input items isn't in the calibration set") as caught:
        BatchReader(calibset, {"items": np.dtype(np.int64)}, Batching(4))
    assert caught.value.problems[0].next_step == "Did you mean item?"
