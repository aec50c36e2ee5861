"""Which evaluated samples belong together."""

from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.steps.clusters import cluster_codes, read_clusters

SPEAKER = np.array(["ann", "ann", "bob", "bob", "ann", "bob"])
TAKE = np.array([0, 1, 0, 0, 0, 1])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    meta = {"speaker": SPEAKER, "take": TAKE, "snr": np.array([1.0, 2, np.nan, 4, np.nan, 6])}
    path = tmp_path / "pool.h5"
    write_pool(path, inputs={"x": np.zeros((6, 1), np.float32)}, targets={}, meta=meta)
    return path


def groups(code: np.ndarray) -> list[list[int]]:
    return sorted(np.flatnonzero(code == each).tolist() for each in np.unique(code))


def test_samples_belong_together_that_agree_in_every_column(pool: Path) -> None:
    rows = np.arange(6)
    with open_pool(pool) as opened:
        one = cluster_codes(["speaker"], opened, rows, where="audit.toml")
        both = cluster_codes(["speaker", "take"], opened, rows, where="audit.toml")
        turned = cluster_codes(["take", "speaker"], opened, rows, where="audit.toml")
    assert groups(one) == [[0, 1, 4], [2, 3, 5]]
    assert groups(both) == groups(turned) == [[0, 4], [1], [2, 3], [5]]


def test_samples_that_lack_a_value_stand_alone(pool: Path) -> None:
    with open_pool(pool) as opened:
        code = cluster_codes(["speaker", "snr"], opened, np.arange(6), where="audit.toml")
    assert groups(code) == [[each] for each in range(6)]


def test_a_slice_stands_alone_if_it_is_by_all_of_the_columns(pool: Path) -> None:
    dimensions = (
        Dimension(by="speaker"),
        Dimension(by="take"),
        Dimension(by="snr", edges=(0, 3)),
        Dimension(cross=("speaker", "take")),
        Dimension(cross=("speaker", "snr")),
    )
    rows = np.arange(6)
    with open_pool(pool) as opened:
        slices = evaluate_slices(dimensions, opened)
        found = {}
        for columns in (("speaker",), ("speaker", "take")):
            clusters = read_clusters(
                columns, opened, rows, dimensions=dimensions, slices=[slices], where="audit.toml"
            )
            assert clusters is not None
            found[columns] = {name.count("&") for name in clusters.alone}, len(clusters.alone)
        assert read_clusters((), opened, rows, dimensions=(), slices=[slices], where="") is None
    assert found["speaker", "take"] == ({1}, 4)
    assert found["speaker",][0] == {0, 1}


def test_every_column_that_is_not_there_is_named(pool: Path) -> None:
    with (
        open_pool(pool) as opened,
        pytest.raises(SliceError, match=r"speakr(.|\n)*tak\b") as caught,
    ):
        cluster_codes(["speakr", "tak"], opened, np.arange(6), where="audit.toml: audit.cluster")
    assert len(caught.value.problems) == 2
