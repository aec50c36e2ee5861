"""Exports of engines of every kind: what is in them, what runs by their README, what is refused."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import calaudit
from calaudit.audit.run import run_audit
from calaudit.export.run import Exported
from calaudit.formats.calibset import open_calibset
from calaudit.formats.scales import open_scales
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.report.files import write_report
from calaudit.results.comparison import Verdict
from calaudit.results.recommendation import Outcome, Recommendation, Remedy
from calaudit.results.report import Report
from calaudit.runtime.errors import (
    CalauditError,
    FileFormatError,
    ModelError,
    OutputError,
    SettingsError,
)
from tests.audit.test_worker_targets import target
from tests.audit.world import AUDIT, make_world
from tests.backends.available import FAKES
from tests.cli.running import calaudit as command
from tests.export.readmes import answers, blocks, judged, pool_inputs, run_block

TOLERANT = (
    AUDIT.replace("[audit]", '[audit]\nprecisions = ["int8", "fp16"]')
    .replace('["minmax", "mse"]', '["minmax", "entropy-trt"]')
    .replace('name = "loud only"', 'name = "loud only"\nrole = "control"')
)


def finished(folder: Path, audit: str) -> tuple[Path, Report]:
    path = make_world(folder, audit=audit)
    report, _ = run_audit(path, formats="none")
    return path, report


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    return finished(tmp_path_factory.mktemp("world"), TOLERANT)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]\nint8 = "implicit"')
    return finished(tmp_path_factory.mktemp("predicted"), text)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]\nkernels = "fused"')
    return finished(tmp_path_factory.mktemp("fused"), text)


def exported(of: tuple[Path, Report], cell: str, out: Path) -> Exported:
    made = calaudit.export_engine(of[0], cell, out=out)
    # the audit is out of reach: what runs below runs by the export alone
    assert (out / "README.md").is_file()
    return made


EXEMPT = """
[[exemptions]]
name = "last"
float_ops = ["second"]
"""


def two_products(path: Path) -> None:
    """Put a second product behind the first, so that one of them can stay in float."""
    proto = onnx.load(path)
    turn = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)
    proto.graph.initializer.append(
        numpy_helper.from_array(np.eye(4, dtype=np.float32) + turn / 40, "v")
    )
    proto.graph.node[-1].output[0] = "first"
    proto.graph.node.append(helper.make_node("MatMul", ["first", "v"], ["y"], name="second"))
    onnx.save(proto, path)


def with_more(folder: Path, audit: str) -> tuple[Path, Report]:
    """An audit with exemptions and, from a first run, given ranges."""
    path = make_world(folder, audit=audit)
    two_products(folder / "model.onnx")
    first, _ = run_audit(path, formats="none")
    table = next(each.scales for each in first.cells if each.id == "both/minmax")
    shutil.copy(path.with_suffix("") / str(table), folder / "given.json")
    scales = '\n[[scales]]\nname = "minimax"\nfile = "given.json"\n'
    path.write_text(f"{audit}{EXEMPT}{scales}")
    report, _ = run_audit(path, formats="none")
    return path, report


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]')
    return with_more(tmp_path_factory.mktemp("more"), text)


@pytest.fixture(scope="module")
def more_predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]\nint8 = "implicit"')
    return with_more(tmp_path_factory.mktemp("more-predicted"), text)


@pytest.mark.parametrize(
    ("world_name", "cell"),
    [
        ("more", "both/minmax+last"),
        ("more", "minimax/given"),
        ("more", "minimax/given+last"),
        ("more_predicted", "both/minmax+last"),
        ("more_predicted", "minimax/given"),
        ("more_predicted", "minimax/given+last"),
        ("world", "both/minmax"),
        ("world", "both/entropy-trt"),
        ("world", "loud only/minmax"),
        ("world", "fp16"),
        ("predicted", "both/minmax"),
        ("fused", "both/minmax"),
    ],
)
def test_the_readmes_lines_give_the_judged_numbers_bit_for_bit(
    world_name: str, cell: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path, report = request.getfixturevalue(world_name)
    exported((path, report), cell, tmp_path / "ship")
    record = next(each for each in report.cells if each.id == cell)
    rows, wanted = judged(path.with_suffix("") / str(record.predictions))
    (block,) = blocks(tmp_path / "ship", "onnxruntime")
    feeds = pool_inputs(path.parent / "pool.h5", rows)
    found = answers(tmp_path / "ship", block, feeds, batch=100)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].tobytes() == values.tobytes(), name


def test_the_option_matters_where_it_is_given(world: tuple[Path, Report], tmp_path: Path) -> None:
    exported(world, "both/minmax", tmp_path / "ship")
    (block,) = blocks(tmp_path / "ship", "onnxruntime")
    assert 'options.add_session_config_entry("session.disable_quant_qdq", "1")' in block


def test_fused_engines_run_without_it(fused: tuple[Path, Report], tmp_path: Path) -> None:
    exported(fused, "both/minmax", tmp_path / "ship")
    (block,) = blocks(tmp_path / "ship", "onnxruntime")
    assert "disable_quant_qdq" not in block


def test_a_qdq_export_is_complete(world: tuple[Path, Report], tmp_path: Path) -> None:
    path, report = world
    out = tmp_path / "ship"
    made = exported(world, "both/minmax", out)
    assert {each.name for each in made.files} | {"SHA256SUMS"} == {
        each.name for each in out.iterdir()
    }
    assert {each.name for each in made.files} == {
        "model.onnx", "fp32.onnx", "scales.json", "calibration.cache", "calibset.npz",
        "calibset.txt", "shapes.json", "provenance.json", "README.md",
    }  # fmt: skip
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, check=True)
    assert checked.returncode == 0
    record = next(each for each in report.cells if each.id == "both/minmax")
    assert (out / "scales.json").read_bytes() == (
        path.with_suffix("") / str(record.scales)
    ).read_bytes()
    assert record.engine is not None
    assert load_model(out / "model.onnx", quantized=True).fingerprint == record.engine.fingerprint
    shapes = json.loads((out / "shapes.json").read_text())
    assert shapes == {
        "x": {"type": "float32", "min": [1, 8], "opt": [100, 8], "max": [100, 8], "free": True}
    }


def test_the_cache_has_the_engines_scales_and_one_for_every_tensor(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    path, _ = world
    for cell in ("both/minmax", "both/entropy-trt"):
        exported(world, cell, tmp_path / "ship")
        cache = open_trt_cache(tmp_path / "ship" / "calibration.cache")
        table = open_scales(tmp_path / "ship" / "scales.json")
        network = import_network(load_model(path.parent / "model.onnx"))
        assert list(cache.scales) == list(network.names)
        assert str(cache.header) == "TRT-8503-EntropyCalibration2"
        assert {name: cache.scales[name] for name in table.scales} == table.scales
        verified = command(
            "cache", "verify", tmp_path / "ship" / "calibration.cache",
            "--model", tmp_path / "ship" / "fp32.onnx", "--no-random",
        )  # fmt: skip
        assert verified.status == 0, verified.out


def test_the_set_is_there_as_arrays_and_as_ids(world: tuple[Path, Report], tmp_path: Path) -> None:
    path, report = world
    exported(world, "both/minmax", tmp_path / "ship")
    record = next(each for each in report.calibsets if each.name == "both")
    drawn = open_calibset(path.with_suffix("") / str(record.file))
    with np.load(tmp_path / "ship" / "calibset.npz") as found:
        assert found.files == ["x"]
        assert np.array_equal(found["x"], drawn.read_inputs(0, len(drawn))["x"])
    listed = (tmp_path / "ship" / "calibset.txt").read_text().splitlines()
    assert listed == drawn.ids.tolist()
    # the list is a recipe's, too
    (tmp_path / "again.toml").write_text('name = "again"\nkind = "ids"\nids = "ship/calibset.txt"')
    again = command(
        "sample", path.parent / "pool.h5", tmp_path / "again.toml", "--out", tmp_path / "again.h5"
    )
    assert again.status == 0, again.err
    assert open_calibset(tmp_path / "again.h5").ids.tolist() == listed


def test_the_graph_carries_where_it_comes_from(world: tuple[Path, Report], tmp_path: Path) -> None:
    _, report = world
    exported(world, "both/minmax", tmp_path / "ship")
    told = json.loads((tmp_path / "ship" / "provenance.json").read_text())
    assert (told.pop("calaudit_format"), told.pop("format_version")) == ("export", 1)
    for name in ("model.onnx", "fp32.onnx"):
        proto = onnx.load(tmp_path / "ship" / name)
        carried = {each.key: each.value for each in proto.metadata_props}
        assert carried == {f"calaudit.{key}": value for key, value in told.items()}
    assert told["cell"] == "both/minmax"
    assert told["verdict"] == "REGRESSED"
    assert told["model"] == f"model.onnx {report.audit.model.fingerprint}"
    assert told["calibset_content"] == next(
        each.fingerprint for each in report.calibsets if each.name == "both"
    )


def test_what_must_be_known_is_told(
    world: tuple[Path, Report], predicted: tuple[Path, Report], tmp_path: Path
) -> None:
    control = [str(each) for each in exported(world, "loud only/minmax", tmp_path / "a").notices]
    assert any("isn't meant to ship" in each for each in control)
    assert "isn't meant to ship" in (tmp_path / "a" / "README.md").read_text()
    bad = [str(each) for each in exported(world, "both/minmax", tmp_path / "b").notices]
    assert any("REGRESSED: " in each for each in bad)
    made = [str(each) for each in exported(predicted, "both/minmax", tmp_path / "c").notices]
    assert any("prediction of TensorRT's implicit quantization" in each for each in made)
    good = exported(world, "fp16", tmp_path / "d").notices
    assert good == ()


def test_a_predicted_engine_ships_as_model_and_cache(
    predicted: tuple[Path, Report], tmp_path: Path
) -> None:
    exported(predicted, "both/minmax", tmp_path / "ship")
    names = {each.name for each in (tmp_path / "ship").iterdir()}
    assert {"fp32.onnx", "calibration.cache", "predicted.onnx"} <= names
    assert "model.onnx" not in names
    cache = open_trt_cache(tmp_path / "ship" / "calibration.cache")
    assert cache.scales == open_scales(tmp_path / "ship" / "scales.json").scales
    (line,) = blocks(tmp_path / "ship", "trtexec", "sh")
    assert line.startswith("trtexec --onnx=fp32.onnx --int8 --calib=calibration.cache --noTF32 ")


def test_the_only_candidate_that_passes_is_the_default(
    world: tuple[Path, Report], predicted: tuple[Path, Report], tmp_path: Path
) -> None:
    assert calaudit.export_engine(world[0], out=tmp_path / "ship").cell == "fp16"
    with pytest.raises(SettingsError, match=r"no candidate keeps every gate.*which engine") as told:
        calaudit.export_engine(predicted[0], out=tmp_path / "other")
    assert (
        "Name one: loud only/minmax, both/minmax; or run calaudit recommend, whose choice is then "
        "exported."
    ) in str(told.value)


def test_a_failed_engine_is_refused_with_its_reason(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    _, report = world
    first, *others = report.cells
    failed = replace(first, status="failed", engine=None, reason="no kernel", role="control")
    results = [each for each in report.results if each.cell != first.id]
    broken = replace(report, cells=(failed, *others), results=tuple(results))
    write_report(consistent(broken), tmp_path / "report.json")
    with pytest.raises(SettingsError, match="failed: no kernel"):
        calaudit.export_engine(tmp_path / "report.json", first.id, out=tmp_path / "ship")
    assert not (tmp_path / "ship").exists()


def consistent(report: Report) -> Report:
    """Without what names results that are gone."""
    return replace(report, attribution=(), gaps=(), screening=(), exemplars=(), ranking_flow=())


def test_an_unknown_engine_is_refused_with_near_names(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="no engine 'both/minmix'") as told:
        calaudit.export_engine(world[0], "both/minmix", out=tmp_path / "ship")
    assert "Did you mean both/minmax" in str(told.value)


def test_an_audit_that_was_not_run_is_refused(tmp_path: Path) -> None:
    path = make_world(tmp_path)
    with pytest.raises(FileFormatError, match="has no report"):
        calaudit.export_engine(path, out=tmp_path / "ship")


@pytest.fixture
def moved(world: tuple[Path, Report], tmp_path: Path) -> Path:
    """A copy of the audit that a test may damage; gives its report."""
    shutil.copytree(world[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / "audit" / "report.json"


def test_a_report_alone_suffices_where_its_files_lie(moved: Path, tmp_path: Path) -> None:
    made = calaudit.export_engine(moved, "both/minmax", out=tmp_path / "ship")
    assert {"fp32.onnx", "calibset.npz"} <= {each.name for each in made.files}


def test_paths_of_the_audit_file_are_relative_to_what_it_says(tmp_path: Path) -> None:
    path = make_world(tmp_path)
    (tmp_path / "chosen").mkdir()
    text = AUDIT.replace("[audit]", '[audit]\nrelative_to = ".."').replace(', "mse"]', "]")
    path = tmp_path / "chosen" / "recommended.toml"
    path.write_text(text, encoding="utf-8")
    run_audit(path, formats="none")
    for source in (path, path.with_suffix("") / "report.json"):
        made = calaudit.export_engine(source, "both/minmax", out=tmp_path / "ship")
        assert "fp32.onnx" in {each.name for each in made.files}


def test_a_changed_engine_is_refused(moved: Path, tmp_path: Path) -> None:
    (graph,) = (moved.parent / "engines").glob("both-minmax-*.onnx")
    proto = onnx.load(graph)
    weight = max(proto.graph.initializer, key=lambda each: len(each.raw_data))
    weight.raw_data = weight.raw_data[::-1]
    onnx.save(proto, graph)
    with pytest.raises(FileFormatError, match="isn't what the audit wrote"):
        calaudit.export_engine(moved, "both/minmax", out=tmp_path / "ship")
    graph.with_name(f"{graph.name}.seal").unlink()  # as after a copy without seals
    with pytest.raises(ModelError, match="isn't the graph that was judged"):
        calaudit.export_engine(moved, "both/minmax", out=tmp_path / "ship")
    assert not (tmp_path / "ship").exists()


def test_a_missing_set_is_refused(moved: Path, tmp_path: Path) -> None:
    (drawn,) = (moved.parent / "calibsets").glob("both-*.h5")
    drawn.unlink()
    with pytest.raises(CalauditError, match="calibsets/both-"):
        calaudit.export_engine(moved, "both/minmax", out=tmp_path / "ship")
    assert not (tmp_path / "ship").exists()


def test_without_the_model_there_is_no_cache_and_that_is_told(moved: Path, tmp_path: Path) -> None:
    moved.parent.with_name("model.onnx").rename(tmp_path / "elsewhere.onnx")
    made = calaudit.export_engine(moved, "both/minmax", out=tmp_path / "ship")
    (told,) = (each for each in made.notices if each.code == "no_cache")
    assert "the FP32 model isn't there" in told.message
    assert told.message.endswith("→ Give the model that was audited by --model.")
    readme = (tmp_path / "ship" / "README.md").read_text()
    assert "> no calibration cache: model.onnx: the FP32 model isn't there" in readme
    assert str(tmp_path) not in readme
    assert not (tmp_path / "ship" / "calibration.cache").exists()
    with pytest.raises(ModelError, match="the FP32 model isn't there"):
        calaudit.export_engine(moved, "fp16", out=tmp_path / "other")
    found = calaudit.export_engine(
        moved, "both/minmax", out=tmp_path / "ship", model=tmp_path / "elsewhere.onnx"
    )
    assert "calibration.cache" in {each.name for each in found.files}


def test_another_model_is_refused(moved: Path, tmp_path: Path) -> None:
    proto = onnx.load(moved.parent.with_name("model.onnx"))
    proto.graph.node[1].name = "other"
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="isn't the model that was audited"):
        calaudit.export_engine(moved, "fp16", out=tmp_path / "ship", model=tmp_path / "other.onnx")


def test_large_weights_lie_beside_the_graph_that_needs_them(
    world: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, report = world
    out = tmp_path / "ship"
    with monkeypatch.context() as patched:
        patched.setattr("calaudit.graph.model.PROTOBUF_LIMIT", 100)
        patched.setattr("calaudit.graph.model.SMALL", 8)
        patched.setattr("calaudit.backends.onnxruntime.sessions.MESSAGE", 100)
        made = exported(world, "both/minmax", out)
    assert [str(each) for each in made.notices if each.code == "no_cache"] == []
    assert {"model.onnx.weights", "fp32.onnx.weights"} <= {each.name for each in made.files}
    assert "model.onnx.weights" in (out / "SHA256SUMS").read_text()
    record = next(each for each in report.cells if each.id == "both/minmax")
    rows, wanted = judged(path.with_suffix("") / str(record.predictions))
    (block,) = blocks(out, "onnxruntime")
    found = answers(out, block, pool_inputs(path.parent / "pool.h5", rows), batch=100)
    assert found["y"].tobytes() == wanted["y"].tobytes()


def test_an_older_export_is_replaced_and_nothing_else(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "ship"
    exported(world, "both/minmax", out)
    exported(world, "fp16", out)
    assert "calibset.npz" not in {each.name for each in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    before = {each.name: each.read_bytes() for each in out.iterdir()}
    with pytest.raises(OutputError, match=r"would be lost: notes\.txt"):
        calaudit.export_engine(world[0], "both/minmax", out=out)
    assert {each.name: each.read_bytes() for each in out.iterdir()} == before
    with pytest.raises(OutputError, match="would be lost"):
        calaudit.export_engine(world[0], "both/minmax", out=world[0].with_suffix(""))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ship"]


def test_a_tensorrt_without_caches_is_refused_before_any_work(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="reads no calibration caches"):
        calaudit.export_engine(world[0], "both/minmax", out=tmp_path / "ship", tensorrt="11.0")
    assert not (tmp_path / "ship").exists()


def test_the_command_prints_files_and_sums(world: tuple[Path, Report], tmp_path: Path) -> None:
    out = tmp_path / "ship"
    told = command("export", world[0], "both/minmax", "--out", out, "--tensorrt", "8.6.1")
    assert told.status == 0
    assert "REGRESSED: " in told.err
    sums = dict(
        reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().split("\n")[:-1]
    )
    for name, digest in sums.items():
        (line,) = (each for each in told.out.splitlines() if each.startswith(f"{name} "))
        assert digest[:16] in line
    assert (out / "calibration.cache").read_text().startswith("TRT-8601-EntropyCalibration2\n")
    listed = json.loads(command("export", world[0], "fp16", "--out", out, "--json").out)
    assert {each["name"] for each in listed["files"]} == {
        each.name for each in out.iterdir() if each.name != "SHA256SUMS"
    }
    wrong = command("export", world[0], "none", "--out", out)
    assert wrong.status == 2


def test_the_same_export_has_the_same_bytes(world: tuple[Path, Report], tmp_path: Path) -> None:
    exported(world, "both/minmax", tmp_path / "a")
    exported(world, "both/minmax", tmp_path / "b")
    assert (tmp_path / "a" / "SHA256SUMS").read_bytes() == (
        tmp_path / "b" / "SHA256SUMS"
    ).read_bytes()


@pytest.mark.slow
def test_tensorrt_rtx_builds_it_by_the_readmes_lines(
    world: tuple[Path, Report], rtx: dict[str, str], tmp_path: Path
) -> None:
    # the package of that name, of which the bindings are a part, has these lines
    (tmp_path / "tensorrt_rtx.py").write_text("from tensorrt_rtx_bindings import *")
    path = f"{rtx['PYTHONPATH']}{os.pathsep}{tmp_path}"
    environment = {**rtx, "PYTHONPATH": path, "COMPUTE_CAPABILITY": "SM89"}
    for cell in ("both/minmax", "fp16"):
        out = tmp_path / cell.replace("/", "-")
        exported(world, cell, out)
        (block,) = blocks(out, "TensorRT in Python")
        told = run_block(out, block, "print(trt.__name__, typed)", environment)
        assert told == "tensorrt_rtx True\n"
        assert (out / "model.plan").stat().st_size > 1000


FAKE = {**os.environ, "PYTHONPATH": str(FAKES), "FAKE_TENSORRT": '{"stands_in": true}'}
"""Environment with a FAKE of TensorRT 8.5 and of pycuda, which runs graphs in onnxruntime."""


@pytest.mark.parametrize("cell", ["both/minmax", "fp16"])
def test_the_lines_for_tensorrt_hang_together(
    world: tuple[Path, Report], cell: str, tmp_path: Path
) -> None:
    path, report = world
    out = tmp_path / "ship"
    exported(world, cell, out)
    (build,) = blocks(out, "TensorRT in Python")
    run_block(out, build, environment=FAKE)
    profile = json.loads((out / "model.plan").read_bytes().split(b"\n")[0])["profile"]
    assert profile == {"x": [[1, 8], [100, 8], [100, 8]]}
    (run,) = blocks(out, "Run a plan")
    record = next(each for each in report.cells if each.id == cell)
    rows, wanted = judged(path.with_suffix("") / str(record.predictions))
    feeds = pool_inputs(path.parent / "pool.h5", rows)
    if not blocks(out, "Calibration cache"):  # then there is no set to try it on
        assert "calibset" not in run
    found = answers(out, run, feeds, batch=100, environment=FAKE)
    assert found["y"] == pytest.approx(wanted["y"], abs=1.0)


def test_the_lines_for_the_cache_hand_it_over(world: tuple[Path, Report], tmp_path: Path) -> None:
    out = tmp_path / "ship"
    exported(world, "both/minmax", out)
    (block,) = blocks(out, "Calibration cache in Python")
    then = "print(calibrator.read_calibration_cache() == open('calibration.cache', 'rb').read())"
    assert run_block(out, block, then, FAKE) == "True\n"
    head = json.loads((out / "implicit.plan").read_bytes().split(b"\n")[0])
    assert head["int8"]
    assert head["profile"] == {"x": [[1, 8], [100, 8], [100, 8]]}


@pytest.fixture(scope="module")
def on_targets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    keys = 'agree_with = ["explicit", "implicit"]\n'
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]')
    text = text.replace("batch_size", f"{keys}batch_size", 1)
    turned = 'optimization_level = 5\nsparsity = true\nshapes = "fixed"\n'
    own = {"explicit": turned, "implicit": 'ranges = ["calaudit", "tensorrt"]\n'}
    tables = [f'{target(name)}int8 = "{name}"\n{keys}' for name, keys in own.items()]
    return finished(tmp_path_factory.mktemp("targets"), text + "".join(tables))


def test_a_targets_engine_is_handed_over_with_its_graph(
    on_targets: tuple[Path, Report], tmp_path: Path
) -> None:
    path, report = on_targets
    exported(on_targets, "both/minmax/explicit", tmp_path / "ship")
    record = next(each for each in report.cells if each.id == "both/minmax/explicit")
    assert record.file is not None
    assert record.graph is not None
    kept = path.with_suffix("") / record.file
    assert (tmp_path / "ship" / "engine.plan").read_bytes() == kept.read_bytes()
    facts = json.loads((tmp_path / "ship" / "engine.plan.json").read_text())
    assert facts["gpu"] == "a fake GPU"
    assert blocks(tmp_path / "ship", "TensorRT's own engine", "sh") == [
        "trtexec --loadEngine=engine.plan --shapes=x:100x8\n"
    ]
    graph = load_model(path.with_suffix("") / record.graph, quantized=True)
    assert load_model(tmp_path / "ship" / "model.onnx", quantized=True).fingerprint == (
        graph.fingerprint
    )
    # reports that don't name the graph yet: it is found by the scale table's name
    cells = tuple(replace(each, graph=None) for each in report.cells)
    write_report(replace(report, cells=cells), path.with_suffix("") / "older.json")
    made = calaudit.export_engine(
        path.with_suffix("") / "older.json", record.id, out=tmp_path / "ship"
    )
    assert "model.onnx" in {each.name for each in made.files}


def test_what_the_compiler_was_told_stands_in_the_lines_that_build_it_again(
    on_targets: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "ship"
    exported(on_targets, "both/minmax/explicit", out)
    for line in blocks(out, "trtexec", "sh"):
        assert " --noTF32 --sparsity=enable --builderOptimizationLevel=5 " in line
        assert "--minShapes=x:100x8 --optShapes=x:100x8 --maxShapes=x:100x8 " in line
    (build,) = blocks(out, "TensorRT in Python")
    run_block(out, build, environment=FAKE)
    told = json.loads((out / "model.plan").read_bytes().split(b"\n")[0])
    assert (told["level"], told["tf32"]) == (5, "0")
    assert "SPARSE_WEIGHTS" in told["flags"]
    assert "TF32" not in told["flags"]
    assert told["profile"] == {"x": [[100, 8]] * 3}


def test_a_calibration_of_tensorrts_own_is_handed_over_as_its_cache(
    on_targets: tuple[Path, Report], tmp_path: Path
) -> None:
    path, report = on_targets
    out = tmp_path / "ship"
    exported(on_targets, "both/native-minmax/implicit", out)
    record = next(each for each in report.cells if each.id == "both/native-minmax/implicit")
    assert (out / "calibration.cache").read_bytes() == (
        path.with_suffix("") / str(record.cache)
    ).read_bytes()
    (block,) = blocks(out, "TensorRT in Python")
    assert "class Given(trt.IInt8MinMaxCalibrator)" in block
    assert blocks(out, "trtexec", "sh") == []
    assert "no engine like it" in (out / "README.md").read_text()
    assert run_block(out, block, "print(trt.__version__)", FAKE) == "8.5.3.1\n"


def test_given_ranges_of_an_implicit_engine_are_handed_over_as_a_cache(
    on_targets: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "ship"
    exported(on_targets, "both/minmax/implicit", out)
    cache = open_trt_cache(out / "calibration.cache")
    assert cache.scales == open_scales(out / "scales.json").scales
    assert {"fp32.onnx", "engine.plan"} <= {each.name for each in out.iterdir()}
    assert not (out / "predicted.onnx").exists()


def test_fp32_is_the_model_itself(world: tuple[Path, Report], tmp_path: Path) -> None:
    ended = command("export", world[0], "fp32", "--out", tmp_path / "ship")
    assert ended.status == 2
    assert "'fp32' is FP32, the model itself: there is nothing to export" in ended.err
    assert "Choose an engine: loud only/minmax" in ended.err


def test_nothing_handed_over_names_the_machines_folders(
    world: tuple[Path, Report], tmp_path: Path
) -> None:
    for cell in ("both/minmax", "fp16"):
        out = tmp_path / cell
        exported(world, cell, out)
        for file in out.iterdir():
            assert str(world[0].parent).encode() not in file.read_bytes(), file
            assert str(tmp_path).encode() not in file.read_bytes(), file
    assert any("model.onnx" in line for line in (out / "README.md").read_text().splitlines())


def test_given_ranges_without_any_set_have_no_cache_and_no_advice_of_other_commands(
    more: tuple[Path, Report], tmp_path: Path
) -> None:
    folder = tmp_path / "alone"
    shutil.copytree(more[0].parent, folder)
    (folder / "audit.toml").unlink()
    shutil.rmtree(folder / "audit")
    start, end = (AUDIT.index(each) for each in ("[[calibsets]]", "[[tasks]]"))
    scales = '[[scales]]\nname = "minimax"\nfile = "given.json"\n\n'
    path = folder / "alone.toml"
    path.write_text(AUDIT[:start] + scales + AUDIT[end:])
    run_audit(path, formats="none")
    made = calaudit.export_engine(path, "minimax/given", out=tmp_path / "ship")
    (told,) = (each.message for each in made.notices if each.code == "no_cache")
    assert "the audit has no calibration set" in told
    assert "--" not in told
    assert told in (tmp_path / "ship" / "README.md").read_text()


def test_fp32_of_a_target_is_refused(on_targets: tuple[Path, Report], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is FP32, the model itself"):
        calaudit.export_engine(on_targets[0], "fp32/explicit", out=tmp_path / "ship")


def test_ops_left_in_float_stay_so_under_the_cache(
    more: tuple[Path, Report], more_predicted: tuple[Path, Report], tmp_path: Path
) -> None:
    for number, world in enumerate((more, more_predicted)):
        out = tmp_path / str(number)
        exported(world, "both/minmax+last", out)
        told = json.loads((out / "provenance.json").read_text())
        assert (told["exemption"], told["left_in_float"]) == ("last", "second")
        readme = (out / "README.md").read_text()
        assert "left in float as asked: second" in readme
        (line,) = (each for each in readme.splitlines() if "--calib=" in each)
        assert "--precisionConstraints=obey --layerPrecisions=second:fp32" in line
        assert "--layerOutputTypes=second:fp32" in line
        (block,) = [each for each in blocks(out, "in Python") if "class Given" in each]
        then = "print([network.get_layer(i).name for i in range(network.num_layers) if "
        then += "getattr(network.get_layer(i), 'precision', None) == trt.DataType.FLOAT])"
        assert run_block(out, block, then, FAKE) == "['second']\n"


def test_given_ranges_get_a_complete_cache_from_all_sets(
    more: tuple[Path, Report], tmp_path: Path
) -> None:
    path, _ = more
    out = tmp_path / "ship"
    exported(more, "minimax/given", out)
    assert not (out / "calibset.npz").exists()
    cache, table = open_trt_cache(out / "calibration.cache"), open_scales(out / "scales.json")
    network = import_network(load_model(path.parent / "model.onnx"))
    assert list(cache.scales) == list(network.names)
    assert {name: cache.scales[name] for name in table.scales} == table.scales
    readme = (out / "README.md").read_text()
    assert "a min-max range over 2 calibration sets of the audit" in readme
    assert "with the ranges minimax, which were given" in readme


@pytest.mark.parametrize("change", ["none", "nothing holds", "other gates"])
def test_what_was_recommended_for_an_audit_is_its_default(
    change: str, world: tuple[Path, Report], tmp_path: Path
) -> None:
    path, report = world
    folder = tmp_path / "copy"
    shutil.copytree(path.parent, folder)
    beside = folder / "audit" / "recommend" / "recommended"
    shutil.copytree(path.parent / "audit", beside)
    told = Recommendation(
        outcome=Outcome.NOTHING_HOLDS if change == "nothing holds" else Outcome.COLLECT,
        verdict=Verdict.PASS,
        sentence="Ship it.",
        winner="both/entropy-trt",
        remedy=Remedy.PLAIN_SET,
        plain="both/minmax",
        rivals=(),
        tune="split = 'calibration'",
        n_tuning=100,
        options=(),
    )
    table = {**dict(report.audit.config["audit"]), "relative_to": "../.."}
    config = {**report.audit.config, "audit": table}
    if change == "other gates":
        config["gates"] = []
    written = replace(report, recommendation=told, audit=replace(report.audit, config=config))
    write_report(written, beside / "report.json")
    ended = command("export", folder / path.name, "--out", tmp_path / "ship")
    if change != "none":  # the audit's own rule
        assert "recommend" not in ended.err
        assert "both/entropy-trt" not in ended.out
        return
    assert ended.status == 0
    assert ended.out.startswith("both/entropy-trt, in ")
    where = beside / "report.json"
    assert f"{where}: both/entropy-trt is what calaudit recommend chose" in ended.err
    assert "calibration.cache" in ended.out
    named = calaudit.export_engine(folder / path.name, "both/minmax", out=tmp_path / "other")
    assert named.cell == "both/minmax"


def test_the_recommended_engine_is_the_default(world: tuple[Path, Report], tmp_path: Path) -> None:
    path, report = world
    shutil.copytree(path.parent, tmp_path / "copy")
    told = Recommendation(
        outcome=Outcome.COLLECT,
        verdict=Verdict.REGRESSED,
        sentence="Collect.",
        winner="both/minmax",
        remedy=Remedy.PLAIN_SET,
        plain="both/minmax",
        rivals=(),
        tune="split = 'calibration'",
        n_tuning=100,
        options=(),
    )
    where = tmp_path / "copy" / "audit" / "report.json"
    write_report(replace(report, recommendation=told), where)
    assert calaudit.export_engine(where, out=tmp_path / "ship").cell == "both/minmax"
    assert "Recommended: Collect." in (tmp_path / "ship" / "README.md").read_text()
    write_report(
        replace(report, recommendation=replace(told, outcome=Outcome.NOTHING_HOLDS)), where
    )
    assert calaudit.export_engine(where, out=tmp_path / "other").cell == "fp16"
    kept = replace(told, outcome=Outcome.KEEP, winner="fp16")
    write_report(replace(report, recommendation=kept), where)
    assert calaudit.export_engine(where, out=tmp_path / "kept").cell == "both/minmax"
    assert "Recommended: Collect." in (tmp_path / "kept" / "README.md").read_text()
