"""report.html in a real browser: charts, keyboard, themes, paper, downloads, hostile names."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.report.files import dump
from calaudit.report.html.pictures import draw_sample
from calaudit.report.html.taps import make_taps
from calaudit.results.audited import CompositionRow, SliceRecord
from calaudit.results.document import to_document
from calaudit.results.report import Report
from tests.browser.conftest import Open
from tests.report.factory import NLL, SAMPLE, TOP1, calibset, cell, report, result
from tests.report.hostile import NAMES, hostile_report
from tests.report.test_html import ranked
from tests.report.test_html_parts import observed
from tests.report.test_precision import SHORT, TOLD, WHOLE
from tests.report.test_precision import made as partly_int8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flaky(reruns=2, only_rerun=["BrowserEndedError"]),
]

Shown = dict[str, Any]
"""What the page shows beyond the report: taps, pictures."""
CHARTS = ("drops-chart", "sets-chart", "taps-chart", "tap-chart", "flow-chart")


@pytest.fixture(scope="module")
def evidence() -> Shown:
    random = np.random.default_rng(1)
    groups = {name: random.normal(size=500) for name in ("clean", "equal", "noise ≥ 0.4")}
    picture = draw_sample(random.normal(size=(8, 8)))
    assert picture is not None
    return {"taps": make_taps(ranked(), observed(groups)), "pictures": {"a & b": picture}}


def full() -> Report:
    """Two metrics, rankings and samples."""
    losses = [
        result("clean/minmax", name, 0.3, None, metric="nll", max_drop=None)
        for name in ("all", "noise ≥ 0.4")
    ]
    made = report([*SAMPLE, *losses], metrics=(TOP1, NLL))
    named = ranked()
    return replace(made, ranking_flow=named.ranking_flow, exemplars=named.exemplars)


def see(page: Any, *charts: str) -> None:
    """Charts are drawn already, in sight or not."""
    for name in charts:
        assert page.locator(f"#{name} svg").count() == 1


def open_all(page: Any) -> None:
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def shown(page: Any) -> list[str]:
    """Slices in the heat map's visible rows, top to bottom."""
    names: list[str] = page.eval_on_selector_all(
        "#heat tbody tr:not([hidden]) th span", "all => all.map(each => each.textContent)"
    )
    return names


def drops(page: Any) -> list[list[str]]:
    table: list[list[str]] = page.eval_on_selector_all(
        "#heat tbody tr:not([hidden])",
        """rows => rows.map(row => [...row.querySelectorAll("td[data-column]:not([hidden])")]
           .filter(cell => cell.offsetParent).map(cell => cell.firstChild.textContent))""",
    )
    return table


def test_every_chart_is_drawn_without_a_word_or_a_request(
    open_report: Open, evidence: Shown
) -> None:
    with open_report(full(), evidence=evidence) as page:
        see(page, *CHARTS)
        for name in CHARTS:
            assert page.locator(f"#{name} svg path").count() > 3
        labels = page.locator("#drops-chart svg text").all_text_contents()
        assert "noise ≥ 0.4" in labels
        assert {"clean", "equal"} <= set(page.locator("#sets-chart svg text").all_text_contents())


def test_scripts_show_what_the_templates_showed(open_report: Open, evidence: Shown) -> None:
    with open_report(full(), java_script_enabled=False, ready=False) as page:
        plain = page.locator("#heat tbody").inner_text()
        assert "noise ≥ 0.4" in plain
        assert page.locator("#found li").count() == 3
        assert not page.locator("#metric").is_visible()
        assert drops(page)[1] == ["6.1", "0.4"]
        page.locator("#every").check()
        assert drops(page)[1] == ["6.1", "2.0", "0.4", "0.3"]
        page.locator("#every").uncheck()
        assert page.locator("#json").get_attribute("href").startswith("data:application/gzip")
    with open_report(full()) as page:
        assert page.locator("#heat tbody").inner_text() == plain


