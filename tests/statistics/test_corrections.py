from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from calaudit.statistics.verdict import benjamini_yekutieli, holm


def test_the_worked_example():
    # Smallest × 4, next × 3, …, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_it_rejects_exactly_what_stepping_down_rejects(p_values):
    p, alpha = np.array(p_values), 0.05
    rejected = np.zeros(len(p), dtype=bool)
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) >= alpha:
            break
        rejected[index] = True
    assert ((holm(p) < alpha) == rejected).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_both_equal_statsmodels(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for correct, method in ((holm, "holm"), (benjamini_yekutieli, "fdr_by")):
        with patch("gc.collect"):  # it collects garbage each time, a tenth of a second
            theirs = multitest.multipletests(p_values, method=method)[1]
        assert correct(p_values) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("correct", [holm, benjamini_yekutieli])
def test_one_test_stays_as_it_is_and_none_gives_none(correct):
    assert correct([0.2]).tolist() == [0.2]
    assert correct([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_false_discovery_rate_is_scipys(p_values):
    theirs = false_discovery_control(p_values, method="by")
    assert benjamini_yekutieli(p_values) == pytest.approx(theirs, rel=1e-14, abs=0)


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_yekutieli([0.5, wrong])
