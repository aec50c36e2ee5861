"""Which results are explained."""

from dataclasses import replace

import pytest

from calaudit.explain.harmed import harmed_results
from calaudit.results.drops import Screened
from calaudit.runtime.errors import SettingsError, SliceError
from tests.report.factory import SAMPLE, cell, report, result

HARMED = [
    result("clean/minmax", "noise ≥ 0.4", 0.061, "REGRESSED"),
    result("clean/mse", "noise ≥ 0.4", 0.101, "REGRESSED"),
    result("clean/mse", "noise < 0.4", 0.04, "INCONCLUSIVE"),
    result("equal/mse", "noise ≥ 0.4", -0.01, "PASS"),
    result("equal/mse", "noise < 0.4", 0.01, None, max_drop=None),
]


def keys(found: list) -> list[tuple[str, str]]:
    return [(one.cell, one.slice) for one in found]


def test_regressions_are_explained_the_gravest_first() -> None:
    assert keys(harmed_results(report(HARMED))) == [
        ("clean/mse", "noise ≥ 0.4"), ("clean/minmax", "noise ≥ 0.4"),
    ]  # fmt: skip


def test_grave_is_what_is_certain_over_the_gate_not_what_was_measured() -> None:
    loose = result("clean/mse", "noise ≥ 0.4", 0.101, "REGRESSED", max_drop=0.09)
    assert keys(harmed_results(report([HARMED[0], loose])))[0][0] == "clean/minmax"


def test_controls_are_explained_too() -> None:
    cells = tuple(
        replace(cell(c, m), role="control" if c == "clean" else "candidate")
        for c in ("clean", "equal") for m in ("minmax", "mse")
    )  # fmt: skip
    assert len(harmed_results(report(HARMED, cells=cells))) == 2


def test_candidates_come_before_controls_that_lose_more() -> None:
    cells = tuple(
        replace(cell(c, m), role="control" if m == "mse" else "candidate")
        for c in ("clean", "equal") for m in ("minmax", "mse")
    )  # fmt: skip
    assert keys(harmed_results(report(HARMED, cells=cells))) == [
        ("clean/minmax", "noise ≥ 0.4"), ("clean/mse", "noise ≥ 0.4"),
    ]  # fmt: skip


def test_everything_that_drops_is_looked_at_when_asked_for() -> None:
    found = harmed_results(report(HARMED), every=True)
    assert ("clean/mse", "noise < 0.4") in keys(found)
    assert len(found) == 3, "neither gains nor results without a gate"


@pytest.mark.parametrize(
    ("cells", "slices", "n"),
    [(["clean/mse"], [], 1), (["*/mse"], [], 1), (["clean/*"], [], 2), ([], ["noise*"], 2),
     ([], ["noise < 0.4"], 0), (["equal/*"], [], 0), ([], ["noise >= 0.4"], 2)],
)  # fmt: skip
def test_names_and_patterns_narrow_the_choice(cells: list[str], slices: list[str], n: int) -> None:
    assert len(harmed_results(report(HARMED), cells=cells, slices=slices)) == n


def test_what_matches_nothing_is_refused_with_the_near_names() -> None:
    with pytest.raises(SettingsError, match="no engine is called 'clean/msee'") as caught:
        harmed_results(report(HARMED), cells=["clean/msee"])
    assert "clean/mse" in str(caught.value)
    with pytest.raises(SliceError, match="--slice") as missing:
        harmed_results(report(HARMED), slices=["noize = 0.4"])
    assert "noise" in str(missing.value)


def test_without_any_gate_screening_says_what_is_harmed() -> None:
    free = [replace(one, gate=None, verdict=None) for one in SAMPLE]
    made = report(free)
    assert harmed_results(made) == []
    listed = replace(made, screening=(Screened("clean/minmax", "noise ≥ 0.4", "top1"),))
    assert keys(harmed_results(listed)) == [("clean/minmax", "noise ≥ 0.4")]
