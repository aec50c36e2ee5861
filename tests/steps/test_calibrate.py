"""From calibration sets in files to scale tables, as the command and the Python API go.

Where two passes must agree to the bit, samples run one by one: in a batch of another size a
convolution may sum in another order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend, OnnxruntimeEngine
from calaudit.calibration.groups import mix
from calaudit.calibration.methods import DEFAULT_METHODS
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import open_ranges
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import ModelError, RangesError, SettingsError
from calaudit.slices.dimension import Dimension
from calaudit.steps.calibrate import calibrate, calibrate_sets, scales_from_ranges
from tests.graph import models
from tests.graph.running import run
from tests.steps.calibrating import (
    EVERY,
    LOUDNESS,
    chosen,
    draw,
    images,
    write_images,
    write_model,
)

N = 36  # 12 loud, 24 quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a pool of 36, and sets drawn from it."""
    made = tmp_path_factory.mktemp("calibrate")
    write_model(made / "model.onnx")
    pool = write_images(made / "pool.h5", images(N))
    draw(pool, made / "all.h5", "all of it", N, kind="stratified", strata=[LOUDNESS])
    draw(pool, made / "first.h5", "first", 20, candidates="number < 20")
    draw(pool, made / "last.h5", "last", 20, candidates="number >= 16")
    draw(pool, made / "loud.h5", "only loud", 10, candidates="loudness = 'loud'")
    return made


@pytest.fixture(scope="module")
def ranges(folder: Path) -> Path:
    """Ranges of the set that holds the whole pool, with its strata."""
    out = folder / "all-ranges.h5"
    calibrate_sets(folder / "model.onnx", [folder / "all.h5"], out, batch_size=1)
    return out


@pytest.mark.parametrize(("loud", "quiet"), [(1, 1), (3, 1), (1, 4), (2, 3), (4, 1)])
def test_a_mixture_of_strata_is_the_direct_observation_of_that_mixture(
    folder: Path, ranges: Path, tmp_path: Path, loud: int, quiet: int
) -> None:
    """The mixed pool holds each loud sample `loud` times and each quiet one `quiet` times."""
    rows = np.repeat(np.arange(N), np.where(np.arange(N) % 3 == 0, loud, quiet))
    ids = [f"copy {number}" for number in range(len(rows))]
    pool = write_images(tmp_path / "pool.h5", images(N)[rows], ids)
    draw(pool, tmp_path / "set.h5", "mixed", len(rows))
    direct = calibrate_sets(
        folder / "model.onnx", [tmp_path / "set.h5"], tmp_path / "ranges.h5", batch_size=1
    )
    mixture = f"loudness=loud={12 * loud},loudness=quiet={24 * quiet}"
    found = scales_from_ranges(ranges, mixtures=[mixture])
    for ours, theirs in zip(found, direct, strict=True):
        assert ours.calibset == mixture
        for tap, each in theirs.taps.items():
            assert ours.taps[tap].amax == pytest.approx(each.amax, rel=1e-12)
    mixed = mix(open_ranges(ranges), mixture)
    observed = open_ranges(tmp_path / "ranges.h5").of("mixed")
    np.testing.assert_allclose(mixed.counts * len(rows) / N, observed.counts, rtol=1e-9)
    np.testing.assert_array_equal(mixed.amax, observed.amax)


def test_strata_in_their_own_shares_and_their_union_are_the_whole_set(ranges: Path) -> None:
    mixture, union = "loudness=loud=12,rest=24", "loudness=loud,loudness=quiet"
    found = chosen(
        scales_from_ranges(
            ranges, groups=["all of it"], mixtures=[mixture, union], methods=DEFAULT_METHODS
        )
    )
    for method in DEFAULT_METHODS:
        assert found[mixture, method] == found["all of it", method]
        assert found[union, method] == found["all of it", method]


