from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.report import EXIT_STATUS, exit_status, overall_verdict
from tests.report.factory import SAMPLE, cell, report, result

VERDICTS = st.sampled_from(["PASS", "REGRESSED", "INCONCLUSIVE"])


@given(st.lists(st.tuples(VERDICTS, st.booleans()), max_size=6))
def test_the_worst_gated_result_decides(cases: list[tuple[str, bool]]) -> None:
    results = [
        result("c", f"s{i}", 0.0, verdict, max_drop=0.02 if gated else None)
        for i, (verdict, gated) in enumerate(cases)
    ]
    counting = {verdict for verdict, gated in cases if gated}
    worst = next((v for v in ("REGRESSED", "INCONCLUSIVE") if v in counting), "PASS")
    assert overall_verdict(results) == worst


@pytest.mark.parametrize(
    ("verdict", "status"), [("PASS", 0), ("REGRESSED", 1), ("INCONCLUSIVE", 3)]
)
def test_exit_status_stands_for_the_verdict(verdict: str, status: int) -> None:
    made = report([result("clean/minmax", "all", 0.0, verdict)])
    assert made.verdict == verdict
    assert exit_status(made) == status
    assert 2 not in EXIT_STATUS.values()


def test_without_gates_it_passes_with_a_warning() -> None:
    made = report([replace(each, gate=None) for each in SAMPLE])
    assert made.verdict == "PASS"
    assert [warning.code for warning in made.warnings] == ["no_gates"]


def test_a_failed_engine_never_passes() -> None:
    cells = (
        cell("clean"),
        cell("equal", status="failed", engine=None, reason="it ran out of disk"),
    )
    made = report([result("clean/minmax", "all", 0.0, "PASS")], cells=cells)
    assert made.verdict == "INCONCLUSIVE"
    assert "cell equal/minmax: it ran out of disk" in map(str, made.warnings)


def test_a_gate_without_verdict_never_passes() -> None:
    assert overall_verdict([result("c", "s", 0.0, None)]) == "INCONCLUSIVE"


def test_results_stand_in_the_order_of_cells_slices_and_metrics() -> None:
    made = report(SAMPLE[::-1], slices=report().slices)
    assert list(made.results) == SAMPLE


def test_creation_is_told_in_utc() -> None:
    made = datetime.fromisoformat(report().created)
    assert made == datetime(2026, 11, 3, 12, tzinfo=UTC)
