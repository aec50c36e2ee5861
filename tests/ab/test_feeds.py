"""Requests carry their samples, in memory or read ahead, in the model's element types."""

import itertools

import numpy as np
import pytest

from calaudit.ab.feeds import PoolFeeds
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import PoolError

DTYPES = {"x": np.dtype(np.float32)}


@pytest.fixture
def pool(tmp_path):
    write_pool(tmp_path / "p.h5", inputs={"x": np.arange(600, dtype=np.uint8).reshape(200, 3)})
    with open_pool(tmp_path / "p.h5") as opened:
        yield opened


@pytest.mark.parametrize("held", [1 << 20, 0])
def test_each_request_carries_its_own_sample_alone(pool: PoolFile, held: int) -> None:
    rows = np.random.default_rng(0).integers(0, 200, 500)
    found = list(PoolFeeds(pool, rows, DTYPES, held=held))
    whole = pool.read_inputs(np.arange(200))["x"]
    assert len(found) == 500
    assert {each["x"].dtype for each in found} == {np.dtype(np.float32)}
    assert {each["x"].shape for each in found} == {(1, 3)}
    np.testing.assert_array_equal(np.concatenate([each["x"] for each in found]), whole[rows])


def test_reading_ahead_ends_with_whoever_asked(pool: PoolFile) -> None:
    rows = np.zeros(100_000, np.int64)
    feeds = iter(PoolFeeds(pool, rows, DTYPES, held=0))
    assert len(list(itertools.islice(feeds, 3))) == 3
    feeds.close()


def test_what_cant_be_read_is_raised_where_requests_are_sent(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise PoolError("broken")

    feeds = PoolFeeds(pool, np.zeros(10, np.int64), DTYPES, held=0)
    monkeypatch.setattr(type(pool), "read_inputs", broken)
    with pytest.raises(PoolError, match="broken"):
        list(feeds)
