"""What a replay's numbers look like: percentiles that timeouts hide, intervals, the page."""

import math
import re
from dataclasses import replace

import pytest

from calaudit.report.ab.page import ab_page
from calaudit.report.ab.rows import (
    estimate,
    failure_rows,
    latency_rows,
    milliseconds,
    result_rows,
)
from calaudit.report.ab.sentences import (
    alike,
    facts,
    foreseen_notice,
    headline,
    latency_legend,
    results_legend,
)
from calaudit.report.ab.terminal import print_ab
from calaudit.results.ab import (
    AbAudit,
    AbGate,
    AbRecord,
    AbResult,
    AbSettings,
    ArmLatency,
    ArmRecord,
    Failure,
    LatencyDifference,
    Look,
    Replayed,
    SameAnswers,
    SampleRatio,
    Watched,
)
from calaudit.results.ab_document import ab_problems, ab_to_document, read_ab_document
from calaudit.results.audited import Artefact, MetricRecord
from calaudit.results.comparison import Verdict
from calaudit.results.values import Estimate
from calaudit.runtime.errors import FileFormatError, Notice

TOP1 = MetricRecord("top1", "Top-1 accuracy", "fraction", "binary", True, "tango", "right")
LATENCY = ArmLatency(
    n=500,
    p50_ms=Estimate(12.34, 11.9, 12.8),
    p95_ms=Estimate(1234.5, 1100.0, None),
    p99_ms=Estimate(None),
    mean_ms=80.0,
    max_ms=1999.0,
    timed_out=7,
    waiting_p99_ms=900.0,
)


def arm(role: str, **more: object) -> ArmRecord:
    given = {
        "name": f"{role} <b>",
        "role": role,
        "kind": "engine",
        "concurrency": 1,
        "details": {"backend": "onnxruntime"},
        "requests": 507,
        "users": 400,
        "statuses": {"ok": 490, "timeout": 7, "error": 10},
        "failures": (Failure("error", "it \x1b[31mfailed", 10, 41),),
        "latency": LATENCY,
    }
    return ArmRecord(**{**given, **more})


RESULT = AbResult(
    metric="top1",
    kind="quality",
    slice="quiet & <i>",
    n_control=250,
    n_treatment=240,
    users_control=200,
    users_treatment=190,
    control=0.9,
    treatment=0.8,
    drop=0.1,
    low=0.05,
    high=0.15,
    level=0.95,
    p_value=0.0004,
    p_adjusted=0.001,
    always_low=0.02,
    always_high=0.18,
    always_p=0.003,
    decided_at=321,
    detectable=0.04,
    gate=AbGate(0.02),
    verdict=Verdict.REGRESSED,
)
RECORD = AbRecord(
    calaudit_version="0",
    created="2026-01-01T00:00:00+00:00",
    verdict=Verdict.REGRESSED,
    why=("the treatment loses on 1 of the gated results",),
    complete=True,
    audit=AbAudit("audit", Artefact("m", "1"), Artefact("p", "2"), None),
    environment={"cpu": None},
    settings=AbSettings("split", 0.5, "s", "log.csv", 2.0, 0),
    replayed=Replayed(1014, 1014, 800, 300, 10.0, 1.0, 0, 0, 0.1, 0.4, 3.0, True),
    arms=(arm("control"), arm("treatment")),
    slower=(LatencyDifference("p50", Estimate(-0.5, -1.0, 0.2)),),
    metrics=(TOP1,),
    results=(RESULT,),
    watched=(
        Watched("top1", "quiet & <i>", (Look(1, 0.3, None, None), Look(490, 0.1, 0.02, 0.18))),
    ),
    sample_ratio=SampleRatio(0.5, 400, 400, 1.0),
)


def test_a_percentile_that_timeouts_hide_is_beyond_the_timeout() -> None:
    control = latency_rows(RECORD)[0]
    assert control[3:6] == ("12.3 (11.9–12.8)", "1,234 (1,100 to > 2,000)", "> 2,000")
    assert control[1:3] == ("507", "17")


def test_an_interval_below_0_has_no_dash_that_reads_as_a_minus() -> None:
    assert estimate(Estimate(-0.5, -1.0, 0.2)) == "−0.5 (−1 to 0.2)"
    assert milliseconds(123456.0) == "123,456"
    assert estimate(Estimate(None)) == "–"


def test_failures_are_counted_by_reason_and_timeouts_too() -> None:
    assert failure_rows(RECORD)[:2] == [
        ("control", "error: it \\x1b[31mfailed", "10", "42"),
        ("control", "timeout", "7", ""),
    ]


def test_the_headline_names_the_worst_loss_with_interval_and_p() -> None:
    assert headline(RECORD) == (
        "treatment <b> against control <b>: the treatment loses on 1 of the gated results; "
        "it loses 10.0 points of top-1 accuracy on quiet & <i> (95 % CI 5.0–15.0, p = 0.001)"
    )
    early = replace(RECORD, complete=False)
    assert "(95 % confidence sequence 2.0–18.0, p = 0.001)" in headline(early)


def test_of_a_replay_that_was_ended_early_the_watched_test_is_shown() -> None:
    shown = replace(RESULT, slice="shown", gate=None, verdict=None, p_adjusted=None)
    surer = replace(RESULT, slice="surer", drop=0.09, low=0.06, always_low=0.01)
    whole = replace(RECORD, results=(RESULT, surer, shown))
    early = replace(whole, complete=False)
    for record, worst, p_value in ((whole, "surer", ".0004"), (early, "quiet & <i>", ".003")):
        assert f" on {worst} (95 % c" in headline(record).replace("% CI", "% c")
        rows = {row.result.slice: row.p_value for row in result_rows(record)}
        assert rows == {"quiet & <i>": ".001", "surer": ".001", "shown": p_value}
    assert "p: of no difference, with a gate" in results_legend(whole)[1]
    assert "p: of no difference by the watched test, with a gate" in results_legend(early)[1]
    assert facts(early)[0].startswith("1,014 of 1,014 requests by 800 users")


