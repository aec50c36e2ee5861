import numpy as np
import pytest

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import RatioScores, UnitScores
from calaudit.statistics.compare import compare_cells
from calaudit.statistics.worst_slice import worst_gaps
from tests.statistics.cases import NDCG, TOP1, WER

N = 40


def scores_of_each_kind():
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(N, 5)), rng.integers(0, 5, N)
    shown = Relevance(rng.integers(0, 2, (N, 8)))
    yield UnitScores(TOP1, rng.random(N) < 0.9)
    yield UnitScores(NDCG, rng.random(N))
    yield RatioScores(WER, rng.integers(0, 3, N).astype(float), np.full(N, 4.0))
    yield score(parse_metric("balanced_accuracy"), logits, Labels(label))
    yield score(parse_metric("coverage@2"), rng.normal(size=(N, 8)), shown)


@pytest.mark.parametrize("clusters", [None, np.arange(N) // 4], ids=["alone", "clustered"])
@pytest.mark.parametrize("reference", scores_of_each_kind(), ids=lambda each: each.metric.name)
def test_no_engines_make_no_comparisons_whatever_the_metric(reference, clusters):
    slices = {"all": np.arange(N), "none": np.arange(0), "half": np.arange(0, N, 2)}
    assert (
        compare_cells(reference.metric, reference, {}, slices, max_drop=0.1, clusters=clusters)
        == []
    )
    assert worst_gaps(reference.metric, reference, {}, slices, clusters=clusters) == []
