import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest
from hypothesis import HealthCheck, given, settings

from calaudit.report.files import dump
from calaudit.report.findings import findings
from calaudit.report.html.page import html_page
from calaudit.report.html.pictures import Picture
from calaudit.results.document import to_document
from calaudit.results.drops import Exemplar, Exemplars
from calaudit.results.rankings import (
    Flow,
    MovedItem,
    RankingFlow,
    RankingLoss,
    RankingSlice,
)
from calaudit.results.report import Report
from tests.report.factory import SAMPLE, TOP1, cell, report, reports, result
from tests.report.hostile import METHOD, NAMES, SET, hostile_report

LIBRARY = "window.vegaEmbed = null;"
VOID = {"meta", "br", "wbr", "img", "input", "path"}


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the chart library together takes seconds and is tested elsewhere."""
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: LIBRARY)


class Page(HTMLParser):
    """Elements, attributes and texts, as a browser without scripts would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def unpacked(base64_text: str) -> bytes:
    return gzip.decompress(base64.b64decode(base64_text))


def ranked() -> Report:
    flow = Flow(1000, 900, 40, 35, 5, 20)
    losses = (RankingLoss("top1", 0.031, 0.02, 0.01, 0.001, 0.8, 0.9),)
    lost = (MovedItem("<i>item</i>", 12.5, 3.0, 40.0, True),)
    parts = tuple(
        RankingSlice(name, 100, 0.0, 0.29, flow, losses) for name in ("all", "noise ≥ 0.4")
    )
    ranking = RankingFlow("clean/minmax", "scores", 10, 500, 100, parts, lost, ())
    shown = (Exemplar("a & b", 3, 0, 1.0, 0.75, ("noise ≥ 0.4",)),)
    exemplars = Exemplars("top1", "sample", 4, 0.0, 7, shown)
    return replace(report(), ranking_flow=(ranking,), exemplars=(exemplars,))


def test_findings_verdict_and_every_drop_are_readable_without_scripts() -> None:
    made = report()
    page = Page(html_page(made))
    assert [text for text in page.text_of("li") if text.strip()] == list(findings(made))
    assert page.of("html")[0]["class"] == "no-script"
    table = html_page(made).partition('id="heat"')[2].partition("</table>")[0]
    cells = [each for each in Page(f"<table>{table}</table>").of("td") if "data-column" in each]
    engines = [each for each in cells if each["class"].startswith("one")]
    assert len(engines) == 3 * 4
    assert [each["class"] for each in engines[4:8]] == ["one loss5", "one loss3", "one", "one"]
    texts = re.findall(r'class="one[^>]*>(−?\d+\.\d)', table)
    assert texts == [
        "1.2", "0.6", "0.3", "0.2", "6.1", "2.0", "0.4", "0.3", "0.1", "0.0", "−0.2", "0.2",
    ]  # fmt: skip


def test_columns_fold_to_the_worst_of_each_sets_engines() -> None:
    table = html_page(report()).partition('id="heat"')[2].partition("</table>")[0]
    folded = re.findall(r'class="folded[^>]*>(−?\d+\.\d).*?aria-hidden="true">(.)<', table)
    assert folded == [
        ("1.2", "✓"),
        ("0.3", "✓"),
        ("6.1", "✗"),
        ("0.4", "✓"),
        ("0.1", "✓"),
        ("0.2", "✓"),
    ]
    heads = re.findall(r"<th[^>]*folded[^>]*>(?:<button[^>]*>)?([^<]*)", table)
    assert heads == ["clean", "equal", "worst of 2", "worst of 2"]
    single = report(cells=(cell("clean"), cell("equal")), results=[
        each for each in SAMPLE if each.cell.endswith("minmax")
    ])  # fmt: skip
    assert "folded" not in html_page(single).partition('id="map"')[2].partition("</section>")[0]


def test_a_verdict_outweighs_a_larger_drop_where_columns_fold() -> None:
    given = [
        result("clean/minmax", "all", 0.03, "REGRESSED"),
        result("clean/mse", "all", 0.04, "INCONCLUSIVE", half=0.05),
    ]
    made = report(given, cells=(cell("clean"), cell("clean", "mse")))
    page = html_page(made)
    assert re.findall(r'<td data-column="2" class="folded[^>]*>(−?\d+\.\d)', page) == ["3.0"]
    assert "1 of 2 engines" in page


