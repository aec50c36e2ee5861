import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.steps.pool_summary import MOST_COUNTED, ColumnSummary, PoolSummary, describe_pool


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> PoolSummary:
    path = tmp_path_factory.mktemp("pools") / "pool.h5"
    write_pool(
        path,
        inputs={"x": np.zeros((60, 2, 3), np.float32)},
        targets={"label": np.arange(60) % 3, "relevance": np.zeros((60, 4), np.uint8)},
        meta={
            "snr_db": np.tile(np.array([np.inf, 5, np.nan, -5, 5, 0], np.float32), 10),
            "level": np.linspace(0, 1, 60),
            "speaker": ["theo", "", "zoë"] * 20,
            "clip": [f"c{i}" for i in range(60)],
            "nothing": np.full(60, np.nan),
        },
        items={"popularity": [3, 1, 2, 2]},
    )
    with open_pool(path) as pool:
        return describe_pool(pool)


def column(summary: PoolSummary, name: str) -> ColumnSummary:
    return next(each for each in summary.columns if each.name == name)


def test_sizes_and_arrays_are_those_of_the_pool(summary: PoolSummary) -> None:
    assert (summary.n, summary.n_items) == (60, 4)
    assert [(each.name, each.dtype, each.shape) for each in summary.inputs] == [
        ("x", "float32", (2, 3))
    ]
    assert [each.shape for each in summary.targets] == [(), (4,)]
    assert [each.name for each in summary.items] == ["popularity"]


def test_ranges_leave_out_missing_and_infinite_values(summary: PoolSummary) -> None:
    snr = column(summary, "snr_db")
    assert (snr.missing, snr.infinite, snr.low, snr.high) == (10, 10, -5, 5)
    nothing = column(summary, "nothing")
    assert (nothing.missing, nothing.low, nothing.high) == (60, None, None)


def test_values_are_counted_most_frequent_first(summary: PoolSummary) -> None:
    snr = column(summary, "snr_db")
    assert list(snr.counts.items()) == [("5.0", 20), ("-5.0", 10), ("0.0", 10), ("inf", 10)]
    assert column(summary, "label").counts == {"0": 20, "1": 20, "2": 20}
    speaker = column(summary, "speaker")
    assert (speaker.missing, speaker.distinct) == (20, 2)


def test_many_values_are_numbered_and_measurements_are_not_counted(summary: PoolSummary) -> None:
    clip = column(summary, "clip")
    assert clip.distinct == 60
    assert len(clip.counts) == MOST_COUNTED
    assert column(summary, "level").distinct is None
    assert column(summary, "level").counts == {}
