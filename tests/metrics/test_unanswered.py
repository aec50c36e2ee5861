"""An engine whose output isn't a number where FP32's is has regressed, whatever the metric."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.case import infinities, unanswered
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import UnitScores, concatenate
from calaudit.results.comparison import Verdict
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.compare import compare_cells
from calaudit.statistics.exemplars import find_exemplars
from calaudit.statistics.worst_slice import worst_gaps
from calaudit.tasks.retrieval import retrieval_scores
from tests.metrics.every_metric import NAMES, form_of, judged, scored, world

NUMBERS = [name for name in NAMES if form_of(name) not in ("texts", "boxes", "objects", "masks")]
WRONG = [np.nan, np.inf, -np.inf]
ROWS = np.array([3, 17])
"""Of the units: those whose outputs are wrong."""


def put(outputs, rows, wrong, where="one"):
    """A copy with a wrong value in one place of each of `rows`, or in all places."""
    broken = outputs.copy()
    if where == "all":
        broken[rows] = wrong
    else:
        broken[rows, 0] = wrong
    return broken


def nothing_hidden(truth):
    if isinstance(truth, Relevance):
        return Relevance(
            truth.relevance, None, truth.popularity, truth.tail, truth.vectors, truth.genres,
            truth.history,
        )  # fmt: skip
    return truth


@cache
def beside_itself(name):
    """FP32's outputs, the truth, FP32 beside itself, and how many of `ROWS` that leaves out."""
    fp32, _, truth = world(name, n=40)
    truth = nothing_hidden(truth)
    alone = judged(name, fp32, fp32, truth, rows=ROWS)
    return fp32, truth, judged(name, fp32, fp32, truth), alone.n_left_out


@pytest.mark.parametrize("where", ["one", "all"])
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", NUMBERS)
def test_an_engine_that_is_not_finite_where_fp32_is_has_regressed(name, wrong, where):
    fp32, truth, sound, left_out = beside_itself(name)
    found = judged(name, fp32, put(fp32, ROWS, wrong, where), truth, max_drop=0.9)
    assert found.n_broken == len(ROWS) - left_out
    assert (found.n + found.n_broken, found.n_left_out) == (sound.n, sound.n_left_out)
    assert found.n_broken > 0
    assert found.verdict is Verdict.REGRESSED
    assert found.drop == pytest.approx(0)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_fp32_leaves_unanswered_is_left_out_and_never_held_against_the_engine(name, wrong):
    fp32, engine, truth = world(name, n=40)
    truth = nothing_hidden(truth)
    rows = np.array([3, 17])
    others = np.setdiff1d(np.arange(40), rows)
    broken = put(fp32, rows, np.nan, "all")
    alone = judged(name, fp32, engine, truth, rows=others)
    for answer in (engine, put(engine, rows, wrong)):
        found = judged(name, broken, answer, truth)
        assert (found.n, found.n_broken) == (alone.n, 0)
        assert found.n_left_out == alone.n_left_out + 2
        assert found.drop == pytest.approx(alone.drop)


@pytest.mark.parametrize(
    "name", [n for n in NUMBERS if form_of(n) == "scores" or n in ("top1", "nll", "top1_agreement")]
)
def test_what_fp32_masks_by_minus_infinity_the_engine_may_mask_too(name):
    fp32, engine, truth = world(name, n=40)
    if isinstance(truth, Labels):
        truth = Labels(np.maximum(truth.label, 1))  # class 0 is masked
    rows = np.arange(0, 40, 2)
    masked, alike = put(fp32, rows, -np.inf), put(engine, rows, -np.inf)
    assert judged(name, masked, alike, truth).n_broken == 0
    assert judged(name, masked, engine, truth).n_broken == 0  # it answers more than FP32 does
    elsewhere = alike.copy()
    elsewhere[1, 1] = -np.inf
    hidden = isinstance(truth, Relevance) and truth.exclude[1, 1]
    assert judged(name, masked, elsewhere, truth).n_broken == (0 if hidden else 1)


@pytest.mark.parametrize("name", [n for n in NUMBERS if form_of(n) == "scores"])
def test_scores_of_excluded_items_are_not_read(name):
    fp32, engine, truth = world(name, n=40)
    plain = judged(name, fp32, engine, truth)
    for wrong in WRONG:
        dirty = np.where(truth.exclude, np.float32(wrong), engine)
        assert judged(name, fp32, dirty, truth) == plain
        assert judged(name, np.where(truth.exclude, np.float32(wrong), fp32), dirty, truth) == plain


@pytest.mark.parametrize("name", ["wer", "cer", "exact_match"])
def test_an_engine_without_a_text_has_regressed(name):
    fp32, _, truth = world(name, n=40)
    silent = fp32.copy()
    silent[5] = None
    found = judged(name, fp32, silent, truth)
    assert (found.n, found.n_broken, found.verdict) == (39, 1, Verdict.REGRESSED)
    assert judged(name, silent, fp32, truth).n_left_out == 1


def test_nan_in_every_class_but_the_true_one_is_not_right():
    label = np.zeros(2000, dtype=np.int64)
    fp32 = np.tile(np.array([2.0, 1.0, 0.0], np.float32), (2000, 1))
    engine = fp32.copy()
    engine[:4, 1:] = np.nan
    for metric in map(parse_metric, ("top1", "top2", "balanced_accuracy", "macro_f1")):
        # Without FP32's outputs as well.
        before, after = (score(metric, each, Labels(label)) for each in (fp32, engine))
        (found,) = compare_cells(
            metric, before, {"c": after}, {"all": np.arange(2000)}, max_drop=0.02
        )
        assert (found.n, found.n_broken, found.verdict) == (1996, 4, Verdict.REGRESSED)
        assert found.drop == 0