def test_verdicts_of_engines_that_are_partly_int8_say_so(open_report: Open) -> None:
    given = partly_int8(SHORT, WHOLE, drops=(0.09, 0.001))
    with open_report(given, java_script_enabled=False, ready=False) as page:
        plain = page.locator("#heat tbody").inner_text()
    with open_report(given) as page:
        assert page.locator("#heat tbody").inner_text() == plain
        cells = page.locator("#heat tbody td.one")
        page.locator("#every").check()
        assert "✗†" in cells.nth(0).inner_text()
        assert "†" not in cells.nth(1).inner_text()
        assert f"regressed, with {TOLD}" in cells.nth(0).text_content()
        cells.nth(0).hover()
        assert f"regressed, with {TOLD}" in page.locator("#strip").inner_text()
        assert f"REGRESSED, with {TOLD}" in page.locator(".badge").inner_text()


def test_columns_sort_with_the_keyboard(open_report: Open) -> None:
    with open_report(report()) as page:
        assert shown(page) == ["all", "noise ≥ 0.4", "noise < 0.4"]
        button = page.locator('#heat button[data-sort="4"]')
        button.focus()
        page.keyboard.press("Enter")
        assert shown(page) == ["noise ≥ 0.4", "all", "noise < 0.4"]
        head = page.locator('#heat th[data-column="4"]')
        assert head.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Space")
        assert shown(page) == ["noise < 0.4", "all", "noise ≥ 0.4"]
        assert head.get_attribute("aria-sort") == "ascending"
        assert button.evaluate("button => document.activeElement === button")
        page.locator('#heat button[data-sort="name"]').press("Enter")
        assert shown(page)[0] == "all"
        assert page.locator("#heat [aria-sort]").count() == 1
        page.locator("#tools button[type=reset]").press("Enter")
        page.wait_for_selector("#heat:not(:has([aria-sort]))")


def test_slices_sets_methods_and_verdicts_are_filtered(open_report: Open) -> None:
    with open_report(report()) as page:
        page.locator("#filter").fill("NOISE")
        assert shown(page) == ["noise ≥ 0.4", "noise < 0.4"]
        assert page.locator("#status").inner_text().startswith("2 of 3 slices shown")
        page.locator("#filter").fill("")
        page.locator("#set").select_option("equal")
        page.locator("#method").select_option("mse")
        assert drops(page) == [["0.2"], ["0.3"], ["0.2"]]
        assert page.locator("#heat thead th.set:visible").all_text_contents() == ["equal"]
        page.locator("#set").select_option("")
        page.locator("#method").select_option("")
        page.locator("#verdict").select_option("REGRESSED")
        assert shown(page) == ["noise ≥ 0.4"]
        page.locator("#filter").fill("nothing")
        assert shown(page) == []


def test_another_metric_shows_its_own_drops(open_report: Open) -> None:
    with open_report(full()) as page:
        page.locator("#metric").select_option(label="negative log-likelihood")
        assert drops(page)[:2] == [["0.300", "–"]] * 2
        page.locator("#every").check()
        assert drops(page)[:2] == [["0.300", "–", "–", "–"]] * 2
        assert "in nats" in page.locator("#heat-caption").inner_text()
        see(page, "drops-chart")
        title = "drop of negative log-likelihood, nats"
        page.locator("#drops-chart svg text", has_text=title).first.wait_for(state="attached")


def test_arrow_keys_move_through_the_grid_and_tell_each_comparison(open_report: Open) -> None:
    with open_report(report()) as page:
        inside = page.locator('#heat td[tabindex="0"]')
        assert inside.count() == 1
        inside.focus()
        page.keyboard.press("ArrowDown")
        strip = page.locator("#strip")
        told = (
            "drop 6.1 points (4.8–7.4), gate 2, regressed"
            " · FP32 0.950 · engine 0.889 · samples 1,000 · lost / gained 64 / 3"
            " · adjusted p 0.04"
        )
        assert strip.inner_text() == (
            f"noise ≥ 0.4 under clean, minmax (the worst of 2): {told} · the others 2.0"
        )
        page.locator("#every").check()
        inside.focus()
        page.keyboard.press("ArrowDown")
        assert strip.inner_text() == f"noise ≥ 0.4 under clean, minmax: {told}"
        for key in ("ArrowRight", "End", "PageDown", "ArrowDown"):
            page.keyboard.press(key)
        assert strip.inner_text().startswith("noise < 0.4 under equal, mse: drop 0.2 points")
        page.keyboard.press("Home")
        page.keyboard.press("PageUp")
        assert strip.inner_text().startswith("all under clean, minmax: drop 1.2 points")
        assert inside.count() == 1
        page.locator("#set").select_option("equal")
        assert inside.count() == 1
        assert inside.is_visible()


