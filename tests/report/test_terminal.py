import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from calaudit.report.headline import headline
from calaudit.report.tables import View
from calaudit.report.terminal import print_report, render_report, write_svg
from calaudit.results.audited import SliceRecord, TargetRecord
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice, SliceError
from tests.report.factory import NLL, SAMPLE, TOP1, cell, report, reports, result

HOSTILE = "[red]x[/red] :smile: \x1b[31m\x07\u202e<script>\n\r\t"
SHOWN = r"[red]x[/red] :smile: \x1b[31m\x07\u202e<script>\n\r\t"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def rows(text: str, title: str) -> list[str]:
    """Lines of the table below a title."""
    lines = text.splitlines()
    title_at = next(i for i, line in enumerate(lines) if line.startswith(title))
    start = next(i for i in range(title_at, len(lines)) if "───" in lines[i]) + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].strip())
    return lines[start:end]


def test_worst_comparisons_come_first() -> None:
    table = rows(render_report(report()), "Worst slices first")
    cells = [re.split(r" {2,}", line.strip()) for line in table]
    assert cells[0] == [
        "noise ≥ 0.4", "1,000", "clean", "minmax", "1 of 2", "0.950", "0.889", "6.1✗ … 2.0?",
        "4.8–7.4", "64/3", "REGRESSED",
    ]  # fmt: skip
    passed = [float(each[7].partition("✓")[0].replace("−", "-")) for each in cells[1:]]
    assert passed == sorted(passed, reverse=True)
    assert len(cells) == len(SAMPLE) / 2


def test_by_method_every_engine_has_its_row() -> None:
    table = rows(render_report(report(), view=View(by_method=True)), "Worst slices first")
    cells = [re.split(r" {2,}", line.strip()) for line in table]
    assert cells[0][2:4] == ["clean", "minmax"]
    assert cells[0][6:8] == ["6.1✗", "4.8–7.4"]
    assert cells[1][-2:] == ["INCONCLUSIVE", "1,200"]
    assert len(cells) == len(SAMPLE)


def test_draws_of_a_recipe_fold_into_one_column_and_row() -> None:
    sets = tuple(replace(each, recipe="clean") for each in report().calibsets)
    made = replace(report(), calibsets=sets)
    text = render_report(made)
    (first, *_) = rows(text, "Worst slices first")
    assert re.split(r" {2,}", first.strip())[2:5] == ["clean", "minmax", "1 of 4"]
    table = rows(text, "Drop of top-1 accuracy in points")
    assert re.split(r" {2,}", table[1].strip()) == ["noise ≥ 0.4", "1,000", "0.950", "6.1✗ … 0.3✓"]


def test_matrix_tells_the_worst_and_best_method_per_set() -> None:
    table = rows(render_report(report()), "Drop of top-1 accuracy in points: worst … best method")
    assert [re.split(r" {2,}", line.strip()) for line in table] == [
        ["all", "1,000", "0.950", "1.2✓ … 0.6✓", "0.3✓ … 0.2✓"],
        ["noise ≥ 0.4", "1,000", "0.950", "6.1✗ … 2.0?", "0.4✓ … 0.3✓"],
        ["noise < 0.4", "1,000", "0.950", "0.1✓ … 0.0✓", "0.2✓ … −0.2✓"],
    ]


def test_by_method_there_is_one_matrix_each_with_intervals() -> None:
    text = render_report(report(), view=View(by_method=True))
    table = rows(text, "Drop of top-1 accuracy in points, minmax")
    assert re.split(r" {2,}", table[1].strip())[3:] == ["6.1 [4.8–7.4]✗", "0.4 [−0.9 to 1.7]✓"]
    assert "Drop of top-1 accuracy in points, mse" in text


def two_metrics() -> Report:
    nll = [replace(each, metric="nll", flips=None, gate=None, verdict=None) for each in SAMPLE]
    return report([*SAMPLE, *nll], metrics=(TOP1, NLL), slices=report().slices)


