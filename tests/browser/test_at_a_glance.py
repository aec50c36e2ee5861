"""What is seen of report.html without a hand: its first screen, its length, pictures, paper."""

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.report.html.pictures import draw_sample
from calaudit.report.html.taps import make_taps
from calaudit.results.audited import CellRecord, CompositionRow, SliceRecord
from calaudit.results.drops import Exemplar, Exemplars, Part
from calaudit.results.explanation import Cause, CurvePoint, Explanation, Suspect
from calaudit.results.harm import CellHarm, HarmRank, HarmRecord, SliceHarm, TapHarm
from calaudit.results.rankings import Flow, RankingFlow, RankingSlice
from calaudit.results.report import Report
from tests.browser.conftest import Open
from tests.browser.test_report_html import CUT
from tests.report.factory import NLL, RECOMMENDATION, TOP1, calibset, cell, report, result
from tests.report.pictured import classed, of, write_files
from tests.report.test_html_parts import observed_as

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flaky(reruns=2, only_rerun=["BrowserEndedError"]),
]

WIDTH, HEIGHT = 1280, 800
RECIPES = ("clean only", "head only", "proportional", "equal")
CONTROLS = RECIPES[:2]
TAPS = tuple(f"hardswish_{i}" for i in range(23))
NOISE = ("noise < 0.05", "0.05 ≤ noise < 0.15", "0.15 ≤ noise < 0.25", "0.25 ≤ noise < 0.35",
         "noise ≥ 0.35")  # fmt: skip
CLASSES = ("class in head", "class in mid", "class in tail")
SLICES = ("all", *NOISE, *CLASSES, *(f"{a} & {b}" for a, b in product(NOISE, CLASSES)))


def names(recipe: str) -> list[str]:
    return [recipe, f"{recipe}#2", f"{recipe}#3"]


def as_large_as_the_demo() -> Report:
    """24 engines of four recipes over 24 slices, two gated metrics, rankings and samples."""
    random = np.random.default_rng(5)
    cells, results, flows = [], [], []
    sets = []
    for recipe in RECIPES:
        role = "control" if recipe in CONTROLS else "candidate"
        for number, name in enumerate(names(recipe)):
            rows = tuple(CompositionRow(s, 20, 0.3, 0.2) for s in SLICES)
            made = replace(calibset(name), composition=rows, recipe=recipe, draw=number + 1)
            sets.append(replace(made, role=role, file=f"calibsets/{name}.h5"))
            cells += [cell(name, m, role=role) for m in ("minmax", "mse")]
    for each, name, metric in product(cells, SLICES, ("top1", "ndcg")):
        hurt = "clean" in each.id and "0.35" in name
        drop = round(float(random.normal(0.12 if hurt else 0.002, 0.005)), 4)
        verdict = "REGRESSED" if hurt else "INCONCLUSIVE" if "tail" in name else "PASS"
        results.append(result(each.id, name, drop, verdict, metric=metric, n_needed=599))
    flow = Flow(1000, 900, 40, 35, 5, 20)
    for each in cells:
        parts = tuple(RankingSlice(s, 100, 0.0, 0.3, flow, ()) for s in ("all", NOISE[0]))
        flows.append(RankingFlow(each.id, "embedding", 10, 500, 100, parts, (), ()))
    shown = tuple(
        Exemplar(f"digit-{i}/noise-0.10", 3, 9, 1.0, 0.75, SLICES[1:5]) for i in range(10)
    )
    samples = [Exemplars(m, "sample", 24, 0.0, 7, shown) for m in ("top1", "ndcg")]
    pictured = of(
        *(
            replace(classed(f"digit-{i}"), cell="clean only/minmax", slice=NOISE[4])
            for i in range(12)
        ),
        judged=96,
    )
    made = report(
        results, metrics=(TOP1, replace(TOP1, name="ndcg", title="nDCG@10"), NLL),
        cells=tuple(cells), slices=tuple(SliceRecord(name, 180, True) for name in SLICES),
        ranking_flow=tuple(flows), exemplars=tuple(samples), pictures=(pictured,),
    )  # fmt: skip
    made = replace(made, calibsets=tuple(sets), harm=harm(cells))
    return replace(made, explanations=(explained(),))


