from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import LeakError
from calaudit.sampling.kinds import make_recipe
from calaudit.slices.evaluate import select_rows
from calaudit.steps.leak import check_leak, content_digests, note_clusters, note_repeats
from calaudit.steps.sample import draw_calibset
from tests.steps.drawing import EVALUATE, write_small_pool

RANDOM = make_recipe(name="random", size=150)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[PoolFile]:
    with open_pool(write_small_pool(tmp_path / "pool.h5")) as opened:
        yield opened


def test_a_set_drawn_from_the_other_samples_is_clean(pool, tmp_path) -> None:
    drawn = draw_calibset(pool, RANDOM, tmp_path / "set.h5", evaluate=EVALUATE)
    assert check_leak(drawn, pool, select_rows(EVALUATE, pool)) == ()


def test_evaluated_ids_in_a_set_are_a_leak(pool, tmp_path) -> None:
    drawn = draw_calibset(pool, make_recipe(name="all", size=300), tmp_path / "set.h5")
    with pytest.raises(LeakError) as caught:
        check_leak(drawn, pool, select_rows(EVALUATE, pool))
    message = str(caught.value)
    assert message.startswith(
        f"{tmp_path / 'set.h5'}: 100 of the set's 300 samples are evaluation samples (data "
        "leakage): sample-200, sample-201"
    )
    assert "→ Draw the set again" in message


def test_a_set_from_another_version_of_the_pool_is_noted_and_still_checked(pool, tmp_path) -> None:
    other = write_small_pool(tmp_path / "other.h5", extra=[1.0] * 300)
    with open_pool(other) as opened:
        clean = draw_calibset(opened, RANDOM, tmp_path / "clean.h5", evaluate=EVALUATE)
        leaky = draw_calibset(opened, make_recipe(name="all", size=300), tmp_path / "leaky.h5")
    evaluated = select_rows(EVALUATE, pool)
    notices = check_leak(clean, pool, evaluated)
    assert [notice.code for notice in notices] == ["calibset_foreign"]
    assert "other.h5" in notices[0].message
    with pytest.raises(LeakError, match="100 of the set's 300"):
        check_leak(leaky, pool, evaluated)


def test_a_sample_keeps_its_stored_id_when_its_content_is_prepared_anew(pool, tmp_path) -> None:
    other = write_small_pool(tmp_path / "other.h5")
    with h5py.File(other, "a") as file:
        file["inputs/x"][:] += 1
    with open_pool(other) as opened:
        drawn = draw_calibset(opened, make_recipe(name="all", size=300), tmp_path / "set.h5")
    with pytest.raises(LeakError, match="100 of the set's 300"):
        check_leak(drawn, pool, select_rows(EVALUATE, pool))


def test_equal_row_numbers_in_two_pools_are_no_leak_unless_the_content_agrees(tmp_path) -> None:
    everyone = make_recipe(name="all", size=20)
    values = np.arange(20, dtype=np.float32).reshape(20, 1)
    split = ["calibration"] * 10 + ["evaluation"] * 10
    for name, inputs in (("one", values), ("two", values + 50), ("three", values % 11)):
        write_pool(tmp_path / f"{name}.h5", inputs={"x": inputs}, meta={"split": split})
    with open_pool(tmp_path / "one.h5") as one:
        evaluated = select_rows(EVALUATE, one)
        with open_pool(tmp_path / "two.h5") as two:
            drawn = draw_calibset(two, everyone, tmp_path / "set.h5")
        assert [each.code for each in check_leak(drawn, one, evaluated)] == ["calibset_foreign"]
        with open_pool(tmp_path / "three.h5") as three:
            drawn = draw_calibset(three, everyone, tmp_path / "set.h5")
        with pytest.raises(LeakError, match=r"1 of the set's 20 samples .*: 10\n"):
            check_leak(drawn, one, evaluated)


