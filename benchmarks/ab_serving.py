"""Engines behind a real MLServer and a real Triton, beside the same engines in this process.

    python benchmarks/ab_serving.py [--n 600] [--rate 30] [--cache FOLDER] [--only triton]

The digits of `calaudit demo`, audited with onnxruntime's fused kernels; FP32 and one INT8 engine
served by the programs of examples/serving; each asked in shadow mode over HTTP and over gRPC.
Prints how many answers are those of the engine in process, to the bit; latencies as calaudit counts
them, beside the servers' own metrics; and what a Prometheus that scrapes both says. Servers and
Prometheus that can't be had are named and left out.
"""

import argparse
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from prometheus_client.parser import text_string_to_metric_families
from worlds.servers import (
    MissingServerError,
    Served,
    fetched,
    free_ports,
    mlserver,
    prometheus,
    queried,
    triton,
)

from calaudit.ab.asked import Asked
from calaudit.ab.run import ab_audit
from calaudit.ab.showing import shown_live
from calaudit.ab.traffic import Traffic
from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.demo.digits import write_demo
from calaudit.results.ab import AbRecord

AUDIT = """
[audit]
name = "digits, served"
model = "digits.onnx"
pool = "digits.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
cluster_by = "image"
methods = ["minmax"]
kernels = "fused" # as servers run such a graph

[[slices]]
by = "noise"
edges = [0.05, 0.15, 0.25, 0.35]

[[calibsets]]
name = "clean"
kind = "uniform"
size = 128
candidates = "split = 'calibration' and noise = 0"

[[tasks]]
kind = "classification"
output = "logits"
metrics = ["top1"]

[[gates]]
metric = "top1"
max_drop = 0.03
"""
CELLS = {"fp32": "fp32", "int8": "clean/minmax"}
"""Model as it is served → cell."""
SERVERS: Mapping[str, Callable[..., AbstractContextManager[Served]]] = {
    "mlserver": mlserver,
    "triton": triton,
}
OURS = "calaudit_ab_request_duration_seconds"
QUERIES = (
    "sum by (arm, status) (last_over_time(calaudit_ab_requests_total[1m])) > 0",
    f"1000 * histogram_quantile(0.5, sum by (arm, le) (rate({OURS}_bucket[1m])))",
    f"1000 * sum by (arm) (rate({OURS}_sum[1m])) / sum by (arm) (rate({OURS}_count[1m]))",
    '1000 * sum(rate(rest_server_request_duration_seconds_sum{path=~".*/infer"}[1m]))'
    ' / sum(rate(rest_server_request_duration_seconds_count{path=~".*/infer"}[1m]))',
)


