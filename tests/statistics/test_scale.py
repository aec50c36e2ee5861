"""Scores of any scale: a unit of measurement moves drops and intervals, and nothing else."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Values
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.results.comparison import Verdict
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.compare import compare_cells
from calaudit.statistics.criteria import Tolerance
from calaudit.statistics.sums import Exact, split, stack
from calaudit.statistics.worst_slice import worst_gaps
from tests.statistics.cases import NLL, WER

N = 400
SLICES = {"all": np.arange(N), "few": np.arange(60)}
RMSE, MSE = parse_metric("rmse"), parse_metric("mse")
EXPONENTS = st.one_of(
    st.integers(-300, 300).map(lambda k: 2.0**k), st.integers(-90, 90).map(lambda k: 10.0**k)
)


def world(kind, seed):
    """A metric and a function from a unit to FP32's and an engine's scores in it."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 20, N).astype(float)
    before = rng.exponential(size=N)
    changed = rng.random(N) < rng.choice([0.02, 0.3, 1.0])
    after = before + changed * rng.normal(0.1, 0.3, N)
    after[:3] = before[:3] + 1e3 * (rng.random() < 0.3)  # magnitudes may be mixed
    if kind == "ratio":
        return WER, lambda unit: [RatioScores(WER, x * unit, size) for x in (before, after)]
    if kind == "set":
        truth, root = rng.normal(size=N), math.sqrt

        def scores(unit):
            values = Values(truth * root(unit))
            errors = [np.sqrt(np.abs(x)) * 0.1 for x in (before, after)]
            return [score(RMSE, (truth + e) * root(unit), values) for e in errors]

        return RMSE, scores
    return NLL, lambda unit: [UnitScores(NLL, x * unit) for x in (before, after)]


def judged(metric, scores, gate, **units):
    reference, candidate = scores
    return compare_cells(metric, reference, {"c": candidate}, SLICES, max_drop=gate, **units)


