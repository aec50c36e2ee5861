from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.report.terminal import render_report
from calaudit.results.audited import Role
from calaudit.results.report import EXIT_STATUS, Report, exit_status, overall_verdict
from tests.report.factory import SAMPLE, cell, report, result

VERDICTS = st.sampled_from(["PASS", "REGRESSED", "INCONCLUSIVE"])


@given(st.lists(st.tuples(VERDICTS, st.booleans()), max_size=6))
def test_the_worst_gated_result_decides(cases: list[tuple[str, bool]]) -> None:
    results = [
        result("c", f"s{i}", 0.0, verdict, max_drop=0.02 if gated else None)
        for i, (verdict, gated) in enumerate(cases)
    ]
    counting = {verdict for verdict, gated in cases if gated}
    nothing = "INCONCLUSIVE" if not counting else "PASS"
    worst = next((v for v in ("REGRESSED", "INCONCLUSIVE") if v in counting), nothing)
    assert overall_verdict(results) == worst


@pytest.mark.parametrize(
    ("verdict", "status"), [("PASS", 0), ("REGRESSED", 1), ("INCONCLUSIVE", 3)]
)
def test_exit_status_stands_for_the_verdict(verdict: str, status: int) -> None:
    made = report([result("clean/minmax", "all", 0.0, verdict)])
    assert made.verdict == verdict
    assert exit_status(made) == status
    assert 2 not in EXIT_STATUS.values()


def test_without_gates_nothing_passes_and_the_reason_is_told() -> None:
    made = report([replace(each, gate=None) for each in SAMPLE])
    assert made.verdict == "INCONCLUSIVE"
    assert exit_status(made) == 3
    assert [warning.code for warning in made.warnings] == ["no_gates"]
    assert "nothing is gated, so nothing could pass or regress: add [[gates]]" in render_report(
        made
    )


def controlled(*verdicts: tuple[str, Role]) -> Report:
    cells = tuple(cell(f"set{i}", role=role) for i, (_, role) in enumerate(verdicts))
    return report(
        [
            result(one.id, "all", 0.0, verdict)
            for one, (verdict, _) in zip(cells, verdicts, strict=True)
        ],
        cells=cells,
    )


@given(st.lists(st.tuples(VERDICTS, st.sampled_from(["candidate", "control"])), max_size=6))
def test_controls_never_decide(cases: list[tuple[str, Role]]) -> None:
    candidates = [case for case in cases if case[1] == "candidate"]
    assert controlled(*cases).verdict == controlled(*candidates).verdict


@pytest.mark.parametrize("verdict", ["PASS", "REGRESSED", "INCONCLUSIVE"])
def test_an_audit_of_controls_alone_judged_nothing(verdict: str) -> None:
    made = controlled((verdict, "control"))
    assert exit_status(made) == 3
    assert [warning.code for warning in made.warnings] == ["nothing_judged"]
    assert "every calibration set is a control" in render_report(made, width=200)


def test_where_every_candidate_failed_a_passing_control_changes_nothing() -> None:
    cells = (
        cell("clean", status="failed", engine=None, reason="no disk"),
        cell("equal", role="control"),
    )
    made = report([result("equal/minmax", "all", 0.0, "PASS")], cells=cells)
    assert exit_status(made) == 3
    assert "(no candidate could be evaluated)" in render_report(made, width=200)


def test_a_failed_control_is_told_and_decides_nothing() -> None:
    cells = (
        cell("clean"),
        cell("equal", status="failed", engine=None, reason="no disk", role="control"),
    )
    made = report([result("clean/minmax", "all", 0.0, "PASS")], cells=cells)
    assert made.verdict == "PASS"
    assert "cell equal/minmax: no disk" in map(str, made.warnings)


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
