"""Engines measured by turns, in simulated machines whose truth is known."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from calaudit.bench.contestants import Field
from calaudit.bench.measuring import Measured, measure
from calaudit.bench.records import benched_engine, noise, noise_notices, ratios
from calaudit.results.bench import BenchSettings, Ratio
from calaudit.results.values import Estimate
from calaudit.runtime.errors import Notice
from tests.bench.simulated import Machine, Simulated, contest, contestant

FEEDS = {n: {"x": np.zeros((n, 1), np.float32)} for n in (1, 8)}


def settings(rounds: int = 12, **changes: Any) -> BenchSettings:
    given = {
        "batches": (1, 8), "streams": (1,), "rounds": rounds, "seconds": 60.0, "warm_up": 0.0,
        "seed": 0, "level": 0.95,
    }  # fmt: skip
    return BenchSettings(**{**given, **changes})


def run(field: Field, asked: BenchSettings) -> tuple[list[Measured], list[Notice]]:
    notices: list[Notice] = []
    found = measure(field.contestants, FEEDS, asked, layers=True, notices=notices)
    return found, notices


def holds(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def by_quantity(found: list[Ratio]) -> dict[tuple[str, str, int | None], Estimate]:
    return {(each.engine, each.quantity, each.batch): each.ratio for each in found}


def test_planted_speeds_are_found_though_the_machine_drifts() -> None:
    field = contest(Machine(np.random.default_rng(3)), {"fast": 2.0, "slow": 0.5, "alike": 1.0})
    measured, notices = run(field, settings())
    assert notices == []
    found = by_quantity(list(ratios(measured, field, 0.95)))
    for name, truth in (("fast", 2.0), ("slow", 0.5), ("alike", 1.0)):
        for batch in (1, 8):
            assert holds(found[name, "latency", batch], truth)
            assert holds(found[name, "throughput", batch], truth)
    assert found["fast", "memory", None].value == 1.0


@pytest.mark.parametrize("speed", [1.0, 1.7])
def test_ratios_hold_the_truth_in_19_of_20_runs_and_the_noise_floor_holds_1(speed: float) -> None:
    n, held, floor = 150, 0, 0
    for seed in range(n):
        field = contest(Machine(np.random.default_rng(seed)), {"engine": speed})
        measured, _ = run(field, settings(10, seed=seed))
        found = by_quantity(list(ratios(measured, field, 0.95)))
        held += holds(found["engine", "latency", 8], speed)
        (one,) = [e for e in noise(measured, 0.95) if e.quantity == "latency" and e.batch == 8]
        floor += holds(one.ratio, 1.0)
    # 2.6 standard errors below .95
    assert min(held, floor) >= 0.904 * n


def test_every_engine_runs_once_in_each_round_and_is_loaded_anew() -> None:
    machine = Machine(np.random.default_rng(0))
    field = contest(machine, {"a": 1.0, "b": 1.0})
    measured, _ = run(field, settings(7))
    # once more for its memory, but for the copy
    assert Counter(machine.loads) == {"fp32": 7 + 7 + 1, "a": 8, "b": 8}
    rounds = [machine.loads[4 * i : 4 * i + 4] for i in range(7)]
    assert all(sorted(each) == ["a", "b", "fp32", "fp32"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert all(len(one.rounds[load]) == 7 for one in measured for load in one.rounds)
    assert machine.engines
    assert all(each.closed for each in machine.engines)


def test_an_engine_that_loads_longer_than_it_is_timed_is_loaded_once() -> None:
    machine = Machine(np.random.default_rng(0))
    field = contest(machine, {"a": 1.0})
    run(field, settings(6, seconds=1e-9))
    assert Counter(machine.loads) == {"fp32": 2, "a": 1}
    assert machine.engines
    assert all(each.closed for each in machine.engines)


def test_an_engine_that_fails_is_left_out_and_said() -> None:
    field = contest(Machine(np.random.default_rng(0)), {"a": 2.0})
    field.contestants.append(contestant("broken", None))
    measured, notices = run(field, settings(6))
    assert [one.contestant.planned.id for one in measured] == ["fp32", "a", "fp32"]
    assert [(each.code, each.where) for each in notices] == [("bench_failed", "engine broken")]
    assert "no kernel for it" in notices[0].message


def test_one_that_takes_a_single_batch_is_measured_at_that() -> None:
    machine = Machine(np.random.default_rng(0))
    field = contest(machine, {})
    field.contestants.append(contestant("one", Simulated(machine, 0.5, only=1)))
    measured, notices = run(field, settings(6))
    one = measured[-1]
    assert set(one.rounds) == {(1, 1)}
    assert "takes batches of 1 alone (got 8)" in notices[0].message
    found = by_quantity(list(ratios(measured, field, 0.95)))
    assert ("one", "latency", 1) in found
    assert ("one", "latency", 8) not in found


def test_power_is_that_of_the_heaviest_load_that_an_engine_takes() -> None:
    machine = Machine(np.random.default_rng(0))
    engines = {
        "any": Simulated(machine, 0.5, powered=True),
        "one sample": Simulated(machine, 0.5, only=1, powered=True),
        "one stream": Simulated(machine, 0.5, streams=1, powered=True),
    }
    field = Field([contestant(name, engine) for name, engine in engines.items()])
    asked = settings(6, streams=(1, 4), warm_up=0.001)
    measured, notices = run(field, asked)
    told = {one.contestant.planned.id: benched_engine(one, asked).gpu for one in measured}
    found = {
        name: None if gpu is None else (gpu.batch, gpu.streams, gpu.power_watts.value)
        for name, gpu in told.items()
    }
    assert found == {"any": (8, 4, 32.0), "one sample": (1, 4, 4.0), "one stream": (8, 1, 8.0)}
    said = sorted((each.where, each.message) for each in notices)
    assert said == [
        ("engine one sample", "it wasn't measured at batch 8: engine: takes batches of 1 alone "
         "(got 8)"),
        ("engine one stream", "it wasn't measured at batch 1 with 4 batches at a time: engine: no "
         "room for 4 contexts"),
        ("engine one stream", "it wasn't measured at batch 8 with 4 batches at a time: engine: no "
         "room for 4 contexts"),
    ]  # fmt: skip


def test_an_engine_that_takes_one_batch_at_a_time_is_said_to() -> None:
    class Plain:
        """Doesn't time itself."""

        inputs = outputs = ()
        record: Mapping[str, str] = {}
        machine = Machine(np.random.default_rng(0))

        def run(self, feeds: Any) -> dict[str, Any]:
            return {}

        def close(self) -> None: ...

    engine: Any = Plain()
    asked = settings(2, streams=(1, 2, 4), seconds=0.001)
    measured, notices = run(Field([contestant("plain", engine)]), asked)
    assert set(measured[0].rounds) == {(1, 1), (8, 1)}
    told = "engine plain: it takes one batch at a time: it wasn't measured with several"
    assert [str(each) for each in notices] == [told]


