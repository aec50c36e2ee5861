"""Pictures on the page: what is drawn of each, what is told of it, and where files are missing."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from calaudit.formats.pictures import class_colour
from calaudit.report.html.depicted import FigureGroup, make_figures
from calaudit.report.html.embedded import embedded
from calaudit.report.html.page import html_page
from calaudit.report.index import Index
from calaudit.report.markdown import markdown_summary
from calaudit.report.pictured import picture_sentences
from calaudit.report.terminal import render_report
from calaudit.results.drops import Exemplar, Exemplars, Said
from calaudit.results.pictures import Depiction, Mark
from tests.report.factory import TOP1, report
from tests.report.hostile import NAMES
from tests.report.pictured import CELL, SLICE, boxed, classed, masked, of, write_files
from tests.report.test_html import LIBRARY, Page


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: LIBRARY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "pictures")
    return tmp_path / "pictures"


def figures(folder: Path | None, *groups: object) -> list[FigureGroup]:
    return make_figures(Index(report(pictures=groups)), folder)


def test_boxes_of_truth_fp32_and_engine_stand_beside_each_other(folder: Path) -> None:
    (group,) = figures(folder, of(boxed(), by="found boxes", judged=1))
    (figure,) = group.figures
    assert [each.title for each in figure.panels] == ["true", "FP32", "clean, minmax"]
    truth, fp32, engine = (each.boxes for each in figure.panels)
    assert (truth[0].x, truth[0].y, truth[0].width, truth[0].height) == (5, 6, 20, 24)
    assert [each.colour for each in engine] == [class_colour(0), class_colour(1)]
    assert [each.alone for each in (*truth, *fp32, *engine)] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert truth[1].told == "Platelets, missed by the engine"
    assert engine[1].told == "WBC 0.40, nothing true there"
    assert fp32[0].told == "RBC 0.91"
    assert group.classes == tuple(
        (name, class_colour(i)) for i, name in enumerate(("RBC", "WBC", "Platelets"))
    )
    assert group.dashed
    assert figure.lost == "found boxes 1 under FP32, 0.5 here"
    assert [each.told for each in figure.panels] == [
        "cells <1>, true: 1 RBC, 1 Platelets",
        "cells <1>, FP32: 1 RBC, 1 Platelets",
        "cells <1>, clean, minmax: 1 RBC, 1 WBC",
    ]


def test_a_page_draws_each_photograph_once_under_its_boxes(folder: Path) -> None:
    made = report(pictures=(of(boxed(), boxed("second"), boxed("third")),))
    text = html_page(made, folder=folder)
    page = Page(text)
    images = page.of("image")
    assert [each["id"] for each in images] == ["picture-0-0", "picture-0-1", "picture-0-2"]
    assert [each["href"] for each in page.of("use")] == [
        f"#picture-0-{i}" for i in range(3) for _ in range(2)
    ]
    assert all(each["href"].startswith("data:image/jpeg;base64,") for each in images)
    boxes = [each for each in page.of("rect") if "stroke" in each]
    assert len(boxes) == 3 * 6
    assert sum(each.get("class") == "alone" for each in boxes) == 3 * 2
    labels = [each["aria-label"] for each in page.of("svg") if "aria-label" in each]
    assert "cells <1>, true: 1 RBC, 1 Platelets" in labels
    assert "4 such pairs" in text
    assert "style=" not in text.partition("<main>")[2]


def test_a_mask_lies_over_its_photograph_exactly(folder: Path) -> None:
    (group,) = figures(folder, of(masked()))
    (figure,) = group.figures
    for name, panel in zip(("truth", "fp32", "engine"), figure.panels, strict=True):
        assert panel.mask is not None
        content = base64.b64decode(panel.mask.partition(",")[2])
        assert content == (folder / f"{name}.png").read_bytes()
    assert [name for name, _ in group.classes] == ["RBC", "WBC", "Platelets"]
    page = Page(html_page(report(pictures=(of(masked()),)), folder=folder))
    assert sum(each.get("class") == "mask" for each in page.of("image")) == 3


def test_classes_are_told_in_words(folder: Path) -> None:
    (group,) = figures(folder, of(classed()))
    (figure,) = group.figures
    assert (figure.answers, figure.lost) == (
        "true three, FP32 three, engine eight",
        "right under FP32, wrong here",
    )
    assert not group.wide
    assert figure.image is not None
    assert figure.image.startswith("data:image/png")
    page = Page(html_page(report(pictures=(of(classed()),)), folder=folder))
    assert "true three, FP32 three, engine eight" in page.text_of("figcaption") + [
        text for _, text in page.texts
    ]


def test_what_the_engines_say_of_an_exemplar_is_counted() -> None:
    one = Exemplar(
        "a", 3, 0, 1.0, 0.75, (), truth="cat", fp32="dog", answers=(Said("cat", 3), Said("cow", 1))
    )
    made = replace(report(), exemplars=(Exemplars("top1", "sample", 4, 0.0, 7, (one,)),))
    assert "true cat, FP32 dog, engines cat (3), cow (1)" in html_page(made)


def test_files_that_are_missing_broken_or_elsewhere_are_left_out(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes((folder / "digit.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n what")
    (folder / "page.png").write_text("<script>alert(1)</script>")
    for name in ("gone.png", "broken.png", "page.png", "../secret.png", "..", "", "\0"):
        (group,) = figures(folder, of(boxed(file=name)))
        assert group.figures[0].image is None
        assert len(group.figures[0].panels) == 3  # boxes are told without the photograph
    assert embedded(None, "digit.png") is None
    assert figures(None, of(boxed()))[0].figures[0].image is None


def test_large_photographs_are_embedded_small(folder: Path) -> None:
    address = embedded(folder, "cells.png")
    assert address is not None
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert (image.format, image.size) == ("JPEG", (640, 480))
    assert len(address) < (folder / "cells.png").stat().st_size


def test_hostile_classes_and_ids_are_text(folder: Path) -> None:
    marks = tuple(Mark(name, 1, 2, 3, 4, 0.5, False) for name in NAMES)
    one = replace(boxed(), id=NAMES[1], engine=Depiction(boxes=marks))
    other = replace(classed(), truth=Depiction(label=NAMES[2]), file=NAMES[4])
    text = html_page(report(pictures=(of(one), of(other))), folder=folder)
    page = Page(text)
    assert len(page.of("script")) == 3
    assert all(not name.startswith("on") for _, each in page.elements for name in each)
    assert not re.search(r"<img src=x", text)
    told = [text for tag, text in page.texts if tag == "title"]
    assert f"{NAMES[4]} 0.50, nothing true there" in told


def test_a_metric_by_which_no_sample_lost_has_no_pictures() -> None:
    assert figures(None, of()) == []
    assert 'id="samples"' not in html_page(report(pictures=(of(),)))


def test_what_a_sample_lost_is_told_in_the_metrics_unit() -> None:
    metrics = (TOP1, replace(TOP1, name="nll", title="NLL", kind="mean", unit="nats"))
    made = report(
        metrics=metrics,
        pictures=(
            of(replace(classed(), reference=0.25, lost=1.5), metric="nll"),
            of(replace(classed(), lost=None), metric="nll"),
        ),
    )
    shown = [each.figures[0] for each in make_figures(Index(made), None)]
    assert [each.lost for each in shown] == ["FP32 0.250, lost 1.500 nats", "no finite answer"]
    assert {(each.slice, each.engine) for each in shown} == {(SLICE, "clean, minmax")}
    assert made.pictures[0].shown[0].cell == CELL


def test_terminal_and_summary_tell_of_the_first_in_a_sentence() -> None:
    made = report(pictures=(of(boxed(), boxed("b"), by="the F1 score of its boxes"), of(classed())))
    first = (
        "By top-1 accuracy, “cells <1>” lost most on noise ≥ 0.4 under clean with minmax: "
        "the F1 score of its boxes 1 under FP32, 0.5 here (2 pictures beside the report)"
    )
    second = (
        "By top-1 accuracy, digit lost most on noise ≥ 0.4 under clean with minmax: true three, "
        "FP32 three, engine eight; right under FP32, wrong here (1 picture beside the report)"
    )
    assert list(picture_sentences(Index(made))) == [first, second]
    assert first in render_report(made, width=300)
    summary = markdown_summary(made)
    assert f"- {second}" in summary
    assert "“cells &lt;1&gt;” lost most" in summary
