"""What ops in float cost, told beside explanations, recommendations and exemptions."""

from dataclasses import replace

from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_remarks
from calaudit.report.explanations import explanation_lines
from calaudit.report.index import Index
from calaudit.report.recommendation import recommendation_lines
from calaudit.results.bench import LayerTime
from calaudit.results.report import Report
from tests.report.bench.planted import engine, planted, ratios
from tests.report.factory import EXPLANATION, RECOMMENDATION, cell


def layers(conv: float, fc: float, *nodes: str) -> tuple[LayerTime, ...]:
    """A convolution's layer and a product's."""
    whole = conv + fc
    return (
        LayerTime("first", conv, conv / whole, nodes or ("conv",)),
        LayerTime("last", fc, fc / whole, ("fc",)),
    )


def timed(*, exempt: bool = False) -> Report:
    """INT8's convolution takes 1 ms with its Relu, FP32's 2.5 ms; the product 1 ms in both."""
    made = planted({"equal/mse": 2.0}, {"equal/mse": 0.001})
    bench = made.bench
    assert bench is not None
    engines = [
        replace(
            each,
            layers=layers(2.5, 1.0, "conv", "relu") if each.precision == "fp32"
            else layers(1.0, 1.0, "conv", "relu"),
        )
        for each in bench.engines
    ]  # fmt: skip
    if not exempt:
        return replace(made, bench=replace(bench, engines=tuple(engines)))
    base = made.cells[0]
    assert base.engine is not None
    other = cell(
        "equal", "mse", id="equal/mse+head", exemption="head",
        engine=replace(base.engine, exempt=("conv",)),
    )  # fmt: skip
    engines.append(engine("equal/mse+head", 1.6))
    found = (*bench.ratios, *ratios("equal/mse+head", 1.6))
    return replace(
        made, cells=(*made.cells, other),
        bench=replace(bench, engines=tuple(engines), ratios=found),
    )  # fmt: skip


def test_an_explanation_that_names_ops_says_what_float_costs() -> None:
    one = replace(EXPLANATION, cell="equal/mse", ops=("conv",), alike=(), curve=())
    lines = list(explanation_lines(Index(timed()), one))
    assert lines[1] == (
        "Left in float, conv adds 1.50 ms to a run, 75 % of what INT8's layers take: 2.50 ms in "
        "FP32, 1.00 ms in INT8 at batch 64, 1 more node of their layers included"
    )


def test_float_that_costs_nothing_is_told_as_well() -> None:
    one = replace(EXPLANATION, cell="equal/mse", ops=("fc",), alike=(), curve=())
    lines = list(explanation_lines(Index(timed()), one))
    assert lines[1] == "fc takes as long in FP32 as in INT8, 1.00 ms at batch 64"


def test_without_a_bench_or_ops_nothing_is_told() -> None:
    with_ops = replace(EXPLANATION, cell="equal/mse", ops=("conv",), alike=(), curve=())
    bare = replace(timed(), bench=None)
    assert "Left in float" not in "".join(explanation_lines(Index(bare), with_ops))
    without = replace(with_ops, ops=())
    assert "Left in float" not in "".join(explanation_lines(Index(timed()), without))


def test_a_winner_with_ops_in_float_is_told_by_the_engine_without() -> None:
    made = timed(exempt=True)
    option = replace(RECOMMENDATION.options[0], cell="equal/mse+head", float_ops=("conv",))
    told = replace(RECOMMENDATION, winner="equal/mse+head", options=(option,), gains=())
    lines = list(recommendation_lines(Index(made), told))
    assert any(line.startswith("Left in float, conv adds 1.50 ms") for line in lines)


def test_an_exemption_that_was_benched_is_told_by_its_runs() -> None:
    bench = bench_of(Index(timed(exempt=True)))
    assert bench is not None
    (line,) = [each for each in bench_remarks(bench) if "left in float" in each]
    assert "with 1 product left in float: 0.80 × as fast as without (0.78–0.82)" in line
    assert "P50 0.125 instead of 0.100 ms at batch 1" in line
