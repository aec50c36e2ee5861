"""The page's part on a bench in a browser: its picture, its table, a phone, paper."""

from dataclasses import replace
from typing import Any

import pytest

from calaudit.results.report import Report
from tests.browser.conftest import Open
from tests.report.bench.planted import engine, half_cell, planted, ratios, usual
from tests.report.bench.test_tables import many
from tests.report.factory import cell
from tests.report.hostile import NAMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flaky(reruns=2, only_rerun=["BrowserEndedError"]),
]


def marks(page: Any, chart: int = 0) -> int:
    """Engines with a mark: filled or hollow, without the rings."""
    count: int = page.locator(f"#bench-chart-{chart} path[aria-roledescription=point]").count()
    return count


def visible_rows(page: Any) -> list[str]:
    names: list[str] = page.eval_on_selector_all(
        "#bench .bench tbody tr",
        """all => all.filter(row => row.offsetParent)
           .map(row => row.querySelector("th").firstChild.textContent.trim())""",
    )
    return names


def test_the_picture_has_a_mark_per_engine_and_rings_the_pareto_set(open_report: Open) -> None:
    with open_report(usual()) as page:
        # six engines, four of them ringed
        assert marks(page) == 6 + 4
        axes = page.locator("#bench-chart-0").text_content()
        assert "times as fast as FP16, latency at batch 1" in axes
        assert "Dashed: the gate." in page.locator("#bench-note-0").inner_text()


def test_speed_is_by_what_is_chosen(open_report: Open) -> None:
    with open_report(usual()) as page:
        page.select_option("#bench-measure", label="throughput at batch 64")
        page.wait_for_function(
            "document.querySelector('#bench-chart-0').textContent.includes('throughput')"
        )
        assert marks(page) == 6 + 4


def test_an_engine_tells_its_numbers_where_the_pointer_is(open_report: Open) -> None:
    with open_report(usual()) as page:
        page.locator("#bench-chart-0").scroll_into_view_if_needed()
        page.locator("#bench-chart-0 path[aria-roledescription=point]").last.hover(force=True)
        told = page.locator("#tip").inner_text()
        assert "INT8 clean with" in told
        assert "× (" in told
        assert "regressed" in told


def test_48_engines_are_folded_until_every_one_is_asked_for(open_report: Open) -> None:
    with open_report(many()) as page:
        assert visible_rows(page) == [
            "FP32", "FP16", "INT8 clean", "INT8 head", "INT8 equal", "INT8 spread",
        ]  # fmt: skip
        box = page.locator("#bench").bounding_box()
        assert box["height"] < 1.6 * 900
        page.check("#bench-every")
        assert len(visible_rows(page)) == 50


@pytest.mark.parametrize("make", [usual, many])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits(open_report: Open, make: Any, width: int) -> None:
    with open_report(make(), viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#bench-chart-0 svg").bounding_box()["width"] <= width
        if width == 1280:  # nothing of the table is out of sight
            assert (
                page.eval_on_selector(
                    "#bench .scroll", "each => each.scrollWidth - each.clientWidth"
                )
                <= 1
            )


def test_it_is_on_paper_with_its_picture(open_report: Open) -> None:
    with open_report(many()) as page:
        page.emulate_media(media="print")
        assert page.locator("#bench-chart-0 svg").is_visible()
        assert not page.locator("#bench-measure").is_visible()
        assert len(visible_rows(page)) == 6


def test_the_table_is_there_without_scripts(open_report: Open) -> None:
    with open_report(many(), ready=False, java_script_enabled=False) as page:
        assert page.locator("#bench .bench tbody tr.folded").first.is_visible()
        assert not page.locator("#bench-chart-0").is_visible()


def two_targets() -> Report:
    made = usual()
    assert made.bench is not None
    single = half_cell(id="fp32/orin", precision="fp32", backend="orin")
    others = cell("equal", "mse", id="equal/mse/orin", backend="orin")
    results = [
        replace(r, cell=to)
        for of, to in (("fp16", "fp32/orin"), ("equal/mse", "equal/mse/orin"))
        for r in made.results
        if r.cell == of
    ]
    engines = (
        engine("fp32/orin", 0.1, "fp32", backend="orin"),
        engine("equal/mse/orin", 0.4, backend="orin"),
    )
    record = replace(
        made.bench,
        engines=(*made.bench.engines, *engines),
        ratios=(*made.bench.ratios, *ratios("equal/mse/orin", 4.0, "fp32/orin")),
    )
    return replace(
        made,
        cells=(*made.cells, single, others),
        results=(*made.results, *results),
        bench=record,
    )


def test_each_target_has_a_picture_and_a_table(open_report: Open) -> None:
    with open_report(two_targets()) as page:
        assert page.locator("#bench h3").all_inner_texts() == ["onnxruntime", "orin"] * 2
        assert marks(page, 1) == 2 + 2
        assert "as fast as FP32" in page.locator("#bench-chart-1").text_content()


def test_hostile_names_and_nothing_but_a_baseline_are_drawn(open_report: Open) -> None:
    speeds = {f"{name}/mse": 2.0 for name in NAMES[:6]}
    with open_report(planted(speeds, dict.fromkeys(speeds, 0.05))) as page:
        assert marks(page) >= 6
    with open_report(planted({}, {})) as page:
        assert page.locator("#bench-chart-0").count() == 0
