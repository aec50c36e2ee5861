"""What follows from the evaluated samples, and how it is said."""

from dataclasses import replace

import pytest

from calaudit.recommend.sentences import gates_passed, outcome_of
from calaudit.results.comparison import Verdict
from calaudit.results.drops import Part
from calaudit.results.recommendation import Outcome
from tests.report.factory import RECOMMENDATION

(SAVED,) = RECOMMENDATION.gains
COST = replace(SAVED, slice="all", gain=Part(-0.058, -0.074, -0.043))
PASS, REGRESSED, INCONCLUSIVE = Verdict.PASS, Verdict.REGRESSED, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("winner", "plain", "worse", "outcome"),
    [
        (PASS, None, False, Outcome.SHIP),
        (PASS, REGRESSED, False, Outcome.SHIP),
        (PASS, PASS, False, Outcome.SHIP),
        (PASS, PASS, True, Outcome.KEEP),
        (PASS, INCONCLUSIVE, True, Outcome.KEEP),
        (INCONCLUSIVE, PASS, False, Outcome.KEEP),
        (REGRESSED, PASS, False, Outcome.KEEP),
        (INCONCLUSIVE, INCONCLUSIVE, True, Outcome.KEEP),
        (INCONCLUSIVE, INCONCLUSIVE, False, Outcome.COLLECT),
        (INCONCLUSIVE, REGRESSED, True, Outcome.COLLECT),
        (REGRESSED, REGRESSED, True, Outcome.NOTHING_HOLDS),
        (REGRESSED, None, False, Outcome.NOTHING_HOLDS),
    ],
)
def test_what_follows_takes_the_plain_set_into_account(
    winner: Verdict, plain: Verdict | None, worse: bool, outcome: Outcome
) -> None:
    assert outcome_of(winner, plain, [SAVED, COST] if worse else [SAVED]) is outcome


@pytest.mark.parametrize(
    ("n", "passed", "said"),
    [
        (29, 28, "passes 28 of 29 gates; the other is inconclusive"),
        (6, 3, "passes 3 of 6 gates; the others are inconclusive"),
        (6, 0, "passes none of 6 gates, all inconclusive"),
        (1, 0, "doesn't pass its gate, inconclusive"),
    ],
)
def test_gates_are_counted_in_good_english(n: int, passed: int, said: str) -> None:
    assert gates_passed(n, passed) == said