def main(n: int, rate: float, cache: Path, only: str | None) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_demo(folder)
        audit = folder / "served.toml"
        audit.write_text(AUDIT, "utf-8")
        run_audit(audit, Overrides(), formats="none")
        models = served_models(folder)
        print(f"{n} requests of one sample, Poisson, {rate:g} per second, both arms each\n")
        print("| server | model | over | same, to the bit | failed | in process, P50 ms | P99 |"
              " served, P50 ms | P99 | mean | the server's own mean |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        scraped: list[str] = []
        for kind, start in SERVERS.items():
            if only not in {None, kind}:
                continue
            with ExitStack() as held:
                try:
                    where = held.enter_context(start(models, folder / kind, cache))
                except MissingServerError as missing:
                    print(f"| {kind}: {missing} |")
                    continue
                for model, cell in CELLS.items():
                    for protocol in ("http", "grpc"):
                        asked = asked_of(cell, f"{getattr(where, protocol)}/{model}", n, rate)
                        before = own_mean(kind, where, model, protocol)
                        record, _ = ab_audit(audit, asked, out=folder / "ab")
                        after = own_mean(kind, where, model, protocol)
                        print(line([kind, model, protocol], record, before, after))
                if kind == "mlserver":
                    scraped = list(by_prometheus(audit, where, n, rate, folder))
        if not scraped:
            return
        print("\nPrometheus, of MLServer, FP32 over HTTP (times in ms):\n")
        print("\n".join(scraped))


def served_models(folder: Path) -> dict[str, Path]:
    """Model → ONNX file, as the audit built it."""
    (int8,) = (folder / "served" / "engines").glob("clean-minmax-*.onnx")
    return {"fp32": folder / "digits.onnx", "int8": int8}


def asked_of(cell: str, address: str, n: int, rate: float) -> Asked:
    """An engine in process, and the same one on a server, on every request."""
    traffic = Traffic(rate=rate, bursty=False, users=200, seed=1)
    return Asked(arms=(cell, address), requests=traffic, n=n, mode="shadow")


def own_mean(kind: str, where: Served, model: str, protocol: str) -> tuple[float, float]:
    """Seconds and requests by a server's own metrics."""
    page = text_string_to_metric_families(fetched(where.metrics))
    values = [(s.name, s.labels, s.value) for family in page for s in family.samples]
    if kind == "triton":
        names = ("nv_inference_request_duration_us", "nv_inference_request_success")
        wanted: dict[str, str] = {"model": model}
        scale = 1e-6
    elif protocol == "http":
        name = "rest_server_request_duration_seconds"
        names, scale = (f"{name}_sum", f"{name}_count"), 1.0
        wanted = {"path": "/v2/models/{model_name}/infer", "status_code": "200"}
    else:
        name = "grpc_server_handling_seconds"
        names, scale = (f"{name}_sum", f"{name}_count"), 1.0
        wanted = {"grpc_method": "ModelInfer"}
    found = [
        sum(
            value
            for name, labels, value in values
            # The parser gives counters without it the ending.
            if name in {each, f"{each}_total"} and wanted.items() <= labels.items()
        )
        for each in names
    ]
    return found[0] * scale, found[1]


def line(
    names: list[str], record: AbRecord, before: tuple[float, float], after: tuple[float, float]
) -> str:
    """A row of the table."""
    control, treatment = record.arms
    same = next(each for each in record.same_answers if each.metric is None)
    seconds, requests = (b - a for a, b in zip(before, after, strict=True))
    near, far = control.latency, treatment.latency
    for failure in treatment.failures:
        print(f"failed {failure.count} times: {failure.message}", file=sys.stderr)
    own = f"{1000 * seconds / requests:.2f} of {requests:g}" if requests else "none counted"
    cells = [
        *(*names, f"{same.value:.1%} of {same.samples} samples"),
        str(control.failed + treatment.failed),
        *(told(near.p50_ms), told(near.p99_ms)),
        *(told(far.p50_ms), told(far.p99_ms), f"{far.mean_ms:.2f}"),
        own,
    ]
    return f"| {' | '.join(cells)} |"


def told(estimate: Any) -> str:
    """A time with its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"


def by_prometheus(audit: Path, where: Served, n: int, rate: float, folder: Path) -> Iterator[str]:
    """What a Prometheus says of one more replay and of the server, query by query."""
    (port,) = free_ports(1)
    targets = {
        "calaudit-ab": f"127.0.0.1:{port}",
        "mlserver": urllib.parse.urlsplit(where.metrics).netloc,
    }
    asked = asked_of(CELLS["fp32"], f"{where.http}/fp32", n, rate)
    try:
        with prometheus(targets, folder / "prometheus", every="1s") as address:
            watching = shown_live(str(port), ["noise"], lambda page: None)
            ab_audit(audit, asked, out=folder / "ab", watching=watching)
            time.sleep(1)
            for query in QUERIES:
                yield f"    {query}"
                for labels, value in queried(address, query):
                    yield f"      {dict(labels)} {value:.6g}"
    except MissingServerError as missing:
        yield str(missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--cache", type=Path, default=user_cache_path("calaudit") / "servers")
    parser.add_argument("--only", choices=sorted(SERVERS))
    given = parser.parse_args()
    main(given.n, given.rate, given.cache, given.only)
