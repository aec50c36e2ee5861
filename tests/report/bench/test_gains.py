"""Who dominates whom, and by what losses: planted speeds and drops."""

from dataclasses import replace

import pytest

from calaudit.report.bench.gains import Gains, gains_on
from calaudit.report.bench.losses import loss_scale, worst_loss
from calaudit.report.bench.measured import Bench, Measure, bench_of
from calaudit.report.index import Index
from calaudit.results.bench import Ratio
from calaudit.results.report import Report
from calaudit.results.values import Estimate
from tests.report.bench.planted import NOISY, Speed, planted, usual
from tests.report.factory import NLL, TOP1, report, result

LATENCY = Measure("latency", 1, None)


def bench(made: Report) -> Bench:
    found = bench_of(Index(made))
    assert found is not None
    return found


def gains(made: Report, measure: Measure = LATENCY) -> Gains:
    found = gains_on(bench(made), "onnxruntime", measure)
    assert found is not None
    return found


def dominated(made: Report) -> dict[str, tuple[str, ...]]:
    return {each.engine.engine: each.dominated_by for each in gains(made).points}


def two(first: Speed, second: Speed, lost: tuple[float, float]) -> Report:
    names = ("a/minmax", "b/minmax")
    return planted(
        dict(zip(names, (first, second), strict=True)), dict(zip(names, lost, strict=True))
    )


def test_a_set_that_surely_loses_more_at_the_same_speed_is_dominated():
    found = dominated(two(2.0, 2.02, (0.18, 0.004)))
    assert found == {"fp32": (), "a/minmax": ("INT8 b with minmax",), "b/minmax": ()}


def test_speeds_that_may_differ_by_more_than_the_margin_leave_both():
    unsure = (2.0, 1.8, 2.2)
    assert dominated(two(unsure, unsure, (0.18, 0.004)))["a/minmax"] == ()


def test_losses_that_may_be_equal_leave_both():
    assert dominated(two(2.0, 2.02, (0.012, 0.004)))["a/minmax"] == ()
    # but for an engine that is surely faster and surely loses less
    assert dominated(two(2.0, 3.0, (0.18, 0.004)))["a/minmax"] == ("INT8 b with minmax",)


def test_fp32_loses_nothing_and_is_never_dominated():
    assert dominated(usual())["fp32"] == ()


def test_an_engine_slower_than_fp32_is_dominated_by_it_though_it_may_gain_quality():
    assert dominated(planted({"a/mse": 0.5}, {"a/mse": -0.01}))["a/mse"] == ("FP32",)
    assert dominated(planted({"a/mse": (0.9, 0.7, 1.1)}, {"a/mse": -0.01}))["a/mse"] == ()


def test_controls_neither_dominate_nor_are_dominated_nor_are_in_the_pareto_set():
    made = planted(
        {"clean/minmax": 9.0, "equal/minmax": 2.0, "worse/minmax": 2.0},
        {"clean/minmax": -0.05, "equal/minmax": 0.004, "worse/minmax": 0.2},
        controls=("clean",),
    )
    points = {each.engine.engine: each for each in gains(made).points}
    assert points["clean/minmax"].control
    assert not points["clean/minmax"].pareto
    assert points["equal/minmax"].pareto
    assert points["worse/minmax"].dominated_by == ("INT8 equal with minmax",)


def test_fp16_is_the_baseline_where_it_is_surely_faster_than_fp32():
    assert gains(usual()).baseline_name == "FP16"
    slow = planted({"a/mse": 2.0}, {"a/mse": 0.0}, half_speed=(1.01, 0.97, 1.05))
    assert gains(slow).baseline_name == "FP32"


def test_fp32_beside_fp16_has_the_ratio_that_was_measured_turned_round():
    speeds = {each.engine.engine: each.speed for each in gains(usual()).points}
    single, half = speeds["fp32"], speeds["fp16"]
    assert (half.value, half.low, half.high) == (1, 1, 1)
    assert (single.low, single.value, single.high) == pytest.approx((1 / 1.515, 1 / 1.5, 1 / 1.485))


