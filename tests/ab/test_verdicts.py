"""Verdicts of a replay rest on the p-values that its record has."""

import numpy as np
import pytest

from calaudit.ab.comparing import FAILURES, Compared, Terms
from calaudit.ab.verdicts import results_of, settled
from calaudit.results.comparison import ALL, Verdict
from calaudit.statistics.arms import Answers, compare_arms
from calaudit.statistics.criteria import Tolerance
from calaudit.statistics.sequential import decide, watch_arms
from calaudit.statistics.verdict import holm
from tests.statistics.test_arms import world

TERMS = Terms(share=0.5, level=0.95, seed=0)
SIZES = {"most": 3000, "half": 1500, "some": 400, "few": 25}


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    """A harmed treatment on slices of one metric, no failures, and a slice without a gate."""
    rng = np.random.default_rng(7)
    answers = world(rng, 3000, 2500, right=(0.95, 0.86))
    rows = {name: np.sort(rng.choice(3000, n, replace=False)) for name, n in SIZES.items()}
    found = list(_compared("top1", answers, {**rows, "shown": rows["half"]}))
    nothing = Answers(answers.arm, answers.user, np.zeros(3000), span=1.0)
    (failures,) = _compared(FAILURES, nothing, {ALL: np.arange(3000)})
    return [failures, *found]


def _compared(metric: str, answers: Answers, rows: dict[str, np.ndarray]) -> list[Compared]:
    kind = "failures" if metric == FAILURES else "quality"
    fixed = compare_arms(answers, rows, share=0.5, level=0.95, seed=0)
    return [
        Compared(metric, kind, name, 1, fixed[name], watch_arms(answers, each))
        for name, each in rows.items()
    ]


@pytest.mark.parametrize("complete", [True, False])
def test_a_record_has_the_corrected_p_value_that_gave_its_verdict(
    compared: list[Compared], complete: bool
) -> None:
    gates = {("top1", name): Tolerance(0.02) for name in SIZES}
    results = {
        (one.metric, one.slice): one
        for one in results_of(
            [settled(one, gates, TERMS, 100) for one in compared], gates, TERMS, complete=complete
        )
    }
    family = [one for one in compared if one.slice != "shown"]
    if complete:
        tested = [one for one in family if one.fixed.p_value is not None]
        values = holm([one.fixed.p_value or 0.0 for one in tested]).tolist()
        wanted = {(one.metric, one.slice): value for one, value in zip(tested, values, strict=True)}
    else:
        watches = {f"{one.metric} {one.slice}": one.watch for one in family}
        decisions = decide(watches, alpha=0.05)
        wanted = {
            (one.metric, one.slice): decisions[f"{one.metric} {one.slice}"].p_adjusted
            for one in family
        }
    for one in family:
        result = results[one.metric, one.slice]
        assert result.p_adjusted == wanted.get((one.metric, one.slice)), one.slice
        if result.verdict == Verdict.REGRESSED:
            assert result.p_adjusted is not None
            assert result.p_adjusted <= 0.05
            assert complete or result.decided_at is not None
    assert results["top1", "most"].verdict == Verdict.REGRESSED
    assert results["top1", "some"].p_adjusted != results["top1", "half"].p_adjusted
    assert results["top1", "shown"].p_adjusted is None
