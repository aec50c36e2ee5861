"""The interval and the test of average precision, in simulated worlds of photographs."""

from dataclasses import replace

import numpy as np
from scipy.stats import binom
from worlds.detections import Photographs

from calaudit.metrics.unit_scores import SetScores
from calaudit.results.comparison import Verdict
from calaudit.statistics.compare import compare, compare_cells

WORLD = Photographs((4.0, 1.0))
SLICES, N = 25, 60


def compared(sample, **how):
    rows = {str(i): np.arange(i * N, (i + 1) * N) for i in range(SLICES)}
    how = {"clusters": sample.clusters, **how}
    return compare(
        sample.reference.metric, sample.reference, {"int8": sample.candidate}, rows, **how
    )


def test_an_engine_that_only_differs_by_noise_is_rarely_accused():
    found = compared(WORLD(np.random.default_rng(0), SLICES, N, False))
    assert sum(one.p_value <= 0.1 for one in found) <= binom.isf(1e-4, SLICES, 0.1)
    assert sum(not one.low <= 0 <= one.high for one in found) <= binom.isf(1e-4, SLICES, 0.05)
    assert {one.interval for one in found} == {"jackknife"}


def test_an_engine_that_sees_some_objects_worse_is_found_out():
    found = compared(WORLD(np.random.default_rng(1), SLICES, N, True))
    mean = np.mean([one.drop for one in found])
    assert mean > 0.03
    assert sum(not one.low <= mean <= one.high for one in found) <= binom.isf(1e-4, SLICES, 0.05)
    assert sum(one.p_value < 0.05 for one in found) > SLICES / 2


def test_images_of_one_photograph_say_less_than_as_many_photographs():
    sample = replace(WORLD, lights=4, share=0.3)(np.random.default_rng(2), SLICES, N, True)
    clustered, alone = compared(sample), compared(sample, clusters=None)
    together, apart = (np.mean([e.standard_error for e in each]) for each in (clustered, alone))
    assert together > 1.3 * apart
    assert together > 0.7 * np.std([one.drop for one in clustered])
    assert {one.n_clusters for one in clustered} == {N // 4}


def test_an_engine_that_finds_nothing_any_more_has_regressed_however_few_images_are_spared():
    sample = WORLD(np.random.default_rng(3), 1, 400, False)
    rows = np.arange(400)
    for spared in (0, 3):
        blind = sample.reference.statistics
        kept = np.flatnonzero(blind.image < spared)
        nothing = replace(
            blind,
            first=np.searchsorted(kept, blind.first),
            **{name: getattr(blind, name)[kept] for name in ("image", "score", "right", "ignored")},
        )
        dead = SetScores(sample.reference.metric, nothing)
        (found,) = compare_cells(
            dead.metric, sample.reference, {"dead": dead}, {"all": rows}, max_drop=0.02
        )
        assert found.verdict is Verdict.REGRESSED
        assert found.p_value < 1e-4
