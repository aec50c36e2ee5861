"""Arms on a target whose TensorRT, a FAKE, runs in a worker: they take turns, and it may die."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from calaudit import ab_audit, run_audit
from calaudit.ab.asked import Asked
from calaudit.ab.run import Live
from calaudit.ab.traffic import Traffic
from tests.audit.test_worker_targets import audit, target


@contextmanager
def killing(killer: "Killer", live: Live) -> Iterator["Killer"]:
    yield killer


@dataclass
class Killer:
    """Has the worker killed while requests run: in its next run once the file is gone."""

    spared: Path
    ended_before: list[int] = field(default_factory=lambda: [-1, -1])
    """The last request that each arm had answered when the file went."""
    gone: bool = False

    def sent(self, arm: int, request: int) -> None:
        if (arm, request) == (0, 60):
            self.gone = True
            self.spared.unlink()

    def ended(self, arm: int, request: int, status: str, seconds: float | None) -> None:
        if not self.gone:
            self.ended_before[arm] = max(self.ended_before[arm], request)


@pytest.mark.slow
def test_engines_of_one_target_take_turns_and_a_worker_that_dies_costs_one_request(
    tmp_path: Path,
) -> None:
    spared = tmp_path / "spared"
    spared.touch()
    dying = target("own", ends="killed", ends_in="run", once=str(spared))
    path = audit(tmp_path / "world", dying, keys='backend = "own"\ntimeout = 300\n')
    run_audit(path, formats="none")
    asked = Asked(
        arms=("both/mse/own", "both/mse/own"),
        requests=Traffic(rate=50, skew=0),
        n=120,
        mode="shadow",
        engines=2,
        timeout_s=60,
    )
    record, _ = ab_audit(path, asked, out=tmp_path / "calm")
    assert [arm.concurrency for arm in record.arms] == [1, 1]
    assert [arm.failed for arm in record.arms] == [0, 0]
    assert record.arms[0].details["backend"] == "own"
    assert {one.drop for one in record.results} == {0.0}
    same = {each.metric: each.value for each in record.same_answers}
    assert same[None] == 1.0

    killer = Killer(spared)
    record, _ = ab_audit(path, asked, out=tmp_path / "killed", watching=partial(killing, killer))
    ((number, failed),) = ((i, each) for i, arm in enumerate(record.arms) for each in arm.failures)
    assert failed.status == "error"
    assert failed.count == 1
    assert 0 <= killer.ended_before[number] < failed.first <= 75  # requests wait for their turn
    assert "SIGKILL" in failed.message
    assert sum(arm.statuses["ok"] for arm in record.arms) == 239
    assert [arm.ended_at for arm in record.arms] == [None, None]
