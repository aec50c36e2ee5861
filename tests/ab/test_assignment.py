"""Who gets which arm."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calaudit.ab.assignment import arms
from calaudit.runtime.errors import SettingsError

USERS = [f"user {number}" for number in range(20_000)]
SALTS = ["autumn", "", "2", "été", "salt:salt"]


@settings(max_examples=40, deadline=None)
@given(salt=st.text(max_size=20), share=st.floats(0.02, 0.98))
def test_users_are_dealt_in_the_share_that_is_asked_for(salt: str, share: float):
    dealt = arms(USERS[:5000], salt=salt, share=share)
    # 40 examples: a chance of 1e-5 in all
    assert stats.binomtest(int(dealt.sum()), len(dealt), share).pvalue > 1e-7


@settings(max_examples=40, deadline=None)
@given(first=st.text(max_size=8), second=st.text(max_size=8), share=st.floats(0.2, 0.8))
def test_two_salts_deal_independently(first: str, second: str, share: float):
    if first == second:
        return
    one, other = (arms(USERS[:4000], salt=each, share=share) for each in (first, second))
    table = np.bincount(2 * one + other, minlength=4).reshape(2, 2)
    assert stats.chi2_contingency(table, correction=False).pvalue > 1e-7


@given(st.lists(st.text(max_size=6), max_size=30), st.text(max_size=6))
def test_a_user_keeps_the_arm_whoever_else_asks(users: list[str], salt: str):
    together = arms(users, salt=salt).tolist()
    assert together == [int(arms([user], salt=salt)[0]) for user in users]


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.09))
def test_more_share_takes_nobody_back(share: float, more: float):
    few, many = (arms(USERS[:500], salt="s", share=each) for each in (share, share + more))
    assert (few <= many).all()


def test_salt_and_user_dont_run_together():
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("a:", "bc"), ("1:a", "bc")]
    dealt = [arms([f"{user}{k}" for k in range(64)], salt=salt).tolist() for salt, user in pairs]
    assert len({tuple(each) for each in dealt}) == len(pairs)


def test_another_process_deals_the_same():
    code = (
        "from calaudit.ab.assignment import arms;"
        "print(*arms([f'user {n}' for n in range(40)], salt='été', share=.3))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == [str(each) for each in arms(USERS[:40], salt="été", share=0.3)]


def test_the_hash_stays_as_it_is():
    """A deployment that deals by the same hash must find the same arms in later releases."""
    assert "".join(map(str, arms(USERS[:32], salt="calaudit"))) == EXPECTED


EXPECTED = "00101100011001101001001011111101"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_deals_nothing_is_refused(share: float):
    with pytest.raises(SettingsError, match="Give a number between 0 and 1"):
        arms(["a"], salt="s", share=share)
