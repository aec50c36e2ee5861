import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Relevance
from calaudit.results.rankings import Flow, MovedItem
from calaudit.statistics.ranking_change import change_of, moved_items
from tests.metrics.ranked import tied_case

SHARE = parse_metric("long_tail_share@3")


def change(engine, truth, fp32):
    (found,) = change_of([SHARE], engine, truth, fp32)
    return found


def test_places_that_leave_one_item_are_taken_by_those_that_enter():
    # Two queries; head 0–2, tail 3–5. In the first, 3 takes the place of 2; in the second, two of
    # the tail lose theirs to two of the head.
    fp32 = np.array([[9.0, 8, 7, 1, 1, 1], [9, 1, 1, 8, 7, 0]])
    engine = np.array([[9.0, 8, 1, 7, 1, 1], [9, 8, 7, 1, 1, 0]])
    truth = Relevance(np.ones((2, 6)), tail=np.arange(6) > 2)
    found = change(engine, truth, fp32)
    assert found.flow(np.arange(2)) == Flow(6, 3, 0, 1, 2, 0)
    assert found.flow(np.array([0])) == Flow(3, 2, 0, 1, 0, 0)
    assert found.flow(np.arange(2)).tail_gain == -1
    lost, gained = found.moved(np.arange(2), most=2)
    assert lost == (MovedItem("4", 1, 0, None, True),)
    assert gained == (MovedItem("1", 1, 2, None, False),)


def test_within_one_query_every_gain_has_its_share_of_every_loss():
    # A head and a tail item leave, two of the tail enter: half a place goes each way.
    fp32 = np.array([[9.0, 8, 7, 1, 1, 1]])
    engine = np.array([[9.0, 1, 1, 8, 7, 0]])
    truth = Relevance(np.ones((1, 6)), tail=np.array([False, False, True, True, True, True]))
    assert change(engine, truth, fp32).flow(np.arange(1)) == Flow(3, 1, 0, 1, 0, 1)


def test_a_tie_at_the_cut_moves_parts_of_places():
    fp32 = np.array([[9.0, 8, 7, 6]])
    engine = np.array([[9.0, 8, 7, 7]])
    truth = Relevance(np.ones((1, 4)), tail=np.arange(4) == 3)
    assert change(engine, truth, fp32).flow(np.arange(1)) == Flow(3, 2.5, 0, 0.5, 0, 0)


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 4, 1000]))
@settings(max_examples=40, deadline=None)
def test_flows_account_for_every_place_and_for_the_drop_of_the_tails_share(seed, levels):
    fp32, truth = tied_case(seed, levels=levels)
    engine = tied_case(seed + 1, levels=levels)[0]
    found = change(engine, truth, fp32)
    rows = np.array([0, 1, 3, 5])
    flow = found.flow(rows)
    moved = flow.head_to_head + flow.head_to_tail + flow.tail_to_head + flow.tail_to_tail
    assert flow.kept + moved == pytest.approx(flow.places)
    before, after = (np.asarray(m[rows].sum(axis=0)).reshape(-1) for m in found.exposure)
    assert flow.tail_gain == pytest.approx((after - before)[truth.tail].sum())
    # Where all lists have three places, it is also what the long-tail share gains.
    full = rows[(~truth.exclude[rows]).sum(axis=1) >= 3]
    gain = found.flow(full).tail_gain / max(3 * len(full), 1)
    drops = score(SHARE, fp32, truth).values[full] - score(SHARE, engine, truth).values[full]
    assert gain == pytest.approx(-drops.mean() if len(full) else 0.0)


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 3, 1000]))
@settings(max_examples=20, deadline=None)
def test_an_engine_that_equals_fp32_moves_nothing(seed, levels):
    fp32, truth = tied_case(seed, levels=levels)
    found = change(fp32 * 2, truth, fp32)
    flow = found.flow(np.arange(6))
    assert flow.kept == pytest.approx(flow.places)
    assert flow.tail_gain == pytest.approx(0)
    assert found.moved(np.arange(6)) == ((), ())


def test_the_largest_moves_come_first_and_equal_ones_in_the_catalogues_order():
    before, after = np.array([5.0, 3, 3, 0, 1]), np.array([1.0, 2, 2, 6, 1])
    lost, gained = moved_items(before, after, most=2)
    assert lost.tolist() == [0, 1]
    assert gained.tolist() == [3]


def test_without_a_tail_or_queries_there_is_no_flow_but_no_error():
    scores = np.array([[3.0, 2, 1, 0]])
    found = change_of([parse_metric("ndcg@2")], scores, Relevance(np.ones((1, 4))), scores)[0]
    assert found.flow(np.arange(1)) is None
    assert np.isnan(found.tied_share("engine", np.arange(0)))
    truth = Relevance(np.ones((0, 4)), tail=np.arange(4) > 1)
    nobody = change_of([SHARE], scores[:0], truth, scores[:0])[0]
    assert nobody.flow(np.arange(0)) == Flow(0, 0, 0, 0, 0, 0)
    assert nobody.moved(np.arange(0)) == ((), ())


def test_ties_across_the_cut_are_counted_for_both_engines():
    fp32 = np.array([[9.0, 8, 7, 6], [9, 8, 7, 7], [9, 8, 7, 6]])
    engine = np.array([[9.0, 8, 7, 7], [9, 8, 7, 7], [9, 8, 7, 6]])
    found = change(engine, Relevance(np.ones((3, 4)), tail=np.arange(4) > 1), fp32)
    assert found.tied_share("fp32", np.arange(3)) == pytest.approx(1 / 3)
    assert found.tied_share("engine", np.arange(3)) == pytest.approx(2 / 3)