def colours(page: Any) -> tuple[str, str]:
    found: list[str] = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    return found[0], found[1]


def brightness(colour: str) -> float:
    return sum(map(int, colour.strip("rgb()").split(","))) / 3


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.strip("rgb()").split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable_and_can_be_swapped(open_report: Open, scheme: str) -> None:
    with open_report(report(), color_scheme=scheme) as page:
        before = colours(page)
        assert (brightness(before[0]) > 128) == (scheme == "light")
        assert contrast(*before) > 12
        text = page.locator("#map > p").first.evaluate("each => getComputedStyle(each).color")
        card = page.locator("#map").evaluate("each => getComputedStyle(each).backgroundColor")
        assert contrast(text, card) > 4.5
        for verdict in ("REGRESSED", "INCONCLUSIVE", "PASS"):
            mark = page.locator(f".key .{verdict}").evaluate("each => getComputedStyle(each).color")
            assert contrast(mark, card) > 4.5
        page.locator("#theme").click()
        assert (brightness(colours(page)[0]) > 128) != (scheme == "light")


def test_it_prints_dark_on_white_with_its_charts(open_report: Open, tmp_path: Path) -> None:
    with open_report(full(), color_scheme="dark") as page:
        see(page, "drops-chart")
        page.emulate_media(media="print")
        assert brightness(colours(page)[0]) == 255
        assert page.locator("#drops-chart svg").is_visible()
        assert not page.locator("#tools").is_visible()
        page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000


def test_the_json_is_saved_to_the_byte(open_report: Open) -> None:
    made = full()
    with open_report(made) as page:
        link = page.locator("#json")
        assert link.inner_text() == "digits-report.json"
        with page.expect_download() as waiting:
            link.click()
        saved = Path(waiting.value.path()).read_text(encoding="utf-8")
        assert waiting.value.suggested_filename == "digits-report.json"
    assert saved == dump(to_document(made))
    assert json.loads(saved)["verdict"] == "REGRESSED"


def spelled(name: str) -> str:
    odd: Mapping[str, str] = {
        NAMES[5]: "👩\\u200d🔬 emoji 🎧 ≥ é",
        NAMES[8]: "line\\nbreak\\ttab\\x1b[31m\\u202e\\x00 nul",
        NAMES[11]: "\\udce9 not UTF-8 \uffff",
    }
    return odd.get(name, name)


def test_hostile_names_are_shown_as_text(open_report: Open) -> None:
    with open_report(hostile_report()) as page:
        assert sorted(shown(page)) == sorted(map(spelled, NAMES))
        told = "REGRESSED, with 2 of 14 products in INT8 (88 % of MACs)"
        assert page.title() == f"{told}: <title>&\"' – calaudit"
        page.locator("#drops-all").click()
        page.wait_for_function("document.querySelectorAll('#drops-chart svg text').length > 20")
        labels = page.locator("#drops-chart svg text").all_text_contents()
        for name in NAMES[:5]:
            assert any(label.startswith(spelled(name)[:20]) for label in labels)
        page.locator("#filter").fill("owned")
        assert shown(page) == [NAMES[2]]
        page.locator('#heat td[tabindex="0"]').focus()
        assert page.locator("#strip b").first.inner_text() == NAMES[2]
        assert page.locator("#heat img, #heat b, #heat script").count() == 0
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"]


def test_a_thousand_slices_can_still_be_filtered(open_report: Open) -> None:
    names = [f"user = {i:04}" for i in range(1000)]
    results = [
        result(f"{calibset}/{method}", name, 0.001 * (i % 50), "PASS")
        for calibset in ("clean", "equal")
        for method in ("minmax", "mse")
        for i, name in enumerate(names)
    ]
    made = report(results, slices=tuple(SliceRecord(name, 1000, True) for name in names))
    with open_report(made) as page:
        page.locator("#filter").fill("0042")
        assert shown(page) == ["user = 0042"]
        see(page, "drops-chart")


