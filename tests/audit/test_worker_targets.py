"""Targets whose TensorRT, a FAKE, runs in worker processes: what audits and doctor make of them."""

import json
import sys
import threading
from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

FAKES = Path(__file__).parents[1] / "backends" / "tensorrt" / "fakes"
KEYS = 'backend = "own"\nagree_with = ["other"]\ntimeout = 300\n'


def target(name: str, **behaviour: object) -> str:
    """A table of a target whose TensorRT behaves so."""
    told = json.dumps({"stands_in": True, **behaviour})
    command = f"env TARGET={name} PYTHONPATH={FAKES} FAKE_TENSORRT='{told}' {sys.executable}"
    return f'\n[[targets]]\nname = "{name}"\npython = """{command}"""\n'


def audit(folder: Path, *tables: str, keys: str = KEYS) -> Path:
    text = AUDIT.replace("batch_size", f"{keys}batch_size", 1) + "".join(tables)
    return make_world(folder, n=400, audit=text)


def remove_after(file: Path, folder: Path, pattern: str, done: threading.Event) -> None:
    """Remove a file as soon as another is there."""
    while not done.wait(0.01):
        if list(folder.glob(pattern)):
            file.unlink()
            return


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """An audit during which the other target's worker is killed once, after its FP32."""
    folder = tmp_path_factory.mktemp("killed")
    spared = folder / "spared"
    other = target("other", slow=0.2, ends="killed", ends_in="build", once=str(spared))
    path, done = audit(folder, target("own"), other), threading.Event()
    spared.touch()
    place = path.with_suffix("") / "predictions", "fp32-other-*.h5.seal"
    remover = threading.Thread(target=remove_after, args=(spared, *place, done))
    remover.start()
    report, _ = run_audit(path)
    done.set()
    remover.join()
    return path, report


def test_a_worker_that_is_killed_costs_one_cell(world: tuple[Path, Report]) -> None:
    path, report = world
    (lost,) = [cell for cell in report.cells if cell.status == "failed"]
    assert (lost.backend, lost.precision) == ("other", "int8")
    assert "was ended by SIGKILL" in str(lost.reason)
    assert "these are the last words in build" in str(lost.reason)
    assert {(each.name, each.backend) for each in report.audit.targets} == {
        ("own", "tensorrt"), ("other", "tensorrt")
    }  # fmt: skip
    assert "a fake GPU" in str(report.audit.targets[1].environment["gpu"])

    # run again, it is made, and nothing else is
    predictions = path.with_suffix("") / "predictions"
    before = {each: each.stat().st_mtime_ns for each in predictions.glob("*.h5")}
    again, _ = run_audit(path)
    assert {cell.status for cell in again.cells} == {"judged"}
    after = {each: each.stat().st_mtime_ns for each in predictions.glob("*.h5")}
    assert before.items() <= after.items()
    (made,) = after.keys() - before.keys()
    assert made.name.startswith(lost.id.replace(" ", "_").replace("/", "-"))
    assert {one.max_abs_diff for one in again.agreement} == {0}
    engines = [each.name for each in (path.with_suffix("") / "engines").glob("*.engine")]
    assert sum("-own-" in name for name in engines) == 5
    assert sum("-other-" in name for name in engines) == 5


def test_targets_that_end_hang_or_are_full_are_told_of_before_any_work(tmp_path: Path) -> None:
    keys = 'backend = "killed"\nagree_with = ["hung", "full"]\ntimeout = 300\n'
    path = audit(
        tmp_path,
        target("killed", ends="killed", ends_in="run"),
        target("hung", ends="hangs") + "timeout = 3\n",
        target("full", ends="exhausted", ends_in="load"),
        keys=keys,
    )
    with pytest.raises(BackendError) as caught:
        run_audit(path)
    told = {
        str(each.where).partition("(")[2].rstrip(")"): f"{each.message} → {each.next_step}"
        for each in caught.value.problems
    }
    assert "ended by SIGKILL" in told["killed"]
    assert "no sign of life for 3 s" in told["hung"]
    assert "Give it more time by timeout" in told["hung"]
    assert "OutOfMemory" in told["full"]
    assert "Free memory on the GPU" in told["full"]
    assert all(each.next_step for each in caught.value.problems)
    assert not (tmp_path / "audit").exists()


