import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.runtime.errors import PoolError
from calaudit.tasks.pairwise import from_pairs
from calaudit.tasks.retrieval import retrieval_scores


def test_pairs_become_one_row_per_query_with_unpaired_items_excluded():
    pairs = from_pairs(["b", "a", "b"], [10, 30, 20], [1, 0, 2], popularity=[5, 7, 6])
    assert pairs.queries.tolist() == ["a", "b"]
    assert pairs.items.tolist() == [10, 20, 30]
    assert pairs.truth.relevance.tolist() == [[0, 0, 0], [1, 2, 0]]
    assert pairs.truth.exclude.tolist() == [[True, True, False], [False, False, True]]
    assert pairs.truth.popularity.tolist() == [5, 6, 7]
    assert pairs.first_pair.tolist() == [1, 0]
    dense = pairs.listwise(np.array([[0.5], [0.25], [0.75]], dtype=np.float32))
    assert dense.dtype == np.float32
    assert dense.tolist() == [[-np.inf, -np.inf, 0.25], [0.5, 0.75, -np.inf]]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_all_pairs_in_any_order_score_as_the_listwise_pool_does(seed):
    rng = np.random.default_rng(seed)
    scores, relevance = rng.integers(0, 5, (4, 6)) * 1.0, rng.integers(0, 2, (4, 6))
    query, item = (index.ravel() for index in np.indices((4, 6)))
    order = rng.permutation(24)
    pairs = from_pairs(query[order], item[order], relevance.ravel()[order])
    for name in ("ndcg@3", "coverage@3"):
        metric = parse_metric(name)
        pairwise = score(metric, pairs.listwise(scores.ravel()[order]), pairs.truth)
        listwise = score(metric, scores, Relevance(relevance))
        assert pairwise.value() == pytest.approx(listwise.value(), nan_ok=True)


def test_a_pair_that_appears_twice_is_named():
    with pytest.raises(PoolError, match="query 1 and item 7 are paired more than once"):
        from_pairs([1, 2, 1], [7, 7, 7], [0, 1, 1])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(PoolError, match="shapes"):
        from_pairs([1, 2], [7], [0, 1])
    with pytest.raises(PoolError, match="one score per pair"):
        from_pairs([1, 2], [7, 7], [0, 1]).listwise(np.zeros(3))


def test_retrieval_scores_are_cosines():
    query, gallery = np.array([[3.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])
    found = retrieval_scores(query, gallery)
    assert found == pytest.approx(np.array([[1.0, np.sqrt(0.5)], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("relevance", "options", "why"),
    [
        (np.ones(3), {}, "shape"),
        (np.array([[1.0, -1.0]]), {}, "negative"),
        (np.array([[1.0, np.nan]]), {}, "NaN"),
        (np.ones((2, 3)), {"exclude": np.zeros((3, 2))}, "exclude"),
        (np.ones((2, 3)), {"tail": np.zeros(2)}, "tail"),
    ],
)
def test_relevance_that_makes_no_sense_is_refused(relevance, options, why):
    with pytest.raises(PoolError, match=why):
        Relevance(relevance, **options)


def test_labels_must_be_one_integer_per_sample():
    with pytest.raises(PoolError, match="integer"):
        Labels(np.zeros(3))
    assert Labels(np.arange(4)).take(np.array([2, 0])).label.tolist() == [2, 0]
