"""Pictures with boxes and masks in a real browser: drawn in all three panels, on paper as well."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calaudit.results.report import Report
from tests.browser.conftest import Open
from tests.report.factory import report
from tests.report.pictured import boxed, classed, masked, of, write_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flaky(reruns=2, only_rerun=["BrowserEndedError"]),
]

SCREEN = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def evidence(tmp_path: Path) -> dict[str, Any]:
    write_files(tmp_path / "pictures")
    return {"folder": tmp_path / "pictures"}


@pytest.fixture(scope="module")
def pictured() -> Report:
    return report(pictures=(of(boxed(), boxed("second")), of(masked()), of(classed())))


def pixels(page: Any, panel: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(panel.screenshot())).convert("RGB")).astype(int)


def test_the_photograph_lies_under_the_boxes_of_every_panel(
    open_report: Open, evidence: dict[str, Any], pictured: Report
) -> None:
    with open_report(pictured, evidence=evidence, **SCREEN) as page:
        panels = page.locator("#samples .panels svg")
        assert panels.count() == 3 * 3
        widths = [panels.nth(i).bounding_box()["width"] for i in range(3)]
        assert min(widths) > 300
        shown = [pixels(page, panels.nth(i)) for i in range(3)]
        for each in shown:  # noise, in all of them
            assert each[20:-20].std() > 20
        assert not np.array_equal(shown[1], shown[2])
        assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_a_mask_colours_what_it_judges_and_leaves_the_rest(
    open_report: Open, evidence: dict[str, Any], pictured: Report
) -> None:
    with open_report(pictured, evidence=evidence, **SCREEN) as page:
        panels = page.locator("#samples .panels:has(.mask) svg")
        assert panels.count() == 3
        truth, fp32 = (pixels(page, panels.nth(i)) for i in range(2))
        shown = [each[20:-20, 20:-20] for each in (truth, fp32)]
        height = len(shown[0])

        def colours(panel: np.ndarray, first: float, last: float) -> np.ndarray:
            return panel[int(height * first) : int(height * last)].mean(axis=(0, 1))

        below, above = (
            [colours(each, *part) for each in shown] for part in ((0.9, 1), (0.25, 0.35))
        )
        assert abs(below[0] - below[1]).max() < 6  # nothing is judged there
        assert abs(above[0] - above[1]).max() > 30


def test_boxes_are_named_where_the_pointer_and_screen_readers_are(
    open_report: Open, evidence: dict[str, Any], pictured: Report
) -> None:
    with open_report(pictured, evidence=evidence, **SCREEN) as page:
        assert page.get_by_role("img", name="cells <1>, true: 1 RBC, 1 Platelets").count() == 1
        titles = page.locator("#samples .panels rect title").all_text_contents()
        assert "Platelets, missed by the engine" in titles
        key = page.locator("#samples .key").first.inner_text()
        assert "Platelets" in key
        assert "dashed" in key


def test_paper_has_every_picture(
    open_report: Open, evidence: dict[str, Any], pictured: Report, tmp_path: Path
) -> None:
    with open_report(pictured, evidence=evidence, **SCREEN) as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        panels = page.locator("#samples .panels svg:visible")
        assert panels.count() == 9
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.pdf(path=tmp_path / "with.pdf")
    assert (tmp_path / "with.pdf").stat().st_size > 50_000


def test_pictures_are_seen_without_scripts(
    open_report: Open, evidence: dict[str, Any], pictured: Report
) -> None:
    with open_report(
        pictured, evidence=evidence, java_script_enabled=False, ready=False, **SCREEN
    ) as page:
        panel = page.locator("#samples .panels svg").nth(1)
        assert pixels(page, panel)[20:-20].std() > 20
