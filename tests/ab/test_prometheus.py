"""A real Prometheus that scrapes a replay's page, with the rules and the dashboard of examples/."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.servers import EXAMPLES, asked, queried
from worlds.servers import prometheus as started

from calaudit.ab.live import Address, LiveMetrics, LiveResult, exposed, host_of
from tests.wheels import installed_wheel

MONITORING = EXAMPLES / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
NOISE = ("noise < 0.1", "noise ≥ 0.1")
ARMS = ("fp32", "http://127.0.0.1:8080/int8")
SECONDS = 6.0
"""How long the replay that is scraped goes on."""
RATE = 100
"""Its requests per second, of each arm."""
pytestmark = pytest.mark.slow
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus isn't installed",
)

EXPORTERS = """\
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="GPU-1",device="nvidia0",modelName="T4",Hostname="{host}"}} 61
DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="GPU-2",device="nvidia0",modelName="T4",Hostname="other"}} 99
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{{gpu="0",UUID="GPU-1",device="nvidia0",modelName="T4",Hostname="{host}"}} 1024
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-1",device="nvidia0",modelName="T4",Hostname="{host}"}} 55
# TYPE rest_server_request_duration_seconds histogram
rest_server_request_duration_seconds_sum{{path="/v2/models/x/infer",status_code="200"}} {t}
rest_server_request_duration_seconds_count{{path="/v2/models/x/infer",status_code="200"}} {n}
# TYPE grpc_server_handling_seconds histogram
grpc_server_handling_seconds_sum{{grpc_method="ModelInfer"}} {t}
grpc_server_handling_seconds_count{{grpc_method="ModelInfer"}} {n}
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="digits",version="1"}} {n}
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{{model="digits",version="1"}} {us}
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{{model="digits",version="1"}} {us}
"""
"""Stands in for what DCGM's exporter, MLServer and Triton say, as far as the dashboard asks."""


class Exporters(BaseHTTPRequestHandler):
    """Stands in for DCGM's exporter, MLServer and Triton."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        n = int(time.monotonic() * 100)
        text = EXPORTERS.format(host=host_of("fp32"), n=n, t=n * 0.003, us=n * 3000)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def exporters() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporters)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def replayed(live: LiveMetrics) -> None:
    """A replay: the control takes 4 ms, the treatment 40, and every tenth of it fails."""
    for request in range(int(SECONDS * RATE)):
        for arm, took in enumerate((0.004, 0.04)):
            live.sent(arm, request)
            bad = arm == 1 and request % 10 == 0
            live.ended(arm, request, "error" if bad else "ok", took)
        state = LiveResult("top1", "all", 0.9, 0.8, 0.1, 0.02, 0.18, 0.003, decided=True)
        live.tested([state], request, 0.4)
        time.sleep(1 / RATE)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus by the example's configuration, after a replay."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus isn't installed")
    codes = np.arange(int(SECONDS * RATE)) % 2
    live = LiveMetrics("digits", ARMS, {"noise": (NOISE, codes)}, timeout_s=2.0)
    with exposed(live.registry, Address(0)) as page, exporters() as others:
        targets = {"calaudit-ab": urllib.parse.urlsplit(page).netloc, "dcgm": f"127.0.0.1:{others}"}
        folder = tmp_path_factory.mktemp("prometheus") / "run"
        with started(targets, folder, every="500ms") as address:
            replayed(live)
            until = time.monotonic() + 20
            while time.monotonic() < until:
                seen = queried(address, "sum(calaudit_ab_requests_total)")
                if seen and seen[0][1] == 2 * SECONDS * RATE:
                    break
                time.sleep(0.2)
            yield address


def test_requests_arrive_in_prometheus_as_they_were_counted(prometheus: str):
    found = queried(prometheus, "sum by (arm, status) (calaudit_ab_requests_total) > 0")
    counted = {(labels["arm"], labels["status"]): value for labels, value in found}
    n = SECONDS * RATE
    assert counted == {
        ("control", "ok"): n,
        ("treatment", "ok"): 0.9 * n,
        ("treatment", "error"): 0.1 * n,
    }


def test_quantiles_are_those_of_the_replay_within_their_bucket(prometheus: str):
    expr = "histogram_quantile(0.5, rate(calaudit_ab_request_duration_seconds_bucket[30s]))"
    found = {labels["arm"]: value for labels, value in queried(prometheus, expr)}
    assert 0.003 < found["control"] <= 0.005
    assert 0.03 < found["treatment"] <= 0.05


def test_slices_are_groups_of_the_same_requests(prometheus: str):
    expr = "sum by (slice) (calaudit_ab_slice_request_duration_seconds_count{arm='control'})"
    found = {labels["slice"]: value for labels, value in queried(prometheus, expr)}
    assert found == dict.fromkeys(NOISE, SECONDS * RATE / 2)


def test_gpus_are_joined_by_host_under_dcgms_own_names(prometheus: str):
    joined = "DCGM_FI_DEV_GPU_UTIL and on (Hostname) calaudit_ab_arm_info"
    ((labels, value),) = queried(prometheus, joined)
    assert (labels["UUID"], value) == ("GPU-1", 61)
    assert len(queried(prometheus, "DCGM_FI_DEV_GPU_UTIL")) == 2


def test_the_rules_are_evaluated_and_a_loss_fires(prometheus: str):
    groups = asked(prometheus, "rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    assert rules["CalauditAbRegressed"]["state"] == "firing"
    assert rules["CalauditAbSampleRatioMismatch"]["state"] == "inactive"
    ratio = 'arm:calaudit_ab_requests:failed_ratio_1m{arm="treatment"}'
    ((_, value),) = queried(prometheus, ratio)
    assert value == pytest.approx(0.1, abs=0.02)


def asked_by_dashboard() -> list[tuple[str, str]]:
    """(panel, query) of each query of the dashboard."""
    return [
        (f"{panel['title']}, {target['refId']}", target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.mark.parametrize(
    ("panel", "expr"), asked_by_dashboard(), ids=[panel for panel, _ in asked_by_dashboard()]
)
def test_each_query_of_the_dashboard_finds_something(prometheus: str, panel: str, expr: str):
    instance = queried(prometheus, "calaudit_ab_info")[0][0]["instance"]
    for name, value in {
        "$__rate_interval": "30s",
        "$instance": instance,
        "$dimension": "noise",
        "$metric": "top1",
        "$slice": ".*",
    }.items():
        expr = expr.replace(name, value)
    assert "$" not in expr
    found = queried(prometheus, expr)
    assert found
    assert all(np.isfinite(value) for _, value in found)


def test_the_dashboards_variables_find_something(prometheus: str):
    instance = queried(prometheus, "calaudit_ab_info")[0][0]["instance"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] != "query":
            continue
        text = variable["query"]["query"].replace("$instance", instance).replace("$metric", "top1")
        inside = text.removeprefix("label_values(").removesuffix(")")
        series, label = inside.rsplit(", ", 1)
        assert label in queried(prometheus, series)[0][0]


@needs_prometheus
def test_promtool_accepts_the_configuration_and_the_rules():
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(
            ["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_dashboard_is_kept_whole_by_grafanas_own_types(
    wheel_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    site = installed_wheel("grafana-foundation-sdk==1769699998!10.1.0", wheel_cache)
    monkeypatch.syspath_prepend(site)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, kept)) == [
        f".templating.list.{k}.definition" for k in range(1, 5)
    ]  # of Grafana's editor


def lost(given: Any, kept: Any, at: str = "") -> Iterator[str]:
    """Places where `kept` isn't what was given."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept.get(key), f"{at}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{at}.{number}")
    elif given != kept:
        yield at
