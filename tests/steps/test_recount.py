"""The second pass: equal bins of sets, beside those counted of each tap batch by batch.

Samples run one by one where counts must agree to the last one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.calibration.batching import Batching, SampleOrder
from calaudit.calibration.equal_bins import GrowingBins
from calaudit.calibration.methods import ENTROPY_TRT
from calaudit.calibration.observation import Observation
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import open_ranges
from calaudit.graph.load import load_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import RangesError, SettingsError
from calaudit.steps.calibrate import calibrate_sets, scales_from_ranges
from calaudit.steps.observe import observe
from calaudit.steps.tapped import TappedEngine, load_tapped
from calaudit.steps.union import CalibsetUnion
from tests.calibration.trt import trt_amax
from tests.graph import models
from tests.steps import layouts
from tests.steps.calibrating import chosen, draw, images, write_images, write_model

N = 36  # every third is six times larger
Taps = dict[str, NDArray[Any]]


class Counting:
    """An engine that counts the samples it runs."""

    def __init__(self, engine: TappedEngine) -> None:
        self._engine, self.sizes = engine.engine, list[int]()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.sizes.append(len(feeds["x"]))
        return self._engine.run(feeds)


def load(path: Path) -> TappedEngine:
    model = prepare(load_model(path))
    return load_tapped(model, plan_qdq(model).taps, OnnxruntimeBackend())


def counting(engine: TappedEngine) -> tuple[TappedEngine, Counting]:
    counted = Counting(engine)
    return TappedEngine(
        counted, engine.taps, engine.label, engine.model_fingerprint, engine.fixed_batch
    ), counted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recount")
    write_model(made / "model.onnx")
    pool = write_images(made / "pool.h5", images(N))
    draw(pool, made / "all.h5", "all of it", N)
    draw(pool, made / "first.h5", "first", 20, candidates="number < 20")
    draw(pool, made / "last.h5", "last", 20, candidates="number >= 16")
    draw(pool, made / "loud.h5", "loud", 10, candidates="loudness = 'loud'")
    return made


def sets_of(folder: Path, *names: str) -> dict[str, Calibset]:
    return {drawn.name: drawn for drawn in (open_calibset(folder / f"{n}.h5") for n in names)}


def seen(engine: TappedEngine, union: CalibsetUnion, **settings: Any) -> Observation:
    return observe(engine, union, **{"batch_size": 1, "pool_fingerprint": "p", **settings})


def by_hand(
    engine: TappedEngine, drawn: Calibset, batching: Batching
) -> list[tuple[NDArray[np.int64], float]]:
    """Bins and width of each tap, each sample run alone and the batches counted in their order."""
    x = drawn.read_inputs(0, len(drawn))["x"]
    alone = [engine.engine.run({"x": x[i : i + 1]}) for i in range(len(x))]
    found = []
    for tap in engine.taps:
        bins = GrowingBins()
        for batch in batching.cut(len(x)):
            bins.add(np.concatenate([alone[i][tap].reshape(-1) for i in batch]))
        found.append((bins.counts, bins.width))
    return found


@pytest.mark.parametrize("order", ["mixed", "stored"])
@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_each_set_is_counted_as_its_batches_come(
    folder: Path, size: int, order: SampleOrder
) -> None:
    """Four overlapping sets at once; 7 leaves a last batch to fill in each of them."""
    engine = load(folder / "model.onnx")
    sets = sets_of(folder, "first", "last", "loud", "all")
    found = seen(engine, CalibsetUnion(sets), batching=Batching(size, order=order)).equal_bins
    assert list(found) == list(sets)
    doubled = False
    for name, drawn in sets.items():
        fitted = Batching(min(size, len(drawn)), order=order)
        assert (found[name].batching, found[name].n_samples) == (fitted, len(drawn))
        for tap, (counts, width) in enumerate(by_hand(engine, drawn, fitted)):
            np.testing.assert_array_equal(found[name].counts[tap], counts)
            assert found[name].widths[tap] == width
        served = -(-len(drawn) // fitted.size) * fitted.size
        assert found[name].counts[0].sum() == served * 3 * 8 * 8
        largest = np.abs(drawn.read_inputs(0, len(drawn))["x"]).max()
        doubled |= bool(found[name].widths[0] * 2048 > largest)
    assert doubled or size == 64


@pytest.mark.parametrize("batch_size", [2, 5, 64])
def test_the_size_of_runs_doesnt_change_the_bins(folder: Path, batch_size: int) -> None:
    engine = load(folder / "model.onnx")
    union = CalibsetUnion(sets_of(folder, "first", "loud"))
    one = seen(engine, union, batching=Batching(4)).equal_bins
    other = seen(engine, union, batching=Batching(4), batch_size=batch_size).equal_bins
    for name in one:
        np.testing.assert_allclose(one[name].widths, other[name].widths, rtol=1e-5)
        np.testing.assert_array_equal(one[name].counts[0], other[name].counts[0])
        # In other taps the last bit of some values moves.
        moved = np.abs(one[name].counts - other[name].counts).sum(axis=1)
        assert (moved <= 0.002 * one[name].counts.sum(axis=1)).all()


def test_a_second_pass_is_made_only_where_it_is_asked_for_and_needed(
    folder: Path, tmp_path: Path
) -> None:
    engine, counted = counting(load(folder / "model.onnx"))
    union = CalibsetUnion(sets_of(folder, "first", "last"))
    assert seen(engine, union, batch_size=8).equal_bins == {}
    assert sum(counted.sizes) == N + 2
    first = counted.sizes[:]
    counted.sizes.clear()
    seen(engine, union, batch_size=8, batching=Batching())
    assert sum(counted.sizes) == 2 * N + 2
    assert counted.sizes[len(first) :] == [size for size in first if size != 2 or first[1] != 2]
    pool = write_images(tmp_path / "zeros.h5", 0 * images(5))
    dark = CalibsetUnion({"dark": draw(pool, tmp_path / "dark.h5", "dark", 5)})
    silent = models.Sketch()
    silent.op("Relu", ["x"], "r")
    silent.conv("r", "y", 3, 2)
    write_model(tmp_path / "m.onnx", silent.model({"x": ["b", 3, 8, 8]}, {"y": ["b", 2, 8, 8]}))
    engine, counted = counting(load(tmp_path / "m.onnx"))
    found = seen(engine, dark, batching=Batching()).equal_bins["dark"]
    assert sum(counted.sizes) == 5, "every tap is zero: nothing is to be counted"
    assert found.widths.tolist() == [0.0] * len(engine.taps)
    assert found.start.tolist() == [-1] * len(engine.taps)


@pytest.mark.parametrize("name", layouts.BATCHED)
@pytest.mark.parametrize("fixed", [False, True])
def test_samples_are_told_apart_in_the_second_pass_too(
    tmp_path: Path, name: str, *, fixed: bool
) -> None:
    free = layouts.BATCHED[name]()
    x = layouts.samples(free, 11)
    proto = layouts.fixed(free) if fixed else free
    onnx.save(proto, str(tmp_path / "m.onnx"))
    write_pool(tmp_path / "p.h5", inputs={"x": x}, targets={}, meta={"number": np.arange(11)})
    drawn = draw(tmp_path / "p.h5", tmp_path / "s.h5", "some", 11)
    engine = load(tmp_path / "m.onnx")
    batching = Batching(1 if fixed else 4)
    found = seen(
        engine, CalibsetUnion({"some": drawn}), batching=Batching(4), batch_size=6
    ).equal_bins["some"]
    assert found.batching == batching, "a model that takes one sample is calibrated in ones"
    for tap, (counts, width) in enumerate(by_hand(engine, drawn, batching)):
        assert found.widths[tap] == pytest.approx(width, rel=1e-5)
        moved = np.abs(np.cumsum(found.counts[tap] - counts)).max()  # by a bin, for rounding
        assert moved <= max(3, 0.02 * counts.sum())


def test_a_first_batch_of_zeros_leaves_the_width_to_the_next_and_is_told(
    folder: Path, tmp_path: Path
) -> None:
    x = images(12)
    x[:4] = 0
    pool = write_images(tmp_path / "p.h5", x)
    drawn = draw(pool, tmp_path / "s.h5", "late", 12)
    (table,) = calibrate_sets(
        folder / "model.onnx", [drawn.path], tmp_path / "r.h5",
        methods=[ENTROPY_TRT], batching=Batching(4, order="stored"),
    )  # fmt: skip
    assert table.taps["x"].amax == trt_amax(x[4:8], x[8:])
    (told,) = (notice for notice in table.notices if notice.code == "first_batch_zero")
    assert "(x" in told.message
    bins = open_ranges(tmp_path / "r.h5").equal_bins["late"]
    assert bins.start[0] == 1


def test_samples_that_are_left_out_are_in_no_batch(tmp_path: Path) -> None:
    """x → exp(3x): samples 3 and 12 overflow."""
    sketch = models.Sketch()
    sketch.op("Mul", ["x", sketch.array("three", np.float32(3).reshape(1))], "tripled")
    sketch.op("Exp", ["tripled"], "e")
    sketch.gemm("e", "y", 4, 3)
    model = write_model(tmp_path / "m.onnx", sketch.model({"x": ["b", 4]}, {"y": ["b", 3]}))
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    x[[3, 12], 1] = 60
    write_pool(tmp_path / "p.h5", inputs={"x": x}, targets={}, meta={"number": np.arange(20)})
    draw(tmp_path / "p.h5", tmp_path / "good.h5", "set", 18, candidates="number not in (3, 12)")
    draw(tmp_path / "p.h5", tmp_path / "bad.h5", "set", 20)
    found = []
    for name in ("bad", "good"):
        out = tmp_path / f"{name}-ranges.h5"
        found.append(
            calibrate_sets(
                model, [tmp_path / f"{name}.h5"], out, methods=[ENTROPY_TRT],
                skip_bad=name == "bad", batch_size=1, batching=Batching(4),
            )
        )  # fmt: skip
    assert chosen(found[0]) == chosen(found[1])
    (filled,) = (n for n in found[0][0].notices if n.code == "calibration_filled")
    assert "of 18" in filled.message


def test_tables_of_a_ranges_file_are_those_of_the_pass_and_say_how_batches_were_made(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.h5"
    sets = [folder / "first.h5", folder / "loud.h5"]
    made = calibrate_sets(
        folder / "model.onnx", sets, out,
        methods=["minmax", ENTROPY_TRT], batching=Batching(16, order="stored"),
    )  # fmt: skip
    methods = ["minmax", ENTROPY_TRT]
    assert scales_from_ranges(out, groups=["first", "loud"], methods=methods) == made
    assert [table.options for table in made] == [
        {}, {"calibration_batch": 16, "calibration_order": "stored"},
        {}, {"calibration_batch": 10, "calibration_order": "stored"},
    ]  # fmt: skip
    unnamed = scales_from_ranges(out, methods=methods)
    assert [t.calibset for t in unnamed if t.method == ENTROPY_TRT] == ["first", "loud"]
    assert [t.calibset for t in unnamed if t.method == "minmax"] == list(open_ranges(out).groups)


def test_what_has_no_batches_is_refused(folder: Path, tmp_path: Path) -> None:
    model, sets = folder / "model.onnx", [folder / "first.h5", folder / "loud.h5"]
    out = tmp_path / "r.h5"
    calibrate_sets(model, sets, out, methods=[ENTROPY_TRT])
    for groups, mixtures in ([["all"], []], [[], ["first=1,loud=1"]], [[], ["first,loud"]]):
        with pytest.raises(RangesError, match="mixtures have no batches") as caught:
            scales_from_ranges(out, groups=groups, mixtures=mixtures, methods=[ENTROPY_TRT])
        assert "Name one of first, loud" in str(caught.value.problems[0].next_step)
    calibrate_sets(model, sets, out, methods=["minmax"])
    with pytest.raises(RangesError, match="second pass, which wasn't asked for"):
        scales_from_ranges(out, methods=[ENTROPY_TRT])
    with pytest.raises(SettingsError, match="knows no weights"):
        calibrate_sets(model, sets, out, methods=[ENTROPY_TRT], weighted=True)
    with pytest.raises(SettingsError, match="only entropy-trt depends on batches"):
        calibrate_sets(model, sets, out, methods=["minmax"], batching=Batching(3))
