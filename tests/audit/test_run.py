from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from calaudit.audit import drawn as audit_drawn
from calaudit.audit import engines as audit_engines
from calaudit.audit import observed as audit_observed
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.audit.store import FOLDERS, take_inventory
from calaudit.backends.health import Health, Trial
from calaudit.backends.tensorrt.kind import RtxKind
from calaudit.backends.tensorrt.worker.detect import TensorrtModule, find_tensorrt
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.formats.ranges import open_ranges
from calaudit.formats.scales import open_scales
from calaudit.graph.load import load_model
from calaudit.report.html.page import html_page
from calaudit.report.markdown import markdown_summary
from calaudit.report.terminal import render_report
from calaudit.results.comparison import Result
from calaudit.results.document import to_document, without_times
from calaudit.results.report import Report
from calaudit.results.schema import schema_problems
from calaudit.runtime.errors import BackendError, DrawError, LeakError, ModelError
from tests.audit.world import AUDIT, make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    audit = make_world(tmp_path_factory.mktemp("world"))
    report, _ = run_audit(audit)
    return audit.parent, report


def result(report: Report, cell: str, where: str, metric: str = "top1") -> Result:
    return next(r for r in report.results if (r.cell, r.slice, r.metric) == (cell, where, metric))


def test_planted_harm_is_found_where_it_was_planted(finished: tuple[Path, Report]) -> None:
    _, report = finished
    harmed = result(report, "loud only/minmax", "loudness = quiet")
    assert harmed.verdict == "REGRESSED"
    assert harmed.drop is not None
    assert harmed.drop > 0.1
    assert result(report, "loud only/minmax", "loudness = loud").verdict == "PASS"
    assert report.verdict == "REGRESSED"


def test_reference_is_fp32_accuracy_recomputed_by_onnxruntime(
    finished: tuple[Path, Report],
) -> None:
    folder, report = finished
    session = ort.InferenceSession(str(folder / "model.onnx"))
    with open_pool(folder / "pool.h5") as pool:
        split = pool.columns(["split", "loudness"])
        rows = np.flatnonzero(
            ((split["split"] == "evaluation") & (split["loudness"] == "quiet")).to_numpy()
        ).astype(np.int64)
        y = session.run(None, {"x": pool.read_inputs(rows)["x"]})[0]
        accuracy = float(np.mean(np.argmax(y, axis=1) == pool.read_target("label", rows)))
    found = result(report, "both/minmax", "loudness = quiet")
    assert found.n == len(rows)
    assert found.reference == pytest.approx(accuracy)


def test_written_engine_gives_the_judged_predictions(finished: tuple[Path, Report]) -> None:
    folder, _ = finished
    engine = next((folder / "audit" / "engines").glob("both-minmax-*.onnx"))
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(str(engine), options)
    predicted = Predictions(next((folder / "audit" / "predictions").glob("both-minmax-*.h5")))
    with open_pool(folder / "pool.h5") as pool:
        y = session.run(None, pool.read_inputs(predicted.rows))[0]
    np.testing.assert_allclose(predicted.read("y"), y, rtol=0, atol=1e-5)


def test_report_names_the_file_of_every_engine_set_and_scale_table(
    finished: tuple[Path, Report],
) -> None:
    folder, report = finished[0] / "audit", finished[1]
    for cell in report.cells:
        assert load_model(folder / cell.file, quantized=True).fingerprint == cell.engine.fingerprint
        assert open_scales(folder / cell.scales).method == cell.method
    for each in report.calibsets:
        assert open_calibset(folder / each.file).fingerprint == each.fingerprint
    for text in (render_report(report, width=200), markdown_summary(report), html_page(report)):
        for cell in report.cells:
            assert cell.file in text
    assert render_report(report, width=60).count("engines/") == len(report.cells)


def test_ranges_are_those_of_each_sets_own_samples(finished: tuple[Path, Report]) -> None:
    folder, _ = finished
    observed = open_ranges(next((folder / "audit" / "ranges").glob("ranges-*.h5")))
    for path in (folder / "audit" / "calibsets").glob("*.h5"):
        drawn = open_calibset(path)
        x = drawn.read_inputs(0, len(drawn))["x"]
        histogram = observed.of(drawn.name).one(observed.histograms.taps.index("x"), 0)
        assert histogram.amax == np.abs(x).max()
        assert histogram.n == x.size