def test_several_metrics_stand_side_by_side() -> None:
    text = render_report(two_metrics())
    over_all = rows(text, "Overall drops: worst … best method")
    assert re.split(r" {2,}", over_all[1].strip()) == [
        "negative log-likelihood", "nats", "0.950", "0.012 … 0.006", "0.003 … 0.002",
    ]  # fmt: skip
    assert "drop in points" not in text[text.index("Every metric:") :]
    assert {"(points)", "nats"} <= set(text[text.index("Every metric:") :].split())
    first = re.split(r" {2,}", rows(text, "Every metric: INT8 (drop)")[0].strip())
    assert first == ["noise ≥ 0.4", "clean", "minmax", "0.889 (6.1)", "0.889 (0.061)"]


def test_an_ungated_metric_that_is_not_the_headline_is_no_row() -> None:
    table = rows(render_report(two_metrics()), "Worst slices first")
    assert len(table) == len(SAMPLE) / 2


def test_limit_cuts_tables_and_says_by_how_much() -> None:
    text = render_report(report(), view=View(limit=2))
    assert len(rows(text, "Worst slices first")) == 2
    assert "… and 4 more findings (calaudit report show --all)" in text
    assert "… and 1 more slice (calaudit report show --all)" in text
    assert "more" not in render_report(report(), view=View(limit=None))


@pytest.mark.parametrize(
    ("pattern", "picked"),
    [
        ("noise ≥*", {"noise ≥ 0.4"}),
        ("≥", {"noise ≥ 0.4"}),
        ("noise ? 0.4", {"noise ≥ 0.4", "noise < 0.4"}),
    ],
)
def test_a_pattern_or_a_part_of_the_name_picks_slices(pattern: str, picked: set[str]) -> None:
    table = rows(render_report(report(), view=View(slices=pattern)), "Worst slices first")
    assert {line.strip()[:11] for line in table} == picked


def test_brackets_are_no_wildcard_since_names_hold_them() -> None:
    made = report([result("clean/minmax", "x in [0, 5)", 0.0, "PASS")])
    assert len(rows(render_report(made, view=View(slices="*[0, 5)")), "Worst")) == 1
    with pytest.raises(SliceError):
        render_report(made, view=View(slices="*[x]*"))


def test_a_pattern_that_matches_nothing_offers_near_names() -> None:
    with pytest.raises(SliceError, match=r"no slice matches 'nose'(.|\n)*Did you mean noise"):
        render_report(report(), view=View(slices="nose"))


def test_thin_slices_engines_and_warnings_are_told() -> None:
    notices = tuple(Notice("stratum_short", f"{i} short") for i in range(7))
    cells = (cell("clean"), cell("equal", status="failed", engine=None, reason="no disk"))
    slices = (SliceRecord("all", 1000, True), SliceRecord("rare", 20, False))
    results = [result("clean/minmax", "rare", 0.0, "INCONCLUSIVE", n=20, n_needed=133)]
    text = render_report(report(results, cells=cells, slices=slices, warnings=notices))
    assert "20 thin" in text
    assert "1 engine of 2 from 2 calibration sets" in text
    assert "Warning cell equal/minmax: no disk" in text
    assert "… and 3 more warnings in the report" in text


def test_notes_on_single_taps_cut_off_nothing_graver() -> None:
    taps = tuple(Notice("clipped_tap", "cut off", f"tap {i}") for i in range(9))
    grave = tuple(Notice(code, f"told: {code}") for code in (
        "predicted", "reference_low", "gate_near_zero", "calibset_repeats", "precision_short",
    ))  # fmt: skip
    made = report(warnings=(*taps, *reversed(grave)))
    assert made.warnings[:5] == grave
    text = render_report(made)
    assert all(each.message in text for each in grave)
    assert "… and 9 more warnings in the report" in text


def test_files_of_candidates_are_told_unbroken_and_those_of_controls_not() -> None:
    file = "engines/clean_only-minmax-e710307ffb440c12.onnx"
    scales = "scales/a_set_of_a_long_name-minmax-e710307ffb440c12.json"
    cells = (
        cell("equal", file=file, scales=scales),
        cell("narrow", file="engines/narrow.onnx", role="control"),
    )
    results = [result("equal/minmax", "all", 0.0, "PASS")]
    text = render_report(report(results, cells=cells), width=100)
    assert file in text
    assert "scales/" not in text, "no room for it in full"
    assert scales in render_report(report(results, cells=cells), width=160)
    assert "narrow.onnx" not in text