def test_doctor_says_where_each_target_runs(tmp_path: Path) -> None:
    path = audit(
        tmp_path, target("own"), '\n[[targets]]\nname = "other"\npython = "no-such-python"'
    )
    ended = calaudit("doctor", str(path), "--json")
    assert ended.status == 1
    own, other = json.loads(ended.out)["backends"]
    assert (own["name"], own["usable"], own["library"]) == ("own", True, "TensorRT 8.5.3.1")
    assert f"{FAKES}" in own["interpreter"]
    assert own["python"] == ".".join(map(str, sys.version_info[:3]))
    assert own["ranges"] == ["calaudit", "tensorrt"]
    assert not other["usable"]
    assert other["interpreter"] == "no-such-python"
    (missing,) = other["missing"]
    assert "no-such-python" in missing["reason"]
    assert missing["next_step"]


def test_a_plan_that_somebody_else_built_runs_on_its_target_and_is_judged(tmp_path: Path) -> None:
    path = audit(tmp_path, target("own"), keys='backend = "own"\ntimeout = 300\n')
    report, _ = run_audit(path)
    twin = next(each for each in report.cells if each.id == "both/mse/own")
    assert twin.file is not None
    assert twin.graph is not None
    (tmp_path / "theirs.plan").write_bytes((tmp_path / "audit" / twin.file).read_bytes())
    (tmp_path / "graph.onnx").write_bytes((tmp_path / "audit" / twin.graph).read_bytes())
    engine = '\n[[engines]]\nname = "theirs"\nfile = "theirs.plan"\ntarget = "own"\n'
    engine += '\n[[engines]]\nname = "graph"\nfile = "graph.onnx"\ntarget = "own"\n'
    text = AUDIT.replace("batch_size", "timeout = 300\nbatch_size", 1) + target("own") + engine
    beside = tmp_path / "beside.toml"
    beside.write_text(text, encoding="utf-8")
    report, _ = run_audit(beside)
    cell = next(each for each in report.cells if each.id == "theirs/own")
    assert (cell.status, cell.backend, cell.method) == ("judged", "own", None)
    assert cell.foreign is not None
    assert (cell.foreign.name, cell.foreign.kind) == ("theirs", "plan")
    assert cell.engine is not None
    assert "a fake GPU" in str(cell.engine.options["gpu"])
    drops = {(r.cell, r.slice, r.metric): r.drop for r in report.results}
    compared = [key for key in drops if key[0] in {"theirs/own", "graph/own"}]
    assert len(compared) == 2 * 16
    for engine_id, name, metric in compared:
        assert drops[engine_id, name, metric] == drops["both/mse", name, metric]
    built = next(each for each in report.cells if each.id == "graph/own")
    assert (built.precision, built.file is None) == ("int8", False)
    assert [each.name for each in report.audit.targets] == ["onnxruntime", "own"]
    assert "target_unused" not in {each.code for each in report.warnings}


def test_a_plan_that_a_target_cant_run_is_a_failed_cell_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "theirs.plan").write_bytes(b"no plan at all")
    engine = '\n[[engines]]\nname = "theirs"\nfile = "theirs.plan"\ntarget = "{}"\n'
    text = AUDIT.replace("batch_size", "timeout = 300\nbatch_size", 1) + target("own")
    path = make_world(tmp_path, n=400, audit=text + engine.format("own"))
    report, _ = run_audit(path)
    (lost,) = [each for each in report.cells if each.status == "failed"]
    assert lost.id == "theirs/own"
    assert "can't load the engine" in str(lost.reason)
    path.write_text(AUDIT + engine.format("onnxruntime"), encoding="utf-8")
    report, _ = run_audit(path)
    (lost,) = [each for each in report.cells if each.status == "failed"]
    assert "onnxruntime can't run a TensorRT plan" in str(lost.reason)
