from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.demo.digits import DEMO_MODEL, build_digits_pool
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.graph.load import load_model
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import (
    DrawError,
    LeakError,
    ModelError,
    PoolError,
    SettingsError,
    SliceError,
)
from calaudit.sampling.coverage import herding, k_center
from calaudit.sampling.kinds import make_recipe, read_recipe
from calaudit.sampling.recipe import Embedding, Loss, Recipe
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.steps.predict import read_model_outputs
from calaudit.steps.sample import draw_calibset, draw_set
from tests.steps import layouts
from tests.steps.drawing import CALIBRATE, EVALUATE, FakeModel, write_small_pool

CALIBSETS = Path(__file__).parents[2] / "calibsets"

NOISE = Dimension(by="noise")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_pool(tmp_path_factory.mktemp("pools") / "pool.h5")


@pytest.fixture
def pool(path: Path) -> Iterator[PoolFile]:
    with open_pool(path) as opened:
        yield opened


def uniform(size=20, **options) -> Recipe:
    return make_recipe(name="random", size=size, **options)


def skewed(**options) -> Recipe:
    return make_recipe(name="biased", kind="skewed", size=10, **options)


def coverage(**where) -> Recipe:
    return make_recipe(name="spread", kind="coverage", size=10, embedding=Embedding(**where))


def neyman(**options) -> Recipe:
    return make_recipe(
        name="neyman", kind="stratified", size=30, strata=[NOISE], allocation="neyman", **options
    )


def noise_of(drawn, pool) -> list[float]:
    return pool.columns(["noise"], drawn.rows)["noise"].to_list()


def test_the_file_holds_the_drawn_inputs_and_their_provenance(pool, tmp_path) -> None:
    out = tmp_path / "deep" / "set.h5"
    recipe = make_recipe(
        name="equal", kind="stratified", size=30, strata=[NOISE], allocation="equal"
    )
    made = draw_calibset(pool, recipe, out, seed=4, evaluate=EVALUATE)
    found = open_calibset(out)
    assert found.recipe == recipe
    assert (found.seed, found.pool_fingerprint) == (4, pool.fingerprint())
    assert found.ids.tolist() == [f"sample-{row:03d}" for row in found.rows]
    assert (found.read_inputs(0, 30)["x"] == pool.read_inputs(made.rows)["x"]).all()
    assert sorted(noise_of(found, pool)) == [0] * 10 + [1] * 10 + [2] * 10
    assert [each.name for each in found.composition] == found.slices.names
    assert found.slices.counts() == {each.name: each.drawn for each in found.composition}


def test_the_same_seed_gives_the_same_file_and_another_seed_another_draw(pool, tmp_path) -> None:
    files = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        draw_calibset(pool, uniform(), file, seed=seed)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert open_calibset(files[0]).rows.tolist() != open_calibset(files[2]).rows.tolist()


def test_an_evaluate_predicate_that_selects_nothing_is_refused(pool) -> None:
    with pytest.raises(SliceError, match="selects nothing"):
        draw_set(pool, make_recipe(name="r", size=3), evaluate="split = 'evaluatoin'")


def test_evaluated_samples_are_never_candidates(pool) -> None:
    drawn = draw_set(pool, uniform(200), evaluate=EVALUATE)
    assert drawn.rows.tolist() == list(range(200))
    rows = select_rows(EVALUATE, pool)
    assert draw_set(pool, uniform(200), evaluate=rows).rows.tolist() == list(range(200))
    with pytest.raises(DrawError, match="201 samples are asked for, but there are only 200"):
        draw_set(pool, uniform(201), evaluate=EVALUATE)


def test_candidates_that_are_evaluated_are_a_leak(pool) -> None:
    with pytest.raises(LeakError) as caught:
        draw_set(pool, uniform(candidates="noise = 0"), evaluate=EVALUATE)
    assert str(caught.value) == (
        "random: 33 of 100 candidates are evaluation samples (data leakage): "
        "sample-201, sample-204, sample-207, sample-210, sample-213, …\n"
        "  → Narrow the candidates (noise = 0) so that they leave evaluated samples out."
    )
    with pytest.raises(LeakError):
        draw_set(pool, uniform(), candidates="noise = 0", evaluate=EVALUATE)


