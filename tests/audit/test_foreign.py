"""Engines that somebody else made (``[[engines]]``): run as they are, judged as all others."""

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType

from calaudit.formats.answers import write_answers
from calaudit.formats.predictions import Predictions
from calaudit.report.files import read_report
from calaudit.results.audited import CellRecord
from calaudit.results.report import Report
from tests.audit import quantized_elsewhere as elsewhere
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

EVALUATED = "split = 'evaluation'"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit that has run, and engines of its model by onnxruntime's quantizer."""
    audit = make_world(tmp_path_factory.mktemp("foreign"))
    assert calaudit("compare", audit, "--formats", "none").status in {0, 1}
    folder = audit.parent
    elsewhere.make_static(folder, "static.onnx")
    elsewhere.make_static(
        folder, "unsigned.onnx", activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8
    )
    elsewhere.make_qoperator(folder, "qoperator.onnx")
    elsewhere.make_dynamic(folder, "dynamic.onnx")
    return folder


def engine(name: str, file: str, *more: str) -> str:
    lines = [f'name = "{name}"', f'file = "{file}"', *more]
    return "\n[[engines]]\n" + "\n".join(lines) + "\n"


def alone(*engines: str) -> str:
    """The audit without calibration sets."""
    start, end = AUDIT.index("[[calibsets]]"), AUDIT.index("[[tasks]]")
    return AUDIT[:start] + AUDIT[end:] + "".join(engines)


def run(world: Path, name: str, text: str) -> Report:
    path = world / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    ended = calaudit("compare", path, "--formats", "all")
    assert ended.status in {0, 1, 3}, ended.err
    return read_report(world / name / "report.json")


def refused(world: Path, text: str) -> str:
    path = world / "refused.toml"
    path.write_text(text, encoding="utf-8")
    ended = calaudit("compare", path)
    assert ended.status == 2, ended.err
    assert not (world / "refused").exists()
    return " ".join(ended.err.split())


def cell(report: Report, name: str) -> CellRecord:
    return next(each for each in report.cells if each.id == name)


def outputs(world: Path, name: str, record: CellRecord) -> np.ndarray:
    assert record.predictions is not None
    return Predictions(world / name / record.predictions).read("y")


@pytest.mark.parametrize("file", ["static.onnx", "unsigned.onnx", "qoperator.onnx"])
def test_a_quantized_file_answers_as_onnxruntime_serves_it(world: Path, file: str) -> None:
    name = file.partition(".")[0]
    report = run(world, name, alone(engine("theirs", file)))
    record = cell(report, "theirs")
    assert (record.precision, record.calibset, record.method) == ("int8", None, None)
    assert record.backend == "onnxruntime"
    assert record.engine is not None
    assert (record.engine.kernels, record.engine.quantized_ops) in [
        ("fused", {"MatMul": 1}),
        ("fused", {"QLinearMatMul": 1}),
    ]
    assert record.engine.int8_share == 1.0
    assert record.engine.macs == 8 * 4
    x = elsewhere.inputs(world, EVALUATED)
    np.testing.assert_array_equal(
        outputs(world, name, record), elsewhere.answers(world / file, x, 100)
    )


def test_an_engine_of_the_audits_own_gives_the_same_results_when_it_comes_from_elsewhere(
    world: Path,
) -> None:
    (graph,) = (world / "audit" / "engines").glob("both-mse-*.onnx")
    (world / "ours.onnx").write_bytes(graph.read_bytes())
    own = engine("ours", "ours.onnx", 'kernels = "emulated"', 'maker = "calaudit"')
    report = run(world, "beside", AUDIT + own)
    results = {(r.cell, r.slice, r.metric): r for r in report.results}
    of = [r for r in report.results if r.cell == "both/mse"]
    assert len(of) == 16
    for one in of:
        theirs = results["ours", one.slice, one.metric]
        assert (theirs.drop, theirs.low, theirs.high, theirs.flips) == (
            one.drop, one.low, one.high, one.flips
        )  # fmt: skip
    record, twin = cell(report, "ours"), cell(report, "both/mse")
    assert record.engine is not None
    assert twin.engine is not None
    assert record.engine.quantized_ops == twin.engine.quantized_ops
    assert (record.engine.macs, record.engine.int8_macs) == (
        twin.engine.macs, twin.engine.int8_macs
    )  # fmt: skip
    assert record.foreign is not None
    assert record.foreign.fingerprint == twin.engine.fingerprint
    assert report.harm is not None
    harm = {each.cell: each for each in report.harm.cells}
    assert harm["ours"].clipping == harm["both/mse"].clipping
    assert harm["ours"].resolution == harm["both/mse"].resolution
    assert "file_ranges" not in {each.code for each in report.warnings}