def test_it_ends_with_verdict_headline_and_what_may_ship() -> None:
    lines = render_report(report(), width=400).splitlines()
    assert lines[-3:] == [
        "Verdict: REGRESSED  (12 gated comparisons: 1 regressed, 1 inconclusive, 10 passed)",
        headline(report()),
        "Ship equal: each of its 2 engines passed every gate (6 comparisons); of the 2 other "
        "candidates, 1 regressed and 1 is inconclusive.",
    ]


def hostile() -> Report:
    made = cell(HOSTILE, HOSTILE)
    metric = replace(TOP1, title=HOSTILE)
    results = [result(made.id, HOSTILE, 0.06, "REGRESSED")]
    notice = Notice("c", HOSTILE, HOSTILE)
    named = report(results, metrics=(metric, NLL), cells=(made,), warnings=(notice,))
    return replace(named, audit=replace(named.audit, name=HOSTILE))


def test_hostile_names_are_shown_as_text() -> None:
    text = render_report(hostile(), width=400)
    assert f"Audit {SHOWN}" in text
    assert headline(hostile()).count(SHOWN) == 4
    assert not set(text) & {"\x1b", "\x07", "\u202e", "\r", "\t"}
    assert "😄" not in text


def test_hostile_names_send_no_sequence_of_their_own_to_a_terminal() -> None:
    terminal = Terminal()
    print_report(hostile(), file=terminal, width=400)
    sequences = re.findall(r"\x1b[^m]*m", terminal.getvalue())
    assert sequences
    assert all(re.fullmatch(r"\x1b\[[\d;]*m", each) for each in sequences)
    assert "\x07" not in terminal.getvalue()
    assert rf"{SHOWN}" in terminal.getvalue()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports(), st.booleans())
def test_any_report_can_be_shown(made: Report, by_method: bool) -> None:
    text = render_report(made, view=View(limit=None, by_method=by_method))
    assert f"Verdict: {made.verdict}" in text


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_tables_keep_to_the_width_and_lose_no_drop(width: int) -> None:
    sets = ("most active users only", "light users only", "at random", "by activity")
    cells = tuple(cell(name, m) for name in sets for m in ("minmax", "percentile"))
    names = [f"{i} ≤ snr_db < {i + 5} & speaker = theodora" for i in range(0, 40, 5)]
    results = [
        result(c.id, name, 0.061, "REGRESSED", metric=m) for c in cells for name in names
        for m in ("top1", "nll")
    ]  # fmt: skip
    made = report(results, metrics=(TOP1, NLL), cells=cells)
    text = render_report(made, view=View(limit=None, by_method=True), width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.count("6.1✗") == len(cells) * len(names)
    assert text.count("6.1 [4.8–7.4]✗") == len(cells) * len(names)
    assert "…" not in text


def test_colours_appear_on_terminals_only_and_not_under_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal, file = Terminal(), io.StringIO()
    print_report(report(), file=terminal)
    print_report(report(), file=file)
    assert "\x1b[1;31m" in terminal.getvalue()
    assert "\x1b" not in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    quiet = Terminal()
    print_report(report(), file=quiet)
    assert "\x1b" not in quiet.getvalue()


def test_a_stream_that_lacks_characters_gets_them_spelled_out() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_report(report(), file=stream)
    stream.flush()
    assert rb"noise \u2265 0.4" in raw.getvalue()


def test_svg_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    for name, made in (("plain", report()), ("hostile", hostile())):
        path = tmp_path / f"{name}.svg"
        write_svg(made, path)
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.findall(r"url\((?!#)|href=|@import|<script|src:", text)
        shown = "".join(root.itertext()).replace("\xa0", " ")
        assert "Verdict:" in shown
    assert "<script>" in shown


def test_svg_is_the_same_for_the_same_report(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_svg(report(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_caches_are_advised_of_implicit_engines_tables_alone() -> None:
    cells = (cell("equal", file="engines/a.plan", scales="scales/a.json", backend="orin"),)
    made = report([result("equal/minmax", "all", 0.0, "PASS")], cells=cells)
    for int8, advised in (("implicit", True), ("explicit", False)):
        target = TargetRecord("orin", "tensorrt", {}, {"int8": int8})
        text = render_report(replace(made, audit=replace(made.audit, targets=(target,))))
        command = "calaudit cache convert scales/a.json calibration.cache"
        assert (command in " ".join(text.split())) == advised
