"""Which rows are tuned on, which of them are observed, and what is observed of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.accumulate import observe as histogram_of
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import open_ranges
from calaudit.graph.load import load_model
from calaudit.runtime.errors import LeakError, SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.steps.leak import content_digests, note_tuning
from calaudit.steps.observe import load_to_observe
from calaudit.steps.tuning import NOT_EVALUATED, Tuning, find_tuning, observe_tuning, spread_rows
from tests.audit.world import make_world
from tests.formats.pools import write_by_hand


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), n=300).parent


@pytest.fixture
def pool(world: Path) -> Iterator[PoolFile]:
    with open_pool(world / "pool.h5") as opened:
        yield opened


def found(pool: PoolFile, **given: str | int | None) -> Tuning:
    asked = {"tune": None, "calibrate": None, "most": 2048, "seed": 0, **given}
    return find_tuning(
        pool,
        evaluated=select_rows("split = 'evaluation'", pool),
        slices=loudness(pool),
        where="audit.toml: audit",
        **asked,
    )


def loudness(pool: PoolFile) -> SliceSet:
    return evaluate_slices([Dimension(by="loudness")], pool)


def test_tuning_rows_are_those_of_tune_else_of_calibrate_else_all_others(pool: PoolFile) -> None:
    quiet = "split = 'calibration' and loudness = 'quiet'"
    rest = select_rows("split = 'calibration'", pool)
    asked = found(pool, tune=quiet, calibrate="split = 'calibration'")
    assert asked.predicate == quiet
    assert asked.rows.tolist() == select_rows(quiet, pool).tolist()
    by_default = found(pool, calibrate=quiet)
    assert (by_default.predicate, by_default.rows.tolist()) == (quiet, asked.rows.tolist())
    assert found(pool).predicate == NOT_EVALUATED
    assert found(pool).rows.tolist() == rest.tolist()
    for each in (asked, by_default, found(pool)):
        assert each.notices == ()
        assert each.observed.tolist() == each.rows.tolist()


def test_evaluated_rows_are_refused_where_asked_for_and_left_out_of_the_default(
    pool: PoolFile,
) -> None:
    with pytest.raises(LeakError, match="evaluation samples") as caught:
        found(pool, tune="loudness = 'loud'")
    assert caught.value.problems[0].where == "audit.toml: audit.tune"
    default = found(pool, calibrate="loudness = 'loud'")
    evaluated = set(select_rows("split = 'evaluation'", pool).tolist())
    assert not evaluated & set(default.rows.tolist())
    assert [notice.code for notice in default.notices] == ["tuning_evaluated"]


def test_a_tune_that_selects_nothing_is_refused_and_no_rows_by_default_are_none(
    pool: PoolFile,
) -> None:
    with pytest.raises(SliceError, match="selects nothing"):
        found(pool, tune="loudness = 'silent'")
    assert len(found(pool, calibrate="split = 'evaluation'").rows) == 0


def sliced(*codes: list[int]) -> SliceSet:
    dimensions = [
        CodedDimension(f"d{i}", tuple(f"d{i}-{c}" for c in range(max(each) + 1)), np.int32(each))
        for i, each in enumerate(codes)
    ]
    return SliceSet(len(codes[0]), tuple(dimensions))


@given(
    st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 1)), min_size=1, max_size=120),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_rows_are_spread_over_slices_as_evenly_as_they_go(
    codes: list[tuple[int, int]], most: int, seed: int
) -> None:
    one, two = ([pair[i] for pair in codes] for i in range(2))
    slices = sliced([*one, 0, 0], [*two, 0, 0])
    rows = np.arange(slices.n_rows) * 3
    chosen = spread_rows(rows, slices, most, seed=seed)
    assert len(chosen) == min(most, len(rows))
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(rows.tolist())
    counts = slices.counts()
    taken = slices.take(np.searchsorted(rows, chosen)).counts()
    # each slice takes its turn: none lacks rows while others had two turns more
    turns = most // len(counts)
    for name, n in counts.items():
        assert taken[name] >= min(n, turns)
    assert spread_rows(rows, slices, most, seed=seed).tolist() == chosen.tolist()


def test_of_a_rare_slice_all_rows_are_observed_and_more_rows_hold_fewer() -> None:
    rare = sliced([0] * 20 + [1] * 2000)
    rows = np.arange(2020)
    few = spread_rows(rows, rare, 100, seed=1)
    many = spread_rows(rows, rare, 300, seed=1)
    assert (few < 20).sum() == 20
    assert set(few.tolist()) <= set(many.tolist())
    assert few.tolist() != spread_rows(rows, rare, 100, seed=2).tolist()


def test_histograms_are_those_of_each_slices_samples(
    world: Path, pool: PoolFile, tmp_path: Path
) -> None:
    engine = load_to_observe(
        load_model(world / "model.onnx"), ("x", "h"), OnnxruntimeBackend(threads=1)
    )
    rows = select_rows("split = 'calibration'", pool)
    slices = loudness(pool).take(rows)
    seen = observe_tuning(engine, pool, rows, slices, tmp_path / "slices.h5", batch_size=16)
    assert seen.groups == ("all", "loudness = loud", "loudness = quiet")
    x = pool.read_inputs(rows)["x"]
    for name in seen.groups:
        assert seen.size(name) == slices.counts()[name]
        assert seen.of(name).one(0, 0) == histogram_of(x[slices.mask(name)])
    kept = open_ranges(tmp_path / "slices.h5")
    assert kept.histograms == seen.histograms
    assert kept.groups == seen.groups


def test_a_sample_that_is_not_finite_is_left_out_of_its_slices(tmp_path: Path) -> None:
    world = make_world(tmp_path, n=60).parent
    with open_pool(world / "pool.h5") as pool:
        x = pool.read_inputs(np.arange(60))["x"]
    x[7] = np.nan
    write_by_hand(tmp_path / "bad.h5", {"inputs/x": x, "meta/half": np.arange(60) // 30})
    engine = load_to_observe(
        load_model(world / "model.onnx"), ("x",), OnnxruntimeBackend(threads=1)
    )
    with open_pool(tmp_path / "bad.h5") as pool:
        slices = evaluate_slices([Dimension(by="half")], pool)
        rows = np.arange(60)
        seen = observe_tuning(engine, pool, rows, slices, tmp_path / "s.h5", batch_size=16)
    assert [(each.id, each.tap) for each in seen.left_out] == [("7", "x")]
    assert seen.size("all") == 59
    assert seen.of("all").one(0, 0) == histogram_of(np.delete(x, 7, axis=0))


def test_what_tuning_rows_share_with_evaluated_ones_is_told(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    x[9] = x[0]
    path = tmp_path / "pool.h5"
    write_pool(path, inputs={"x": x}, meta={"speaker": np.array([0, 0, 1, 1, 1, 2, 2, 3, 3, 3])})
    evaluated, rows = np.array([0, 1, 2]), np.arange(3, 10)
    with open_pool(path) as pool:
        digests = content_digests(pool, evaluated)
        told = note_tuning(pool, rows, evaluated, digests=digests, columns=["speaker"])
        assert [notice.code for notice in told] == ["tuning_repeats", "tuning_clusters"]
        assert "1 of 7 are duplicates of evaluated samples (9)" in told[0].message
        assert "2 of 7 are samples of clusters (speaker)" in told[1].message
        assert {notice.where for notice in told} == {"tuning rows"}
        clean = note_tuning(pool, rows[:-1], evaluated, digests=digests, columns=[])
        assert clean == ()