def test_a_files_ranges_are_explained_as_the_same_ranges_of_the_audits_own(world: Path) -> None:
    (graph,) = (world / "audit" / "engines").glob("loud_only-minmax-*.onnx")
    (world / "loud.onnx").write_bytes(graph.read_bytes())
    text = AUDIT + engine("loud", "loud.onnx") + engine("fresh", "dynamic.onnx")
    path = world / "explained.toml"
    path.write_text(text, encoding="utf-8")
    ended = calaudit("explain", path, "--cell", "loud", "--cell", "loud only/minmax", "--all")
    assert ended.status == 1, ended.err
    report = read_report(world / "explained" / "report.json")
    told = {(e.cell, e.slice): e for e in report.explanations}
    told |= {(a.cell, a.slice): e for e in report.explanations for a in e.alike}
    quiet = "loudness = quiet"
    theirs, ours = told["loud", quiet], told["loud only/minmax", quiet]
    assert theirs.tuning is not None
    assert theirs.tuning.value is not None
    assert theirs.tuning.value > 0.1
    assert (theirs.cause, theirs.taps, theirs.tuning) == (ours.cause, ours.taps, ours.tuning)
    own = next(e for e in report.explanations if e.cell == "loud")
    assert "the engine in a graph that was made elsewhere" in own.sentence
    ended = calaudit("explain", path, "--cell", "fresh", "--all")
    report = read_report(world / "explained" / "report.json")
    found = [e.sentence for e in report.explanations if e.cell == "fresh"]
    assert all("its ranges are made anew for each batch" in each for each in found)
    assert found


def test_dynamic_quantization_runs_sample_by_sample_and_says_so(world: Path) -> None:
    report = run(world, "dynamic", alone(engine("theirs", "dynamic.onnx")))
    record = cell(report, "theirs")
    x = elsewhere.inputs(world, EVALUATED)
    single = elsewhere.answers(world / "dynamic.onnx", x, 1)
    np.testing.assert_array_equal(outputs(world, "dynamic", record), single)
    assert not np.array_equal(single, elsewhere.answers(world / "dynamic.onnx", x, 100))
    assert [each.where for each in report.warnings if each.code == "ran_alone"] == ["cell theirs"]
    told = (world / "dynamic" / "summary.md").read_text(encoding="utf-8")
    assert "no calibration set has a part in what it loses" in " ".join(told.split())


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_given_answers_in_any_order_are_judged_as_the_engine_that_gave_them(
    world: Path, suffix: str
) -> None:
    audited = read_report(world / "audit" / "report.json")
    twin = cell(audited, "loud only/mse")
    values = outputs(world, "audit", twin)
    names = elsewhere.ids(world, EVALUATED)
    order = np.random.default_rng(3).permutation(len(names))
    path = world / f"given.{suffix}"
    write_answers(path, [names[i] for i in order], {"y": values[order]})
    report = run(world, f"given-{suffix}", AUDIT + engine("given", path.name))
    record = cell(report, "given")
    assert (record.precision, record.backend) == ("unknown", "elsewhere")
    np.testing.assert_array_equal(outputs(world, f"given-{suffix}", record), values)
    results = {(r.cell, r.slice, r.metric): r.drop for r in report.results}
    compared = [key for key in results if key[0] == "given"]
    assert len(compared) == 16
    for _, place, metric in compared:
        assert results["given", place, metric] == results["loud only/mse", place, metric]