def test_weights_of_a_stratified_set_mix_its_strata_in_the_pools_shares(folder: Path) -> None:
    pool, model = folder / "pool.h5", folder / "model.onnx"
    draw(
        pool, folder / "equal.h5", "equal", 16,
        kind="stratified", strata=[LOUDNESS], allocation="equal",
    )  # fmt: skip
    weighted = calibrate_sets(
        model, [folder / "equal.h5"], folder / "weighted.h5", weighted=True, batch_size=1
    )
    calibrate_sets(model, [folder / "equal.h5"], folder / "counted.h5", batch_size=1)
    mixed = scales_from_ranges(folder / "counted.h5", mixtures=["loudness=loud=1,loudness=quiet=2"])
    for ours, theirs in zip(weighted, mixed, strict=True):
        for tap, each in theirs.taps.items():
            assert ours.taps[tap].amax == pytest.approx(each.amax, rel=1e-9)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_and_the_order_of_sets_do_not_change_ranges(
    folder: Path, batch_size: int
) -> None:
    names = ["first.h5", "last.h5", "loud.h5"]
    found = []
    for order, size in ((names, 64), (names[::-1], batch_size)):
        out = folder / f"{size}-ordered.h5"
        calibrate_sets(folder / "model.onnx", [folder / n for n in order], out, batch_size=size)
        found.append(open_ranges(out))
    one, other = found
    assert set(one.groups) == set(other.groups)
    for group in one.groups:
        for tap in range(len(one.histograms.taps)):
            first, second = one.of(group).one(tap, 0), other.of(group).one(tap, 0)
            # What moves is the last bit of some values.
            moved = np.abs(first.counts - second.counts).sum() / (2 * first.n)
            assert moved < 1e-3
            assert first.n == second.n
            assert first.amax == pytest.approx(second.amax, rel=1e-5)
        assert one.size(group) == other.size(group)


def test_overlapping_sets_in_one_pass_are_as_each_alone(folder: Path) -> None:
    model, out = folder / "model.onnx", folder / "together.h5"
    names = ("first", "last", "loud")
    paths = [folder / f"{name}.h5" for name in names]
    together = chosen(calibrate_sets(model, paths, out, methods=EVERY, batch_size=1))
    for path in paths:
        alone = chosen(
            calibrate_sets(model, [path], folder / "alone.h5", methods=EVERY, batch_size=1)
        )
        for key, taps in alone.items():
            assert together[key] == taps


def test_a_sample_that_several_sets_hold_runs_once(folder: Path) -> None:
    ran: list[int] = []

    class Counting(OnnxruntimeEngine):
        def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            ran.append(len(feeds["x"]))
            return super().run(feeds)

    class Backend(OnnxruntimeBackend):
        def load_shared(self, model: Model) -> tuple[OnnxruntimeEngine, int]:
            engine, at_a_time = super().load_shared(model)
            engine.__class__ = Counting
            return engine, at_a_time

    model = prepare(load_model(folder / "model.onnx"))
    sets = {name: open_calibset(folder / f"{name}.h5") for name in ("first", "last", "loud")}
    calibrate(model, plan_qdq(model), sets, Backend(), folder / "counted.h5", batch_size=8)
    assert sum(ran) == N + 2  # and a pair, to see where samples lie