def test_an_engine_without_a_speed_or_a_loss_is_named_and_has_no_point():
    made = usual()
    assert made.bench is not None
    kept = tuple(one for one in made.bench.ratios if one.engine != "clean/mse")
    results = tuple(r for r in made.results if r.cell != "equal/mse")
    found = gains(replace(made, bench=replace(made.bench, ratios=kept), results=results))
    assert set(found.left) == {"INT8 clean with mse (control)", "INT8 equal with mse"}


def test_another_build_of_an_engine_has_no_point_since_it_was_not_judged():
    made = usual()
    assert made.bench is not None
    built = replace(made.bench.engines[-1], variant="o5")
    ratio = Ratio("equal/mse", "o5", "fp32", "", "latency", Estimate(3.5, 3.4, 3.6), 1)
    record = replace(
        made.bench, engines=(*made.bench.engines, built), ratios=(*made.bench.ratios, ratio)
    )
    found = gains(replace(made, bench=record))
    assert all(not each.engine.variant for each in found.points)


def test_measures_are_latency_before_throughput_and_small_batches_first():
    assert bench(usual()).measures == (
        LATENCY, Measure("latency", 64, None), Measure("throughput", 64, 1),
    )  # fmt: skip
    assert [each.title for each in bench(usual()).measures] == [
        "latency at batch 1", "latency at batch 64", "throughput at batch 64",
    ]  # fmt: skip
    assert Measure("throughput", 64, 4).title == "throughput at batch 64, 4 streams"


def test_the_worst_loss_lies_between_the_surest_lower_end_and_the_highest_upper_one():
    """In gates of 2 points; lower ends are those that hold for all results at once."""
    results = [
        result("clean/minmax", "all", 0.01, "PASS", half=0.002),
        result("clean/minmax", NOISY, 0.06, "REGRESSED", half=0.005),
        result("clean/minmax", "rare", 0.05, "INCONCLUSIVE", half=0.1),
    ]
    loss = worst_loss(Index(report(results)), "clean/minmax")
    assert loss is not None
    assert loss.result is not None
    assert loss.result.slice == NOISY
    assert (loss.value, loss.n) == (3.0, 3)
    assert loss.low is not None
    assert loss.high is not None
    assert abs(loss.low - 2.5) < 1e-9
    assert abs(loss.high - 7.5) < 1e-9


def test_a_loss_that_nothing_bounds_on_some_slice_has_no_upper_end():
    results = [
        result("clean/minmax", "all", 0.01, "PASS"),
        replace(result("clean/minmax", NOISY, 0.06, "REGRESSED"), high=None),
    ]
    loss = worst_loss(Index(report(results)), "clean/minmax")
    assert loss is not None
    assert loss.high is None
    broken = replace(results[1], high=0.09, n_broken=3)
    loss = worst_loss(Index(report([results[0], broken])), "clean/minmax")
    assert loss is not None
    assert loss.high is None
    assert loss.result is not None
    assert loss.result.n_broken == 3


def test_losses_are_in_the_metrics_unit_where_one_gate_holds_all():
    scale = loss_scale(Index(usual()))
    assert (scale.factor, scale.gate) == (2.0, 2.0)
    assert scale.title == "drop of top-1 accuracy on the worst slice, points"


def test_losses_are_in_gates_where_several_differ():
    mixed = [
        result("clean/minmax", "all", 0.01, "PASS"),
        result("clean/minmax", "all", 0.1, "PASS", metric="nll", max_drop=0.2),
    ]
    scale = loss_scale(Index(report(mixed, metrics=(TOP1, NLL))))
    assert (scale.factor, scale.gate, scale.metric) == (1.0, 1.0, None)
    assert scale.title == "drop on the worst slice, in gates"


def test_without_gates_losses_are_the_headline_metrics_where_the_slice_has_its_support():
    results = [
        result("clean/minmax", name, drop, None, max_drop=None)
        for name, drop in (("all", 0.01), ("thin", 0.5))
    ]
    made = report(results)
    slices = tuple(replace(each, support_ok=each.name != "thin") for each in made.slices)
    index = Index(replace(made, slices=slices))
    loss = worst_loss(index, "clean/minmax")
    assert loss is not None
    assert loss.result is not None
    assert loss.result.slice == "all"
    assert loss_scale(index).gate is None
    assert loss.value * loss_scale(index).factor == 1.0