def test_answers_that_lack_samples_or_have_others_are_refused_with_how_many(world: Path) -> None:
    names = elsewhere.ids(world, EVALUATED)
    y = np.zeros((len(names), 4), np.float32)
    write_answers(world / "few.npz", names[5:], {"y": y[5:]})
    told = refused(world, alone(engine("few", "few.npz")))
    assert f"has no answers for 5 samples of {len(names):,} that are judged: '{names[0]}'" in told
    assert "engines[0] (few)" in told
    write_answers(world / "more.npz", [*names, "who"], {"y": np.zeros((len(names) + 1, 4))})
    told = refused(world, alone(engine("more", "more.npz")))
    assert "has answers for 1 sample that the pool doesn't hold: 'who'" in told
    write_answers(world / "other.npz", names, {"z": y})
    told = refused(world, alone(engine("other", "other.npz")))
    assert "has no output 'y', which a task reads" in told
    write_answers(world / "wide.npz", names, {"y": np.zeros((len(names), 5))})
    told = refused(world, alone(engine("wide", "wide.npz")))
    assert "output y is 5 for a sample, and 4 in the FP32 model" in told


def test_pickled_ids_and_files_that_arent_what_their_names_say_are_refused(world: Path) -> None:
    names = elsewhere.ids(world, EVALUATED)
    y = np.zeros((len(names), 4), np.float32)
    objects = np.array(names, object)
    np.savez(world / "objects.npz", ids=objects, y=y)
    told = refused(world, alone(engine("objects", "objects.npz")))
    assert "ids is an array of Python objects, which is never loaded" in told
    assert "ids=ids.astype(str)" in told
    np.savez(world / "objects.npz", ids=objects.astype(str), y=y.astype(object))
    told = refused(world, alone(engine("objects", "objects.npz")))
    assert "y is an array of Python objects" in told
    assert "y.astype(numpy.float32)" in told
    np.save(world / "array.npy", y)
    (world / "array.npy").rename(world / "array.npz")
    for name, said in (("text.npz", "an .npz file"), ("text.h5", "an HDF5 file")):
        (world / name).write_text("pickle me\n")
        told = refused(world, alone(engine("text", name)))
        assert f"{name}: isn't {said}" in told
        assert "pickle" not in told
    assert "isn't an .npz file" in refused(world, alone(engine("array", "array.npz")))
    (world / "text.onnx").write_text("not a model\n")
    told = refused(world, alone(engine("text", "text.onnx")))
    assert "isn't an ONNX model" in told
    assert "Name the ONNX file that the quantizer wrote" in told
    assert "torch.onnx.export" not in told


def test_the_fp32_model_as_an_engine_is_said_to_be_nothing_else(world: Path) -> None:
    text = alone(engine("same", "model.onnx"), engine("theirs", "static.onnx"))
    report = run(world, "itself", text)
    (said,) = [each for each in report.warnings if each.code == "fp32_itself"]
    assert said.where == "cell same"
    assert "model.onnx is the FP32 model itself: nothing in it is quantized" in said.message


def test_roles_and_what_is_known_of_sets_are_told(world: Path) -> None:
    text = AUDIT + engine(
        "theirs",
        "static.onnx",
        'maker = "onnxruntime"',
        'calibrated_on = "both"',
        'role = "control"',
    )
    text += engine("sliced", "unsigned.onnx", 'calibrated_on = "loudness = loud"')
    text += engine("told", "qoperator.onnx", 'calibrated_on = "40 clips of last year"')
    text += engine("untold", "static.onnx")
    report = run(world, "known", text)
    known = {each.id: each.foreign for each in report.cells if each.foreign}
    assert {name: each.names for name, each in known.items()} == {
        "theirs": "calibset", "sliced": "slice", "told": None, "untold": None
    }  # fmt: skip
    assert cell(report, "theirs").role == "control"
    told = " ".join((world / "known" / "summary.md").read_text(encoding="utf-8").split())
    assert "theirs was made elsewhere by onnxruntime (Q/DQ): calibrated on both, by the" in told
    assert "where the drops of the audit's own engines of that set are" in told
    assert "calibrated on samples of “loudness = loud”" in told
    assert "“40 clips of last year”, by the audit file, which nothing here can check" in told
    assert "what it was calibrated on isn't known" in told
    own = {"loud only", "both"}
    assert {each.recipe for each in report.attribution} <= own


