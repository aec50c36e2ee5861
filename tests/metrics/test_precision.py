import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import tie_bounds
from calaudit.metrics.truth import Relevance
from tests.metrics.ranked import orders, tied_case, values


def plain_rr(order, relevant, k):
    places = [place for place, item in enumerate(order[:k], start=1) if item in relevant]
    return 1 / places[0] if places else 0.0


def plain_ap(order, relevant, k):
    found, total = 0, 0.0
    for place, item in enumerate(order[:k], start=1):
        if item in relevant:
            found += 1
            total += found / place
    return total / min(len(relevant), k)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("family", "plain"), [("mrr", plain_rr), ("map", plain_ap)])
def test_the_value_is_the_mean_over_all_orders_of_the_ties_and_the_bounds_their_extremes(
    family, plain, seed
):
    scores, truth = tied_case(seed, items=7)
    for k in (1, 3, 10):
        metric = parse_metric(f"{family}@{k}")
        found, bounds = values(metric.name, scores, truth), tie_bounds(metric, scores, truth)
        for query in range(len(scores)):
            relevant = set(np.flatnonzero(truth.gain[query]))
            if not relevant:
                assert np.isnan(found[query])
                continue
            every = [
                plain(order, relevant, k) for order in orders(scores[query], truth.exclude[query])
            ]
            assert found[query] == pytest.approx(np.mean(every))
            assert bounds.worst.values[query] == pytest.approx(min(every))
            assert bounds.best.values[query] == pytest.approx(max(every))


@pytest.fixture(scope="module")
def untied():
    rng = np.random.default_rng(5)
    scores = rng.permuted(np.tile(np.arange(30.0), (15, 1)), axis=1)
    relevance = rng.integers(0, 2, (15, 30)) * (rng.random((15, 30)) < 0.3)
    relevance[:, 3] = 1
    return scores, relevance


RANX = """
import json, sys
import ranx

given = json.load(sys.stdin)
qrels, run = ranx.Qrels(given["qrels"]), ranx.Run(given["run"])
names = given["metrics"]
scores = {name: list(ranx.evaluate(qrels, run, [name], return_mean=False)) for name in names}
json.dump({name: list(map(float, each)) for name, each in scores.items()}, sys.stdout)
"""


def by_ranx(scores, relevance, metrics):
    """Per-query scores by ranx, in a process of its own that interprets instead of compiling."""
    given = {
        "metrics": metrics,
        "qrels": {
            f"q{q:02}": {f"i{i}": int(r) for i, r in enumerate(row) if r}
            for q, row in enumerate(relevance)
        },
        "run": {
            f"q{q:02}": {f"i{i}": float(s) for i, s in enumerate(row)}
            for q, row in enumerate(scores)
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    return {name: np.asarray(each) for name, each in json.loads(done.stdout).items()}


def test_mrr_and_map_equal_ranx_on_untied_scores(untied):
    pytest.importorskip("ranx")
    scores, relevance = untied
    truth = Relevance(relevance)
    same = ["mrr@10", "recall@10", "ndcg@10"]
    expected = by_ranx(scores, relevance, [*same, "map@10"])
    for name in same:
        assert values(name, scores, truth) == pytest.approx(expected[name])
    # ranx divides by R; ours by min(R, k), so that a list that can't hold them all may be perfect.
    n_relevant = relevance.sum(axis=1)
    assert values("map@10", scores, truth) == pytest.approx(
        expected["map@10"] * n_relevant / np.minimum(n_relevant, 10)
    )


def test_mrr_and_map_equal_ir_measures_on_untied_scores(untied):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ir_measures = pytest.importorskip("ir_measures")
    scores, relevance = untied
    qrels = [
        ir_measures.Qrel(str(q), str(i), int(relevance[q, i])) for q in range(15) for i in range(30)
    ]
    run = [
        ir_measures.ScoredDoc(str(q), str(i), float(scores[q, i]))
        for q in range(15)
        for i in range(30)
    ]
    theirs = {
        (str(one.measure), int(one.query_id)): one.value
        for one in ir_measures.iter_calc([ir_measures.RR @ 10, ir_measures.AP @ 10], qrels, run)
    }
    truth, n_relevant = Relevance(relevance), relevance.sum(axis=1)
    rr, ap = values("mrr@10", scores, truth), values("map@10", scores, truth)
    for q in range(15):
        assert rr[q] == pytest.approx(theirs["RR@10", q])
        assert ap[q] * min(n_relevant[q], 10) / n_relevant[q] == pytest.approx(theirs["AP@10", q])


def test_the_reciprocal_place_within_one_large_tie_has_a_closed_form():
    # One relevant item among n tied ones: each place is as likely, so the mean is H_k/n.
    truth = Relevance(np.eye(1, 50))
    harmonic = sum(1 / place for place in range(1, 11))
    assert values("mrr@10", np.zeros((1, 50)), truth) == pytest.approx([harmonic / 50])
    assert values("map@10", np.zeros((1, 50)), truth) == pytest.approx([harmonic / 50])


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 4, 50]))
@settings(max_examples=25, deadline=None)
def test_a_perfect_order_has_1_and_everything_lies_between_its_bounds(seed, levels):
    scores, truth = tied_case(seed, levels=levels)
    for name in ("mrr@3", "map@3"):
        metric = parse_metric(name)
        found, bounds = values(name, scores, truth), tie_bounds(metric, scores, truth)
        kept = ~np.isnan(found)
        assert (bounds.worst.values[kept] <= found[kept] + 1e-12).all()
        assert (found[kept] <= bounds.best.values[kept] + 1e-12).all()
        perfect = values(name, (truth.gain > 0).astype(float), truth)
        assert perfect[kept] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["mrr@2", "map@2"])
def test_degenerate_queries_are_left_out_or_score_0(name):
    nothing = Relevance(np.zeros((3, 4)))
    assert np.isnan(values(name, np.zeros((3, 4)), nothing)).all()
    hidden = Relevance(np.ones((1, 3)), np.ones((1, 3), dtype=bool))
    assert np.isnan(values(name, np.zeros((1, 3)), hidden)).all()
    masked = np.full((1, 4), -np.inf, dtype=np.float32)
    assert np.isfinite(values(name, masked, Relevance(np.eye(1, 4)))).all()
    none = Relevance(np.zeros((0, 4)))
    assert values(name, np.zeros((0, 4)), none).shape == (0,)