def test_the_recipes_candidates_stand_before_the_callers(pool) -> None:
    recipe = uniform(10, candidates="noise = 1")
    assert set(noise_of(draw_set(pool, recipe, candidates="noise = 2"), pool)) == {1}
    assert set(noise_of(draw_set(pool, uniform(10), candidates="noise = 2"), pool)) == {2}


def test_a_slice_may_be_named_by_the_recipe_the_caller_or_a_predicate(pool) -> None:
    own = draw_set(pool, skewed(strata=[NOISE], only=["noise = 1"]))
    assert set(noise_of(own, pool)) == {1}
    given = evaluate_slices([Dimension(name="level", by="noise", edges=[1])], pool)
    called = draw_set(pool, skewed(only=["level >= 1"]), slices=given)
    assert set(noise_of(called, pool)) == {1, 2}
    predicate = draw_set(pool, skewed(without=["noise = 1 OR noise = 0"]))
    assert set(noise_of(predicate, pool)) == {2}
    assert predicate.slices.names == ["all", "noise = 1 OR noise = 0"]
    pattern = draw_set(pool, skewed(strata=[NOISE], without=["noise = [12]"]))
    assert set(noise_of(pattern, pool)) == {0}


def test_the_composition_lists_the_callers_slices_too(pool) -> None:
    given = evaluate_slices([NOISE, Dimension(by="speaker")], pool)
    recipe = skewed(strata=[NOISE], only=["noise = 1"])
    drawn = draw_set(pool, recipe, slices=given, evaluate=EVALUATE)
    names = ["all", "noise = 0", "noise = 1", "noise = 2"]
    assert drawn.slices.names[:4] == names
    assert "speaker = theo" in drawn.slices.names
    assert [each.candidates for each in drawn.composition[:4]] == [200, 67, 67, 66]
    assert [each.drawn for each in drawn.composition[:4]] == [10, 0, 10, 0]


def test_a_name_that_is_no_slice_and_no_predicate_says_both(pool) -> None:
    recipe = skewed(strata=[Dimension(by="speaker")], only=["speaker = teo"], without=["nose = 0"])
    with pytest.raises(SliceError) as caught:
        draw_set(pool, recipe)
    first, second = caught.value.problems
    assert '"speaker = teo" is neither a slice nor a predicate' in first.message
    assert "Did you mean speaker = theo" in str(first.next_step)
    assert 'no column "nose"' in second.message


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        (uniform(301), DrawError, "301 samples are asked for, but there are only 300 candidates"),
        (uniform(candidates="noise ="), SliceError, "doesn't parse"),
        (uniform(candidates="nois = 0"), SliceError, "Did you mean noise"),
        (uniform(candidates="noise > 9"), DrawError, "there are only 0 candidates"),
        (skewed(only=["noise > 9"]), DrawError, 'slice "noise > 9" holds no candidate'),
        (
            make_recipe(name="s", kind="stratified", size=9, strata=[Dimension(by="nois")]),
            SliceError,
            'no column "nois"',
        ),
        (
            make_recipe(
                name="s",
                kind="stratified",
                size=9,
                strata=[Dimension(by="noise", edges=[1.2, 1.5])],
            ),
            DrawError,
            'stratum "1.2 ≤ noise < 1.5" has no samples',
        ),
        (
            make_recipe(
                name="s", kind="stratified", size=9, strata=[NOISE], candidates="noise < 2"
            ),
            DrawError,
            'stratum "noise = 2" has no samples among the candidates',
        ),
        (neyman(deviation="lev"), PoolError, "Did you mean level"),
        (neyman(deviation="speaker"), DrawError, "column speaker holds String, not numbers"),
        (neyman(deviation="level"), DrawError, "level is missing or infinite for 100 of 300"),
        (neyman(deviation="fp32-loss"), DrawError, "needs the FP32 model"),
        (coverage(tap="inner"), DrawError, "needs the FP32 model"),
        (coverage(column="y"), PoolError, "no input, target or column 'y'"),
        (coverage(column=("x", "noise")), SettingsError, "x is a tensor"),
        (coverage(column="speaker"), DrawError, "column speaker holds String"),
        (
            coverage(column="level"),
            DrawError,
            "embedding level is missing or infinite for 100 of 300",
        ),
        (coverage(pca=5), DrawError, "5 principal components .* at most 4"),
    ],
)
def test_a_recipe_that_the_pool_cannot_serve_is_refused(pool, tmp_path, recipe, error, message):
    out = tmp_path / "set.h5"
    with pytest.raises(error, match=message):
        draw_calibset(pool, recipe, out)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_allows_empty_strata_notes_them(pool) -> None:
    recipe = make_recipe(
        name="s", kind="stratified", size=9, strata=[NOISE], candidates="noise < 2", floor=0
    )
    assert [notice.code for notice in draw_set(pool, recipe).notices] == ["stratum_empty"]


