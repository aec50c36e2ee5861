"""What a replay shows Prometheus, read from its page as Prometheus does."""

import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from calaudit.ab.live import (
    BUCKETS,
    MOST_SLICES,
    Address,
    LiveMetrics,
    LiveResult,
    chosen_dimensions,
    exposed,
    host_of,
)
from calaudit.results.ab import Status
from calaudit.runtime.errors import SettingsError
from calaudit.slices.sliceset import CodedDimension, SliceSet

NOISE = ("noise < 0.1", "noise ≥ 0.1")
CODES = np.array([0, 0, 1, 1, -1, 0])
"""Of six requests; the fifth is in no slice."""


def metrics() -> LiveMetrics:
    arms = ("fp32", "grpc://10.0.0.7:8001/int8")
    return LiveMetrics("digits", arms, {"noise": (NOISE, CODES)}, timeout_s=2.0)


def dimension(name: str, n: int) -> CodedDimension:
    return CodedDimension(name, tuple(f"{name} {k}" for k in range(n)), np.zeros(4, np.int32))


def page_of(live: LiveMetrics) -> str:
    with exposed(live.registry, Address(0)) as address, urllib.request.urlopen(address) as answer:
        return str(answer.read().decode())


def values_of(live: LiveMetrics) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(page_of(live))
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def of(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"calaudit_ab_{name}", frozenset(labels.items())


def test_before_the_first_request_every_counter_is_there_and_zero():
    found = values_of(metrics())
    for arm in ("control", "treatment"):
        assert found[of("requests_sent_total", arm=arm)] == 0
        assert found[of("request_duration_seconds_count", arm=arm)] == 0
        for status in get_args(Status):
            assert found[of("requests_total", arm=arm, status=status)] == 0
        for name in NOISE:
            labels = {"arm": arm, "dimension": "noise", "slice": name}
            assert found[of("slice_request_duration_seconds_count", **labels)] == 0


def test_requests_are_counted_by_arm_and_by_what_became_of_them():
    live = metrics()
    for request in range(6):
        live.sent(0, request)
        live.sent(1, request)
    for request, status in enumerate(get_args(Status)):
        live.ended(1, request, status, 0.004)
    found = values_of(live)
    assert found[of("requests_sent_total", arm="treatment")] == 6
    assert found[of("outstanding_requests", arm="treatment")] == 0
    assert found[of("outstanding_requests", arm="control")] == 6
    for status in get_args(Status):
        assert found[of("requests_total", arm="treatment", status=status)] == 1
        assert found[of("requests_total", arm="control", status=status)] == 0


def test_latencies_are_told_in_seconds_by_arm_and_slice_and_timeouts_count_as_the_timeout():
    live = metrics()
    live.ended(0, 0, "ok", 0.0015)
    live.ended(0, 2, "ok", 0.3)
    live.ended(0, 3, "timeout", None)
    live.ended(0, 4, "ok", 0.0015)
    live.ended(0, 5, "error", 0.0001)
    found = values_of(live)
    assert found[of("request_duration_seconds_count", arm="control")] == 4
    total = found[of("request_duration_seconds_sum", arm="control")]
    assert total == pytest.approx(0.0015 + 0.3 + 2.0 + 0.0015)
    assert found[of("request_duration_seconds_bucket", arm="control", le="0.002")] == 2
    for name, count in zip(NOISE, (1, 2), strict=True):
        labels = {"arm": "control", "dimension": "noise", "slice": name}
        assert found[of("slice_request_duration_seconds_count", **labels)] == count


def test_the_tests_state_has_values_once_something_is_known():
    live = metrics()
    before = LiveResult("top1", "all", 0.9, 0.8, 0.1, None, None, None, decided=False)
    live.tested([before], 10, None)
    found = values_of(live)
    labels = {"metric": "top1", "slice": "all"}
    assert found[of("drop", **labels)] == 0.1
    assert found[of("decided", **labels)] == 0
    assert of("drop_low", **labels) not in found
    live.tested(
        [LiveResult("top1", "all", 0.9, 0.8, 0.1, 0.02, 0.18, 0.003, decided=True)], 99, 0.4
    )
    found = values_of(live)
    assert found[of("drop_low", **labels)] == 0.02
    assert found[of("drop_high", **labels)] == 0.18
    assert found[of("always_valid_p_value", **labels)] == 0.003
    assert found[of("decided", **labels)] == 1
    assert found[of("sample_ratio_p_value")] == 0.4
    assert found[of("watched_requests")] == 99


def test_arms_are_named_once_with_the_host_that_dcgm_names():
    found = values_of(metrics())
    here = {"arm": "control", "name": "fp32", "kind": "engine", "Hostname": socket.gethostname()}
    assert found[of("arm_info", **here)] == 1
    name = "grpc://10.0.0.7:8001/int8"
    there = {"arm": "treatment", "name": name, "kind": "endpoint", "Hostname": "10.0.0.7"}
    assert found[of("arm_info", **there)] == 1
    assert host_of("http://localhost:1/m") == socket.gethostname()


def test_two_replays_in_one_process_have_metrics_of_their_own():
    one, other = metrics(), metrics()
    one.sent(0, 0)
    assert values_of(other)[of("requests_sent_total", arm="control")] == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus isn't installed")
def test_promtool_finds_nothing_to_say_about_the_page():
    live = metrics()
    live.ended(0, 0, "ok", 0.0015)
    live.tested([LiveResult("top1", "all", 0.9, 0.8, 0.1, 0.0, 0.2, 0.5, decided=False)], 9, 0.4)
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=page_of(live),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_server_ends_with_the_block_and_the_port_is_free_again():
    with exposed(metrics().registry, Address(0)) as address:
        port = int(address.split(":")[2].split("/")[0])
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address)
    with exposed(metrics().registry, Address(port)) as again:
        assert again == address


