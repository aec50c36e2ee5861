"""Answers of experiments: each row once per engine, whatever is asked in which order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.explain.runs import Runs
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool


class Doubling:
    """An engine that doubles x and adds what it is fed beside."""

    inputs = ()
    outputs = ("y",)

    def __init__(self) -> None:
        self.record: dict[str, str] = {}
        self.ran: list[float] = []

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.ran += feeds["x"][:, 0].tolist()
        return {"y": 2 * feeds["x"] + feeds.get("more", np.zeros((len(feeds["x"]), 1)))[:, :1]}

    def close(self) -> None: ...


@pytest.mark.parametrize("held", [False, True])
def test_rows_are_run_once_and_come_back_in_their_places(tmp_path: Path, held: bool) -> None:
    x = np.arange(60, dtype=np.float32).reshape(30, 2)
    write_pool(tmp_path / "pool.h5", inputs={"x": x})
    engine, kept = Doubling(), tmp_path / "kept"
    kept.mkdir()
    with open_pool(tmp_path / "pool.h5") as pool:
        runs = Runs(pool, kept, batch_size=4)
        if held:
            runs.hold_inputs(np.arange(5, 25))
        first = np.array([5, 6, 7, 20])
        second = np.array([2, 6, 7, 9, 21, 29])
        runs.answers("double", first, lambda: engine)
        found = runs.answers("double", second, lambda: engine)
        for rows in (first, second):
            np.testing.assert_array_equal(found.read("y", rows), 2 * x[rows])
        assert runs.answers("double", first, lambda: pytest.fail("loaded again")) is found
    assert sorted(engine.ran) == x[np.union1d(first, second), 0].tolist()
    assert (runs.cost.engines, runs.cost.samples) == (1, 8)
    assert len(list(kept.iterdir())) == 1


def test_what_is_fed_beside_reaches_every_sample(tmp_path: Path) -> None:
    x = np.ones((10, 1), np.float32)
    write_pool(tmp_path / "pool.h5", inputs={"x": x})
    with open_pool(tmp_path / "pool.h5") as pool:
        runs = Runs(pool, tmp_path, batch_size=4)
        found = runs.answers("e", np.arange(10), Doubling, {"more": np.array([3.0])})
    assert found.read("y").tolist() == [[5.0]] * 10
