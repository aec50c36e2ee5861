"""`calaudit compare`: what it prints, how it exits, and how it refuses bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.graph import models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), n=800).parent


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "world", ignore=shutil.ignore_patterns("audit"))
    return tmp_path / "world"


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "audit.toml").read_text()
        assert old in text
        (folder / "audit.toml").write_text(text.replace(old, new))

    return change


def model_is(proto: onnx.ModelProto) -> Callable[[Path], None]:
    return lambda folder: onnx.save(proto, str(folder / "model.onnx"))


def not_an_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"PK\x03\x04 not a model at all")


def nan_inputs(folder: Path) -> None:
    with h5py.File(folder / "pool.h5", "r+") as file:
        values = file["inputs/x"][:]
        values[5, 2], values[7] = np.nan, np.inf
        file["inputs/x"][...] = values


def longer_column(folder: Path) -> None:
    with h5py.File(folder / "pool.h5", "r+") as file:
        file["meta/extra"] = np.zeros(len(file["inputs/x"]) + 3)


def label_out_of_range(folder: Path) -> None:
    with h5py.File(folder / "pool.h5", "r+") as file:
        file["targets/label"][0:900] = 11


def truncated(folder: Path) -> None:
    path = folder / "pool.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign(folder: Path) -> None:
    with h5py.File(folder / "pool.h5", "w") as file:
        file["weights"] = np.zeros(3)


BAD = {
    "missing model": (lambda f: (f / "model.onnx").unlink(), ["model.onnx", "no such model file"]),
    "missing pool": (lambda f: (f / "pool.h5").unlink(), ["pool.h5", "no such file"]),
    "missing audit": (lambda f: (f / "audit.toml").unlink(), ["audit.toml", "no such file"]),
    "not an ONNX": (not_an_onnx, ["model.onnx", "isn't an ONNX model"]),
    "inputs don't match": (model_is(models.gemms()), ["input x", "in the pool"]),
    "NaN inputs": (nan_inputs, ["pool.h5", "/inputs/x", "NaN or infinity"]),
    "differing N": (longer_column, ["pool.h5", "803", "800"]),
    "unknown column": (edit('by = "loudness"', 'by = "loudnes"'), ["loudnes", "loudness?"]),
    "predicate": (edit('"margin < 0.5"', '"margin <"'), ["margin <", "audit.toml: slices: hard"]),
    "too many asked": (
        edit("size = 40\n", "size = 4000\n"),
        ["4,000", "audit.toml: calibsets: loud only"],
    ),
    "empty stratum": (
        edit(
            'kind = "stratified"\nallocation = "equal"',
            'kind = "skewed"\nonly = ["loudness = deafening"]',
        ),
        ["deafening"],
    ),
    "labels": (label_out_of_range, ["11", "(first at sample", "4 classes", "/targets/label"]),
    "truncated": (truncated, ["pool.h5", "is truncated"]),
    "foreign": (foreign, ["pool.h5", "not a calaudit pool"]),
    "unknown key": (edit("batch_size = 100", "batchsize = 100"), ["audit.batchsize", "batch_size"]),
    "unknown table": (edit("[[gates]]", "[[gate]]"), ["gate", "Did you mean gates?"]),
    "not TOML": (edit("[audit]", "[audit"), ["audit.toml", "isn't valid TOML"]),
    "unknown metric": (edit('"nll"', '"nlll"'), ["nlll", "Did you mean nll"]),
    "unknown method": (edit('"mse"', '"msee"'), ["audit.methods[1]", "msee"]),
    "gate matches nothing": (
        edit("max_drop = 0.05", 'max_drop = 0.05\nslices = "speaker*"'),
        ["audit.toml: gates[0]", "speaker*"],
    ),
    "gate of an unknown metric": (edit('metric = "top1"', 'metric = "top5"'), ["gates[0]", "top5"]),
    "slice matches nothing": (edit('"margin < 0.5"', '"margin < -1"'), ["hard", "no evaluated"]),
    "nothing evaluated": (edit("'evaluation'", "'evaluate'"), ["audit.evaluate", "nothing"]),
    "gate of everything": (edit("max_drop = 0.05", "max_drop = 2"), ["gates[0].max_drop", "0.02"]),
    "gate without bound": (edit("max_drop = 0.05", "max_drop = inf"), ["gates[0]", "inf"]),
    "method twice": (edit('"minmax", "mse"', '"mse", "mse"'), ["audit.toml", "twice"]),
    "empty name": (edit('name = "world"', 'name = ""'), ["audit.toml", "name is empty"]),
    "leak": (edit("split = 'calibration' and", "split = 'evaluation' and"), ["data leakage"]),
    "two sets of one name": (edit('name = "both"', 'name = "loud only"'), ["loud only", "Rename"]),
}


def test_the_first_label_out_of_range_is_named_by_the_samples_id(world: Path) -> None:
    with h5py.File(world / "pool.h5", "r+") as file:
        judged = np.flatnonzero(file["meta/split"].asstr()[:] == "evaluation")
        first, position = int(judged[50]), 50
        file["targets/label"][[first, int(judged[60])]] = -1
    assert first != position
    ended = calaudit("compare", world / "audit.toml")
    assert ended.status == 2
    assert f"labels are out of range: -1 (first at sample {first});" in ended.err


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_with_a_next_step_and_status_2(case: str, world: Path) -> None:
    spoil, wanted = BAD[case]
    spoil(world)
    ended = calaudit("compare", world / "audit.toml")
    assert ended.status == 2
    for word in wanted:
        assert word in ended.err
    assert "→" in ended.err
    assert "Traceback" not in ended.err
    assert not (world / "audit" / "report.json").exists()
    assert list(world.rglob("*.part")) == []


@pytest.mark.usefixtures("permissions")
def test_folder_that_may_not_be_written_is_named(world: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    ended = calaudit("compare", world / "audit.toml", "--out", locked / "results")
    assert (ended.status, "can't be written" in ended.err) == (2, True)


def test_output_folder_that_is_a_file_is_named(world: Path) -> None:
    (world / "taken").write_text("something of the user's")
    ended = calaudit("compare", world / "audit.toml", "--out", world / "taken")
    assert ended.status == 2
    assert "is a file, but results go to a folder of this name" in ended.err
    assert (world / "taken").read_text() == "something of the user's"


def test_all_problems_of_an_audit_file_are_told_at_once(world: Path) -> None:
    for change in (
        edit("batch_size", "batchsize"),
        edit('by = "loudness"', 'bye = "loudness"'),
        edit('metric = "top1"', 'metrics = "top1"'),
    ):
        change(world)
    err = calaudit("compare", world / "audit.toml").err
    assert {"batchsize", "bye", "metrics"} <= {w.strip(":").split(".")[-1] for w in err.split()}


def test_table_goes_to_stdout_messages_to_stderr_and_status_is_the_verdict(world: Path) -> None:
    ended = calaudit("compare", world / "audit.toml")
    assert ended.status == 1
    assert "loudness = quiet" in ended.out
    assert "REGRESSED" in ended.out
    assert "report.json" in ended.err
    report = json.loads((world / "audit" / "report.json").read_text())
    assert report["verdict"] == "REGRESSED"
    assert len(report["cells"]) == 4


def test_the_report_is_written_in_all_forms_unless_told_otherwise(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")
    ended = calaudit("compare", world / "audit.toml", "--json")
    results = world / "audit"
    assert ended.out == (results / "report.json").read_text(encoding="utf-8")
    names = ["report.json", "report.html", "junit.xml", "summary.md", "metrics.prom"]
    assert [line for line in ended.err.splitlines() if line.startswith("wrote ")] == [
        f"wrote {results / name}" for name in names
    ]
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "amax as a table" in page
    for name in names[1:]:
        (results / name).unlink()
    calaudit("compare", world / "audit.toml", "--formats", "junit")
    assert sorted(each.name for each in results.glob("[!.]*") if each.is_file()) == [
        "junit.xml", "report.json",
    ]  # fmt: skip


def test_an_unknown_format_is_refused_before_any_work(world: Path) -> None:
    ended = calaudit("compare", world / "audit.toml", "--formats", "pdf")
    assert ended.status == 2
    assert "there is no format 'pdf'" in ended.err
    assert not (world / "audit").exists()


@pytest.mark.parametrize(("max_drop", "status"), [("0.9", 0), ("0.001", 3)])
def test_status_is_0_when_all_pass_and_3_when_undecided(
    world: Path, max_drop: str, status: int
) -> None:
    text = AUDIT.replace("max_drop = 0.05", f"max_drop = {max_drop}")
    # loud samples with a clear winner: nothing changes, which proves 0.9 but never 0.001
    text = text.replace("'evaluation'", "'evaluation' and loudness = 'loud' and margin > 1.5")
    text = text.replace('"margin < 0.5"', '"margin > 0"').replace("[[gates]]", GATE_ALL)
    (world / "audit.toml").write_text(text)
    assert calaudit("compare", world / "audit.toml").status == status


GATE_ALL = """[[gates]]
slices = "all"
"""


def test_seed_and_out_replace_the_files(world: Path, tmp_path: Path) -> None:
    calaudit("compare", world / "audit.toml", "--seed", "7", "--out", tmp_path / "seven")
    assert json.loads((tmp_path / "seven" / "report.json").read_text())["audit"]["seed"] == 7
    assert not (world / "audit").exists()


IMPOSSIBLE = {
    "too many": (edit("size = 40\n", "size = 100000\n"), "100,000 samples are asked for"),
    "nothing left": (
        edit("calibrate = \"split = 'calibration'\"", "calibrate = \"split = 'evaluation'\""),
        "data leakage",
    ),
    "empty stratum": BAD["empty stratum"],
    "set that is missing": (
        lambda folder: (folder / "audit.toml").write_text(
            (folder / "audit.toml").read_text() + '\n[[calibsets]]\nfile = "gone.h5"\n'
        ),
        "gone.h5",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_run_is_refused_by_a_dry_run_as_well_and_leaves_nothing(
    case: str, world: Path
) -> None:
    spoil, wanted = IMPOSSIBLE[case]
    spoil(world)
    before = sorted(world.rglob("*"))
    dry = calaudit("compare", world / "audit.toml", "--dry-run")
    ended = calaudit("compare", world / "audit.toml")
    assert (dry.status, dry.out, dry.err) == (2, "", ended.err)
    assert ended.status == 2
    assert (wanted if isinstance(wanted, str) else wanted[0]) in ended.err
    assert sorted(world.rglob("*")) == before


def test_a_metric_may_be_spelled_one_way_in_its_task_and_another_in_its_gate(world: Path) -> None:
    edit('metrics = ["top1"', 'metrics = ["top@1"')(world)
    edit('metric = "top1"', 'metric = "top_1"')(world)
    ended = calaudit("compare", world / "audit.toml", "--dry-run")
    assert (ended.status, ended.err) == (0, "")
