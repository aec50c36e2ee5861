"""Targets by SSH, on this machine; and the oldest Python that a target may have.

TensorRT and pycuda there are FAKES.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.link import Worker
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.session import Session
from calaudit.graph.model import Model
from calaudit.runtime.errors import BackendError
from tests.audit.world import AUDIT, make_world
from tests.backends.available import FAKES, played
from tests.backends.tensorrt.sshd import running_sshd
from tests.backends.tensorrt.test_worker import calibrated, wait_until_gone
from tests.graph import models
from tests.wheels import installed_wheel

MODEL = Model(models.gemms(), "sketch.onnx")
PLAYED = json.dumps({"x": [4]}).encode()
"""A model that the fake TensorRT knows without onnx: y is twice x."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture(scope="session")
def oldest(wheel_cache: Path) -> str:
    """A command that starts a Python 3.8 with numpy and the fakes."""
    versions = Path.home().glob(".pyenv/versions/3.8.*/bin/python")
    found = [*map(str, versions), shutil.which("python3.8")]
    python = next(filter(None, found), None)
    if python is None:
        pytest.skip("there is no Python 3.8")
    numpy = installed_wheel("numpy==1.24.4", wheel_cache, python="3.8")
    return f"env PYTHONPATH={FAKES}:{numpy} {python}"


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    made: list[Session] = []
    yield made
    for each in made:
        each.close()


def remote(config: Path, python: str | None = None, **behaviour: object) -> Location:
    command = python or played(FAKE_TENSORRT=json.dumps(behaviour))
    return Location("tensorrt", python=command, ssh="target", ssh_config=config, timeout=60)


def test_engines_run_on_python_3_8(sessions: list[Session], oldest: str) -> None:
    sessions.append(Session(Location("tensorrt", python=oldest)))
    assert sessions[-1].look().python.startswith("3.8.")
    assert sessions[-1].title == "TensorRT 8.5.3.1"
    run_played(sessions[-1])


def test_engines_run_by_ssh_on_python_3_8(
    sessions: list[Session], config: Path, oldest: str
) -> None:
    sessions.append(Session(remote(config, oldest)))
    assert sessions[-1].look().python.startswith("3.8.")
    run_played(sessions[-1])


def _measured_played(worker: Worker, number: int, plan: np.ndarray, x: np.ndarray) -> None:
    """What is measured of an engine works there, too, and leaves the runner as it was."""
    other = worker.ask("runner.share", {"engine": number}).values["engine"]
    block = {"engines": [number, other], "seconds": 0, "least": 4, "watch": True}
    times = worker.ask("bench.measure", block, {"x": x})
    assert len(times.arrays["host_ms"]) == 4
    assert times.values["unwatched"] is None
    assert [each["power_watts"] for each in times.values["readings"]] == [100, 100]
    layers = worker.ask("bench.layers", {"engine": other, "runs": 2}, {"x": x}).values
    assert layers["names"] == ["all"]
    memory = worker.ask("bench.memory", {}, {"plan": plan}).values
    assert memory["activations"] == 4096
    again = worker.ask("runner.run", {"engine": number, "n": 4}, {"x": x}).arrays["y"]
    np.testing.assert_array_equal(again, 2 * x)


def run_played(session: Session) -> None:
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    shape = {
        "profile": {"x": [[1, 4], [4, 4], [4, 4]]}, "flags": [], "compute_capability": None,
        "knobs": {},
    }  # fmt: skip

    def work(worker: Worker) -> np.ndarray:
        model = {"model": np.frombuffer(PLAYED, np.uint8)}
        plan = worker.ask("build.explicit", shape, model).arrays["plan"]
        number = worker.ask("runner.load", {}, {"plan": plan}).values["engine"]
        found = worker.ask("runner.run", {"engine": number, "n": 6}, {"x": x})
        _measured_played(worker, number, plan, x[:4])
        return found.arrays["y"]

    np.testing.assert_array_equal(session.perform(work), 2 * x)


def test_a_connection_that_is_cut_is_made_again_and_the_batch_repeated(
    sessions: list[Session], config: Path, tmp_path: Path
) -> None:
    feeds = models.feeds(MODEL.proto, n=20)
    for where in ("build", "run"):
        once = str(tmp_path / where)
        sessions.append(Session(remote(config, ends="cut", ends_in=where, once=once)))
        made = TensorrtBackend(sessions[-1], max_batch=16)
        engine = made.load(MODEL)
        first = sessions[-1].perform(lambda worker: worker.hello["pid"])
        found = engine.run(feeds)["y"]
        again = sessions[-1].perform(lambda worker: worker.hello["pid"])
        assert (first == again) == (where == "build")
        assert where == "build" or wait_until_gone(first), "left alone, it ended by itself"
        assert Path(once).exists(), "the connection was cut"
        wanted = TensorrtBackend(Session(Location("tensorrt", python=played())), max_batch=16)
        sessions.append(wanted.session)
        np.testing.assert_array_equal(found, wanted.load(MODEL).run(feeds)["y"])