def test_minmax_of_any_choice_of_samples_needs_no_further_pass(folder: Path, ranges: Path) -> None:
    model = prepare(load_model(folder / "model.onnx"))
    taps = plan_qdq(model).taps
    rows = [3, 4, 11, 30]
    values = run(with_taps(model, taps), {"x": images(N)[rows]})
    expected = [np.abs(values[tap]).max() for tap in taps]
    found = open_ranges(ranges).maxima([f"s{row:03d}" for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_slices_of_the_pool_can_be_recorded_with_the_sets(folder: Path) -> None:
    pool = folder / "pool.h5"
    tables = calibrate_sets(
        folder / "model.onnx",
        [folder / "first.h5"],
        folder / "sliced.h5",
        dimensions=[Dimension(by="number", edges=[0, 10, 36])],
        pool=pool,
        methods=["minmax"],
    )
    assert [table.calibset for table in tables] == ["first"]
    found = open_ranges(folder / "sliced.h5")
    assert found.size(found.find("0 ≤ number < 10")) == 10


# --- what models take ------------------------------------------------------------------------


def test_integer_inputs_are_fed_and_not_observed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", models.embedding())
    feeds = models.feeds(models.embedding(), n=20)
    write_pool(tmp_path / "p.h5", inputs=feeds, targets={"label": np.zeros(20, np.int64)}, meta={})
    draw(tmp_path / "p.h5", tmp_path / "s.h5", "some", 20)
    (table,) = calibrate_sets(model, [tmp_path / "s.h5"], tmp_path / "r.h5", methods=["minmax"])
    assert "item" not in table.taps
    assert len(table.taps) >= 2


def test_sets_of_different_lengths_share_one_pass_of_a_dynamic_model(tmp_path: Path) -> None:
    sketch = models.Sketch()
    sketch.op("Relu", [sketch.conv("x", "c", 3, 4)], "r")
    sketch.op("GlobalAveragePool", [sketch.conv("r", "d", 4, 4)], "y")
    proto = sketch.model({"x": ["b", 3, 8, "w"]}, {"y": ["b", 4, 1, 1]})
    model = write_model(tmp_path / "m.onnx", proto)
    for width in (8, 12):
        pool = write_images(tmp_path / f"{width}.h5", images(12, seed=width, width=width))
        draw(pool, tmp_path / f"{width}-set.h5", f"width {width}", 12)
    sets = [tmp_path / f"{width}-set.h5" for width in (8, 12)]
    tables = chosen(calibrate_sets(model, sets, tmp_path / "r.h5", methods=["minmax"]))
    for width in (8, 12):
        x = images(12, seed=width, width=width)
        assert tables[f"width {width}", "minmax"]["x"] == np.abs(x).max()
    found = open_ranges(tmp_path / "r.h5")
    assert found.of("width 12").one(0, 0).n == 12 * 3 * 8 * 12
    assert found.whole().one(0, 0).n == 12 * 3 * 8 * (8 + 12)


def test_a_model_fixed_to_batch_1_is_calibrated_sample_by_sample(tmp_path: Path) -> None:
    pool = write_images(tmp_path / "p.h5", images(10))
    draw(pool, tmp_path / "s.h5", "some", 10)
    found = [
        chosen(calibrate_sets(path, [tmp_path / "s.h5"], tmp_path / "r.h5", batch_size=1))
        for path in (
            write_model(tmp_path / "free.onnx", models.conv_bn_relu()),
            write_model(tmp_path / "fixed.onnx", models.conv_bn_relu(batch=1)),
        )
    ]
    assert found[0] == found[1]


def test_a_model_in_fp16_is_calibrated_as_the_model_it_was_made_from(
    tmp_path: Path, folder: Path
) -> None:
    halved, _ = convert_to_fp16(prepare(Model(models.residual(), "m")))
    model = write_model(tmp_path / "half.onnx", halved.proto)
    (table,) = calibrate_sets(model, [folder / "first.h5"], tmp_path / "h.h5", methods=["minmax"])
    full = write_model(tmp_path / "full.onnx", models.residual())
    (wanted,) = calibrate_sets(full, [folder / "first.h5"], tmp_path / "f.h5", methods=["minmax"])
    found, expected = (list(each.scales.values()) for each in (table, wanted))
    assert found == pytest.approx(expected, rel=5e-3)


# --- bad activations -------------------------------------------------------------------------


@pytest.fixture
def overflowing(tmp_path: Path) -> Path:
    """x → y = exp(3x) · w: samples with an x above 30 overflow float32."""
    sketch = models.Sketch()
    sketch.op("Mul", ["x", sketch.array("three", np.float32(3).reshape(1))], "tripled")
    sketch.op("Exp", ["tripled"], "e")
    sketch.gemm("e", "y", 4, 3)
    return write_model(tmp_path / "m.onnx", sketch.model({"x": ["b", 4]}, {"y": ["b", 3]}))


@pytest.fixture
def with_bad(tmp_path: Path) -> Path:
    """A set of 20 of which s003 and s012 overflow."""
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    x[[3, 12], 1] = 60
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": x},
        targets={"label": np.zeros(20, np.int64)},
        meta={"number": np.arange(20)},
        ids=[f"s{number:03d}" for number in range(20)],
    )
    draw(tmp_path / "p.h5", tmp_path / "good.h5", "set", 18, candidates="number not in (3, 12)")
    draw(tmp_path / "p.h5", tmp_path / "s.h5", "set", 20)
    return tmp_path / "s.h5"


def test_infinite_activations_are_told_by_tap_and_sample(
    overflowing: Path, with_bad: Path, tmp_path: Path
) -> None:
    with pytest.raises(RangesError, match="tap e is NaN or infinite in 2 samples: s003, s012"):
        calibrate_sets(overflowing, [with_bad], tmp_path / "r.h5")
    assert not (tmp_path / "r.h5").exists()


def test_skipped_samples_are_recorded_and_change_nothing_else(
    overflowing: Path, with_bad: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.h5"
    skipped = calibrate_sets(overflowing, [with_bad], out, skip_bad=True, batch_size=1)
    good = calibrate_sets(overflowing, [tmp_path / "good.h5"], tmp_path / "good-r.h5", batch_size=1)
    assert chosen(skipped) == chosen(good)
    for table in (*skipped, *scales_from_ranges(tmp_path / "r.h5")):
        (told,) = (notice for notice in table.notices if notice.code == "bad_samples")
        assert "2 samples, left out of every group: s003, s012" in told.message
    assert [each.id for each in open_ranges(tmp_path / "r.h5").left_out] == ["s003", "s012"]
    assert open_ranges(tmp_path / "r.h5").size("set") == 18


def test_a_model_that_overflows_on_every_sample_is_refused_even_when_skipping(
    overflowing: Path, tmp_path: Path
) -> None:
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": np.full((5, 4), 60, np.float32)},
        targets={"label": np.zeros(5, np.int64)},
        meta={},
    )
    draw(tmp_path / "p.h5", tmp_path / "s.h5", "set", 5)
    with pytest.raises(RangesError, match="every sample has an activation that is NaN or infinite"):
        calibrate_sets(overflowing, [tmp_path / "s.h5"], tmp_path / "r.h5", skip_bad=True)


def test_dead_taps_get_a_fallback_and_a_notice(tmp_path: Path) -> None:
    sketch = models.Sketch()
    sketch.op("Relu", ["x"], "r")
    sketch.gemm("r", "h", 4, 4)
    sketch.gemm("h", "y", 4, 3)
    model = write_model(tmp_path / "m.onnx", sketch.model({"x": ["b", 4]}, {"y": ["b", 3]}))
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": -np.ones((5, 4), np.float32)},
        targets={"label": np.zeros(5, np.int64)},
        meta={},
    )
    draw(tmp_path / "p.h5", tmp_path / "s.h5", "set", 5)
    for table in calibrate_sets(model, [tmp_path / "s.h5"], tmp_path / "r.h5", methods=EVERY):
        assert table.taps["r"].amax == 1
        assert ("dead_tap", "tap 'r'") in {(each.code, each.where) for each in table.notices}