def test_a_mismatch_of_the_split_is_shouted() -> None:
    ratio = SampleRatio(0.5, 300, 500, 1e-9, mismatch=True)
    assert list(alike(replace(RECORD, sample_ratio=ratio)))[-1].endswith("SAMPLE RATIO MISMATCH")


def test_the_page_escapes_names_and_runs_nothing() -> None:
    page = ab_page(replace(RECORD, warnings=(Notice("x", "a <script> note"),)))
    assert "<script" not in page
    assert "quiet &amp; &lt;i&gt;" in page
    assert "control &lt;b&gt;" in page
    assert "&lt;script&gt; note" in page
    assert "> 2,000" not in page.replace("&gt; 2,000", "")


def test_a_record_is_read_as_it_was_written_and_what_contradicts_itself_is_refused() -> None:
    document = ab_to_document(RECORD)
    assert ab_problems(document, RECORD, where="ab.json") == []
    assert read_ab_document(document, where="ab.json") == RECORD
    wrong = ab_to_document(replace(RECORD, results=(replace(RESULT, metric="top2"),)))
    with pytest.raises(FileFormatError, match="no metric is called 'top2'"):
        read_ab_document(wrong, where="ab.json")
    wrong = ab_to_document(replace(RECORD, arms=(arm("control"), arm("treatment", requests=3))))
    with pytest.raises(FileFormatError, match="add up to 507, and 3 requests were sent"):
        read_ab_document(wrong, where="ab.json")
    with pytest.raises(FileFormatError, match="isn't an A/B record"):
        read_ab_document({"calaudit_format": "report"}, where="ab.json")
    with pytest.raises(FileFormatError, match="format_version 2"):
        read_ab_document({**document, "format_version": 2}, where="ab.json")


def test_a_split_says_that_drops_arent_control_minus_treatment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    times = tuple(LatencyDifference(each, Estimate(0.5)) for each in ("p50", "p95", "p99"))
    record = replace(RECORD, slower=times)
    print_ab(record)
    split = " ".join(capsys.readouterr().out.split())
    assert split.count("adjusted drop") == 2  # a head, which may be in two lines, and its legend
    assert "adjusted drop: not control − treatment, whose requests are for different" in split
    assert "split: 50 % of users were to get the treatment" in split
    page = ab_page(record)
    assert '<th scope="col" class="number">adjusted drop</th>' in page
    assert "<p>Adjusted drop: not control − treatment" in page
    shadow = replace(record, settings=replace(RECORD.settings, mode="shadow"))
    print_ab(shadow)
    assert "adjusted" not in capsys.readouterr().out + ab_page(shadow)


def test_a_loss_that_cant_be_is_never_foreseen() -> None:
    effects = {("top1", "all"): 0.2, ("top1", "a"): 0.3, ("top1", "b"): math.inf}
    told = foreseen_notice(effects, {"top1": TOP1})
    assert told is not None
    assert told.message == (
        "this log finds, with 80 % power, losses of top-1 accuracy of 20.0 points on all samples; "
        "30.0 points on a, the hardest of the other slices (minimum detectable effects, cautious "
        "since how much a loss varies isn't known before: intervals after the replay may be "
        "narrower); "
        "no loss of top-1 accuracy can be shown, with so few users, on b"
    )
    nothing = foreseen_notice({("top1", "all"): math.inf}, {"top1": TOP1})
    assert nothing is not None
    assert nothing.message == ("no loss of top-1 accuracy can be shown, with so few users, on all")


def test_likeness_to_the_control_is_called_that() -> None:
    title = "Top-1 agreement with FP32"
    known = replace(TOP1, name="top1_agreement", title=title)
    same = (SameAnswers("top1_agreement", 30, 0.5), SameAnswers("top1", 30, 0.25))
    lines = list(alike(replace(RECORD, metrics=(TOP1, known), same_answers=same)))
    assert lines[:2] == [
        "top-1 agreement with the control: 0.500",
        "top-1 accuracy, beside the control's answers: 0.250",
    ]


def test_a_time_that_isnt_known_is_explained_and_times_are_drawn_on_a_scale() -> None:
    assert latency_legend(RECORD) == ""
    few = replace(LATENCY, p95_ms=Estimate(169.0, 23.7, None), timed_out=0)
    record = replace(RECORD, arms=(arm("control", latency=few), RECORD.arms[1]))
    assert latency_rows(record)[0][4] == "169 (23.7 to ?)"
    assert latency_legend(record).startswith("?: unknown: too few requests")
    page = ab_page(record)
    assert "?: unknown: too few requests" in page
    axis = page.partition('<g class="axis"')[2].partition("</g>")[0]
    marks = re.findall(r'<text x="([\d.]+)" y="15" text-anchor="middle">([\d,]+)</text>', axis)
    places = [float(at) for at, _ in marks]
    times = [float(told.replace(",", "")) for _, told in marks]
    assert len(marks) >= 3
    assert times[0] == 0
    # 1,234.5 ms is the longest: one scale for both, of which it is the right end
    for at, told in zip(places, times, strict=True):
        assert at == pytest.approx(8 + 300 * told / 1234.5, abs=0.2)
