"""Which drop a slice is held to where several gates name it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.results.comparison import Gate, Verdict
from calaudit.runtime.errors import SettingsError
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics.criteria import Comparison, Tolerance
from calaudit.steps.gates import (
    GateRule,
    floor_notices,
    hold_to_floors,
    near_zero_notices,
    resolve_floors,
    resolve_gates,
)
from tests.statistics.cases import comparison

SLICES = SliceSet(
    4, (CodedDimension("user", ("user = ann", "user = bob"), np.array([0, 0, 1, 1])),)
)
METRICS = [parse_metric("top1"), parse_metric("nll")]
OF_ALL = dict.fromkeys(METRICS, SLICES)


def rule(slices: str, max_drop: float, metric: str = "top1") -> GateRule:
    return GateRule(metric, slices, Tolerance(max_drop), "audit.toml: gates[0]")


def test_the_order_of_gates_does_not_matter_and_the_strictest_pattern_holds() -> None:
    rules = [rule("*", 0.9), rule("user = *", 0.01), rule("*", 0.02)]
    expected = {
        ("top1", "all"): Tolerance(0.02),
        ("top1", "user = ann"): Tolerance(0.01),
        ("top1", "user = bob"): Tolerance(0.01),
    }
    for order in itertools.permutations(rules):
        assert resolve_gates(order, OF_ALL) == expected


def test_a_gate_that_names_one_slice_holds_there_whatever_patterns_say() -> None:
    for order in itertools.permutations([rule("*", 0.02), rule("user = ann", 0.05)]):
        gates = resolve_gates(order, OF_ALL)
        assert gates["top1", "user = ann"] == Tolerance(0.05)
        assert gates["top1", "user = bob"] == Tolerance(0.02)


def test_a_fraction_can_not_be_allowed_to_drop_by_all_of_it_but_nats_can() -> None:
    with pytest.raises(SettingsError, match="lose everything"):
        resolve_gates([rule("*", 2.0)], OF_ALL)
    assert resolve_gates([rule("all", 2.0, "nll")], OF_ALL) == {("nll", "all"): Tolerance(2.0)}


@pytest.mark.parametrize(
    ("name", "meant"), [("accuracy", "top1"), ("cross entropy", "nll"), ("nl", "nll")]
)
def test_a_gate_on_a_metric_by_another_name_is_told_which_of_the_audits_it_means(
    name: str, meant: str
) -> None:
    with pytest.raises(SettingsError, match="no task computes") as error:
        resolve_gates([rule("*", 0.02, name)], OF_ALL)
    assert error.value.problems[0].next_step == f"Did you mean {meant}?"


def test_a_gate_on_a_metric_that_no_task_names_is_told_its_name_and_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no task computes") as error:
        resolve_gates([rule("*", 0.02, "mAP50")], OF_ALL)
    told = str(error.value.problems[0].next_step)
    assert told.startswith("Did you mean ap50? No task names it. Known: ")
    assert "top1" in told


def test_gates_of_both_kinds_hold_together() -> None:
    share = GateRule("top1", "*", Tolerance(max_relative_drop=0.05), "audit.toml: gates[0]")
    gates = resolve_gates([share, rule("*", 0.02)], OF_ALL)
    assert gates["top1", "all"] == Tolerance(0.02, 0.05)
    both = GateRule("nll", "*", Tolerance(max_relative_drop=1.5), "audit.toml: gates[0]")
    assert resolve_gates([both], OF_ALL)["nll", "all"].max_relative_drop == 1.5


def test_a_pattern_leaves_out_slices_without_an_evaluated_sample_and_a_name_does_not() -> None:
    empty = SLICES.take(np.array([0, 1]))
    assert set(resolve_gates([rule("*", 0.02)], dict.fromkeys(METRICS, empty))) == {
        ("top1", "all"),
        ("top1", "user = ann"),
    }
    assert ("top1", "user = bob") in resolve_gates(
        [rule("user = bob", 0.02)], dict.fromkeys(METRICS, empty)
    )


def floored(slices: str, floor: float | None, metric: str = "top1") -> GateRule:
    return GateRule(metric, slices, Tolerance(0.02), "audit.toml: gates[0]", floor)


def test_the_strictest_floor_holds_and_a_name_goes_before_patterns() -> None:
    rules = [floored("*", 0.5), floored("*", 0.7), floored("*", None), floored("user = bob", 0.2)]
    for order in itertools.permutations(rules):
        assert resolve_floors(order, OF_ALL) == {
            ("top1", "all"): 0.7,
            ("top1", "user = ann"): 0.7,
            ("top1", "user = bob"): 0.2,
        }


def test_of_a_metric_that_is_better_low_the_lowest_floor_is_the_strictest() -> None:
    rules = [floored("all", 2.0, "nll"), floored("all", 1.5, "nll")]
    assert resolve_floors(rules, OF_ALL) == {("nll", "all"): 1.5}


def test_a_gate_that_names_a_slice_without_a_floor_lifts_it_there() -> None:
    rules = [floored("*", 0.5), floored("user = ann", None)]
    assert ("top1", "user = ann") not in resolve_floors(rules, OF_ALL)


@pytest.mark.parametrize(
    ("metric", "floor", "told"),
    [
        ("top1", 1.5, "no model reaches"),
        ("top1", 0.0, "every model reaches"),
        ("top1", -0.1, "every model reaches"),
        ("top1_agreement", 0.9, "measures agreement"),
    ],
)
def test_floors_that_mean_nothing_are_refused(metric: str, floor: float, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        resolve_floors([floored("*", floor, metric)], {parse_metric(metric): SLICES})


def judged(reference: float | None, verdict: Verdict, metric: str = "top1") -> Comparison:
    return Comparison(
        cell="c", slice="all", metric=metric, by=parse_metric(metric), n=100, n_left_out=0,
        reference=reference, candidate=reference, drop=0.0, low=0.0, high=0.0, level=0.95,
        interval="tango", one_sided_low=0.0, one_sided_high=0.0, alpha=0.05, p_value=None,
        n_changed=0, gate=Gate(0.02), verdict=verdict, n_needed=200,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "reference", "floor", "verdict", "held"),
    [
        ("top1", 0.12, 0.5, Verdict.PASS, Verdict.INCONCLUSIVE),
        ("top1", 0.12, 0.5, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ("top1", 0.12, 0.5, Verdict.REGRESSED, Verdict.REGRESSED),
        ("top1", None, 0.5, Verdict.PASS, Verdict.INCONCLUSIVE),
        ("top1", 0.5, 0.5, Verdict.PASS, Verdict.PASS),
        ("nll", 2.4, 2.0, Verdict.PASS, Verdict.INCONCLUSIVE),
        ("nll", 1.9, 2.0, Verdict.PASS, Verdict.PASS),
    ],
)
def test_nothing_passes_where_fp32_misses_its_floor(
    metric: str, reference: float | None, floor: float, verdict: Verdict, held: Verdict
) -> None:
    (one,) = hold_to_floors([judged(reference, verdict, metric)], {(metric, "all"): floor})
    assert (one.verdict, one.gate) == (held, Gate(0.02, None, floor))
    missed = reference is None or ((reference < floor) == (metric == "top1") and reference != floor)
    assert bool(floor_notices([one])) == missed
    if missed and held is Verdict.INCONCLUSIVE:
        assert one.n_needed is None


def _on(name: str, reference: float, tolerance: Tolerance) -> Comparison:
    return comparison(
        slice=name,
        metric=parse_metric("nll"),
        reference=reference,
        gate=Gate(tolerance.of(reference), tolerance.relative_at(reference)),
    )


def test_a_share_of_next_to_nothing_is_told_once_per_gate_with_the_slices() -> None:
    share, both = Tolerance(max_relative_drop=0.2), Tolerance(0.01, 0.2)
    values = {"all": 0.3, "easy": 1e-8, "clear": 2e-8, "hard": 0.9}
    for cells in (["c"], ["c", "d"]):
        found = [
            replace(_on(name, value, share), cell=cell)
            for cell in cells
            for name, value in values.items()
        ]
        gates = {("nll", name): share for name in values}
        (told,) = near_zero_notices(found, gates)
        assert "easy: 2e-09 of 1e-08, clear: 4e-09 of 2e-08" in told.message
        assert "hard" not in told.message
        assert told.code == "gate_near_zero"
    # held against what the gate allows overall, be that a share or not
    for reference, n in ((4e-4, 1), (6e-4, 0)):
        found = [_on("all", 0.3, both), _on("easy", reference, both)]
        gates = {("nll", name): both for name in ("all", "easy")}
        assert len(near_zero_notices(found, gates)) == n


def test_an_absolute_gate_and_a_named_one_have_no_share_of_nothing() -> None:
    named, share = Tolerance(0.01), Tolerance(max_relative_drop=0.2)
    found = [_on("all", 0.3, share), _on("easy", 1e-8, named)]
    assert near_zero_notices(found, {("nll", "all"): share, ("nll", "easy"): named}) == []