def test_same_seed_gives_the_same_report_and_another_seed_another_draw(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    folder, report = finished
    again, _ = run_audit(folder / "audit.toml", Overrides(out=tmp_path / "again"))
    assert without_times(to_document(again)) == without_times(to_document(report))
    run_audit(folder / "audit.toml", Overrides(out=tmp_path / "other", seed=1))
    first, other = (
        open_calibset(next((where / "calibsets").glob("both-*.h5")))
        for where in (tmp_path / "again", tmp_path / "other")
    )
    assert set(first.ids) != set(other.ids)


def test_second_run_makes_nothing_again(
    finished: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = finished
    artefacts = [path for name in FOLDERS for path in (folder / "audit" / name).rglob("*.*")]
    before = {path: path.stat() for path in artefacts}
    assert {path.parent.name for path in before} >= {"scales", "engines", "predictions"}
    for module, name in (
        (audit_engines, "predict"),
        (audit_observed, "calibrate"),
        (audit_observed, "observe_tuning"),
        (audit_drawn, "draw_calibset"),
        (audit_engines, "write_engine"),
    ):
        monkeypatch.setattr(module, name, None)
    again, _ = run_audit(folder / "audit.toml")
    assert without_times(to_document(again)) == without_times(to_document(report))
    for path, was in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns), path
    scales = next(path for path in before if path.parent.name == "scales")
    whole = scales.read_bytes()
    scales.write_bytes(whole[:-9])  # what isn't as it should be is written again
    run_audit(folder / "audit.toml")
    assert scales.read_bytes() == whole


@pytest.mark.parametrize("stop_at", [1, 9, 20])
def test_interrupt_leaves_nothing_half_written_and_the_next_run_goes_on(
    finished: tuple[Path, Report],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeEngine

    folder, report = finished
    runs = 0
    run = OnnxruntimeEngine.run

    def interrupted(self: OnnxruntimeEngine, feeds: dict[str, object]) -> object:
        nonlocal runs
        runs += 1
        if runs == stop_at:
            raise KeyboardInterrupt
        return run(self, feeds)  # type: ignore[arg-type]  # passes through what it was given

    with monkeypatch.context() as patch:
        patch.setattr(OnnxruntimeEngine, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_audit(folder / "audit.toml", Overrides(out=tmp_path))
    assert list(tmp_path.rglob("*.part")) == []
    assert not (tmp_path / "report.json").exists()
    again, _ = run_audit(folder / "audit.toml", Overrides(out=tmp_path))
    assert without_times(to_document(again)) == without_times(to_document(report))


def test_report_satisfies_the_published_schema(finished: tuple[Path, Report]) -> None:
    assert list(schema_problems(to_document(finished[1]), where="report")) == []


def test_set_that_holds_evaluated_samples_is_refused(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    from calaudit.sampling.kinds import make_recipe
    from calaudit.steps.sample import draw_calibset

    folder, _ = finished
    with open_pool(folder / "pool.h5") as pool:
        draw_calibset(pool, make_recipe(name="leaky", size=50), tmp_path / "leaky.h5")
    audit = folder / "leaky.toml"
    audit.write_text(AUDIT + f'\n[[calibsets]]\nfile = "{tmp_path / "leaky.h5"}"\n')
    with pytest.raises(LeakError, match="data leakage"):
        run_audit(audit, Overrides(out=tmp_path / "out"))


def test_set_given_as_a_file_is_judged_like_one_drawn_here(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    folder, report = finished
    made = next((folder / "audit" / "calibsets").glob("both-*.h5"))
    audit = folder / "given.toml"
    audit.write_text(AUDIT + f'\n[[calibsets]]\nname = "given"\nfile = "{made}"\n')
    again, _ = run_audit(audit, Overrides(out=tmp_path))
    given = result(again, "given/mse", "loudness = quiet")
    drawn = result(report, "both/mse", "loudness = quiet")
    assert (given.candidate, given.drop) == (drawn.candidate, drawn.drop)
    assert next(s for s in again.calibsets if s.name == "given").kind == "given"


def test_recipe_that_asks_for_too_much_is_refused_before_any_engine_is_built(
    tmp_path: Path,
) -> None:
    audit = make_world(tmp_path, audit=AUDIT.replace("size = 40", "size = 40000"))
    with pytest.raises(DrawError, match=r"40,?000"):
        run_audit(audit)
    assert not (tmp_path / "audit" / "engines").exists()


def test_fp16_is_judged_beside_int8_and_hardly_differs_from_fp32(tmp_path: Path) -> None:
    audit = make_world(
        tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nprecisions = ["int8", "fp16"]')
    )
    report, _ = run_audit(audit)
    cell = next(c for c in report.cells if c.precision == "fp16")
    assert (cell.id, cell.calibset, cell.ranges_by, cell.status) == ("fp16", None, None, "judged")
    agreement = result(report, "fp16", "all", "top1_agreement")
    assert agreement.candidate is not None
    assert agreement.candidate > 0.99
    assert float(result(report, "fp16", "all", "nll").n_changed or 0) > 0


def test_fp16_alone_needs_no_ranges(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nprecisions = ["fp16"]'))
    report, _ = run_audit(audit)
    assert [cell.id for cell in report.cells] == ["fp16"]
    assert not (tmp_path / "audit" / "ranges").exists()
    with prepared_audit(audit, Overrides()) as again:
        assert {each.state for each in take_inventory(again.plan)} == {"made"}


def test_backend_that_isnt_here_stops_the_audit_before_any_work(tmp_path: Path) -> None:
    lines = '"mse"]\nbackend = "tensorrt_rtx"\nagree_with = ["tensorrt"]'
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', lines))
    found = [find_tensorrt(name) for name in ("tensorrt", "tensorrt_rtx")]
    if any(isinstance(each, TensorrtModule) for each in found):
        pytest.skip("a TensorRT is installed here")
    with pytest.raises(BackendError, match="TensorRT-RTX isn't installed") as caught:
        run_audit(audit)
    missing = [p for p in caught.value.problems if "pip install" in str(p.next_step)]
    assert [str(p.where).rsplit(" ", 1)[1] for p in missing] == [
        "audit.backend",
        "audit.agree_with",
    ]
    assert not (tmp_path / "audit").exists()


def test_precision_that_a_release_cant_build_stops_the_audit_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = (
        Trial("MatMul", "fp32", "fp32"),
        Trial("MatMul", "int8", None, "RTX 1 can't build an engine: CHECK failed", "See there."),
    )
    health = Health("tensorrt_rtx", "RTX 1", "a GPU", trials, (), ("calaudit",), ())
    wanted = []
    monkeypatch.setattr(
        RtxKind, "examine", lambda kind, settings, ops: wanted.append(dict(ops)) or health
    )
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nbackend = "tensorrt_rtx"'))
    with pytest.raises(BackendError, match="RTX 1 doesn't run MatMul in INT8 here: can't build"):
        run_audit(audit)
    assert wanted == [{"fp32": {"MatMul"}, "int8": {"MatMul"}}]
    assert not (tmp_path / "audit").exists()


@pytest.mark.slow
def test_an_fp16_model_is_audited_on_a_pool_in_its_type(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    audit = make_world(tmp_path)
    model = onnx.load(str(tmp_path / "model.onnx"))
    for tensor in model.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(ModelError, match="--dtype float16"):
        run_audit(audit)
    with h5py.File(tmp_path / "pool.h5", "a") as file:
        values = file["inputs/x"][:]
        del file["inputs/x"]
        file["inputs/x"] = values.astype(np.float16)
    report, _ = run_audit(audit)
    expected = {(one.metric, one.slice, one.cell): one.reference for one in finished[1].results}
    for one in report.results:
        if one.metric == "top1":
            same = expected[one.metric, one.slice, one.cell]
            assert one.reference == pytest.approx(same, abs=0.01)


def test_notes_on_clipping_know_which_methods_the_audit_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calaudit.calibration.scales.MUCH", -1.0)  # every tap is remarked on
    for methods, advice in (
        ('["minmax", "mse"]', "minmax, which is tried here too, keeps them"),
        ('["mse"]', "take minmax"),
    ):
        folder = tmp_path / methods[2:5]
        folder.mkdir()
        text = AUDIT.replace('["minmax", "mse"]', methods)
        report, _ = run_audit(make_world(folder, audit=text, n=400))
        told = [each.message for each in report.warnings if each.code == "clipped_tap"]
        assert any("by mse cuts off" in each for each in told)
        assert all(each.endswith(advice) for each in told)
