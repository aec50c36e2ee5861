import numpy as np
import pytest
from scipy.stats import binom

from calaudit.metrics.unit_scores import UnitScores
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare, compare_cells
from calaudit.statistics.criteria import MinSupport
from calaudit.statistics.paired_proportions import tango_bound
from calaudit.statistics.power import (
    Expectation,
    smallest_provable_drop,
    units_to_prove,
    verdict_chances,
)
from calaudit.statistics.verdict import judge
from tests.statistics.cases import NDCG, NLL, TOP1, WER


@pytest.mark.parametrize("n", [30, 50, 268, 1000])
def test_without_flips_the_smallest_provable_drop_is_the_bound(n):
    assert smallest_provable_drop(TOP1, n) == pytest.approx(tango_bound(0, 0, n, 0.95))


def bound_quantile(n, flip_rate, power):
    """The drop that the bound stays below with that chance, over all numbers of flips."""
    flips = np.arange(n + 1)
    flips = flips[binom.pmf(flips, n, flip_rate) > 1e-9]
    bounds, chances = [], []
    for k in flips:
        b = np.arange(k + 1)
        bounds.append(tango_bound(b, k - b, n, 0.95))
        chances.append(binom.pmf(k, n, flip_rate) * binom.pmf(b, k, 0.5))
    bound, chance = np.concatenate(bounds), np.concatenate(chances)
    order = np.argsort(bound)
    return bound[order][np.searchsorted(np.cumsum(chance[order]), power)]


@pytest.mark.parametrize(("n", "flip_rate"), [(200, 0.02), (500, 0.08), (2000, 0.05)])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_with_flips_the_contract_is_kept_by_the_exact_distribution(n, flip_rate, power):
    promised = smallest_provable_drop(TOP1, n, expected=Expectation(flip_rate, power=power))
    assert promised == pytest.approx(bound_quantile(n, flip_rate, power), rel=0.05)


def test_a_mean_that_changes_everywhere_proves_what_its_spread_allows():
    rng = np.random.default_rng(0)
    n, simulations = 600, 300
    expected = Expectation(flip_rate=0.2, spread=0.3)
    promised = smallest_provable_drop(NDCG, n, expected=expected)
    drops = rng.normal(0, 0.3, (simulations, n)) * (rng.random((simulations, n)) < 0.2)
    fp32 = UnitScores(NDCG, np.full(n, 0.5))
    engines = {str(i): UnitScores(NDCG, 0.5 - row) for i, row in enumerate(drops)}
    found = compare_cells(NDCG, fp32, engines, {"all": np.arange(n)}, max_drop=promised)
    passed = np.mean([one.verdict is Verdict.PASS for one in found])
    assert passed == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / simulations))


@pytest.mark.parametrize("metric", [TOP1, NDCG])
@pytest.mark.parametrize("gate", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("flip_rate", [0.0, 0.05])
def test_units_to_prove_is_the_first_size_whose_provable_drop_is_below_the_gate(
    metric, gate, flip_rate
):
    expected = Expectation(flip_rate)
    n = units_to_prove(metric, gate, expected=expected)
    tiny = MinSupport(1, 1)
    drops = [
        smallest_provable_drop(metric, size, expected=expected, min_support=tiny)
        for size in (n, n - 1)
    ]
    assert drops[0] < gate <= drops[1]


def test_one_point_needs_268_units_without_flips_and_more_with_them():
    assert units_to_prove(TOP1, 0.01) == 268
    assert units_to_prove(TOP1, 0.01, expected=Expectation(0.05)) == pytest.approx(3200, rel=0.05)


def test_where_nothing_can_be_promised_no_drop_is():
    assert smallest_provable_drop(TOP1, 29) is None
    assert smallest_provable_drop(NLL, 10**6) is None
    assert smallest_provable_drop(WER, 10**6) is None
    assert units_to_prove(NLL, 0.1) is None
    assert units_to_prove(TOP1, 0.0) is None
    assert units_to_prove(TOP1, 1.5) == 1


@pytest.mark.parametrize(
    ("n", "lost", "gained", "gate"), [(50, 0.03, 0.01, 0.02), (300, 0.06, 0.02, 0.05)]
)
def test_chances_of_verdicts_are_those_of_simulated_audits(n, lost, gained, gate):
    chances = verdict_chances(n, lost, gained, max_drop=gate)
    assert sum(chances.values()) == pytest.approx(1.0)
    rng, simulations = np.random.default_rng(1), 1000
    fate = rng.choice(3, (simulations, n), p=[lost, gained, 1 - lost - gained])
    fp32, int8 = UnitScores(TOP1, fate.ravel() != 1), UnitScores(TOP1, fate.ravel() != 0)
    slices = {str(i): np.arange(i * n, (i + 1) * n) for i in range(simulations)}
    compared = compare(TOP1, fp32, {"c": int8}, slices, max_drop=gate)
    found = [judge([one])[0].verdict for one in compared]
    for verdict, chance in chances.items():
        seen = np.mean([one is verdict for one in found])
        error = np.sqrt(chance * (1 - chance) / simulations)
        assert seen == pytest.approx(chance, abs=4 * error + 1e-3)


def test_a_thin_slice_has_no_chance_to_pass():
    assert verdict_chances(20, 0.0, 0.0, max_drop=0.5)[Verdict.PASS] == 0.0
    assert verdict_chances(40, 0.0, 0.0, max_drop=0.5)[Verdict.PASS] == 1.0