def test_a_calibration_whose_connection_is_cut_begins_again(
    sessions: list[Session], config: Path, tmp_path: Path
) -> None:
    once = str(tmp_path / "once")
    cut = remote(config, ends="cut", ends_in="batch", ends_after=2, once=once)
    sessions.append(Session(cut))
    made = calibrated(sessions[-1], tmp_path)
    assert Path(once).exists(), "the connection was cut"
    assert made.n_batches == 3
    assert made.ranges.scales == {"x": pytest.approx(23 / 127)}


def test_a_connection_that_is_cut_twice_fails(sessions: list[Session], config: Path) -> None:
    sessions.append(Session(remote(config, ends="cut", ends_in="run")))
    engine = TensorrtBackend(sessions[-1], max_batch=16).load(MODEL)
    told = r"connection to target was lost \(run 20 rows"
    with pytest.raises(BackendError, match=told) as caught:
        engine.run(models.feeds(MODEL.proto, n=20))
    assert "before: " in caught.value.__notes__[0]


def test_death_by_ssh_is_no_lost_connection(sessions: list[Session], config: Path) -> None:
    sessions.append(Session(remote(config, ends="killed", ends_in="run")))
    engine = TensorrtBackend(sessions[-1], max_batch=16).load(MODEL)
    with pytest.raises(BackendError, match="the worker was ended by SIGKILL"):
        engine.run(models.feeds(MODEL.proto, n=20))


def test_memory_is_shared_where_ssh_leads_back_to_this_machine(
    sessions: list[Session], config: Path
) -> None:
    sessions.append(Session(remote(config)))
    assert sessions[-1].perform(lambda worker: worker.shares)


def test_what_is_missing_is_installed_there(sessions: list[Session], config: Path) -> None:
    sessions.append(Session(remote(config, f"env PYTHONPATH= {shlex.quote(sys.executable)}")))
    first = sessions[-1].look().missing[0]
    assert str(first) == "TensorRT isn't installed"
    assert first.next_step.startswith(f"Run on target: {sys.executable} -m pip install")


@pytest.mark.parametrize(
    ("ssh", "python", "told"),
    [
        ("-p 1 target", None, ("target can't be reached: ", "an SSH server runs there; `ssh -F")),
        ("no-such-host.invalid", None, ("no-such-host.invalid can't be reached", "the name of")),
        ("target", "/no/such/python3", ("there is no /no/such/python3", "Name in python")),
    ],
)
def test_what_isnt_there_is_told_at_once(
    sessions: list[Session], config: Path, ssh: str, python: str | None, told: tuple[str, str]
) -> None:
    where = Location("tensorrt", python=python, ssh=ssh, ssh_config=config, timeout=60)
    sessions.append(Session(where))
    with pytest.raises(BackendError) as caught:
        sessions[-1].look()
    assert all(each in str(caught.value) for each in told)


TARGETS = """
[[targets]]
name = "here"
python = {here}

[[targets]]
name = "there"
python = {there}
ssh = "target"
ssh_config = {config}

[[targets]]
name = "dying"
python = {dying}
"""


def test_an_audit_by_ssh_gives_what_the_local_one_gives_and_survives_a_death(
    config: Path, tmp_path: Path
) -> None:
    once = str(tmp_path / "once")
    ends = {"ends": "killed", "ends_in": "load", "ends_after": 3, "once": once}
    text = AUDIT.replace('"mse"]', '"mse"]\nbackend = "here"\nagree_with = ["there", "dying"]')
    text += TARGETS.format(
        here=json.dumps(played()),
        there=json.dumps(played()),
        config=json.dumps(str(config)),
        dying=json.dumps(played(FAKE_TENSORRT=json.dumps(ends))),
    )
    report, _ = run_audit(make_world(tmp_path, audit=text))
    cells = {cell.id: cell for cell in report.cells}
    failed = [cell for cell in cells.values() if cell.status == "failed"]
    assert [cell.backend for cell in failed] == ["dying"], [cell.reason for cell in failed]
    assert "was ended by SIGKILL" in str(failed[0].reason)
    assert "these are the last words in load" in str(failed[0].reason)
    same = [each for each in report.agreement if each.cell.endswith("/there")]
    assert len(same) == 5, "FP32, and two methods of two sets"
    assert {each.max_abs_diff for each in same} == {0.0}
    assert all(each.verdicts_equal == each.verdicts for each in same)
    alive = [cell for cell in cells.values() if cell.backend == "dying" and cell not in failed]
    assert len(alive) == 4
    assert {cell.status for cell in alive} == {"judged"}
