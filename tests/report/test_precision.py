"""What runs in INT8 is told with every verdict of an engine, in every form of the report."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families

from calaudit.report.findings import findings
from calaudit.report.headline import control_sentences, headline
from calaudit.report.html.page import html_page, notebook_html
from calaudit.report.index import Index
from calaudit.report.junit import junit_xml
from calaudit.report.markdown import markdown_summary
from calaudit.report.precision import (
    caveat,
    overall_caveat,
    overall_verdict_text,
    share_of_macs,
    standings,
)
from calaudit.report.prometheus import prometheus_text
from calaudit.report.tables import View
from calaudit.report.terminal import render_report
from calaudit.results.audited import CellRecord, EngineRecord, NodeRecord
from calaudit.results.report import Report
from tests.report.factory import ENGINE, SAMPLE, cell, report, result

SHORT_NODES = tuple(
    NodeRecord(f"depthwise{i}", "Conv", "int8", "fp32", "depthwise, no INT8 kernel", 10)
    for i in range(6)
)
WHOLE = EngineRecord(
    "e", "fused", {"Conv": 27, "Gemm": 1}, asked_ops={"Conv": 27, "Gemm": 1},
    proof="engine inspector", macs=1500, int8_macs=1500,
)  # fmt: skip
SHORT = replace(
    WHOLE, quantized_ops={"Conv": 21, "Gemm": 1}, float_ops={"Conv": 6}, not_as_asked=SHORT_NODES,
    int8_macs=1440,
)  # fmt: skip
UNPROVEN = EngineRecord("e", "fused", asked_ops={"Conv": 27, "Gemm": 1}, macs=1500)
TOLD = "22 of 28 products in INT8 (96 % of MACs)"


def made(*engines: EngineRecord | None, drops: tuple[float, ...] = (), **changes: str) -> Report:
    """One INT8 cell per engine, each with one gated comparison that passes or has that drop."""
    names = [f"m{i}" for i in range(len(engines))]
    cells = tuple(
        cell("clean", name, engine=engine, **changes)
        for name, engine in zip(names, engines, strict=True)
    )
    lost = drops or (0.001,) * len(engines)
    results = [
        result(one.id, "all", drop, "REGRESSED" if drop > 0.02 else "PASS", half=0.004)
        for one, drop in zip(cells, lost, strict=True)
    ]
    return report(results, cells=cells)


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (WHOLE, ""),
        (SHORT, TOLD),
        (UNPROVEN, "INT8 unproven"),
        (replace(SHORT, macs=None, int8_macs=None), "22 of 28 products in INT8"),
        (
            replace(SHORT, uncounted=1),
            "22 of 28 products in INT8 (96 % of MACs that are counted)",
        ),
        (
            replace(SHORT, not_as_asked=(*SHORT_NODES[:5], replace(SHORT_NODES[5], got=None))),
            "22 of 28 products in INT8, 1 unproven (at least 96 % of MACs)",
        ),
        (
            EngineRecord(
                "e", "fused", asked_ops={"Conv": 1}, proof="engine inspector", macs=10, int8_macs=0,
                not_as_asked=(replace(SHORT_NODES[0], got=None),),
            ),
            "0 of 1 products in INT8, 1 unproven",
        ),
        (None, ""),
    ],
)  # fmt: skip
def test_a_verdict_needs_to_be_told_with(engine: EngineRecord | None, told: str) -> None:
    assert caveat(cell("clean", engine=engine)) == told


def test_engines_that_arent_int8_need_nothing() -> None:
    for precision in ("fp16", "fp32"):
        assert caveat(cell("clean", engine=SHORT, precision=precision)) == ""


@pytest.mark.parametrize(
    ("share", "told"),
    [(1.0, "100 %"), (0.9999, "> 99.9 %"), (0.957, "95.7 %"), (0.00005, "< 0.1 %"), (0.0, "0 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, told: str) -> None:
    engine = replace(WHOLE, macs=100_000, int8_macs=round(100_000 * share))
    assert share_of_macs(engine) == f"{told} of MACs"


@pytest.mark.parametrize(
    ("engines", "told"),
    [
        ((WHOLE, WHOLE), ""),
        ((SHORT,), TOLD),
        ((SHORT, SHORT), f"{TOLD} in each of 2 engines"),
        ((SHORT, WHOLE, WHOLE), f"{TOLD} in 1 of 3 engines"),
        (
            (SHORT, replace(SHORT, not_as_asked=SHORT_NODES[:5], int8_macs=1450), WHOLE),
            f"as few as {TOLD} in 2 of 3 engines",
        ),
        ((UNPROVEN,), "INT8 unproven"),
        ((UNPROVEN, WHOLE), "INT8 unproven in 1 of 2 engines"),
        ((SHORT, UNPROVEN), f"{TOLD} in 1 of 2 engines and INT8 unproven in 1 of 2 engines"),
    ],
)
def test_the_whole_is_told_with_its_worst_engine(
    engines: tuple[EngineRecord, ...], told: str
) -> None:
    index = Index(made(*engines))
    assert overall_caveat(index) == told
    assert overall_verdict_text(index) == (f"PASS, but {told}" if told else "PASS")


def forms(given: Report) -> dict[str, str]:
    """Every form that tells a verdict in words."""
    return {
        "terminal": render_report(given),
        "terminal, all": render_report(given, view=View(limit=None)),
        "markdown": markdown_summary(given),
        "html": html_page(given),
        "notebook": notebook_html(given),
        "junit": junit_xml(given),
        "findings": "\n".join(findings(given)),
    }


@pytest.mark.parametrize("form", forms(made(WHOLE)))
@pytest.mark.parametrize(
    ("engine", "drop", "told"),
    [
        (SHORT, 0.001, f"PASS, but {TOLD}"),
        (SHORT, 0.09, f"REGRESSED, with {TOLD}"),
        (UNPROVEN, 0.001, "PASS, but INT8 unproven"),
    ],
)
def test_every_form_tells_it_with_the_verdict(
    form: str, engine: EngineRecord, drop: float, told: str
) -> None:
    text = forms(made(engine, drops=(drop,)))[form]
    words = told.partition(", ")[2].partition(" ")[2]
    assert words in text
    if form != "findings":
        assert told in text
    whole = forms(made(WHOLE, drops=(drop,)))[form]
    assert words not in whole
    assert "†" not in whole.replace('const SHORT = "†";', "")


def test_verdicts_of_single_comparisons_are_marked() -> None:
    given = made(SHORT, WHOLE)
    text = render_report(given, view=View(by_method=True))
    lines = [row for row in text.splitlines() if row.startswith(" all ")]
    rows = {name: row for row in lines for name in ("m0", "m1") if f" {name} " in row}
    assert "PASS †" in rows["m0"]
    assert "✓†" in rows["m0"]
    assert "†" not in rows["m1"]
    assert "† fewer products in INT8 than requested, or unproven" in text
    page = html_page(given)
    assert f"passed, but {TOLD}" in page
    assert "✓†" in page


def test_a_pass_with_a_caveat_stands_for_others_of_its_set() -> None:
    for given in (made(SHORT, WHOLE), made(WHOLE, SHORT, drops=(0.002, 0.001))):
        text = render_report(given)
        (row,) = [row for row in text.splitlines() if row.startswith(" all ") and "PASS" in row]
        assert "PASS †" in row
        folded = html_page(given).partition('class="folded')[2].partition("</td>")[0]
        assert f"passed, but {TOLD}" in folded


def test_a_test_case_that_passes_says_what_it_ran_in() -> None:
    suites = ElementTree.fromstring(junit_xml(made(SHORT, WHOLE))).findall("testsuite")
    told = [suite.find("testcase/system-out").text for suite in suites]
    assert told[0].startswith(f"passed, but {TOLD}: ")
    assert not told[1].startswith("passed")
    properties = [
        {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
        for suite in suites
    ]
    assert properties[0]["precision"] == f"{TOLD}, by the engine inspector"
    assert properties[0]["verdict"] == f"PASS, but {TOLD} in 1 of 2 engines"
    regressed = ElementTree.fromstring(junit_xml(made(SHORT, drops=(0.09,))))
    assert TOLD in regressed.find("testsuite/testcase/failure").get("message")


def test_gauges_hold_products_and_multiply_accumulates_of_int8_engines() -> None:
    found = {
        (sample.name, sample.labels.get("method")): sample.value
        for family in text_string_to_metric_families(prometheus_text(made(SHORT, UNPROVEN)))
        for sample in family.samples
    }
    assert found["calaudit_products_requested", "m0"] == 28
    assert found["calaudit_products_in_int8", "m0"] == 22
    assert (found["calaudit_macs", "m0"], found["calaudit_macs_in_int8", "m0"]) == (1500, 1440)
    assert found["calaudit_products_requested", "m1"] == 28
    assert ("calaudit_products_in_int8", "m1") not in found
    assert ("calaudit_macs_in_int8", "m1") not in found


def test_the_headline_prefers_an_engine_that_runs_as_requested() -> None:
    given = made(SHORT, SHORT, WHOLE, drops=(0.09, 0.001, 0.002))
    assert "2 of 2 other engines pass all their gates, such as clean with m2 (1 of" in headline(
        given
    )
    alone = made(SHORT, SHORT, drops=(0.09, 0.001))
    assert f"clean with m1 passes its gate (but {TOLD})" in headline(alone)


def test_a_set_that_passed_every_gate_is_told_with_it() -> None:
    cells = (cell("clean"), cell("equal", engine=SHORT))
    results = [one for one in SAMPLE if one.cell in {each.id for each in cells}]
    assert f"equal passed every gate, but with {TOLD}" in findings(report(results, cells=cells))[1]


def test_a_control_that_would_pass_is_told_with_it() -> None:
    candidate = cell("equal", engine=WHOLE)
    control = cell("clean", engine=SHORT, role="control")
    results = [result(one.id, "all", 0.001, "PASS") for one in (candidate, control)]
    given = report(results, cells=(candidate, control))
    (told,) = control_sentences(Index(given))
    assert told.endswith(f"in none of 1 gated comparisons, but with {TOLD}.")
    assert overall_verdict_text(Index(given)) == "PASS", "a control decides nothing"
    assert "(✓†)" in render_report(given)


def listed(*cells: CellRecord) -> str:
    return " ".join(render_report(report([], cells=cells)).split())


def test_engines_of_which_the_same_is_known_are_told_together() -> None:
    cells = [cell("clean", f"m{i}", engine=SHORT) for i in range(5)]
    (group,) = standings(Index(report([], cells=tuple(cells))))
    assert (group.told, len(group.cells)) == (f"{TOLD}, by the engine inspector", 5)
    text = listed(*cells)
    assert f"{TOLD}, by the engine inspector: all 5 engines" in text
    assert "Conv depthwise0 in FP32 (0.667 % of MACs): depthwise, no INT8 kernel" in text
    assert "3 more products" in text
    assert text.count("depthwise, no INT8 kernel") == 3
    mixed = listed(*cells, cell("equal", engine=WHOLE), cell("equal", "u", engine=UNPROVEN))
    assert "clean/m0, clean/m1, clean/m2, 2 more engines" in mixed
    assert (
        "28 of 28 products in INT8 (100 % of MACs), by the engine inspector: equal/minmax" in mixed
    )
    assert "28 products requested in INT8, unproven: nobody tells: equal/u" in mixed


def test_engines_that_follow_their_graph_are_told_by_it() -> None:
    left = NodeRecord("up", "ConvTranspose", "fp32", "fp32", "emulated", 15)
    engine = EngineRecord(
        "e", "emulated", {"Conv": 2}, {"ConvTranspose": 1}, asked_ops={"Conv": 2},
        left_float=(left,), macs=150, int8_macs=135,
    )  # fmt: skip
    given = cell("clean", engine=engine)
    assert caveat(given) == ""
    text = listed(given)
    assert "2 of 2 products in INT8 (90 % of MACs), by the graph: clean/minmax" in text
    assert "ConvTranspose up in FP32 (10 % of MACs): emulated" in text
    page = html_page(report([], cells=(given,)))
    assert "Products that stay out of INT8" in page
    assert "<td>90 %</td><td>the graph</td>" in page


def test_a_markdown_summary_lists_what_the_engines_run_in() -> None:
    text = markdown_summary(made(SHORT, WHOLE))
    assert "What the engines run in" in text
    assert "22 of 28 products in INT8 (96 % of MACs), by the engine inspector: clean/m0" in text
    assert "  - Conv depthwise0 in FP32" in text


def test_where_some_engines_are_predictions_the_verdict_counts_them() -> None:
    guess = replace(ENGINE, options={"predicts": "TensorRT's implicit quantization"})
    cells = tuple(
        replace(c, engine=guess if i < 1 else ENGINE) for i, c in enumerate(report().cells)
    )
    made = report(cells=cells)
    assert overall_verdict_text(Index(made)) == "REGRESSED (1 of 4 engines predicted)"
    told = "1 of 4 engines is a prediction of TensorRT's implicit quantization."
    assert headline(made).endswith(told)
    assert "predict" not in headline(report())
