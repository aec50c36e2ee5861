"""``calaudit ab`` against models on a real MLServer."""

import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from worlds.servers import MissingServerError, Served, free_ports, mlserver, prometheus, queried

from calaudit.ab.asked import Asked
from calaudit.ab.run import ab_audit
from calaudit.ab.showing import shown_live
from calaudit.ab.traffic import Traffic
from calaudit.report.ab.files import read_ab
from calaudit.results.ab import AbRecord
from calaudit.runtime.errors import Notice
from tests.audit.world import make_world
from tests.cli.running import Ended, calaudit

pytest.importorskip("tritonclient.http", reason="tritonclient isn't installed")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Serving:
    """A finished audit, and a server that has its FP32 model and an engine of it."""

    audit: Path
    served: Served


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, wheel_cache: Path) -> Iterator[Serving]:
    audit = make_world(tmp_path_factory.mktemp("world"), n=2400)
    assert calaudit("compare", audit, "--formats", "none").status == 1
    (engine,) = audit.with_suffix("").glob("engines/loud_only-minmax-*.onnx")
    models = {"fp32": audit.parent / "model.onnx", "int8": engine}
    with ExitStack() as held:
        try:
            served = held.enter_context(mlserver(models, audit.parent / "mlserver", wheel_cache))
        except MissingServerError as missing:
            pytest.skip(str(missing))
        yield Serving(audit, served)


def replayed(serving: Serving, out: Path, *arguments: object) -> tuple[Ended, AbRecord]:
    ended = calaudit("ab", serving.audit, *arguments, "--poisson", 200, "--out", out)
    return ended, read_ab(out / "ab.json")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_fp32_on_a_server_answers_as_in_process_to_the_bit(
    serving: Serving, tmp_path: Path, protocol: str
) -> None:
    address = f"{getattr(serving.served, protocol)}/fp32"
    arms = ("--arm", "fp32", "--arm", address)
    ended, record = replayed(serving, tmp_path, *arms, "--n", 400, "--shadow")
    assert ended.status in {0, 3}, ended.err
    (same,) = (each for each in record.same_answers if each.metric is None)
    assert same.samples > 300
    assert same.value == 1.0
    treatment = record.arms[1]
    assert (treatment.kind, treatment.name) == ("endpoint", address)
    assert treatment.details["server"] == "mlserver 1.7.1"
    assert treatment.statuses["ok"] == 400
    assert treatment.latency.p50_ms.value is not None


def test_harm_is_found_between_two_models_on_a_server(serving: Serving, tmp_path: Path) -> None:
    http = serving.served.http
    arms = ("--arm", f"{http}/fp32", "--arm", f"{http}/int8", "--users", 3000)
    ended, record = replayed(serving, tmp_path, *arms, "--n", 2000, "--metric", "top1")
    assert ended.status == 1, ended.err
    (quiet,) = (r for r in record.results if (r.metric, r.slice) == ("top1", "loudness = quiet"))
    assert quiet.verdict == "REGRESSED"
    assert [arm.failed for arm in record.arms] == [0, 0]


def test_prometheus_scrapes_a_replay_and_the_server_that_answers_it(
    serving: Serving, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    targets = {
        "calaudit-ab": f"127.0.0.1:{port}",
        "mlserver": urllib.parse.urlsplit(serving.served.metrics).netloc,
    }
    address = f"{serving.served.http}/fp32"
    traffic = Traffic(rate=50.0, seed=5)
    asked = Asked(arms=("fp32", address), requests=traffic, n=400, mode="shadow")
    told: list[Notice] = []
    found: dict[str, float] = {}
    with ExitStack() as held:
        try:
            started = prometheus(targets, tmp_path / "prometheus", every="500ms")
            here = held.enter_context(started)
        except MissingServerError as missing:
            pytest.skip(str(missing))
        watching = shown_live(str(port), (), told.append)
        ab_audit(serving.audit, asked, out=tmp_path / "ab", watching=watching)
        for name, query in {
            "sent": "last_over_time(calaudit_ab_requests_sent_total{arm='treatment'}[1m])",
            "answered": "sum(last_over_time(calaudit_ab_requests_total{status='ok'}[1m]))",
            "server": "sum(rate(rest_server_request_duration_seconds_count{path=~'.*/infer'}[1m]))",
        }.items():
            ((_, found[name]),) = queried(here, query)
    assert told[0].message == f"http://127.0.0.1:{port}/metrics"
    assert 200 < found["sent"] <= 400
    assert 400 < found["answered"] <= 800
    assert found["server"] > 0