def test_engines_alone_need_no_calibration_set_and_a_second_run_makes_nothing(world: Path) -> None:
    text = alone(engine("theirs", "static.onnx"))
    report = run(world, "alone", text)
    assert [each.id for each in report.cells] == ["theirs"]
    assert report.calibsets == ()
    status = calaudit("status", world / "alone.toml", "--all")
    assert "missing" not in status.out
    assert "theirs" in status.out
    before = {path: path.stat().st_mtime_ns for path in (world / "alone").glob("predictions/*")}
    run(world, "alone", text)
    assert {p: p.stat().st_mtime_ns for p in (world / "alone").glob("predictions/*")} == before
    elsewhere.make_static(world, "static2.onnx", per_channel=True)
    changed = run(world, "alone", alone(engine("theirs", "static2.onnx")))
    assert cell(changed, "theirs").predictions != cell(report, "theirs").predictions


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (engine("a/b", "static.onnx"), "'a/b' can't be an engine's name"),
        (engine("fp16", "static.onnx"), "'fp16' has another meaning in reports"),
        (engine("both", "static.onnx"), "a calibration set or given ranges are called 'both'"),
        (engine("a", "static.onnx") * 2, "two engines are called 'a'"),
        (engine("a", "static.bin"), "static.bin: what such a file holds isn't known"),
        (engine("a", "plan.engine"), "target is missing"),
        (engine("a", "static.onnx", 'target = "board"'), "there is no backend 'board'"),
        (engine("a", "a.npz", 'target = "onnxruntime"'), "a file of answers has no target"),
        (engine("a", "a.npz", 'kernels = "fused"'), "kernels is for ONNX files"),
        (engine("a", "gone.onnx"), "there is no such file"),
        (engine("a", "static.onnx", 'calibrated_on = " "'), "calibrated_on is empty"),
        (engine("a", "static.onnx", 'path = "x"'), "unknown key"),
    ],
)
def test_what_is_wrong_with_an_engine_is_said(world: Path, tables: str, said: str) -> None:
    assert said in refused(world, AUDIT + tables)


def test_an_engine_made_elsewhere_is_exported_as_it_was_judged(world: Path) -> None:
    run(world, "shipped", alone(engine("theirs", "static.onnx", 'maker = "onnxruntime"')))
    out = world / "ship"
    ended = calaudit("export", world / "shipped.toml", "theirs", "--out", out)
    assert ended.status == 0, ended.err
    x = elsewhere.inputs(world, EVALUATED)
    np.testing.assert_array_equal(
        elsewhere.answers(out / "model.onnx", x, 100),
        elsewhere.answers(world / "static.onnx", x, 100),
    )
    told = (out / "README.md").read_text(encoding="utf-8")
    assert "An engine that was made elsewhere" in told
    assert "| made_by | onnxruntime |" in told
    (world / "static.onnx").rename(world / "moved.onnx")
    ended = calaudit("export", world / "shipped.toml", "theirs", "--out", world / "again")
    (world / "moved.onnx").rename(world / "static.onnx")
    assert ended.status == 2
    assert "the engine theirs isn't there" in ended.err


def test_given_answers_arent_exported(world: Path) -> None:
    names = elsewhere.ids(world, EVALUATED)
    x = elsewhere.inputs(world, EVALUATED)
    y = elsewhere.answers(world / "model.onnx", x, 100)
    write_answers(world / "phone.npz", names, {"y": y})
    run(world, "phone", alone(engine("phone", "phone.npz")))
    ended = calaudit("export", world / "phone.toml", "phone", "--out", world / "nothing")
    assert ended.status == 2
    assert "of phone the answers were given, and no engine" in ended.err
    assert not (world / "nothing").exists()