def test_layers_of_slow_engines_are_timed_over_fewer_runs() -> None:
    """Of batches of 8, whose runs take 8 ms, 0.2 s and 16 s."""
    machine = Machine(np.random.default_rng(0), drift=0, disturbed=0)
    engines = [Simulated(machine, ms) for ms in (1.0, 25.0, 2000.0)]
    made = [contestant(f"e{i}", each) for i, each in enumerate(engines)]
    run(Field(made), settings(2))
    assert [each.layer_runs for each in engines] == [20, 10, 3]


def test_streams_give_throughput_and_no_latency() -> None:
    field = contest(Machine(np.random.default_rng(0)), {"a": 2.0})
    asked = settings(6, streams=(1, 4))
    measured, _ = run(field, asked)
    told = benched_engine(measured[1], asked)
    assert [each.batch for each in told.latencies] == [1, 8]
    loads = [(each.batch, each.streams) for each in told.throughput]
    assert loads == [(1, 1), (1, 4), (8, 1), (8, 4)]
    one, four = told.throughput[2].per_second.value, told.throughput[3].per_second.value
    assert one is not None
    assert four is not None
    assert four > 2 * one


def test_what_is_told_of_an_engine_is_what_was_measured() -> None:
    field = contest(Machine(np.random.default_rng(0), drift=0, disturbed=0), {"a": 2.0})
    asked = settings(6)
    measured, _ = run(field, asked)
    told = benched_engine(measured[1], asked)
    assert told.key == ("a", "")
    assert (told.fingerprint, told.precision, told.source) == (
        "fingerprint of a",
        "int8",
        "measured",
    )
    at_8 = told.latencies[1]
    pooled = np.concatenate([each.host_ms for each in measured[1].rounds[8, 1].values()])
    assert at_8.n == len(pooled) == 180
    assert at_8.p50.value == np.quantile(pooled, 0.5, method="inverted_cdf")
    assert at_8.p95.value == np.quantile(pooled, 0.95, method="inverted_cdf")
    assert at_8.mean.value == pytest.approx(pooled.mean())
    assert at_8.p99.high is None
    assert told.memory is not None
    assert told.memory.peak_bytes == 2000
    assert (told.gpu, told.layers, told.layers_batch, told.file_bytes) == (None, (), None, None)


def test_baselines_are_fp32_and_fp16_of_the_same_target_and_variant() -> None:
    machine = Machine(np.random.default_rng(0))
    field = contest(machine, {"a": 2.0})
    fp16 = contestant("fp16", Simulated(machine, 0.7), precision="fp16")
    other = contestant("fp32", Simulated(machine, 1), precision="fp32", variant="o5")
    a_o5 = contestant("a", Simulated(machine, 0.4), variant="o5")
    field.contestants += [fp16, other, a_o5]
    keys = [[each.key for each in field.baselines(one)] for one in (field.contestants[1], a_o5)]
    assert keys == [[("fp32", ""), ("fp16", "")], [("fp32", "o5")]]
    assert [each.key for each in field.baselines(fp16)] == [("fp32", "")]
    assert field.baselines(field.contestants[0]) == [fp16]


@pytest.mark.parametrize(
    ("low", "high", "told"), [(0.98, 1.01, False), (1.02, 1.05, True), (0.8, 0.9, True)]
)
def test_a_copy_that_isnt_alike_is_said(low: float, high: float, told: bool) -> None:
    one = Ratio("fp32", "", "fp32", "", "latency", Estimate((low + high) / 2, low, high), 8)
    found = list(noise_notices([one]))
    assert bool(found) == told
    if told:
        assert f"{1 / high:.3f} to {1 / low:.3f} of the first's time at batch 8" in found[0].message
