"""A real MLServer and a real Triton, started as examples/serving says."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from worlds.servers import MissingServerError, Served, fetched, mlserver, triton

from calaudit.ab.endpoints import Endpoint
from calaudit.ab.kserve import KServeArm
from calaudit.ab.transports import RequestError
from calaudit.graph.load import load_model
from calaudit.runtime.errors import BackendError

pytest.importorskip("tritonclient.http", reason="tritonclient isn't installed")
pytestmark = pytest.mark.slow

MODEL = Path(__file__).parents[2] / "calaudit" / "demo" / "digits.onnx"
Server = Callable[..., AbstractContextManager[Served]]
SERVERS: dict[str, Server] = {"mlserver": mlserver, "triton": triton}
REQUESTS = 40


@pytest.fixture(scope="module", params=sorted(SERVERS))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel_cache: Path
) -> Iterator[tuple[str, Served]]:
    """A server of each kind that has the digit classifier."""
    folder = tmp_path_factory.mktemp("serving") / "models"
    with ExitStack() as held:
        try:
            server = SERVERS[request.param]({"digits": MODEL}, folder, wheel_cache)
            where = held.enter_context(server)
        except MissingServerError as missing:
            pytest.skip(str(missing))
        yield request.param, where


def arm_of(address: str, model: str = "digits") -> KServeArm:
    loaded = load_model(MODEL)
    endpoint = Endpoint.parse(f"{address}/{model}")
    return KServeArm(endpoint, loaded.inputs, loaded.outputs, timeout_s=20)


def images(n: int, size: int = 8) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((n, 1, size, size), dtype=np.float32)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_real_server_gives_the_answers_of_onnxruntime_to_the_bit(
    served: tuple[str, Served], protocol: str
):
    kind, where = served
    session = onnxruntime.InferenceSession(str(MODEL))
    arm = arm_of(getattr(where, protocol))
    arm.start()
    assert arm.record["server"].startswith(kind)
    assert arm.record["tensors"] == (
        "JSON" if (kind, protocol) == ("mlserver", "http") else "binary"
    )
    assert arm.notices == ()
    for each in images(REQUESTS):
        found = arm.ask({"image": each[None]})
        expected: list[Any] = session.run(["logits", "embedding"], {"image": each[None]})
        for name, values in zip(("logits", "embedding"), expected, strict=True):
            np.testing.assert_array_equal(found[name], values, strict=True)
    arm.close()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_real_servers_refusals_are_told_in_its_words(served: tuple[str, Served], protocol: str):
    _, where = served
    arm = arm_of(getattr(where, protocol))
    arm.start()
    with pytest.raises(RequestError) as caught:
        arm.ask({"image": images(1, 9)})
    assert caught.value.status == "error"
    assert re.search(r"shape|dimension", caught.value.message)
    arm.close()
    with pytest.raises(BackendError, match="doesn't tell about the model 'other'"):
        arm_of(getattr(where, protocol), "other").start()


def test_a_real_server_counts_the_requests_that_were_sent(served: tuple[str, Served]):
    kind, where = served
    name = {"mlserver": "model_infer_request_success_total", "triton": "nv_inference_count"}[kind]

    def counted() -> float:
        found = re.findall(rf'^{name}{{model="digits".*}} (\S+)$', fetched(where.metrics), re.M)
        return max(map(float, found), default=0.0)

    before = counted()
    arm = arm_of(where.http)
    arm.start()
    for each in images(REQUESTS):
        arm.ask({"image": each[None]})
    arm.close()
    until = time.monotonic() + 10
    while counted() - before < REQUESTS and time.monotonic() < until:
        time.sleep(0.1)  # Triton counts a request after it has answered
    assert counted() - before == REQUESTS
