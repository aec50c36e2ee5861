"""The page's part on a bench: texts in the template, numbers for the scripts."""

import re
from dataclasses import replace
from html import unescape

import pytest

from calaudit.report.html.bench import BenchPart, bench_document, make_bench
from calaudit.report.html.page import html_page
from calaudit.report.index import Index
from calaudit.results.bench import LayerTime
from calaudit.results.report import Report
from tests.report.bench.planted import planted, usual
from tests.report.bench.test_tables import many
from tests.report.benched import BENCH
from tests.report.factory import report
from tests.report.hostile import NAMES


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the chart library together takes seconds and is tested elsewhere."""
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")


def part(made: Report) -> BenchPart:
    found = make_bench(Index(made))
    assert found is not None
    return found


def section(made: Report) -> str:
    page = html_page(made)
    return page.partition('<section id="bench"')[2].partition("</section>")[0]


def body(text: str) -> list[str]:
    return re.findall(r"<tr class=.*?</tr>", text.partition("Every number")[0])


def test_the_section_has_the_sentence_and_a_row_per_engine() -> None:
    text = unescape(section(usual()))
    assert '<p class="told">INT8 equal with mse: 2.00 × as fast as FP16' in text
    assert len(body(text)) == 6
    assert '<tr class=" control">' in text
    for told in ("0.0867", "60,000", "1.98–2.02", "at most 1.3 points on noise ≥ 0.4",
                 "passed in all 3", "regressed in 1 of 3", "Noise floor: FP32"):  # fmt: skip
        assert told in text
    assert '<a href="#bench">' in html_page(usual())


def test_without_a_bench_there_is_no_such_section() -> None:
    bare = replace(usual(), bench=None)
    assert make_bench(Index(bare)) is None
    assert 'id="bench"' not in html_page(bare)


def test_many_engines_are_folded_and_unfold_without_scripts() -> None:
    text = section(many())
    rows = body(text)
    assert [row.count('class="folded') for row in rows].count(1) == 6
    assert [row.count('class="one') for row in rows].count(1) == 50
    assert '<input type="checkbox" id="bench-every">' in text
    assert 'id="bench-every"' not in section(usual())


def test_the_scripts_get_every_point_in_points_with_its_interval() -> None:
    (chart,) = bench_document(part(usual()))["charts"]
    assert (chart["gate"], chart["y"]) == (2.0, "drop of top-1 accuracy on the worst slice, points")
    first = chart["measures"][0]
    assert first["x"] == "times as fast as FP16, latency at batch 1"
    points = {each["tip"]["engine"]: each for each in first["points"]}
    best = points["INT8 equal with mse"]
    assert (best["loss"], best["low"], best["high"]) == (0.8, -0.2, 1.3)
    assert best["slow"] < best["speed"] < best["fast"]
    assert (best["pareto"], best["control"], best["beaten"]) == (True, False, False)
    control = points["INT8 clean with minmax (control)"]
    assert (control["pareto"], control["control"]) == (False, True)
    assert control["tip"]["verdict"] == "regressed"
    assert points["FP32"]["verdict"] == "FP32"
    assert points["FP32"]["label"] == "FP32"
    beaten = {
        e["tip"]["engine"]: e
        for e in bench_document(part(many()))["charts"][0]["measures"][0]["points"]
    }
    assert beaten["INT8 clean with m01"]["beaten"]
    assert beaten["INT8 clean with m01"]["tip"]["dominated by"].startswith(
        "INT8 clean with m00, INT8 clean with m02 and "
    )


def test_every_number_is_in_a_table_with_its_interval() -> None:
    made = part(report(bench=BENCH))
    rows = {(row[0], row[1], row[2]): row for row in made.numbers}
    assert rows["FP32", "ms, P50", "64"][4:] == ("500", "2.00", "1.96–2.04")
    knobs = "INT8 clean with minmax, o5"
    assert rows[knobs, "power, W", "64"][3:] == ("4", "", "310", "304–316")
    assert rows[knobs, "GPU in use", "64"][5] == "93 %"
    assert rows[knobs, "clocks held down by", "64"][5] == "sw_power_cap"
    assert rows["FP32", "memory, peak", "64"][5] == "3.00 MB"
    assert made.left == 0
    assert len(part(many()).numbers) == 200
    assert part(many()).left > 0


def test_the_longest_layers_of_fp32_and_the_pareto_set_are_told() -> None:
    made = usual()
    assert made.bench is not None
    many = tuple(LayerTime(f"l{i}", 8.0 - i, (8 - i) / 36, ("a", "b", "c")) for i in range(8))
    first, *rest = made.bench.engines
    record = replace(made.bench, engines=(replace(first, layers=many), *rest))
    rows = part(replace(made, bench=record)).layers
    own = [row for row in rows if row[0] == "FP32, batch 64"]
    assert own[0][1:] == ("l0", "a, b and 1 more", "", "–", "8.00", "22 %")
    assert own[-1][1:] == ("2 more layers", "", "", "", "3.00", "8 %")
    assert len(own) == 7
    assert {row[0] for row in rows[7:]} == {
        "FP16, batch 64", "INT8 equal with minmax, batch 64", "INT8 equal with mse, batch 64",
    }  # fmt: skip
    assert rows[-1][3:] == ("MatMul", "INT8", "0.533", "40 %")
    assert "Where the time goes" in section(made)


def test_hostile_names_are_text() -> None:
    made = usual()
    assert made.bench is not None
    engines = [replace(made.bench.engines[-1], variant=name) for name in NAMES[:8]]
    record = replace(made.bench, engines=(*made.bench.engines, *engines))
    record = replace(record, environment={"cpu": "<script>alert(1)</script>"})
    text = section(replace(made, bench=record))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_what_may_ship_has_its_layers_though_it_is_dominated() -> None:
    slow = planted({"a/mse": 0.5}, {"a/mse": 0.001})
    assert [row[0] for row in part(slow).layers if row[1] == "fc"] == [
        "FP32, batch 64", "INT8 a with mse, batch 64",
    ]  # fmt: skip
