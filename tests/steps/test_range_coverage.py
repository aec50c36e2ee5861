"""How well ranges cover slices: a planted gap is seen, before any engine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.graph.load import load_model
from calaudit.runtime.errors import ModelError, PoolError, RangesError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.observe import load_to_observe
from calaudit.steps.range_coverage import cover_draws, cover_slices
from calaudit.steps.tuning import observe_tuning
from tests.audit.world import LOUDNESS, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), n=600).parent


@pytest.fixture
def pool(world: Path) -> Iterator[PoolFile]:
    with open_pool(world / "pool.h5") as opened:
        yield opened


def loudness(pool: PoolFile) -> SliceSet:
    return evaluate_slices([Dimension(by="loudness")], pool)


def draws(pool: PoolFile) -> dict[str, np.ndarray]:
    every = select_rows("split = 'calibration'", pool)
    quiet = select_rows("split = 'calibration' and loudness = 'quiet'", pool)
    return {"quiet only": quiet[:40], "both": every[:60]}


def test_a_set_that_clips_a_slice_is_seen_before_any_engine(world: Path, pool: PoolFile) -> None:
    found = cover_draws(
        world / "model.onnx", pool, draws(pool), loudness(pool), evaluate="split = 'evaluation'"
    )
    assert found.slices == ("all", "loudness = loud", "loudness = quiet")
    assert found.n[0] == len(select_rows("split = 'calibration'", pool))
    assert found.calibsets == ("quiet only",) * 4 + ("both",) * 4
    harm = {(c, m): h for c, m, h in zip(found.calibsets, found.methods, found.harm.T, strict=True)}
    loud, quiet = found.slices.index("loudness = loud"), found.slices.index("loudness = quiet")
    assert harm["quiet only", "minmax"][loud] > 0.8
    assert harm["both", "minmax"][loud] < 1e-3
    # forty times louder samples leave quiet ones a few steps
    assert harm["both", "minmax"][quiet] > 100 * harm["quiet only", "minmax"][quiet]
    assert (found.harm >= found.least[:, None]).all()
    assert found.bound <= found.harm.max(axis=0).min()
    assert found.worst_covered(0)[0] == "loudness = loud"
    assert found.worst_covered(0)[1] == pytest.approx(
        found.harm[loud, 0] / found.least[loud], rel=1e-9
    )


def test_the_best_table_of_a_set_harms_the_worst_slice_least(world: Path, pool: PoolFile) -> None:
    found = cover_draws(world / "model.onnx", pool, draws(pool), loudness(pool))
    for name in ("quiet only", "both"):
        own = [k for k, calibset in enumerate(found.calibsets) if calibset == name]
        assert found.best(name) in own
        assert found.harm[:, found.best(name)].max() == min(found.harm[:, k].max() for k in own)


def test_a_set_called_like_a_slice_is_not_taken_for_it(world: Path, pool: PoolFile) -> None:
    named = {"all": draws(pool)["quiet only"], "set all": draws(pool)["both"]}
    found = cover_draws(world / "model.onnx", pool, named, loudness(pool))
    plain = cover_draws(world / "model.onnx", pool, draws(pool), loudness(pool))
    assert found.slices == plain.slices
    assert found.harm.tolist() == plain.harm.tolist()


def test_evaluated_samples_are_not_what_is_to_be_covered(world: Path, pool: PoolFile) -> None:
    every = np.arange(len(pool))
    with pytest.raises(RangesError, match="every sample is evaluated"):
        cover_draws(world / "model.onnx", pool, draws(pool), loudness(pool), evaluate=every)


def table(amax: float, model: str | None) -> ScaleTable:
    return ScaleTable(
        {"x": TapScale(amax, scale_of(amax))}, "minmax", "mine", model_fingerprint=model
    )


def test_tables_of_another_model_or_unknown_slices_are_refused(
    world: Path, pool: PoolFile, tmp_path: Path
) -> None:
    model = load_model(world / "model.onnx")
    engine = load_to_observe(model, ("x",), OnnxruntimeBackend(threads=1))
    rows = select_rows("split = 'calibration'", pool)
    slices = loudness(pool).take(rows)
    seen = observe_tuning(engine, pool, rows, slices, tmp_path / "s.h5", batch_size=64)
    own = cover_slices(seen, ["loudness = quiet"], [table(LOUDNESS, model.fingerprint)])
    assert own.harm.shape == (1, 1)
    assert cover_slices(seen, ["all"], [table(1.0, None)]).methods == ("minmax",)
    with pytest.raises(RangesError, match="of another model"):
        cover_slices(seen, ["all"], [table(1.0, "other")])
    with pytest.raises(RangesError, match="loudness = soft"):
        cover_slices(seen, ["loudness = soft"], [table(1.0, None)])


def test_a_model_that_does_not_take_the_pools_inputs_is_refused(
    world: Path, pool: PoolFile
) -> None:
    from calaudit.demo.digits import DEMO_MODEL

    with pytest.raises((ModelError, PoolError), match="x"):
        cover_draws(DEMO_MODEL, pool, draws(pool), loudness(pool))
