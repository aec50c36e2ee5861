import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.tasks.sequence import Spelling, ctc_greedy, decode, plain_text

ABC = ("-", "a", "b", "c")


def logits_of(path, n_tokens=4):
    return np.eye(n_tokens, dtype=np.float32)[list(path)]


@given(st.lists(st.integers(0, 3), max_size=12))
@settings(max_examples=100, deadline=None)
def test_greedy_ctc_merges_repeats_then_drops_blanks(path):
    merged = [token for token, _ in itertools.groupby(path)]
    assert ctc_greedy(logits_of(path).reshape(-1, 4), 0) == [t for t in merged if t != 0]


def test_a_blank_between_two_equal_tokens_keeps_both():
    spelling = Spelling(vocabulary=ABC, blank=0)
    batch = np.stack([logits_of([1, 0, 1, 2]), logits_of([1, 1, 1, 2])])
    assert decode(batch, spelling).tolist() == ["aab", "ab"]


def test_logits_that_are_not_finite_give_no_text():
    batch = np.stack([logits_of([1, 2]), logits_of([1, 2]) * np.nan])
    assert decode(batch, Spelling(vocabulary=ABC, blank=0)).tolist() == ["ab", None]


def test_token_numbers_are_written_up_to_the_end_without_padding_and_silent_tokens():
    spelling = Spelling(
        vocabulary=("<pad>", "</s>", "▁he", "llo", "▁you"),
        end="</s>",
        silent=frozenset({"<pad>"}),
        space="▁",
    )
    numbers = np.array([[2, 3, 4, 1, 3], [0, 4, 1, -1, -1], [-1] * 5])
    assert decode(numbers, spelling).tolist() == [" hello you", " you", ""]


def test_a_vocabulary_that_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="token 7, the vocabulary has 4"):
        decode(np.array([[7]]), Spelling(vocabulary=ABC))
    with pytest.raises(SettingsError, match="scores 5 tokens, the vocabulary has 4"):
        decode(np.zeros((1, 2, 5), np.float32), Spelling(vocabulary=ABC, blank=0))
    with pytest.raises(SettingsError, match="blank is None"):
        decode(np.zeros((1, 2, 4), np.float32), Spelling(vocabulary=ABC))
    with pytest.raises(PoolError, match="expected token numbers"):
        decode(np.zeros((1, 2), np.float32), Spelling(vocabulary=ABC, blank=0))


def test_case_and_punctuation_are_dropped_but_not_the_apostrophe_within_a_word():
    text = "Don’t stop — it's 'OK', Straße!"
    plain = plain_text(text, ignore_case=True, ignore_punctuation=True)
    assert plain.split() == ["don’t", "stop", "it's", "ok", "strasse"]
    assert plain_text(text, ignore_case=False, ignore_punctuation=False) == text


def test_no_samples_and_no_steps_give_no_text():
    spelling = Spelling(vocabulary=ABC, blank=0)
    assert decode(np.zeros((0, 3, 4), np.float32), spelling).shape == (0,)
    assert decode(np.zeros((2, 0, 4), np.float32), spelling).tolist() == ["", ""]
