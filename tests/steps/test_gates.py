"""Which drop a slice is held to where several gates name it."""

import itertools

import numpy as np
import pytest

from calaudit.errors import SettingsError
from calaudit.evaluate import Tolerance, parse_metric
from calaudit.slices import CodedDimension, SliceSet
from calaudit.steps.judge import GateRule, resolve_gates

SLICES = SliceSet(
    4, (CodedDimension("user", ("user = ann", "user = bob"), np.array([0, 0, 1, 1])),)
)
METRICS = [parse_metric("top1"), parse_metric("nll")]


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
        assert resolve_gates(order, METRICS, SLICES) == expected


def test_a_gate_that_names_one_slice_holds_there_whatever_patterns_say() -> None:
    for order in itertools.permutations([rule("*", 0.02), rule("user = ann", 0.05)]):
        gates = resolve_gates(order, METRICS, SLICES)
        assert gates["top1", "user = ann"] == Tolerance(0.05)
        assert gates["top1", "user = bob"] == Tolerance(0.02)


def test_a_fraction_can_not_be_allowed_to_drop_by_all_of_it_but_nats_can() -> None:
    with pytest.raises(SettingsError, match="lose everything"):
        resolve_gates([rule("*", 2.0)], METRICS, SLICES)
    assert resolve_gates([rule("all", 2.0, "nll")], METRICS, SLICES) == {
        ("nll", "all"): Tolerance(2.0)
    }


def test_gates_of_both_kinds_hold_together() -> None:
    share = GateRule("top1", "*", Tolerance(max_relative_drop=0.05), "audit.toml: gates[0]")
    gates = resolve_gates([share, rule("*", 0.02)], METRICS, SLICES)
    assert gates["top1", "all"] == Tolerance(0.02, 0.05)
    both = GateRule("nll", "*", Tolerance(max_relative_drop=1.5), "audit.toml: gates[0]")
    assert resolve_gates([both], METRICS, SLICES)["nll", "all"].max_relative_drop == 1.5


def test_a_pattern_leaves_out_slices_without_an_evaluated_sample_and_a_name_does_not() -> None:
    empty = SLICES.take(np.array([0, 1]))
    assert set(resolve_gates([rule("*", 0.02)], METRICS, empty)) == {
        ("top1", "all"),
        ("top1", "user = ann"),
    }
    assert ("top1", "user = bob") in resolve_gates([rule("user = bob", 0.02)], METRICS, empty)
