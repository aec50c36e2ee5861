"""The fast version of benchmarks/interval_coverage.py, with tolerances from the binomial."""

import pytest
from scipy.stats import binom
from worlds.hard import HARD
from worlds.ordinary import ORDINARY

from benchmarks.interval_coverage import PROMISED, audits, measure_world
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare
from calaudit.statistics.power import verdict_chances
from calaudit.statistics.verdict import judge
from tests.statistics.cases import TOP1

pytestmark = pytest.mark.slow

UNLIKELY = 1e-4
"""Chance that a method that keeps its promise exceeds its tolerance."""


def tolerated(trials, promise=PROMISED):
    return binom.isf(UNLIKELY, trials, promise) / trials


@pytest.mark.parametrize("world", ORDINARY, ids=lambda world: world.name)
def test_bounds_and_verdicts_err_no_more_often_than_promised(world):
    n = 200 if 200 in world.sizes else world.sizes[0]
    rates = measure_world(world, n, simulations=200, seed=5)
    most = tolerated(rates.simulations)
    assert rates.below <= most
    assert rates.above <= most
    assert rates.outside <= most
    assert rates.false_pass <= most
    assert rates.false_regressed <= most


@pytest.mark.parametrize("world", HARD, ids=lambda world: world.name)
def test_rare_losses_heavy_tails_and_few_clusters_break_no_promise(world):
    rates = measure_world(world, world.sizes[0], simulations=200, seed=5)
    most = tolerated(rates.simulations)
    assert rates.false_pass <= most
    assert rates.false_regressed <= most


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("tango, 6 % flip", 0.8),
        ("tango-clustered, 5 per image", 0.65),
        ("bootstrap-t, 20 % change", 0.68),
        ("bootstrap-t, 50 % change", 0.95),
        ("bootstrap-t, WER, 10 per speaker", 1.0),
        ("nDCG, jitter, 1 % collapse", 0.87),
        ("NLL, normal", 1.0),
        ("NLL, Student's t, 3 degrees", 0.94),
    ],
)
def test_an_engine_that_does_no_harm_passes_as_often_as_is_told(name, most):
    world = next(each for each in (*ORDINARY, *HARD) if each.name == name)
    rates = measure_world(world, 1000, simulations=150, seed=7)
    assert rates.harmless_pass >= binom.ppf(UNLIKELY, rates.simulations, most) / rates.simulations


def test_every_kind_of_interval_is_simulated():
    used = set()
    for world in ORDINARY:
        for n in world.sizes[:2]:
            used |= set(measure_world(world, n, simulations=20, seed=6).intervals)
    assert used >= {"tango", "tango-clustered", "bootstrap-t", "clopper-pearson", "jackknife"}


def test_a_drop_in_one_of_40_slices_is_found_with_the_power_that_was_predicted():
    n, simulations = 1000, 80
    found = 0
    for fp32, int8, rows in audits(simulations, 40, n, planted=0.03, flip_rate=0.04):
        compared = compare(TOP1, fp32, {"engine": int8}, rows, max_drop=0.01)
        judged = judge(compared, tell_needed=False)
        found += next(one for one in judged if one.slice == "0").verdict is Verdict.REGRESSED
    chance = verdict_chances(n, 0.05, 0.02, max_drop=0.01, tests=40)[Verdict.REGRESSED]
    assert 0.5 < chance < 0.9
    assert binom.ppf(1e-4, simulations, chance) <= found <= binom.isf(1e-4, simulations, chance)
