import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels, Texts
from calaudit.metrics.unit_scores import concatenate
from calaudit.runtime.errors import PoolError, SettingsError

words = st.lists(st.sampled_from(["a", "bc", "d", "ef", "é"]), max_size=6).map(" ".join)


def texts(*each):
    made = np.empty(len(each), dtype=object)
    made[:] = each
    return made


@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_rates_equal_jiwers_over_the_whole_corpus(pairs):
    true, given_texts = [list(part) for part in zip(*pairs, strict=True)]
    truth = Texts(np.array(true))
    for name, theirs in (("wer", jiwer.wer), ("cer", jiwer.cer)):
        found = score(parse_metric(name), texts(*given_texts), truth)
        assert found.value() == pytest.approx(theirs(true, given_texts))


def plain_distance(one, other):
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


@given(words, words)
@settings(max_examples=100, deadline=None)
def test_each_sample_counts_its_edit_distance_and_the_length_of_the_true_text(true, heard):
    truth = Texts(np.array([true]))
    wer, cer = (score(parse_metric(name), texts(heard), truth) for name in ("wer", "cer"))
    assert wer.numerator.tolist() == [plain_distance(true.split(), heard.split())]
    assert wer.denominator.tolist() == [len(true.split())]
    assert cer.numerator.tolist() == [plain_distance(true, heard)]
    assert cer.denominator.tolist() == [len(true)]


def test_long_texts_weigh_more_than_short_ones():
    truth = Texts(np.array(["one", "a b c d e f g h i"]))
    found = score(parse_metric("wer"), texts("two", "a b c d e f g h i"), truth)
    assert found.value() == pytest.approx(1 / 10)


def test_white_space_makes_no_error():
    truth = Texts(np.array(["  one   two "]))
    for name, value in (("wer", 0.0), ("cer", 0.0), ("exact_match", 1.0)):
        assert score(parse_metric(name), texts("one two"), truth).value() == value


def test_an_engine_without_an_answer_has_no_score_rather_than_an_empty_text():
    truth = Texts(np.array(["one two", "three", ""]))
    wer = score(parse_metric("wer"), texts(None, "", "x"), truth)
    assert np.isnan(wer.numerator).tolist() == [True, False, False]
    assert wer.numerator[1:].tolist() == [1, 1]
    assert wer.denominator.tolist() == [2, 1, 0]
    exact = score(parse_metric("exact_match"), texts(None, "three", ""), truth)
    assert exact.values.tolist() == [False, True, True]


def test_no_samples_and_no_words_have_no_rate():
    for outputs, truth in (
        (texts(), Texts(np.array([], dtype=str))),
        (texts(""), Texts(np.array([""]))),
    ):
        assert np.isnan(score(parse_metric("wer"), outputs, truth).value())


def test_batches_join_to_the_whole():
    truth, heard = Texts(np.array(["a b", "c", "d e f"])), texts("a", "c", "d e x")
    rows = np.arange(3)
    parts = [
        score(parse_metric("wer"), heard[part], truth.take(part)) for part in (rows[:1], rows[1:])
    ]
    assert concatenate(parts).value() == pytest.approx(2 / 6)


def test_texts_are_one_per_sample():
    with pytest.raises(PoolError, match="one text per sample"):
        Texts(np.zeros(3))
    with pytest.raises(SettingsError, match="needs texts"):
        score(parse_metric("wer"), texts("a"), Labels(np.array([0])))