def harm(cells: Sequence[CellRecord]) -> HarmRecord:
    """Every tap of every engine, those of the clean sets clipping where noise is high."""
    slices = tuple(SliceHarm(name, 100, 0.005) for name in SLICES)
    made = []
    for each in cells:
        clipped = [0.1 if "clean" in each.id and "0.35" in name else 0.001 for name in SLICES]
        taps = tuple(
            TapHarm(tap, 1.5, tuple(c / (i + 2) for c in clipped), (0.001,) * len(SLICES))
            for i, tap in enumerate(TAPS[:20])
        )
        total = tuple(0.2 + c for c in clipped)
        made.append(CellHarm(each.id, total, (0.01,) * len(SLICES), (0.01,) * len(SLICES), taps))
    ranks = (HarmRank(None, 0.9, 0.001, len(cells), len(SLICES)),)
    return HarmRecord("split = 'tuning'", 900, 600, len(TAPS), slices, 0.009, tuple(made), ranks)


def explained() -> Explanation:
    drops = (0.30, 0.12, 0.02, 0.01)
    curve = tuple(
        CurvePoint(k, TAPS[k // 2 : k], Part(drop, drop - 0.03, drop + 0.03))
        for k, drop in zip((0, 1, 4, 8), drops, strict=True)
    )
    return Explanation(
        "clean only/minmax", NOISE[4], "top1", Cause.RANGES, "The range of hardswish_0 clips 38 %.",
        Part(0.3, 0.2, 0.4), Part(0.3, 0.2, 0.4), 400, 0.02, curve=curve,
        suspects=tuple(Suspect(tap, 1.0, 2.0, 0.4, 0.1, 0.01, 0.9, 0.38, 120) for tap in TAPS[:3]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def large() -> Report:
    return as_large_as_the_demo()


@pytest.fixture(scope="module")
def evidence(large: Report, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("pictures")
    write_files(folder)
    random = np.random.default_rng(1)
    groups = {s: random.normal(size=300) for r in RECIPES for s in names(r)}
    picture = draw_sample(random.normal(size=(8, 8)))
    return {
        "taps": make_taps(large, observed_as(TAPS, groups)),
        "pictures": {f"digit-{i}/noise-0.10": picture for i in range(10)},
        "folder": folder,
    }


@pytest.fixture
def screen() -> dict[str, Any]:
    return {"viewport": {"width": WIDTH, "height": HEIGHT}}


CHARTS = ("curve-chart", "drops-chart", "sets-chart", "taps-chart", "tap-chart", "flow-chart")


def box(page: Any, selector: str) -> dict[str, float]:
    found: dict[str, float] = page.locator(selector).first.bounding_box()
    return found


def test_the_first_screen_says_what_to_ship_who_is_hurt_and_why(
    open_report: Open, large: Report, evidence: dict[str, Any], screen: dict[str, Any]
) -> None:
    with open_report(large, evidence=evidence, **screen) as page:
        for selector in (".answer", "#found .finding", "#found .first", "#found .scroll tbody tr"):
            seen = box(page, selector)
            assert seen["y"] + seen["height"] < HEIGHT
        assert page.locator(".answer").inner_text().startswith("Nothing to ship yet")
        findings = page.locator("#found summary.finding")
        assert findings.count() == 5
        told = "Control: The range of hardswish_0 clips 38 %."
        assert page.locator(".why").first.inner_text() == told
        assert "clean only (control)" in findings.first.inner_text()
        assert "all 6 engines" in findings.first.inner_text()
        last = box(page, "#found .first > div:last-child p:last-of-type")
        assert last["y"] + last["height"] < HEIGHT


def test_an_audit_of_24_engines_and_24_slices_takes_six_screens(
    open_report: Open, large: Report, evidence: dict[str, Any], screen: dict[str, Any]
) -> None:
    with open_report(large, evidence=evidence, **screen) as page:
        height = page.evaluate("document.documentElement.scrollHeight")
        assert 3 * HEIGHT < height <= 6 * HEIGHT
        assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
        assert page.evaluate(CUT) == []


def test_a_picture_of_the_whole_page_has_every_chart_though_nobody_scrolled(
    open_report: Open, large: Report, evidence: dict[str, Any], screen: dict[str, Any]
) -> None:
    with open_report(large, evidence=evidence, **screen) as page:
        boxes = {name: box(page, f"#{name}") for name in CHARTS}
        assert page.evaluate("scrollY") == 0
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
        for name, at in boxes.items():
            left, top = int(at["x"]), int(at["y"])
            part = picture.crop((left, top, left + int(at["width"]), top + int(at["height"])))
            assert at["height"] > 100, name
            rows = np.asarray(part).std(axis=1)
            assert (rows > 1).mean() > 0.5, name


def test_each_finding_opens_to_its_engines_and_is_found_as_text(
    open_report: Open, large: Report, evidence: dict[str, Any], screen: dict[str, Any]
) -> None:
    with open_report(large, evidence=evidence, **screen) as page:
        first = page.locator("#found details.found").first
        assert not first.locator("table").is_visible()
        first.locator("summary").focus()
        page.keyboard.press("Enter")
        assert first.locator("tbody tr").count() == 6
        assert first.locator("table").is_visible()
        everything = page.locator("main").text_content()
        for text in ("calibsets/equal#3.h5", "ties count as wrong", "clean only#2 (control), mse"):
            assert text in everything


def test_harm_is_shown_of_one_engine_at_a_time(
    open_report: Open, large: Report, evidence: dict[str, Any], screen: dict[str, Any]
) -> None:
    with open_report(large, evidence=evidence, **screen) as page:
        tables = page.locator(".harm-table")
        assert tables.count() == 4
        assert [tables.nth(i).is_visible() for i in range(4)] == [True, False, False, False]
        page.locator("#harm-cell").select_option(label="proportional, minmax")
        assert page.locator(".harm-table:visible caption").inner_text() == "proportional, minmax"
        assert page.locator(".harm-table:visible tbody tr").count() == 8
    with open_report(large, java_script_enabled=False, ready=False, **screen) as page:
        assert page.locator(".harm-table:visible").count() == 4


APART = """() => {
  const texts = [...document.querySelectorAll("#heat thead th")]
    .filter((head) => head.offsetParent && head.textContent.trim()).map((head) => {
      const range = document.createRange();
      range.selectNodeContents(head);
      const rects = [...range.getClientRects()].filter((r) => r.width);
      return { text: head.textContent, row: head.parentElement.rowIndex,
        left: Math.min(...rects.map((r) => r.left)),
        right: Math.max(...rects.map((r) => r.right)) };
    });
  return texts.flatMap((a, i) => texts.slice(i + 1, i + 2)
    .filter((b) => a.row === b.row && b.left - a.right < 4).map((b) => [a.text, b.text]));
}"""
"""Heads of the heat map whose text comes within four pixels of the next one's."""


def recommended() -> Report:
    """A winner and a rival with products in float, beside the plain set: long names."""
    ways = (None, "recommended", "recommended-1")
    cells = tuple(
        cell("equal", "minmax", id=f"equal/minmax{f'+{way}' if way else ''}", exemption=way,
             role="candidate" if way == "recommended" else "control")
        for way in ways
    )  # fmt: skip
    results = [result(each.id, name, 0.004, "PASS") for each in cells for name in SLICES[:6]]
    slices = tuple(SliceRecord(name, 180, True) for name in SLICES[:6])
    made = report(results, cells=cells, slices=slices)
    told = replace(
        RECOMMENDATION, winner=cells[1].id, plain=cells[0].id, rivals=(cells[2].id,), gains=(),
        options=tuple(replace(one, cell=None) for one in RECOMMENDATION.options), collect=(),
        bound=None,
    )  # fmt: skip
    return replace(made, recommendation=told)


def test_a_recommendation_answers_and_its_long_heads_stay_apart(
    open_report: Open, screen: dict[str, Any]
) -> None:
    made = recommended()
    assert made.recommendation is not None
    with open_report(made, **screen) as page:
        assert page.locator(".answer").inner_text() == made.recommendation.sentence
        heads = page.locator("#heat thead th[data-column]:visible").all_inner_texts()
        flat = ["".join(text.split()) for text in heads]
        assert flat == ["minmax", "minmax+recommended", "minmax+recommended-1"]
        assert page.evaluate(APART) == []
        choice, reset = box(page, "#metric"), box(page, "#tools button")
        assert abs(choice["y"] - reset["y"]) < reset["height"]  # on one line
        assert page.evaluate(CUT) == []
        page.get_by_text("How the recommendation was chosen").click()
        rows = page.locator("#found details[open] tbody tr:visible")
        assert rows.count() == len(made.recommendation.options)
        assert page.evaluate("document.documentElement.scrollWidth") == WIDTH


def test_paper_opens_what_matters_and_closes_it_again(
    open_report: Open, large: Report, evidence: dict[str, Any], tmp_path: Path
) -> None:
    with open_report(large, evidence=evidence) as page:
        assert page.locator("details[data-print]").count() > 4
        page.evaluate(
            """() => { window.printed = []; addEventListener("beforeprint", () => {
              const parts = [...document.querySelectorAll("details[data-print]")];
              printed.push(parts.every((each) => each.open)); }); }"""
        )
        page.pdf(path=tmp_path / "report.pdf")
        assert page.evaluate("printed") == [True]
        assert page.locator("details[data-print][open]").count() == 0
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
