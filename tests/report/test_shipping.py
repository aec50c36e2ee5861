"""What may ship, in one sentence."""

from dataclasses import replace

from calaudit.report.groups import Standing, engine_groups, folded
from calaudit.report.index import Index
from calaudit.report.shipping import shipping_sentence
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice
from tests.report.factory import cell, report, result
from tests.report.test_precision import SHORT, TOLD

CELLS = tuple(cell(c, m) for c in ("clean", "equal") for m in ("minmax", "mse"))


def told(*verdicts: str, role: str = "candidate") -> str:
    """One gated comparison per engine."""
    results = [
        result(each.id, "all", 0.01, verdict) for each, verdict in zip(CELLS, verdicts, strict=True)
    ]
    cells = tuple(replace(each, role=role) for each in CELLS)
    return shipping_sentence(Index(report(results, cells=cells)))


def test_sets_all_of_whose_engines_passed_may_ship() -> None:
    assert told("PASS", "PASS", "PASS", "PASS") == (
        "Ship clean or equal: all 4 engines passed every gate (4 comparisons)."
    )
    assert told("REGRESSED", "PASS", "PASS", "PASS") == (
        "Ship equal: each of its 2 engines passed every gate (2 comparisons); of the 2 other "
        "candidates, 1 also passed every gate and 1 regressed."
    )


def test_single_engines_are_named_where_others_of_their_set_did_not_pass() -> None:
    assert told("PASS", "INCONCLUSIVE", "REGRESSED", "REGRESSED") == (
        "Ship clean with minmax: it passed every gate; of the 3 other candidates, 2 regressed and "
        "1 is inconclusive."
    )
    assert told("PASS", "INCONCLUSIVE", "PASS", "INCONCLUSIVE").endswith(
        "each passed every gate; the 2 other candidates are inconclusive."
    )


def test_candidates_that_failed_are_counted_and_none_is_where_there_is_no_other() -> None:
    failed = replace(CELLS[1], status="failed", engine=None, reason="no scales")
    only = [result(CELLS[0].id, "all", 0.01, "PASS")]
    assert shipping_sentence(Index(report(only, cells=(CELLS[0], failed)))) == (
        "Ship clean with minmax: it passed every gate; the other candidate couldn't be evaluated."
    )
    lost = [*only, result(CELLS[2].id, "all", 0.2, "REGRESSED")]
    assert shipping_sentence(Index(report(lost, cells=(CELLS[0], failed, CELLS[2])))).endswith(
        "; of the 2 other candidates, 1 regressed and 1 couldn't be evaluated."
    )
    control = replace(failed, role="control")
    told = shipping_sentence(Index(report(only, cells=(CELLS[0], control))))
    assert told.endswith("it passed its only gate.")


def test_fp32_itself_never_ships() -> None:
    said = Notice("fp32_itself", "m.onnx is the FP32 model itself", "cell clean/minmax")
    results = [result(each.id, "all", 0.0, "PASS") for each in CELLS[:2]]
    assert shipping_sentence(Index(report(results, cells=CELLS[:2], warnings=(said,)))) == (
        "Ship clean with mse: it passed every gate."
    )


def test_where_nothing_passed_the_closest_is_named_with_what_it_lacks() -> None:
    assert told("REGRESSED", "INCONCLUSIVE", "INCONCLUSIVE", "INCONCLUSIVE") == (
        "Nothing to ship yet: no engine passed every gate. Closest: equal, inconclusive in 2 of 2 "
        "comparisons, of its 2 engines together."
    )
    assert "Closest: clean, regressed in 1 and inconclusive in 1 of 2" in told(
        "REGRESSED", "INCONCLUSIVE", "REGRESSED", "REGRESSED"
    )
    alone = cell("alone")
    made = report([result(alone.id, "all", 0.1, "REGRESSED")], cells=(alone,))
    assert shipping_sentence(Index(made)).endswith("alone, regressed in 1 of 1 comparison.")


def test_how_comparisons_came_out_is_counted_once_for_all_sentences() -> None:
    results = [result("a/mse", "all", 0.0, v) for v in ("PASS", "REGRESSED", "INCONCLUSIVE")]
    found = Standing.of(results)
    assert (found.regressed, found.undecided, found.n) == (1, 1, 3)
    assert found.told == "regressed in 1 and inconclusive in 1"
    assert Standing.of(results[:1]).told == ""
    assert Standing.of(results[:1]) < Standing.of(results[2:]) < Standing.of(results[1:2])


def test_controls_and_ungated_engines_never_ship() -> None:
    none = "Nothing is shown fit to ship: no gate was held against a candidate."
    assert told("PASS", "PASS", "PASS", "PASS", role="control") == none
    ungated = report([result("clean/minmax", "all", 0.0, None, max_drop=None)])
    assert shipping_sentence(Index(ungated)) == none


def test_what_ships_is_told_with_what_it_ran_in() -> None:
    engine = cell("clean", engine=SHORT)
    made = report([result(engine.id, "all", 0.001, "PASS")], cells=(engine,))
    assert shipping_sentence(Index(made)) == (
        f"Ship clean with minmax: it passed its only gate, but with {TOLD}."
    )


def several(**changes: object) -> Report:
    """The same set and method twice, told apart by `changes` of the second."""
    cells = (cell("clean"), replace(cell("clean", id="other"), **changes))
    return report([result(each.id, "all", 0.01, "PASS") for each in cells], cells=cells)


def test_engines_fold_by_draw_and_method_and_by_nothing_else() -> None:
    assert [group.label for group in engine_groups(Index(several(method="mse")))] == ["clean"]
    assert len(folded(Index(several(method="mse")), several(method="mse").results)) == 1
    for changes, labels in (
        ({"backend": "orin"}, ["clean on onnxruntime", "clean on orin"]),
        ({"exemption": "head"}, ["clean", "clean +head"]),
        ({"calibset": None, "given_ranges": "minimax", "method": "given"}, ["clean", "minimax"]),
        ({"calibset": None, "method": None, "precision": "fp16"}, ["clean", "fp16"]),
    ):
        made = several(**changes)
        assert [group.label for group in engine_groups(Index(made))] == labels
        assert len(folded(Index(made), made.results)) == 2
