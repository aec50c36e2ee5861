"""Tests by swaps of several engines at once: each stops, and ends, as it would alone."""

import numpy as np
import pytest
from scipy import sparse

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.swapping import Moves, SumsBeside
from calaudit.statistics.permutation import swap_tests

METRIC = parse_metric("coverage@5")
UNITS, COLUMNS = 60, 5


def spread(totals):
    return np.sqrt(np.abs(totals)).sum(axis=-1)


def sums(columns):
    return Sums(sparse.csr_array(columns), spread, lambda *_: 1.0)


def p_values(engines, few, beyond):
    fp32 = np.random.default_rng(0).random((UNITS, COLUMNS))
    beside = SumsBeside(sums(fp32), [sums(fp32 + each) for each in engines])
    engine, place = np.nonzero(beside.changed)
    block = (np.cumsum(beside.changed, axis=1) - 1)[engine, place]
    n_blocks = np.count_nonzero(beside.changed, axis=1)
    moves = Moves(np.arange(UNITS), n_blocks, engine, place, block)
    return swap_tests(METRIC, beside.swaps(moves), n_blocks, key="k", beyond=beyond, few=few)


def worlds():
    """Engines that change nothing, little, much, and at random: some need more tosses."""
    rng = np.random.default_rng(1)
    found = []
    for size, shift in [(0, 0), (2, 0), (30, 0.0), (60, -0.3), (60, -0.05), (60, 0.1), (1, -1)]:
        moved = rng.normal(shift, 0.2, (UNITS, COLUMNS))
        moved[rng.permutation(UNITS)[size:]] = 0.0
        found.append(moved)
    return found


@pytest.mark.parametrize("few", [False, True])
def test_p_values_of_several_engines_are_those_of_each(few):
    engines = worlds()
    beyond = np.linspace(0.001, 0.5, len(engines))
    marked = np.full(len(engines), few)
    together = p_values(engines, marked, beyond)
    alone = [
        p_values([each], marked[:1], beyond[at : at + 1])[0] for at, each in enumerate(engines)
    ]
    np.testing.assert_array_equal(together, alone)
    assert together[0] == 1.0
    assert len(set(together.tolist())) > 4
