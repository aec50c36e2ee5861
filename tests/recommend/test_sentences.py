"""What follows from the evaluated samples, and how it is said."""

from dataclasses import replace
from typing import Any

import pytest

from calaudit.recommend.choosing import Chosen, Considered
from calaudit.recommend.options import Candidate, FromFile
from calaudit.recommend.sentences import gates_passed, outcome_of, sentence
from calaudit.results.comparison import Verdict
from calaudit.results.drops import Part
from calaudit.results.recommendation import Outcome, Remedy
from calaudit.statistics.choice import Standing
from tests.report.factory import RECOMMENDATION, report

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
    ("gain", "outcome", "plain"),
    [
        (Part(0.0, -0.01, 0.01), Outcome.SHIP, Verdict.PASS),
        (SAVED.gain, Outcome.SHIP, Verdict.PASS),
        (COST.gain, Outcome.SHIP, Verdict.REGRESSED),
        (COST.gain, Outcome.KEEP, Verdict.PASS),
        (COST.gain, Outcome.KEEP, Verdict.INCONCLUSIVE),
        (COST.gain, Outcome.COLLECT, Verdict.REGRESSED),
    ],
)
@pytest.mark.parametrize("remedy", [Remedy.PLAIN_SET, Remedy.OTHER_SET])
def test_what_ships_and_what_it_is_compared_with_have_different_names(
    gain: Part, outcome: Outcome, plain: Verdict, remedy: Remedy
) -> None:
    source = FromFile("given")
    first = Candidate("clean/minmax", Remedy.PLAIN_SET, {}, source)
    winner = Candidate(
        "clean/mse" if remedy is Remedy.PLAIN_SET else "equal/mse", remedy, {}, source
    )
    unread: Any = None  # what was predicted stands in no sentence of these
    standing = Standing(winner.price, None, 0.0, 0.0)
    chosen = Chosen(
        winner, first, (), (Considered(winner, standing),), unread, unread, n_rows=800, n_needed=40
    )
    said = sentence(
        chosen,
        report(),
        outcome=outcome,
        plain=plain,
        winner="equal/mse",
        gains=[replace(SAVED, slice="all", gain=gain)],
        collect=(),
        base=frozenset(),
    )
    if remedy is Remedy.PLAIN_SET:
        assert "“clean with mse”" in said
        assert "“clean with minmax”" in said
        rest = said.replace("the plain set “", "“")
        assert "the plain set" not in rest
        assert "The plain set" not in rest
    else:
        assert "the calibration set “equal with mse”" in said
        assert "the plain set" in said


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
