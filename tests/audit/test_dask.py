"""Dask workers give what a serial run gives; what can't work is refused."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from calaudit.audit import stages
from calaudit.audit.dask import cells as audit_cluster
from calaudit.audit.dask import scheduler as audit_scheduler
from calaudit.audit.dask.scheduler import Call, Lost, Scheduler, connect_scheduler
from calaudit.audit.dask.worker import Request, make_cell
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.backends.tensorrt.worker.detect import TensorrtModule, find_tensorrt
from calaudit.results.document import to_document, without_times
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError, OutputError
from tests.audit.dask_workers import DEADLY, local_cluster, make_or_die, own_address
from tests.audit.pretended_gpu import pretend
from tests.audit.world import AUDIT, make_world, weights, write_model
from tests.cli.running import calaudit

ROOT = Path(__file__).parents[2]
WEIGHTS = weights()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two workers, one of which says that it has a GPU, on which TensorRT-RTX runs."""
    with local_cluster([{}, {"GPU": 1}], preload="tests.audit.pretended_gpu") as found:
        yield found


@pytest.fixture
def scheduler(address: str) -> Iterator[Scheduler]:
    with connect_scheduler(address) as found:
        yield found


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    audit = make_world(tmp_path_factory.mktemp("world"))
    report, _ = run_audit(audit)
    return audit, document(report)


def document(report: Report) -> dict[str, Any]:
    return without_times(to_document(report))


def not_here(*_: object) -> None:
    raise AssertionError("an engine ran in the coordinating process")


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.fixture(scope="module")
def on_dask(serial: tuple[Path, dict[str, Any]], address: str) -> tuple[Path, dict[str, Any]]:
    """The folder and the report of a run in which the coordinating process ran no engine."""
    audit, _ = serial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "run_cell", not_here)
        patch.chdir(audit.parent)  # workers have another working directory
        given = Overrides(model=Path("model.onnx"), out=Path("by-dask"), dask=address)
        report, _ = run_audit(Path(audit.name), given)
    return audit.parent / "by-dask", document(report)


def test_workers_make_every_engine_and_the_report_is_that_of_a_serial_run(
    serial: tuple[Path, dict[str, Any]], on_dask: tuple[Path, dict[str, Any]]
) -> None:
    folder, report = on_dask
    assert report == serial[1]
    assert hidden(folder) == []
    seals = sorted(path.name for path in folder.rglob("*.seal"))
    assert seals == sorted(path.name for path in (serial[0].parent / "audit").rglob("*.seal"))