def test_drawn_inputs_with_nan_leave_no_file(tmp_path) -> None:
    path = write_small_pool(tmp_path / "pool.h5")
    with h5py.File(path, "a") as file:
        file["inputs/x"][17, 2] = np.nan
    with open_pool(path) as pool, pytest.raises(PoolError, match="sample-017"):
        draw_calibset(pool, uniform(300), tmp_path / "set.h5")
    assert [each.name for each in tmp_path.iterdir()] == ["pool.h5"]


def test_neyman_reads_the_spread_of_a_column(pool) -> None:
    drawn = draw_set(pool, neyman(deviation="label"))
    assert [each.drawn for each in drawn.strata] == [10, 10, 10]


def test_neyman_by_the_fp32_loss_draws_where_the_loss_varies(pool) -> None:
    model = FakeModel(pool)
    drawn = draw_set(pool, neyman(deviation="fp32-loss"), evaluate=EVALUATE, run_outputs=model)
    # The loss is constant but for the noisiest third; the others give their floor of 1.
    assert [each.drawn for each in drawn.strata] == [1, 1, 28]
    assert sum(n for n, _ in model.calls) == 200
    assert {names for _, names in model.calls} == {("logits",)}


def test_an_ambiguous_or_unknown_loss_is_refused(pool) -> None:
    model = FakeModel(pool)
    recipe = neyman(deviation="fp32-loss", loss=Loss(output="logit"))
    with pytest.raises(SettingsError, match="no output 'logit'"):
        draw_set(pool, recipe, run_outputs=model)
    model.outputs = ("logits", "inner")
    with pytest.raises(SettingsError, match=r"needs one output, and there are 2 \(logits, inner\)"):
        draw_set(pool, neyman(deviation="fp32-loss"), run_outputs=model)


def test_coverage_of_a_tensor_a_column_or_a_tap_chooses_what_the_core_would(pool) -> None:
    everyone = np.arange(len(pool))
    x = pool.read_inputs(everyone)["x"]
    vector = pool.read_target("vector", everyone)
    for recipe, embedding, model in (
        (coverage(column="x"), x, None),
        (coverage(column="vector"), vector, None),
        (coverage(tap="inner"), x, FakeModel(pool)),
    ):
        drawn = draw_set(pool, recipe, run_outputs=model)
        starts = [sorted(k_center(embedding, 10, start=start)) for start in range(len(pool))]
        assert drawn.rows.tolist() in starts


def test_coverage_may_herd(pool) -> None:
    recipe = replace(coverage(column="x"), algorithm="herding", start="mean")
    x = pool.read_inputs(np.arange(len(pool)))["x"]
    start = int(np.linalg.norm(x - x.mean(axis=0), axis=1).argmin())
    assert draw_set(pool, recipe).rows.tolist() == sorted(herding(x, 10, start=start))


def test_several_columns_are_covered_in_units_of_their_deviation(pool) -> None:
    drawn = draw_set(pool, coverage(column=("noise", "label")))
    labels = pool.columns(["label"], drawn.rows)["label"]
    assert set(noise_of(drawn, pool)) == {0, 1, 2}
    assert labels.n_unique() == 5


@pytest.mark.parametrize(
    ("name", "tap"), [("time_first", "h"), ("heads_merged", "scores"), ("sums_over_time", "grams")]
)
def test_a_tap_is_covered_wherever_its_batch_axis_is(tmp_path: Path, name: str, tap: str) -> None:
    made = {**layouts.BATCHED, **layouts.SINGLE}[name]()
    x = layouts.samples(made, 40)
    onnx.save(made, str(tmp_path / "m.onnx"))
    write_pool(tmp_path / "pool.h5", inputs={"x": x}, targets={}, meta={"a": np.arange(40)})
    with open_pool(tmp_path / "pool.h5") as pool:
        model = read_model_outputs(tmp_path / "m.onnx", pool)
        engine = OnnxruntimeBackend().load(with_taps(load_model(tmp_path / "m.onnx"), [tap]))
        alone = np.stack([engine.run({"x": one[None]})[tap].reshape(-1) for one in x])
        np.testing.assert_allclose(model.by_sample(np.arange(40), tap), alone, rtol=1e-5, atol=1e-6)
        drawn = draw_set(pool, replace(coverage(tap=tap), size=10), run_outputs=model)
        starts = [sorted(k_center(alone, 10, start=start)) for start in range(40)]
        assert drawn.rows.tolist() in starts