def test_the_same_inputs_under_other_ids_are_noted(tmp_path) -> None:
    path = tmp_path / "twins.h5"
    inputs = np.arange(20, dtype=np.float32).reshape(20, 1)
    inputs[17] = inputs[3]
    split = ["calibration"] * 10 + ["evaluation"] * 10
    write_pool(path, inputs={"x": inputs}, meta={"split": split})
    with open_pool(path) as pool:
        recipe = make_recipe(name="all", size=10)
        drawn = draw_calibset(pool, recipe, tmp_path / "set.h5", evaluate=EVALUATE)
        evaluated = select_rows(EVALUATE, pool)
        digests = content_digests(pool, evaluated)
        (notice,) = check_leak(drawn, pool, evaluated, digests=digests)
    assert notice.code == "calibset_repeats"
    assert notice.message.startswith("1 of 10 samples are duplicates of evaluated ones")
    assert notice.message.endswith(": 3")


def test_digests_of_no_rows_are_none(pool) -> None:
    assert len(content_digests(pool, np.empty(0, np.int64))) == 0


def copies(path: Path, rows: list[int]) -> Path:
    """The small pool, in which evaluated sample 200 + i has the inputs of sample rows[i]."""
    other = write_small_pool(path)
    with h5py.File(other, "a") as file:
        for i, row in enumerate(rows):
            file["inputs/x"][200 + i] = file["inputs/x"][row]
    return other


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 199), max_size=20))
def test_the_same_inputs_under_other_ids_are_counted_in_every_set(rows: list[int]) -> None:
    with TemporaryDirectory() as folder, open_pool(copies(Path(folder) / "pool.h5", rows)) as pool:
        evaluated = select_rows(EVALUATE, pool)
        drawn = draw_calibset(pool, RANDOM, Path(folder) / "set.h5", evaluate=EVALUATE)
        notices = note_repeats({"random": drawn}, content_digests(pool, evaluated))
        expected = len(set(rows) & set(drawn.rows.tolist()))
    assert bool(notices) == bool(expected)
    if expected:
        assert notices[0].code == "calibset_repeats"
        assert f"random: {expected} of 150 (sample-" in notices[0].message


def test_one_changed_value_makes_another_sample(tmp_path) -> None:
    other = copies(tmp_path / "other.h5", list(range(100)))
    with h5py.File(other, "a") as file:
        x = file["inputs/x"][200:]
        file["inputs/x"][200:] = np.nextafter(x, np.float32(np.inf))
    with open_pool(other) as opened:
        drawn = draw_calibset(opened, RANDOM, tmp_path / "set.h5", evaluate=EVALUATE)
        digests = content_digests(opened, select_rows(EVALUATE, opened))
    assert note_repeats({"random": drawn}, digests) == ()


def test_clusters_in_both_splits_are_counted(pool, tmp_path) -> None:
    evaluated = select_rows(EVALUATE, pool)
    recipe = make_recipe(name="all", size=200)
    drawn = draw_calibset(pool, recipe, tmp_path / "set.h5", evaluate=EVALUATE)
    (notice,) = note_clusters({"all": drawn}, pool, evaluated, ["speaker"])
    assert notice.code == "calibset_clusters"
    assert "samples of clusters (speaker) that are evaluated as well: all: 200 of 200" in (
        notice.message
    )
    # what tells the splits apart makes clusters of its own
    assert note_clusters({"all": drawn}, pool, evaluated, ["speaker", "split"]) == ()
    assert note_clusters({"all": drawn}, pool, evaluated, []) == ()


def test_samples_without_a_cluster_are_in_none(tmp_path) -> None:
    speaker = ["theo" if i in (5, 205) else "" for i in range(300)]
    path = write_small_pool(tmp_path / "pool.h5", speaker=speaker)
    with open_pool(path) as pool:
        recipe = make_recipe(name="all", size=200)
        drawn = draw_calibset(pool, recipe, tmp_path / "set.h5", evaluate=EVALUATE)
        (notice,) = note_clusters({"all": drawn}, pool, select_rows(EVALUATE, pool), ["speaker"])
    assert "all: 1 of 200 (sample-005)" in notice.message