def test_workers_predict_implicit_engines_from_the_ranges_of_all_tensors(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = AUDIT.replace('["minmax", "mse"]', '["minmax"]\nint8 = "implicit"')
    audit = make_world(tmp_path, audit=text)
    here = document(run_audit(audit)[0])
    assert {cell["engine"]["options"]["predicts"] for cell in here["cells"]}
    monkeypatch.setattr(stages, "run_cell", not_here)
    given = Overrides(out=tmp_path / "by-dask", dask=address)
    assert document(run_audit(audit, given)[0]) == here


def test_a_damaged_artefact_is_made_again_by_a_worker_and_told_as_in_a_serial_run(
    serial: tuple[Path, dict[str, Any]], on_dask: tuple[Path, dict[str, Any]], address: str
) -> None:
    (audit, expected), (folder, _) = serial, on_dask
    damaged = next((folder / "predictions").glob("both-mse-*.h5"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = document(run_audit(audit, Overrides(out=folder, dask=address))[0])
    assert [each["code"] for each in again["warnings"]] == ["artefact_remade"]
    assert {**again, "warnings": expected["warnings"]} == expected


def test_what_a_dying_worker_left_is_made_here_and_told(
    serial: tuple[Path, dict[str, Any]],
    address: str,
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audit, expected = serial
    monkeypatch.setattr(audit_cluster, "make_cell", make_or_die)
    report = document(run_audit(audit, Overrides(out=tmp_path, dask=address))[0])
    assert {each["code"] for each in report["warnings"]} == {"dask_lost"}
    assert f"cell {DEADLY}" in [each["where"] for each in report["warnings"]]
    assert {**report, "warnings": expected["warnings"]} == expected
    assert hidden(tmp_path) == []
    while len(scheduler.workers()) < 2:  # it is started again
        time.sleep(0.02)


def test_ctrl_c_stops_the_workers_before_the_command_ends(address: str, tmp_path: Path) -> None:
    audit = make_world(tmp_path)
    command = [sys.executable, "-m", "tests.audit.interrupted", "compare", audit]
    with subprocess.Popen(
        [*command, "--dask", address], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as run:
        folder = tmp_path / "audit"
        while not list(folder.glob("started *")):
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=300)
    assert run.returncode == 130
    assert "Traceback" not in err
    assert hidden(folder) == []


def test_a_connection_that_a_worker_closed_doesnt_end_a_command(address: str) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a command has it
    with connect_scheduler(address):
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL


def test_a_gpus_work_goes_to_workers_that_have_one(scheduler: Scheduler) -> None:
    calls = [Call(str(number), own_address, (), needs_gpu=True) for number in range(6)]
    assert {found for _, found in scheduler.outcomes(calls)} == set(
        scheduler.workers(with_gpu=True)
    )


def test_a_backend_that_the_worker_with_a_gpu_lacks_is_named_with_the_worker(
    address: str, tmp_path: Path
) -> None:
    if isinstance(find_tensorrt("tensorrt"), TensorrtModule):
        pytest.skip("TensorRT is installed here")
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nbackend = "tensorrt"'))
    with pytest.raises(BackendError, match=r"worker tcp://.*: TensorRT isn't installed"):
        run_audit(audit, Overrides(dask=address))
    assert not (tmp_path / "audit").exists()


def test_an_audit_of_a_gpu_runs_from_a_machine_without_one(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = '"mse"]\nbackend = "tensorrt_rtx"\nagree_with = ["onnxruntime"]'
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', lines))
    report, _ = run_audit(audit, Overrides(out=tmp_path / "there", dask=address))
    pretend(monkeypatch)
    here, _ = run_audit(audit, Overrides(out=tmp_path / "here"))
    assert document(report) == document(here)
    assert {cell.status for cell in report.cells} == {"judged"}
    assert report.audit.environment["gpu"] == "a pretended GPU"


def test_without_a_gpu_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nbackend = "tensorrt"'))
    monkeypatch.setattr(audit_scheduler, "WORKER_TIMEOUT", 0.0)
    with local_cluster([{}]) as address:
        with pytest.raises(BackendError, match="no Dask worker has a GPU"):
            run_audit(audit, Overrides(dask=address))
        with connect_scheduler(address) as scheduler:
            calls = [Call("its own", own_address, (), needs_gpu=True)]
            assert list(scheduler.outcomes(calls)) == [
                ("its own", Lost("the workers disconnected"))
            ]


def test_a_reference_that_fails_on_a_worker_ends_the_audit_as_it_does_here(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = make_world(tmp_path, audit=AUDIT.replace('"mse"]', '"mse"]\nprecisions = ["fp16"]'))
    monkeypatch.setattr("tests.audit.world.weights", lambda: WEIGHTS * np.float32(1e38))
    write_model(tmp_path / "model.onnx")
    with h5py.File(tmp_path / "pool.h5", "r+") as pool:
        pool["inputs/x"][:] *= np.float32(1e3)  # every sample overflows, not only some
    said = []
    for scheduler in (None, address):
        with pytest.raises(BackendError, match="NaN or infinite") as caught:
            run_audit(audit, Overrides(dask=scheduler))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_folder_that_workers_dont_share_is_refused(scheduler: Scheduler, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="isn't the same folder on the worker") as caught:
        audit_cluster.check_workers(scheduler, tmp_path / ".dask.00000000.part")
    assert "shared storage" in str(caught.value)


def test_workers_with_another_release_are_refused_all_at_once(
    serial: tuple[Path, dict[str, Any]],
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = audit_cluster.describe_environment({})
    monkeypatch.setattr(
        audit_cluster, "describe_environment", lambda _: {**mine, "onnxruntime": "0.1"}
    )
    with pytest.raises(BackendError, match=r"onnxruntime .* instead of 0\.1") as caught:
        run_audit(serial[0], Overrides(out=tmp_path, dask=address))
    assert len(caught.value.problems) == 2
    assert hidden(tmp_path) == []


def test_a_worker_that_comes_to_another_plan_is_refused(
    serial: tuple[Path, dict[str, Any]], scheduler: Scheduler, tmp_path: Path
) -> None:
    audit, given = serial[0], Overrides(out=tmp_path)
    with prepared_audit(audit, given) as opened, audit_cluster.run_token(tmp_path, scheduler) as at:
        request = Request(audit, given, {}, opened.plan.key, at, scheduler.slots())
        other = Request(audit, replace(given, seed=9), {}, opened.plan.key, at, {})
        cell = opened.plan.reference.id
        assert [name for name, _ in scheduler.outcomes([Call("a", make_cell, (request, cell))])]
    with (
        audit_cluster.run_token(tmp_path, scheduler) as at,
        pytest.raises(BackendError, match=r"worker tcp://.* computes another plan"),
    ):
        list(scheduler.outcomes([Call("a", make_cell, (replace(other, token=at), cell))]))


def test_an_address_where_nobody_answers_is_refused(
    serial: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="the dask extra isn't installed")
    monkeypatch.setattr(audit_scheduler, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        for address in (nobody, "nowhere", "carrier-pigeon://here:1", "tls://127.0.0.1:1"):
            out = tmp_path / "out"
            ended = calaudit("compare", serial[0], "--out", out, "--dask", address)
            assert ended.status == 2
            assert f"can't connect to a Dask scheduler at {address}" in ended.err
            assert not out.exists()


def test_the_missing_library_is_named_with_the_line_that_installs_it(
    serial: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    ended = calaudit("compare", serial[0], "--dask", "tcp://127.0.0.1:1")
    assert ended.status == 2
    assert "pip install 'calaudit[dask]'" in ended.err
