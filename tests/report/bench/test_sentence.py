"""The headline of a bench says no more than its intervals."""

from dataclasses import replace

import pytest

from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.bench.wording import speed_told
from calaudit.report.index import Index
from calaudit.results.bench import Estimate
from calaudit.results.report import Report
from tests.report.bench.planted import planted, usual
from tests.report.factory import RECOMMENDATION


def sentences(made: Report) -> list[str]:
    bench = bench_of(Index(made))
    assert bench is not None
    return list(bench_sentences(bench))


def test_what_ships_is_told_beside_the_control_that_loses_most():
    assert sentences(usual()) == [
        "INT8 equal with mse: 2.00 × as fast as FP16 at batch 1 (95 % CI 1.98–2.02), at worst "
        "loses 0.8 points of top-1 accuracy, on noise ≥ 0.4 (−0.2 to 1.3, not significant); INT8 "
        "clean with minmax (control): as fast as INT8 equal with mse to within 5 % (0.98–1.02), at "
        "worst loses 18.0 points of top-1 accuracy, on noise ≥ 0.4 (17.0–18.5)."
    ]


@pytest.mark.parametrize(
    ("speed", "told"),
    [
        ((2.1, 2.0, 2.2), "2.10 × as fast as FP16 (2.00–2.20)"),
        ((1.01, 0.97, 1.04), "as fast as FP16 to within 5 % (0.97–1.04)"),
        ((1.02, 1.01, 1.04), "as fast as FP16 to within 5 % (1.01–1.04)"),
        ((1.04, 0.97, 1.11), "shown neither faster nor slower than FP16, 1.04 × (0.97–1.11)"),
        ((0.8, 0.7, 0.9), "slower, 0.80 × as fast as FP16 (0.70–0.90)"),
        ((2.1, None, None), "2.10 × as fast as FP16, without an interval"),
    ],
)
def test_a_speed_is_told_as_far_as_its_interval_goes(speed, told):
    assert speed_told(Estimate(*speed), "FP16") == told


def test_fp16_is_told_over_fp32_where_every_int8_engine_regressed():
    made = planted({"clean/mse": 3.0}, {"clean/mse": 0.18}, half_speed=1.5)
    (told,) = sentences(made)
    assert told.startswith("FP16: 1.50 × as fast as FP32 at batch 1 (95 % CI 1.48–1.52)")
    assert "; INT8 clean with mse: 2.00 × as fast as FP16 (1.98–2.02), at worst loses 18.0" in told


def test_the_recommended_engine_is_told_first():
    made = replace(usual(), recommendation=RECOMMENDATION)
    assert sentences(made)[0].startswith("INT8 equal with minmax: 1.99 × as fast")


def test_of_those_that_keep_their_gates_a_slower_one_is_not_told():
    made = planted({"a/mse": 3.0, "b/mse": 2.0}, {"a/mse": 0.01, "b/mse": 0.001}, half_speed=1.5)
    assert sentences(made)[0].startswith("INT8 a with mse: ")


def test_without_a_regression_or_a_harmful_control_there_is_one_engine():
    (told,) = sentences(planted({"a/mse": 3.0}, {"a/mse": 0.004}))
    assert "; " not in told


def test_a_baseline_alone_says_so():
    made = planted({}, {}, half_speed=None)
    assert sentences(made) == []
    half = planted({}, {}, half_speed=(0.9, 0.85, 0.95))
    assert sentences(half)[0].startswith("FP16: slower, 0.90 × as fast as FP32 at batch 1")
