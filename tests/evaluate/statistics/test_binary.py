import numpy as np
import pytest
from scipy.stats import binomtest, norm

from calaudit.evaluate.statistics.binary import compare_binary, mcnemar
from calaudit.evaluate.statistics.interval import Levels


def test_mcnemar_equals_scipys_binomial_test():
    lost, gained = (index.ravel() for index in np.indices((12, 12)))
    theirs = [
        binomtest(b, b + c, 0.5, "greater").pvalue if b + c else 1.0
        for b, c in zip(lost.tolist(), gained.tolist(), strict=True)
    ]
    assert mcnemar(lost, gained) == pytest.approx(theirs)


def test_all_cells_of_a_slice_are_compared_at_once():
    found = compare_binary(np.array([40, 0]), np.array([20, 0]), 160, Levels())
    assert found.drop == pytest.approx([0.125, 0.0])
    assert found.ends[:2, 0] == pytest.approx([0.0309, 0.2181], abs=5e-5)
    assert found.ends[3, 1] == pytest.approx(1.6448536**2 / (160 + 1.6448536**2))
    assert found.n_changed.tolist() == [60, 0]


def test_a_margin_makes_it_the_score_test_whose_inverse_is_the_interval():
    low = compare_binary(np.array([40]), np.array([0]), 400, Levels()).ends[2, 0]
    at_bound = compare_binary(np.array([40]), np.array([0]), 400, Levels(), margin=low)
    assert at_bound.p_value == pytest.approx(0.05)
    assert norm.sf(1.6448536) == pytest.approx(0.05)
