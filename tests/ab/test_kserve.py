"""Arms on servers: the same answers, and what goes wrong told by its kind."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.ab.endpoints import Endpoint
from calaudit.ab.kserve import KServeArm
from calaudit.ab.transports import RequestError
from calaudit.runtime.errors import BackendError
from tests.ab.serving import INPUTS, METADATA, OUTPUTS, Behaviour, answers, grpc_server, http_server

pytest.importorskip("tritonclient.http", reason="tritonclient isn't installed")

Serving = Callable[[Behaviour], AbstractContextManager[str]]
BOTH = pytest.mark.parametrize("serving", [http_server, grpc_server])
X = np.random.default_rng(7).standard_normal((4, 3)).astype(np.float32)


@contextmanager
def arm_of(address: str, timeout_s: float = 5.0, **options: Any) -> Iterator[KServeArm]:
    endpoint = Endpoint.parse(f"{address}/sum")
    arm = KServeArm(endpoint, INPUTS, OUTPUTS, timeout_s=timeout_s, **options)
    try:
        yield arm
    finally:
        arm.close()


def failure_of(arm: KServeArm) -> RequestError:
    with pytest.raises(RequestError) as caught:
        arm.ask({"x": X})
    return caught.value


@BOTH
def test_answers_are_those_of_the_model_to_the_bit(serving: Serving):
    with serving(Behaviour()) as address, arm_of(address) as arm:
        arm.start()
        found = arm.ask({"x": X, "unused": X})
    assert list(found) == ["total", "rows"]
    for name, values in answers(X).items():
        np.testing.assert_array_equal(found[name], values, strict=True)


@BOTH
def test_answers_may_be_written_to(serving: Serving):
    with serving(Behaviour()) as address, arm_of(address) as arm:
        arm.start()
        arm.ask({"x": X})["total"][:] = 0


@pytest.mark.parametrize(("extensions", "how"), [([], "JSON"), (["binary_tensor_data"], "binary")])
def test_tensors_go_as_bytes_where_the_server_says_that_it_takes_them(extensions, how):
    behaviour = Behaviour(extensions=extensions)
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        found = arm.ask({"x": X})
        assert arm.record["tensors"] == how
    assert behaviour.binary == (how == "binary")
    np.testing.assert_array_equal(found["total"], answers(X)["total"], strict=True)


@BOTH
def test_the_record_names_server_protocol_and_version(serving: Serving):
    with serving(Behaviour()) as address, arm_of(address) as arm:
        arm.start()
        assert arm.record["server"] == "small 0"
        assert arm.record["versions"] == "1"
        assert arm.record["protocol"].endswith(address.split(":")[0])
        assert arm.notices == ()


@BOTH
def test_another_model_is_refused_before_the_first_request(serving: Serving):
    other = METADATA | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}
    behaviour = Behaviour(metadata=other)
    told = r"\(any, 4\) there, the audit's \(any, 3\)"
    with (
        serving(behaviour) as address,
        arm_of(address) as arm,
        pytest.raises(BackendError, match=told),
    ):
        arm.start()
    assert behaviour.asked == 0


def test_a_server_that_tells_no_tensors_is_used_with_a_notice():
    bare = {"name": "sum", "versions": [], "platform": ""}
    with http_server(Behaviour(metadata=bare)) as address, arm_of(address) as arm:
        arm.start()
        (notice,) = arm.notices
        assert "no inputs and no outputs" in notice.message
        assert arm.ask({"x": X})["total"].shape == (4, 1)


@BOTH
def test_a_model_that_the_server_lacks_is_refused_with_its_words(serving: Serving):
    with serving(Behaviour()) as address:
        endpoint = Endpoint.parse(f"{address}/other")
        arm = KServeArm(endpoint, INPUTS, OUTPUTS, timeout_s=5)
        with pytest.raises(BackendError, match=r"nothing at /v2/models/other|no model other"):
            arm.start()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_server_is_refused_with_what_to_check(scheme: str):
    with http_server(Behaviour()) as address:
        port = address.rsplit(":", 1)[1]
    told = "check host, port, model and version"
    address = f"{scheme}://127.0.0.1:{port}"
    with arm_of(address, 2.0) as arm, pytest.raises(BackendError, match=told):
        arm.start()


@BOTH
def test_a_stall_is_a_timeout_and_the_next_answer_is_its_own(serving: Serving):
    behaviour = Behaviour()
    with serving(behaviour) as address, arm_of(address, 0.4) as arm:
        arm.start()
        arm.ask({"x": X})
        behaviour.stall_s = 1.0
        started = time.perf_counter()
        failure = failure_of(arm)
        assert time.perf_counter() - started < 0.9
        assert (failure.status, failure.message) == ("timeout", "no answer within 0.4 s")
        behaviour.stall_s = 0.0
        found = arm.ask({"x": X + 1})
        np.testing.assert_array_equal(found["total"], answers(X + 1)["total"])


def test_an_answer_that_trickles_in_is_a_timeout():
    behaviour = Behaviour(trickle_s=0.05)
    with http_server(behaviour) as address, arm_of(address, 0.5) as arm:
        started = time.perf_counter()
        assert failure_of(arm).status == "timeout"
        assert time.perf_counter() - started < 1.5


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, b'{"error": "out of memory"}', "HTTP 500: out of memory"),
        (422, b'{"detail": [{"msg": "Field required"}]}', "HTTP 422: Field required"),
        (503, b"<h1>busy</h1>", "HTTP 503: <h1>busy</h1>"),
        (400, b"", "HTTP 400: client received an empty response from the server."),
        (404, b'{"detail": "Model not\\u202e found"}', r"HTTP 404: Model not\u202e found"),
    ],
)
def test_a_refusal_is_an_error_with_the_servers_words(status: int, body: bytes, told: str):
    behaviour = Behaviour()
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        behaviour.status, behaviour.body = status, body
        failure = failure_of(arm)
        assert (failure.status, failure.message) == ("error", told)
        behaviour.status = 200
        assert len(arm.ask({"x": X})["total"]) == 4


def test_a_refusal_over_grpc_is_an_error_with_the_servers_words():
    behaviour = Behaviour()
    with grpc_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        behaviour.status, behaviour.body = 500, b"out of memory"
        failure = failure_of(arm)
        assert (failure.status, failure.message) == ("error", "gRPC INTERNAL: out of memory")


def test_an_answer_that_is_not_of_the_protocol_is_an_error():
    behaviour = Behaviour(status=200, body=b"")
    behaviour.compute = lambda x: {"total": np.zeros((4, 1), np.float32)}
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        failure = failure_of(arm)
    assert failure.message == "no output 'rows' in the answer"
    assert failure.status == "other_shape"


@BOTH
@pytest.mark.parametrize(
    ("total", "told"),
    [
        (np.zeros((4, 2), np.float32), "output 'total' is (4, 2), expected (4, 1)"),
        (np.zeros((3, 1), np.float32), "output 'total' is (3, 1), expected (4, 1)"),
        (np.zeros(4, np.float32), "output 'total' is (4,), expected (4, 1)"),
        (np.zeros((4, 1), np.float64), "output 'total' is float64, expected float32"),
    ],
)
def test_other_shapes_and_types_are_told(serving: Serving, total, told: str):
    behaviour = Behaviour(compute=lambda x: answers(x) | {"total": total})
    with serving(behaviour) as address, arm_of(address) as arm:
        arm.start()
        failure = failure_of(arm)
    assert (failure.status, failure.message) == ("other_shape", told)


def test_a_connection_that_is_closed_midway_is_lost_and_made_anew():
    behaviour = Behaviour()
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        arm.ask({"x": X})
        behaviour.hang_up, behaviour.asked = True, 0
        assert failure_of(arm).status == "lost"
        assert behaviour.asked == 1  # not sent again without a word
        behaviour.hang_up = False
        assert len(arm.ask({"x": X})["total"]) == 4


@BOTH
def test_a_server_that_dies_midway_is_lost(serving: Serving):
    with serving(Behaviour()) as address, arm_of(address, 2.0) as arm:
        arm.start()
        arm.ask({"x": X})
        endpoint = arm.endpoint
    arm = KServeArm(endpoint, INPUTS, OUTPUTS, timeout_s=2.0)
    failure = failure_of(arm)
    arm.close()
    assert failure.status == "lost"
    assert "refused" in failure.message.lower()


@BOTH
def test_threads_ask_at_a_time_and_each_gets_its_own_answers(serving: Serving):
    behaviour = Behaviour(stall_s=0.2)
    right: list[bool] = []

    def work(k: int) -> None:
        x, total = np.full((2, 3), k, np.float32), np.full((2, 1), 3 * k)
        right.extend(np.array_equal(arm.ask({"x": x})["total"], total) for _ in range(3))

    with serving(behaviour) as address, arm_of(address, concurrency=8) as arm:
        arm.start()
        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.perf_counter() - started < 8 * 3 * 0.2 / 2
    assert behaviour.asked == 24
    assert right == [True] * 24


def test_each_thread_keeps_its_connection():
    behaviour = Behaviour()
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        for _ in range(5):
            arm.ask({"x": X})
    assert len(behaviour.peers) == 1


def test_without_tritonclient_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "tritonclient", None)
    arm = KServeArm(Endpoint.parse("http://127.0.0.1:9/m"), INPUTS, OUTPUTS, timeout_s=1)
    with pytest.raises(BackendError, match=r"pip install 'calaudit\[serving\]'"):
        arm.start()


def test_free_sizes_are_any_size():
    behaviour = Behaviour(compute=lambda x: replace_rows(answers(x)))
    with http_server(behaviour) as address, arm_of(address) as arm:
        arm.start()
        assert arm.ask({"x": X})["rows"].shape == (4, 7)


def replace_rows(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"rows": np.zeros((len(found["total"]), 7), np.int64)}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl isn't installed")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text("utf-8") + made.read_text("utf-8"), "utf-8")
    return both


def test_a_server_whose_certificate_is_trusted_answers_over_tls(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with http_server(Behaviour(), certificate) as address, arm_of(address) as arm:
        assert address.startswith("https://")
        arm.start()
        np.testing.assert_array_equal(arm.ask({"x": X})["total"], answers(X)["total"])


def test_a_certificate_that_nobody_signed_is_refused_and_named(certificate: Path):
    told = pytest.raises(BackendError, match="certificate verify failed")
    with http_server(Behaviour(), certificate) as address, arm_of(address) as arm, told:
        arm.start()