def test_a_tap_of_another_size_in_other_samples_is_no_embedding(tmp_path: Path) -> None:
    made = layouts.frames_kept()
    onnx.save(made, str(tmp_path / "m.onnx"))
    x = layouts.samples(made, 12)
    write_pool(tmp_path / "pool.h5", inputs={"x": x}, targets={}, meta={"a": np.arange(12)})
    with open_pool(tmp_path / "pool.h5") as pool:
        model = read_model_outputs(tmp_path / "m.onnx", pool)
        with pytest.raises(DrawError, match="kept has another number of values"):
            draw_set(pool, coverage(tap="kept"), run_outputs=model)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "digits.h5"
    build_digits_pool(path)
    return path


def test_the_digits_recipes_draw_what_they_say(digits: Path) -> None:
    with open_pool(digits) as pool:
        drawn = {
            path.stem: draw_set(pool, read_recipe(path), evaluate=EVALUATE)
            for path in CALIBSETS.glob("digits-*.toml")
        }
        assert {len(each) for each in drawn.values()} == {128}
        assert set(noise_of(drawn["digits-clean"], pool)) == {0}
        head = {each.name: each.share for each in drawn["digits-head"].composition}
        assert head["class in head"] == 1
        equal = drawn["digits-equal"].slices.counts()
        for part in ("noise", "label"):
            sizes = [n for name, n in equal.items() if part in name]
            assert max(sizes) - min(sizes) <= 1


def test_a_real_model_gives_losses_and_taps(digits: Path) -> None:
    with open_pool(digits) as pool:
        run = read_model_outputs(DEMO_MODEL, pool)
        assert run.outputs == ("logits", "embedding")
        recipe = replace(
            neyman(deviation="fp32-loss", loss=Loss(output="logits")), candidates=CALIBRATE
        )
        parts = [each.drawn for each in draw_set(pool, recipe, run_outputs=run).strata]
        assert parts == sorted(parts)
        assert parts[-1] > parts[0]
        spread = replace(coverage(tap="embedding"), candidates=CALIBRATE)
        assert len(draw_set(pool, spread, run_outputs=run)) == 10
        with pytest.raises(ModelError, match="no tensor 'embeding'"):
            draw_set(pool, coverage(tap="embeding"), run_outputs=run)


@pytest.mark.data
@pytest.mark.slow
def test_the_speech_and_ranking_recipes_draw_what_they_say(
    real_pools: Callable[[str], Path],
) -> None:
    speech, ranking = real_pools("speech"), real_pools("ranking")
    with open_pool(speech / "power" / "pool.h5") as pool:
        drawn = {
            path.stem: draw_set(pool, read_recipe(path), evaluate=EVALUATE)
            for path in CALIBSETS.glob("speech-*.toml")
        }
        snr = {name: pool.columns(["snr_db"], each.rows)["snr_db"] for name, each in drawn.items()}
        speaker = pool.columns(["speaker"], drawn["speech-quiet-speaker"].rows)["speaker"]
    assert set(snr["speech-clean"]) == {float("inf")}
    assert set(snr["speech-noisiest"]) == {-5}
    assert set(speaker) == {"theo"}
    counts = drawn["speech-stratified"].slices.dimensions[0].counts()
    assert (len(counts), set(counts.tolist())) == (6, {21, 22})
    with open_pool(ranking) as pool:
        drawn = {
            path.stem: draw_set(pool, read_recipe(path), evaluate=EVALUATE)
            for path in CALIBSETS.glob("ranking-*.toml")
        }
        everyone = pool.columns(["activity"], select_rows(CALIBRATE, pool))["activity"].sort()
        activity = {
            name: sorted(pool.columns(["activity"], each.rows)["activity"])
            for name, each in drawn.items()
        }
    assert activity["ranking-most-active"] == everyone.tail(64).to_list()
    assert activity["ranking-light"] == everyone.head(64).to_list()
    assert {len(each) for each in drawn.values()} == {64}