def test_nothing_is_loaded_and_only_the_pages_own_scripts_may_run() -> None:
    text = html_page(ranked())
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    policy = page.of("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    inline = re.findall(r"<(script|style)>(.*?)</\1>", text, re.DOTALL)
    assert len(inline) == 3
    for _, content in inline:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.count("'sha256-") == 3


def test_hostile_names_are_text_everywhere() -> None:
    text = html_page(hostile_report())
    plain = Page(html_page(report()))
    page = Page(text)
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements} | {"p"}
    assert all(not name.startswith("on") for _, each in page.elements for name in each)
    assert len(page.of("script")) == 3
    spans = page.text_of("span")
    for name in (NAMES[1], NAMES[2], NAMES[4], NAMES[6], NAMES[9], NAMES[10]):
        assert name in spans
    assert "line\\nbreak\\ttab\\x1b[31m\\u202e\\x00 nul" in spans
    assert SET in page.text_of("th")
    assert f"{METHOD} †" in page.text_of("button")
    told = "REGRESSED, with 2 of 14 products in INT8 (88 % of MACs)"
    assert page.text_of("title") == [f"{told}: <title>&\"' – calaudit"]
    link = next(each for each in page.of("a") if "download" in each)
    assert link["download"] == "title-report.json.gz"
    view = next(content for tag, content in page.texts if tag == "script")
    assert NAMES[2] in [each[0] for each in json.loads(unpacked(view))["slices"]]


def test_the_page_carries_the_whole_report_to_the_byte() -> None:
    made = ranked()
    page = Page(html_page(made))
    link = next(each for each in page.of("a") if "download" in each)
    assert unpacked(link["href"].partition(",")[2]).decode() == dump(to_document(made))


def test_what_report_json_holds_is_carried_as_it_is_given() -> None:
    link = next(e for e in Page(html_page(report(), text="as it is")).of("a") if "download" in e)
    assert unpacked(link["href"].partition(",")[2]) == b"as it is"


def test_scripts_get_the_numbers_of_the_report() -> None:
    page = Page(html_page(report()))
    view = json.loads(unpacked(page.text_of("script")[0]))
    assert view["slices"][1][0] == "noise ≥ 0.4"
    entry = next(each for each in view["entries"] if each[:3] == [0, 1, 0])
    assert entry[3:9] == [6.1, 4.8, 7.4, 2.0, "REGRESSED", "loss5"]
    assert entry[9:] == ["6.1", "4.8–7.4", ["0.950", "0.889", "1,000", "64 / 3", "0.04", "", ""]]


def test_rankings_and_samples_appear_where_the_report_has_them() -> None:
    assert 'id="rankings"' not in html_page(report())
    assert 'id="samples"' not in html_page(report())
    pictures = {"a & b": Picture(image="data:image/png;base64,AAAA")}
    page = Page(html_page(ranked(), pictures=pictures))
    assert {"rankings", "samples"} <= {each.get("id") for each in page.of("section")}
    assert page.of("img") == [{"src": "data:image/png;base64,AAAA", "alt": "Input of a & b"}]
    cells = page.text_of("td")
    assert {"90.0 %", "3.5 %", "0.5 %", "29.0 %", "3.1", "2.0", "1.0", "0.800 to 0.900"} <= {
        *cells, *page.text_of("b"),
    }  # fmt: skip
    assert "<i>item</i>" in page.text_of("th")
    view = json.loads(unpacked(page.text_of("script")[0]))
    assert view["rankings"]["flows"][0]["shares"] == [0.04, 0.035, 0.005, 0.02]


def test_equal_reports_give_equal_pages() -> None:
    assert html_page(hostile_report()) == html_page(hostile_report())


def test_an_audit_without_comparisons_metrics_or_sets_still_has_a_page() -> None:
    for made in (
        report([], cells=()),
        replace(report([]), metrics=(), calibsets=()),
        report([result("None/None", "all", 0.0, None, max_drop=None)], cells=(cell(None, None),)),
    ):
        Page(html_page(made))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(reports())
def test_any_report_has_a_page_in_which_everything_closes(made: Report) -> None:
    page = Page(html_page(made))
    assert page.open == []
    assert len(page.of("script")) == 3


def test_a_notebook_shows_the_heat_map_without_scripts() -> None:
    page = Page(hostile_report()._repr_html_())
    assert page.of("script") == []
    assert len(page.of("tr")) == 2 + len(NAMES)
    assert NAMES[2] in page.text_of("th")
    many = report([replace(SAMPLE[0], slice=f"s{i}") for i in range(40)], metrics=(TOP1,))
    assert "… and 11 more slices." in many._repr_html_()


def test_the_pages_scripts_which_share_one_scope_declare_every_name_once() -> None:
    scripts = sorted(
        (resources.files("calaudit.report.html") / "templates" / "js").iterdir(), key=str
    )
    names = [
        name
        for script in scripts
        for name in re.findall(
            r"^(?:const|let|class|(?:async )?function\*?) (\w+)", script.read_text(), re.MULTILINE
        )
    ]
    assert len(names) > 20
    assert sorted(names) == sorted(set(names))
