"""A server that stalls for two seconds, measured by calaudit's open loop and by a closed loop.

The server (a process of its own, HTTP, one request at a time) answers in about a millisecond and
stands still once for two seconds. Requests come in a Poisson process. In fluid terms, with λ
requests per second, s seconds each and ρ = λs, who comes t seconds after the stall of S seconds
began waits S − t(1 − ρ), until t = S/(1 − ρ). So of a run of T seconds a share of
S/(1 − ρ)/T·(1 − x/S) waits longer than x, and

    P99 = S·(1 − 0.01·T·(1 − ρ)/S).

The closed loop sends its next request when it has the answer to the last, with one connection and
with eight: it meets the stall once per connection, however many users would have met it.
"""

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np

from calaudit.ab.replay import OK, Schedule, replay
from calaudit.ab.traffic import poisson
from calaudit.ab.transports import RequestError

RATE, SECONDS, STALL, AT, SERVICE = 200.0, 20.0, 2.0, 6.0, 0.001
CONNECTIONS = 32


class Serving(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    begun: ClassVar[list[float]] = []
    stalled = False

    def log_message(self, *args: Any) -> None: ...

    def do_GET(self) -> None:
        kind = type(self)
        if self.path == "/begin":
            kind.begun, kind.stalled = [time.monotonic()], False
        else:
            with kind.lock:
                since = time.monotonic() - kind.begun[0]
                if not kind.stalled and since >= AT:
                    kind.stalled = True
                    time.sleep(STALL)
                time.sleep(SERVICE)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class HttpArm:
    """The server, asked over connections that are kept."""

    name = "stalling"
    concurrency = CONNECTIONS
    record: Mapping[str, str] = {"endpoint": "http"}

    def __init__(self, port: int) -> None:
        self._port, self._mine = port, threading.local()

    def start(self) -> None: ...

    def close(self) -> None: ...

    def ask(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        if not hasattr(self._mine, "connection"):
            self._mine.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            self._mine.connection.request("GET", "/")
            self._mine.connection.getresponse().read()
        except OSError as error:
            raise RequestError("lost", str(error)) from None
        return {}

    def begin(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", "/begin")
        connection.getresponse().read()
        connection.close()


class Nothing:
    """Keeps no answers."""

    def keep(self, arm: int, request: int, outputs: Mapping[str, Any]) -> tuple[int, str]:
        return OK, ""


def open_loop(arm: HttpArm) -> np.ndarray:
    """Latencies in seconds, from when requests should have left."""
    due = poisson(np.random.default_rng(0), RATE, int(1.2 * RATE * SECONDS))
    due = due[due < SECONDS]
    schedule = Schedule(due, np.zeros(len(due), np.int64), None)
    arm.begin()
    found = replay(schedule, [arm], [{}] * len(due), Nothing(), timeout=30.0)
    late = 1e3 * np.quantile(found.lag, 0.99)
    print(f"open loop: {len(due)} requests, 99 % left within {late:.2f} ms of their time")
    return found.courses[0].done - due


def closed_loop(arm: HttpArm, connections: int) -> np.ndarray:
    """Latencies in seconds as a client measures them that waits for each answer."""
    arm.begin()
    until, found = time.monotonic() + SECONDS, []

    def client() -> None:
        while (sent := time.monotonic()) < until:
            arm.ask({})
            found.append(time.monotonic() - sent)

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return np.array(found)


def main() -> None:
    process = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        arm = HttpArm(int(process.stdout.readline()))
        one, eight = closed_loop(arm, 1), closed_loop(arm, 8)
        ours = open_loop(arm)
    finally:
        process.terminate()
    busy = RATE * float(np.median(one))
    share = 0.01 * SECONDS * (1 - busy) / STALL
    rows = [("analytic (fluid)", "", STALL * (1 - share), STALL)]
    for name, found in (
        ("open loop (calaudit)", ours),
        ("closed loop, 1 connection", one),
        ("closed loop, 8 connections", eight),
    ):
        late = int(np.count_nonzero(found > 0.1))
        rows.append((name, f"{late:,} of {len(found):,}", *np.quantile(found, [0.99, 1.0])))
    print(f"stall {STALL:g} s of {SECONDS:g} s, {RATE:g} requests/s, load {busy:.2f}\n")
    print(f"{'':28} {'over 0.1 s':>16} {'P99 ms':>10} {'max ms':>10}")
    for name, over, p99, most in rows:
        print(f"{name:28} {over:>16} {1e3 * p99:10,.1f} {1e3 * most:10,.1f}")


def serve() -> None:
    server = Server(("127.0.0.1", 0), Serving)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
