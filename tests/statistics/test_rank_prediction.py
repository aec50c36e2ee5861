"""Rank agreement against SciPy, and what chance gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calaudit.statistics.rank_prediction import rank_agreement


@settings(max_examples=30)
@given(st.integers(5, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_it_is_the_mean_of_spearmans_correlation_within_slices(
    cells: int, slices: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    predicted = random.integers(0, 5, (slices, cells)).astype(float)
    predicted[:, 0] = 9
    measured = random.normal(size=(slices, cells))
    found = rank_agreement(predicted, measured, seed=0)
    each = [stats.spearmanr(a, b).statistic for a, b in zip(predicted, measured, strict=True)]
    assert found.correlation == pytest.approx(np.mean(each))
    assert (found.cells, found.slices) == (cells, slices)


@pytest.mark.parametrize("cells", [5, 6, 20])
def test_its_p_value_for_one_slice_is_scipys_permutation_test(cells: int) -> None:
    random = np.random.default_rng(cells)
    measured = random.normal(size=(1, cells))
    predicted = measured + random.normal(size=(1, cells))

    def correlation(x: np.ndarray) -> float:
        return float(stats.spearmanr(x, measured[0]).statistic)

    wanted = stats.permutation_test(
        (predicted[0],),
        correlation,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=2000,
        rng=np.random.default_rng(0),
    )
    found = rank_agreement(predicted, measured, seed=0)
    assert found.p_value == pytest.approx(wanted.pvalue, abs=0.03 if cells > 6 else 1e-9)


def test_chance_is_not_more_significant_for_slices_that_share_it() -> None:
    random = np.random.default_rng(1)
    low = 0
    for trial in range(200):
        shared = random.normal(size=8)
        predicted = random.normal(size=8) + 0.1 * random.normal(size=(30, 8))
        measured = shared + 0.1 * random.normal(size=(30, 8))
        found = rank_agreement(predicted, measured, seed=trial)
        assert found.p_value is not None
        low += found.p_value <= 0.05
    assert low <= 20  # 10 expected


def test_slices_that_tell_nothing_are_left_out() -> None:
    predicted = np.tile(np.arange(6.0), (4, 1))
    measured = predicted.copy()
    measured[1] = 2.0
    measured[2, 3] = np.nan
    predicted[3] = 0.0
    found = rank_agreement(predicted, measured, seed=0)
    assert (found.correlation, found.slices) == (pytest.approx(1.0), 1)
    assert found.p_value == pytest.approx(1 / 720)
    assert rank_agreement(predicted[1:], measured[1:], seed=0).correlation is None


@pytest.mark.parametrize("shape", [(3, 4), (0, 9), (3, 0)])
def test_few_engines_or_no_slices_tell_nothing(shape: tuple[int, int]) -> None:
    values = np.arange(float(np.prod(shape))).reshape(shape)
    found = rank_agreement(values, values, seed=0)
    assert (found.correlation, found.p_value) == (None, None)
    assert found.cells == shape[1]