# --- wrong requests --------------------------------------------------------------------------


def test_unknown_methods_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no method 'entropie'") as caught:
        calibrate_sets(tmp_path / "none.onnx", ["none.h5"], tmp_path / "r.h5", methods=["entropie"])
    assert "entropy" in str(caught.value.problems[0].next_step)


def test_wrong_sets_are_refused(folder: Path, tmp_path: Path) -> None:
    model, out = folder / "model.onnx", tmp_path / "r.h5"
    with pytest.raises(SettingsError, match="no calibration set"):
        calibrate_sets(model, [], out)
    with pytest.raises(SettingsError, match="both called 'first'"):
        calibrate_sets(model, [folder / "first.h5", folder / "first.h5"], out)
    with pytest.raises(SettingsError, match="slices are evaluated over the pool"):
        calibrate_sets(model, [folder / "first.h5"], out, dimensions=[LOUDNESS])
    other = write_images(tmp_path / "other.h5", images(N, seed=9))
    with pytest.raises(SettingsError, match="drawn from another pool"):
        calibrate_sets(model, [folder / "first.h5"], out, dimensions=[LOUDNESS], pool=other)
    narrow = write_model(tmp_path / "narrow.onnx", models.depthwise_se())
    with pytest.raises(ModelError, match="x"):
        calibrate_sets(narrow, [folder / "first.h5"], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"groups": ["al of it"]}, "no ranges were recorded for 'al of it'"),
        ({"mixtures": ["loudness=loud=0.5,loudness=quiet"]}, "has no share"),
        ({"mixtures": ["loudness=loud=0.5,loudness=loud=0.5"]}, "named twice"),
        ({"mixtures": ["loudness=loud=0,loudness=quiet=1"]}, "must be positive"),
        ({"mixtures": ["all of it=0.5,rest=0.5"]}, "'rest' holds no sample"),
        ({"mixtures": [","]}, "names no group"),
        ({"methods": ["percentile"], "fraction": 1.5}, "fraction of percentile is 1.5"),
    ],
)
def test_mixtures_that_cannot_be_made_are_refused(
    ranges: Path, asked: dict[str, Any], reason: str
) -> None:
    with pytest.raises((RangesError, SettingsError), match=reason):
        scales_from_ranges(ranges, **asked)


def test_a_group_of_a_ranges_file_is_what_calibration_printed(folder: Path) -> None:
    out = folder / "again.h5"
    made = calibrate_sets(folder / "model.onnx", [folder / "loud.h5"], out, methods=EVERY)
    found = scales_from_ranges(out, groups=["only loud"], methods=EVERY)
    assert found == made


def test_the_fraction_of_percentile_is_passed_on(ranges: Path) -> None:
    tables = scales_from_ranges(
        ranges, groups=["all of it"], methods=["percentile", "minmax"], fraction=1.0
    )
    assert tables[0].options == {"fraction": 1.0}
    assert {t: e.amax for t, e in tables[0].taps.items()} == {
        t: e.amax for t, e in tables[1].taps.items()
    }