def test_a_port_in_use_is_refused_before_anything_is_sent():
    with exposed(metrics().registry, Address(0)) as address:
        port = int(address.split(":")[2].split("/")[0])
        second = exposed(metrics().registry, Address(port))
        with pytest.raises(SettingsError, match="is in use by another program"), second:
            pass


def test_an_address_of_another_machine_is_refused():
    elsewhere = exposed(metrics().registry, Address(0, "192.0.2.1"))
    told = r"192\.0\.2\.1 is no address of this machine"
    with pytest.raises(SettingsError, match=told), elsewhere:
        pass


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9109", Address(9109)),
        ("0.0.0.0:9109", Address(9109, "0.0.0.0")),
        ("[::1]:0", Address(0, "::1")),
        (":9109", Address(9109)),
    ],
)
def test_a_port_is_read_with_the_interface_before_it(text: str, address: Address):
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "no", "65536", "-1", "host:", "1.5", "²"])
def test_what_is_no_port_is_refused(text: str):
    with pytest.raises(SettingsError, match="Give a port from 0 to 65535"):
        Address.parse(text)


def test_slices_are_bounded_by_dimension():
    slices = SliceSet(4, (dimension("a", 12), dimension("b", 30), dimension("c", 8)))
    assert [each.name for each in chosen_dimensions(slices, [])] == ["a", "c"]
    assert [each.name for each in chosen_dimensions(slices, ["b", "b"])] == ["b"]
    assert chosen_dimensions(SliceSet(4), []) == []
    with pytest.raises(SettingsError, match=r"Did you mean|Known"):
        chosen_dimensions(slices, ["nothing"])
    many = SliceSet(4, (dimension("a", MOST_SLICES), dimension("b", 1)))
    with pytest.raises(SettingsError, match=rf"{MOST_SLICES + 1} slices are too many .*a 50, b 1"):
        chosen_dimensions(many, ["a", "b"])


def test_buckets_are_ascending_and_reach_past_the_usual_timeout():
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert BUCKETS[-1] >= 10
