import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calaudit.metrics.case import Case
from calaudit.steps.agreement import highest


@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 6),
    width=st.integers(6, 90),
    levels=st.sampled_from([1, 3, 1000]),
)
def test_the_highest_are_those_of_sorting_all_and_of_ties_the_first(
    seed: int, k: int, width: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (7, width)).astype(np.float32)
    scores[1, rng.random(width) < 0.5] = np.nan
    scores[2] = np.nan
    scores[3, 0] = np.inf
    found = highest(Case(scores, np.zeros(7, np.int64), None), k)
    last = np.where(np.isnan(scores), -np.inf, scores)
    assert np.array_equal(found, np.argsort(-last, axis=1, kind="stable")[:, :k])
    assert found.dtype == np.int64
