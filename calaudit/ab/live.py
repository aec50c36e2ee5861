"""What a replay shows Prometheus while it runs: requests, latencies per slice, the test's state.

Names follow Prometheus' conventions: base units, ``_total`` for counters, one prefix. Figures of
GPUs are left to DCGM's exporter; ``calaudit_ab_arm_info`` has its label ``Hostname``, to join by.
"""

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from calaudit.ab.endpoints import is_endpoint
from calaudit.results.ab import Status
from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.words import first_of, visible
from calaudit.version import __version__

if TYPE_CHECKING:
    from calaudit.slices.sliceset import CodedDimension, SliceSet

ROLES: Final = ("control", "treatment")
"""Values of the label ``arm``."""
BUCKETS: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
"""Upper ends of the histograms' buckets, in seconds."""
MOST_SLICES: Final = 50
"""Slices that may be asked for: each is 2 × (buckets + 3) series."""
USUAL_SLICES: Final = 20
"""Slices that are shown where nobody asks."""
_TIMED: Final = frozenset({"ok", "not_finite", "other_shape", "timeout"})
"""What becomes of requests that count as having taken time: an error that comes at once doesn't
make an arm faster."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Prometheus finds the page."""

    port: int
    host: str = "127.0.0.1"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``PORT`` or ``HOST:PORT``. Raises `SettingsError`."""
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or not 0 <= int(port) <= 65535:
            raise SettingsError(
                f"{visible(text)!r} is no port",
                where="--metrics-port",
                next_step="Give a port from 0 to 65535, 0 for any that is free, "
                "or HOST:PORT: 0.0.0.0:9109 for all interfaces.",
            )
        return cls(int(port), host.strip("[]") or "127.0.0.1")


@dataclass(frozen=True, slots=True)
class LiveResult:
    """One metric on one slice, as the always-valid test sees it at some request."""

    metric: str
    slice: str
    control: float | None
    treatment: float | None
    drop: float | None
    """Positive when the treatment loses."""
    drop_low: float | None
    """Lower end of the confidence sequence; None: not bounded yet."""
    drop_high: float | None
    """Upper end of it."""
    always_valid_p_value: float | None
    """Two-sided."""
    decided: bool
    """Whether it has shown a difference."""


def chosen_dimensions(
    slices: "SliceSet", asked: Sequence[str], most: int = MOST_SLICES
) -> "list[CodedDimension]":
    """The dimensions whose slices are shown.

    Parameters
    ----------
    slices : SliceSet
        The audit's.
    asked : sequence of str
        Names of dimensions; none: as many of the audit's, in its order, as have `USUAL_SLICES`
        slices together.
    most : int
        Slices that all of them may have together.

    Raises
    ------
    SettingsError
        There is no such dimension, or they have too many slices.
    """
    known = {each.name: each for each in slices.dimensions}
    if not asked:
        found: list[CodedDimension] = []
        for dimension in slices.dimensions:
            if sum(len(each.labels) for each in (*found, dimension)) <= USUAL_SLICES:
                found.append(dimension)
        return found
    for name in asked:
        if name not in known:
            raise SettingsError(
                f"the audit has no slices by {visible(name)!r}",
                where="--metrics-by",
                next_step=near(name, known),
            )
    chosen = [known[name] for name in dict.fromkeys(asked)]
    n = sum(len(each.labels) for each in chosen)
    if n > most:
        sizes = first_of([f"{each.name} {len(each.labels)}" for each in chosen], len(chosen))
        raise SettingsError(
            f"{n} slices are too many for Prometheus ({sizes})",
            where="--metrics-by",
            next_step=f"Choose dimensions that have {most} slices together at most.",
        )
    return chosen


class LiveMetrics:
    """The metrics of one replay, in a registry of their own; a `calaudit.ab.replay.Watcher`.

    Parameters
    ----------
    audit : str
        The audit's name.
    arms : sequence of str
        Control and treatment, by cell or address.
    groups : mapping
        Dimension → (names of its slices, int (n,): which of them each request is in, -1: none).
    timeout_s : float
        What requests that timed out count as, in seconds.
    """

    def __init__(
        self,
        audit: str,
        arms: Sequence[str],
        groups: Mapping[str, tuple[Sequence[str], NDArray[np.integer]]],
        *,
        timeout_s: float,
    ) -> None:
        self.registry = CollectorRegistry()
        self._timeout_s = timeout_s
        self._requests = self._counter(
            "requests", "Requests that ended, by what became of them.", "arm", "status"
        )
        self._sent = self._counter("requests_sent", "Requests that left.", "arm")
        self._outstanding = self._gauge(
            "outstanding_requests", "Requests without an answer yet.", "arm"
        )
        self._seconds = self._histogram("request_duration_seconds", "arm")
        self._of_slices = self._histogram(
            "slice_request_duration_seconds", "arm", "dimension", "slice"
        )
        self._tests = {
            name: self._gauge(name, text, "metric", "slice") for name, text in _TESTS.items()
        }
        self._ratio = self._gauge(
            "sample_ratio_p_value", "Always valid, of the shares of users that were asked for."
        )
        self._looked = self._gauge("watched_requests", "Requests at the last look at the tests.")
        self._describe(audit, arms)
        self._groups = [
            (codes.tolist(), [self._children(name, label) for label in labels])
            for name, (labels, codes) in groups.items()
        ]
        for role in ROLES:
            self._sent.labels(role)
            self._outstanding.labels(role)
            self._seconds.labels(role)
            for status in get_args(Status):
                self._requests.labels(role, status)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"calaudit_ab_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"calaudit_ab_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, *labels: str) -> Histogram:
        text = "From when a request should have left to its answer; timeouts count as the timeout."
        return Histogram(
            f"calaudit_ab_{name}", text, labels, registry=self.registry, buckets=BUCKETS
        )

    def _children(self, dimension: str, label: str) -> list[Histogram]:
        return [self._of_slices.labels(arm, visible(dimension), visible(label)) for arm in ROLES]

    def _describe(self, audit: str, arms: Sequence[str]) -> None:
        info = self._gauge(
            "info", "Always 1; what is replayed, by which release.", "audit", "version"
        )
        info.labels(visible(audit), __version__).set(1)
        text = "Always 1; what an arm is, with the labels that DCGM's exporter gives its host."
        told = self._gauge("arm_info", text, "arm", "name", "kind", "Hostname")
        for role, name in zip(ROLES, arms, strict=True):
            kind = "endpoint" if is_endpoint(name) else "engine"
            told.labels(role, visible(name), kind, visible(host_of(name))).set(1)

    def sent(self, arm: int, request: int) -> None:
        """See `calaudit.ab.replay.Watcher`."""
        self._sent.labels(ROLES[arm]).inc()
        self._outstanding.labels(ROLES[arm]).inc()

    def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
        """See `calaudit.ab.replay.Watcher`."""
        self._requests.labels(ROLES[arm], status).inc()
        self._outstanding.labels(ROLES[arm]).dec()
        if status not in _TIMED:
            return
        took = self._timeout_s if status == "timeout" or seconds is None else seconds
        self._seconds.labels(ROLES[arm]).observe(took)
        for codes, children in self._groups:
            code = codes[request]
            if code >= 0:
                children[code][arm].observe(took)

    def tested(self, states: Sequence[LiveResult], requests: int, ratio_p: float | None) -> None:
        """Show the tests' state after `requests` requests; what isn't known yet has no value."""
        self._looked.set(requests)
        if ratio_p is not None:
            self._ratio.set(ratio_p)
        for state in states:
            labels = (visible(state.metric), visible(state.slice))
            for name, gauge in self._tests.items():
                value = getattr(state, name)
                if value is not None:
                    gauge.labels(*labels).set(value)


_TESTS: Final = {
    "control": "The metric of the control so far.",
    "treatment": "The metric of the treatment so far.",
    "drop": "Quality lost so far: positive when the treatment is worse.",
    "drop_low": "Lower end of the drop's confidence sequence.",
    "drop_high": "Upper end of the drop's confidence sequence.",
    "always_valid_p_value": "Of no difference; it holds however often one looks.",
    "decided": "1 once the always-valid test has shown a difference, 0 before.",
}


def host_of(arm: str) -> str:
    """The host that an arm runs on, as DCGM's exporter calls it; this one's for engines."""
    host = urlsplit(arm).hostname if is_endpoint(arm) else None
    if host is None or host in {"localhost", "127.0.0.1", "::1"}:
        return socket.gethostname()
    return host


@contextmanager
def exposed(registry: CollectorRegistry, address: Address) -> Iterator[str]:
    """Serve a registry's metrics for as long as the block runs.

    Yields
    ------
    str
        Where: ``http://host:port/metrics``.

    Raises
    ------
    SettingsError
        The port is taken, or can't be listened on.
    """
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise SettingsError(
            _unusable(address, error),
            where="--metrics-port",
            next_step="Give another port, or 0 for any that is free.",
        ) from None
    try:
        host = f"[{address.host}]" if ":" in address.host else address.host
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unusable(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {address.port} of {address.host} is in use by another program"
        case errno.EACCES:
            return f"port {address.port} may not be used by this user"
        case errno.EADDRNOTAVAIL:
            return f"{address.host} is no address of this machine"
        case _:
            return f"can't listen on {address.host}:{address.port} ({error.strerror or error})"
