"""The always-valid tests as Prometheus sees them during a replay: at its end, the record's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from calaudit.ab import looking
from calaudit.ab.asked import Asked
from calaudit.ab.live import LiveMetrics
from calaudit.ab.looking import Looker
from calaudit.ab.run import Live, ab_audit
from calaudit.ab.traffic import Traffic
from calaudit.results.ab import AbRecord, AbResult, Mode
from calaudit.results.comparison import ALL
from tests.audit.world import make_world
from tests.cli.running import calaudit

HARMED = "loud only/minmax"
SLICES = ("loudness = quiet", "loudness = loud")
Gauges = dict[tuple[str, str, str], float]
"""(gauge, metric, slice) → value."""


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_world(tmp_path_factory.mktemp("world"), n=2400)
    assert calaudit("compare", path, "--formats", "none").status == 1
    return path


def gauges_of(metrics: LiveMetrics) -> Gauges:
    samples = [each for family in metrics.registry.collect() for each in family.samples]
    return {
        (
            s.name.removeprefix("calaudit_ab_"),
            s.labels.get("metric", ""),
            s.labels.get("slice", ""),
        ): s.value
        for s in samples
    }


def looked_at(
    audit: Path, out: Path, *, mode: Mode = "split", n: int = 1500
) -> tuple[AbRecord, Gauges, list[Gauges]]:
    """A replay's record, the tests' state after its last request, and at each look before."""
    last: Gauges = {}
    before: list[Gauges] = []

    @contextmanager
    def watching(live: Live) -> Iterator[Looker]:
        metrics = LiveMetrics("world", live.asked.named, {}, timeout_s=10)

        class Noted(Looker):
            def look(self) -> None:
                super().look()
                before.append(gauges_of(metrics))

        looker = Noted(live, metrics, SLICES)
        with looker.looking():
            yield looker
        Looker.look(looker)
        last.update(gauges_of(metrics))

    asked = Asked(
        arms=("fp32", HARMED),
        requests=Traffic(rate=500.0, users=n, skew=0.0, seed=3),
        n=n,
        mode=mode,
        metrics=("top1",),
    )
    record, _ = ab_audit(audit, asked, out=out, watching=watching)
    return record, last, before


def result_of(record: AbRecord, metric: str, slice_: str) -> AbResult:
    (found,) = (r for r in record.results if (r.metric, r.slice) == (metric, slice_))
    return found


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_after_the_last_request_the_state_is_that_of_the_record(
    audit: Path, tmp_path: Path, mode: str
) -> None:
    record, last, _ = looked_at(audit, tmp_path, mode=mode)
    for metric, slices in {"top1": (ALL, *SLICES), "failures": (ALL,)}.items():
        for slice_ in slices:
            result = result_of(record, metric, slice_)
            told = {
                "control": result.control,
                "treatment": result.treatment,
                "drop": result.drop,
                "drop_low": result.always_low,
                "drop_high": result.always_high,
                "always_valid_p_value": result.always_p,
            }
            for name, value in told.items():
                if value is not None:
                    assert last[name, metric, slice_] == pytest.approx(value, abs=1e-9), name
    assert last["decided", "top1", "loudness = quiet"] == 1
    assert last["drop_low", "top1", "loudness = quiet"] > 0
    assert last["decided", "top1", "loudness = loud"] == 0
    assert last["watched_requests", "", ""] == record.replayed.sent
    if record.sample_ratio is not None:
        assert last["sample_ratio_p_value", "", ""] == record.sample_ratio.always_p


def test_looks_come_while_requests_run_and_see_more_each_time(
    audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "EVERY", 0.3)
    monkeypatch.setattr(looking, "SHARE", 0.9)
    record, _, before = looked_at(audit, tmp_path)
    seen = [each["watched_requests", "", ""] for each in before]
    assert len(seen) > 1
    assert seen == sorted(set(seen))
    assert seen[-1] < record.replayed.sent


def test_requests_behind_one_without_an_answer_are_not_looked_at_yet(
    audit: Path, tmp_path: Path
) -> None:
    @contextmanager
    def watching(live: Live) -> Iterator[Looker]:
        metrics = LiveMetrics("world", live.asked.named, {}, timeout_s=10)

        class Deaf(Looker):
            def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
                if request != 100:
                    super().ended(arm, request, status, seconds)

        looker = Deaf(live, metrics, SLICES)
        yield looker
        looker.look()
        assert gauges_of(metrics)["watched_requests", "", ""] == 100

    asked = Asked(arms=("fp32", HARMED), requests=Traffic(rate=500.0, seed=3), n=300)
    ab_audit(audit, asked, out=tmp_path, watching=watching)


def test_what_a_look_raises_ends_the_replay_with_it(
    audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "EVERY", 0.1)

    def broken(self: Looker) -> None:
        raise ZeroDivisionError("of a look")

    monkeypatch.setattr(Looker, "look", broken)

    @contextmanager
    def watching(live: Live) -> Iterator[Looker]:
        looker = Looker(live, LiveMetrics("world", live.asked.named, {}, timeout_s=10), SLICES)
        with looker.looking():
            yield looker

    asked = Asked(arms=("fp32", HARMED), requests=Traffic(rate=500.0, seed=3), n=500)
    with pytest.raises(ZeroDivisionError, match="of a look"):
        ab_audit(audit, asked, out=tmp_path, watching=watching)


def test_a_port_in_use_ends_the_command_before_a_request_is_sent(
    audit: Path, tmp_path: Path
) -> None:
    arms = ("--arm", "fp32", "--arm", HARMED, "--poisson", 500, "--n", 50, "--out", tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = calaudit("ab", audit, *arms, "--metrics-port", port)
    assert ended.status == 2
    assert f"--metrics-port: port {port} of 127.0.0.1 is in use by another program" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--metrics-by", "loudness"), "Give --metrics-port, too."),
        (("--metrics-port", "x"), "'x' is no port"),
        (("--metrics-port", 0, "--metrics-by", "loudnes"), "Did you mean loudness?"),
    ],
)
def test_what_makes_no_sense_about_metrics_is_refused(
    audit: Path, tmp_path: Path, given: tuple[object, ...], told: str
) -> None:
    arms = ("--arm", "fp32", "--arm", HARMED, "--poisson", 500, "--n", 50, "--out", tmp_path)
    ended = calaudit("ab", audit, *arms, *given)
    assert ended.status == 2
    assert told in ended.err
    assert list(tmp_path.iterdir()) == []