@pytest.mark.parametrize("name", ["top1", "nll", "balanced_accuracy", "mae", "rmse"])
def test_infinities_are_held_against_fp32s_where_only_scores_are_compared(name):
    fp32, _, truth = world(name, n=40)
    metric = parse_metric(name)

    def compared(one, other):
        before, after = score(metric, one, truth), score(metric, other, truth)
        rows = {"all": np.arange(40)}
        (found,) = compare_cells(metric, before, {"c": after}, rows, max_drop=0.5)
        return found.n_broken

    masked = put(fp32, np.arange(40), -np.inf)
    assert compared(masked, masked) == 0
    assert compared(fp32, put(fp32, np.array([2, 5]), -np.inf)) == 2
    assert compared(fp32, put(fp32, np.array([2, 5]), np.inf)) == 2


def test_batches_keep_what_was_not_answered():
    for name in ("top1", "nll", "balanced_accuracy", "wer"):
        fp32, engine, truth = world(name, n=40)
        broken = engine.copy()
        broken[[3, 30]] = None if name == "wer" else -np.inf
        broken[31] = None if name == "wer" else np.nan
        metric = parse_metric(name)
        whole = score(metric, broken, truth)
        parts = [
            score(metric, broken[rows], truth.take(rows))
            for rows in np.split(np.arange(40), [10, 20])
        ]
        joined = concatenate(parts)
        before = score(metric, fp32, truth)
        found = [
            compare_cells(metric, before, {"c": each}, {"all": np.arange(40)}, max_drop=0.1)
            for each in (whole, joined)
        ]
        assert found[0] == found[1]
        assert found[0][0].n_broken == 3


def test_a_gallery_item_without_an_embedding_breaks_every_query_that_may_see_it():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(30, 4)), rng.normal(size=(6, 4))
    broken = gallery.copy()
    broken[2, 1] = np.nan
    exclude = np.zeros((30, 6), dtype=bool)
    exclude[:10, 2] = True
    truth = Relevance((rng.random((30, 6)) < 0.9).astype(np.uint8), exclude)
    fp32, engine = (retrieval_scores(queries, each) for each in (gallery, broken))
    found = judged("ndcg@3", fp32, engine, truth)
    assert (found.n_broken, found.verdict) == (20, Verdict.REGRESSED)
    lost = queries.copy()
    lost[4] = np.inf
    assert judged("coverage@3", fp32, retrieval_scores(lost, gallery), truth).n_broken == 1
    assert judged("ndcg@3", engine, fp32, truth).n_left_out == 20


def test_embeddings_of_any_size_keep_their_cosines():
    rng = np.random.default_rng(1)
    queries, gallery = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    plain = retrieval_scores(queries, gallery)
    assert retrieval_scores(queries * 1e200, gallery * 1e-200) == pytest.approx(plain)


def test_integers_are_always_answers():
    _, engine, truth = world("top1")
    whole = np.rint(engine * 100).astype(np.int32)
    assert not unanswered(whole, whole).any()
    assert judged("top1", whole, whole, truth).n_broken == 0


def test_gaps_and_exemplars_do_without_the_broken_units_and_count_them_as_lost():
    fp32, _, truth = world("top1", n=400)
    metric = parse_metric("top1")
    before = score(metric, fp32, truth)
    after = score(metric, put(fp32, np.arange(3), -np.inf, "all"), truth)
    slices = {"a": np.arange(200), "b": np.arange(200, 400)}
    (gap,) = worst_gaps(metric, before, {"c": after}, slices)
    assert (gap.drop, gap.rest) == (0, 0)
    found = find_exemplars(
        metric, before, [after], ids=lambda units: [str(at) for at in units], slices=SliceSet(400)
    )
    assert [(one.id, one.lost) for one in found.shown] == [("0", 1), ("1", 1), ("2", 1)]


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.5, np.inf, -np.inf]), min_size=4, max_size=4),
        min_size=2,
        max_size=2,
    )
)
@settings(max_examples=100, deadline=None)
def test_numbers_of_infinities_are_equal_only_where_the_infinities_are(rows):
    outputs = np.array(rows)
    signs = np.where(np.isinf(outputs), np.sign(outputs), 0)
    found = infinities(outputs)
    found = np.zeros(2, np.uint64) if found is None else found
    assert (found[0] == found[1]) == (signs[0] == signs[1]).all()
    assert (found == 0).tolist() == (signs == 0).all(axis=1).tolist()


def test_outputs_of_another_shape_than_fp32s_are_refused():
    _, engine, truth = world("top1")
    with pytest.raises(Exception, match="shape"):
        score(parse_metric("top1"), engine, truth, engine[:, :2])


def test_scores_that_are_not_finite_are_none():
    metric = parse_metric("nll")
    scores = UnitScores(metric, np.array([1.0, np.inf, -np.inf, np.nan, 1e200]))
    assert scores.present.tolist() == [True, False, False, False, False]


def test_both_scores_of_a_binary_metric_know_what_is_missing():
    before, after = scored("top1", *world("top1", n=10))
    assert before.missing is None
    assert before.present.all()
    assert after.n_left_out(np.array([1, 2])) == 0