@pytest.mark.parametrize("kind", ["mean", "ratio", "set", "weighted", "clustered"])
@given(seed=st.integers(0, 10**6), unit=EXPONENTS, relative=st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_unit_scales_drops_and_intervals_and_moves_no_verdict(kind, seed, unit, relative):
    metric, scores = world(kind, seed)
    rng = np.random.default_rng(seed)
    units = {}
    if kind == "weighted":
        units["weights"] = rng.exponential(size=N)
    if kind == "clustered":
        units["clusters"] = rng.integers(0, 40, N)
    if kind == "set":
        factor = math.sqrt(unit)
        if not 1e-50 < unit < 1e50:
            return
    else:
        factor = unit

    def gate(by):
        return Tolerance(max_relative_drop=0.2) if relative else Tolerance(0.15 * by)

    plain = judged(metric, scores(1.0), gate(1.0), **units)
    scaled = judged(metric, scores(unit), gate(factor), **units)
    for one, other in zip(plain, scaled, strict=True):
        assert (one.verdict, one.interval, one.n_changed, one.n, one.n_needed) == (
            other.verdict, other.interval, other.n_changed, other.n, other.n_needed,
        )  # fmt: skip
        assert other.p_value == pytest.approx(one.p_value, abs=2e-3)
        width = max(abs(x) for x in (one.drop, one.low, one.high, one.reference) if x is not None)
        for name in ("reference", "candidate", "drop", "low", "high", "one_sided_high"):
            first, second = getattr(one, name), getattr(other, name)
            assert (first is None) == (second is None)
            if first is not None:
                assert second / factor == pytest.approx(first, rel=1e-6, abs=1e-7 * width), name


@pytest.mark.parametrize("size", [1e-12, 1.5e-4, 1.0, 1e6, 1e30])
def test_a_true_loss_of_39_percent_is_no_pass_whatever_the_targets_size(size):
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(20):
        truth = rng.normal(size=1500) * size
        fp32 = truth + rng.normal(size=1500) * 0.1 * size
        int8 = truth + (fp32 - truth) * math.sqrt(1.39)
        before, after = (score(MSE, given, Values(truth)) for given in (fp32, int8))
        (found,) = compare_cells(
            MSE, before, {"c": after}, {"all": np.arange(1500)},
            max_drop=Tolerance(max_relative_drop=0.25),
        )  # fmt: skip
        assert found.drop / found.reference == pytest.approx(0.39, rel=1e-6)
        passed += found.verdict is Verdict.PASS
    assert passed == 0


def test_a_slice_of_small_scores_is_not_drowned_by_a_large_one_elsewhere():
    rng = np.random.default_rng(1)
    before = rng.exponential(size=N) * 1e-3
    after = before * 1.5
    alone = {"small": np.arange(1, N)}
    plain = judged_on(before, after, alone)
    before[0], after[0] = 1e12, 2e12
    (found,) = judged_on(before, after, alone)
    assert [found] == plain
    whole = UnitScores(NLL, before), {"c": UnitScores(NLL, after)}
    (gap,) = worst_gaps(NLL, *whole, {"left": np.arange(200), **alone}, min_support=1)
    assert gap.n_slices == 2
    (inside,) = worst_gaps(NLL, *whole, {"right": np.arange(200, N)}, min_support=1)
    assert inside.drop == pytest.approx((after - before)[200:].mean(), rel=1e-12)
    (outside,) = worst_gaps(NLL, *whole, {"large": np.arange(1)}, min_support=1)
    assert outside.rest == pytest.approx((after - before)[1:].mean(), rel=1e-12)


def judged_on(before, after, slices):
    return compare_cells(
        NLL, UnitScores(NLL, before), {"c": UnitScores(NLL, after)}, slices, max_drop=1e-3
    )


def test_an_engine_that_loses_everything_keeps_the_little_that_is_left():
    before, after = np.full(N, 1e12), np.full(N, 1e-6)
    (found,) = judged_on(before, after, {"all": np.arange(N)})
    assert (found.reference, found.candidate) == (1e12, pytest.approx(1e-6, rel=1e-12))


def test_scores_too_small_to_be_squared_are_refused():
    tiny = np.linspace(1e-150, 2e-150, N)
    with pytest.raises(SettingsError, match=r"nll are at most 4e-150, too small"):
        judged_on(tiny, tiny * 2, {"all": np.arange(N)})


@given(
    st.lists(
        st.floats(-1e120, 1e120, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-300),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_sums_are_exact_and_the_same_in_any_order(numbers, random):
    def summed(given):
        return Exact((), {place: d.sum() for place, d in split(np.array(given)).items()})

    shuffled = random.sample(numbers, len(numbers))
    half = len(numbers) // 2
    parts = summed(shuffled[:half]) + summed(shuffled[half:])
    true = sum(map(Fraction, numbers))
    for found in (summed(numbers), parts):
        assert float(found.value()) == pytest.approx(float(true), rel=1e-15, abs=0.0)
    assert parts.value() == summed(numbers).value()
    assert (parts - summed(numbers)).value() == 0


@given(st.lists(st.floats(-1e120, 1e120), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_digits_of_a_number_do_not_depend_on_the_others(numbers):
    together = split(np.array(numbers))
    for i, number in enumerate(numbers):
        alone = split(np.array([number]))
        own = {place: d[i] for place, d in together.items() if d[i] != 0}
        assert own == {place: d[0] for place, d in alone.items()}
        assert all(abs(d) <= 2**25 and d == int(d) for d in own.values())


def test_stacked_and_indexed_sums_are_the_same_sums():
    rng = np.random.default_rng(0)
    one, other = (Exact((3,), split(rng.normal(size=3) * 10.0**k)) for k in (0, 40))
    both = stack([one, other], (3,))
    assert np.array_equal(both.value(), np.stack([one.value(), other.value()]))
    assert np.array_equal(both[1, :2].value(), other.value()[:2])
    assert both.sum(axis=0).value() == pytest.approx(one.value() + other.value(), rel=1e-15)