def test_it_fits_a_phone(open_report: Open, evidence: Shown) -> None:
    with open_report(full(), evidence=evidence, viewport={"width": 390, "height": 800}) as page:
        see(page, *CHARTS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


WIDE = "a slice with a name that goes on & on, 0.289 ≤ brightness < 0.322 & noise = 0.4 & label = 7"
CUT = """() => {
  const found = [];
  const said = (element) => element.textContent.trim().slice(0, 40);
  const texts = "th, td, th *, td *, h1, h2, h3, dd, li, summary, summary *, button, .key *";
  for (const each of document.querySelectorAll(texts)) {
    if (each.closest(".unseen")) continue;
    const { overflowX, overflowY } = getComputedStyle(each);
    const cut = overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1;
    const clamped = overflowY === "hidden" && each.scrollHeight > each.clientHeight + 2;
    if (cut || clamped) found.push(said(each));
  }
  for (const svg of document.querySelectorAll(".chart svg")) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      const outside = box.left < frame.left - 1 || box.right > frame.right + 1 ||
        box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
      if (box.width && (outside || text.textContent.endsWith("…"))) found.push(said(text));
    }
  }
  const inside = [...document.querySelectorAll(".scroll table")].every((table) =>
    getComputedStyle(table.parentElement).overflowX === "auto" ||
    table.getBoundingClientRect().right <= innerWidth + 1);
  return [...found, ...(inside ? [] : ["a table beyond the paper"])];
}"""


def wide() -> Report:
    """Sixteen engines of sets whose names are long, over slices whose names are long."""
    sets = ("random", "only 0.289 ≤ brightness < 0.322 & noise = 0", "equal over noise", "clean")
    methods = ("minmax", "entropy", "percentile", "mse")
    cells = [cell(name, method) for name in sets for method in methods]
    names = ("all", WIDE, "noise = 0.4")
    results = [
        result(each.id, name, 0.05 * (i % 3), "REGRESSED" if i % 3 else "INCONCLUSIVE")
        for i, each in enumerate(cells)
        for name in names
    ]
    slices = tuple(SliceRecord(name, 1000, True) for name in names)
    calibsets = tuple(
        replace(calibset(name), composition=(CompositionRow(WIDE, 9, 0.1, 0.25),)) for name in sets
    )
    made = report(results, cells=tuple(cells), slices=slices)
    return replace(made, calibsets=calibsets)


@pytest.mark.parametrize("width", [320, 420, 1300, 1920])
def test_no_name_is_cut_at_any_width(open_report: Open, evidence: Shown, width: int) -> None:
    with open_report(wide(), evidence=evidence, viewport={"width": width, "height": 900}) as page:
        open_all(page)
        see(page, "drops-chart", "sets-chart", "taps-chart", "tap-chart")
        assert page.evaluate(CUT) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#every").check()
        assert page.evaluate(CUT) == []
        heads = page.locator("#heat thead button").all_text_contents()
        assert heads.count("percentile") == 4
        assert heads.count("worst of 4") == 4
        labels = "".join(page.locator("#drops-chart svg text").all_text_contents())
        assert WIDE.replace(" ", "") in labels.replace(" ", "")


def test_no_name_is_cut_on_paper(open_report: Open) -> None:
    # A4 landscape less its margins, at 96 pixels an inch.
    with open_report(wide(), viewport={"width": 1032, "height": 700}) as page:
        see(page, "drops-chart", "sets-chart")
        open_all(page)
        page.emulate_media(media="print")
        assert page.evaluate(CUT) == []


def test_a_metric_of_images_leaves_slices_of_objects_out(open_report: Open) -> None:
    recall = replace(TOP1, name="object_recall", title="Recall of objects")
    made = report(
        [
            result("clean/minmax", "all", 0.03, "PASS"),
            result("clean/minmax", "all", 0.1, None, metric="object_recall", max_drop=None, n=9000),
            result(
                "clean/minmax", "class = RBC", 0.2, None, metric="object_recall", max_drop=None
            ),
        ],
        metrics=(TOP1, recall), cells=(cell("clean"),),
    )  # fmt: skip
    with open_report(made, java_script_enabled=False, ready=False) as page:
        plain = page.locator("#heat tbody").inner_text()
        assert shown(page) == ["all"]
    with open_report(made) as page:
        assert page.locator("#heat tbody").inner_text() == plain
        assert page.locator("#status").inner_text().startswith("1 of 1 slices shown")
        assert page.locator("#heat tbody tr:visible td.n").first.inner_text() == "1,000"
        page.locator("#metric").select_option(label="Recall of objects")
        assert shown(page) == ["all", "class = RBC"]
        assert page.locator("#heat tbody tr:visible td.n").first.inner_text() == "9,000"
