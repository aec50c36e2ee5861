from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from calaudit.report.findings import findings
from calaudit.report.forms import write_forms
from calaudit.report.markdown import _code, _inline, markdown_summary
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice
from tests.report.factory import SAMPLE, report, reports, result
from tests.report.hostile import hostile_report

GITHUB = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"])


def tokens(text: str) -> list[Token]:
    return [inner for token in GITHUB.parse(text) for inner in [token, *(token.children or [])]]


def shown(text: str) -> str:
    """What a reader sees of inline Markdown."""
    parts = tokens(text)
    return "".join(t.content for t in parts if t.type in ("text", "code_inline", "text_special"))


def test_verdict_sentences_and_worst_slices_come_in_this_order() -> None:
    lines = markdown_summary(report()).splitlines()
    assert lines[0] == "## ❌ REGRESSED: digits"
    assert lines[2] == (
        "**Ship equal: each of its 2 engines passed every gate (6 comparisons); of the 2 other "
        "candidates, 1 regressed and 1 is inconclusive.**"
    )
    assert lines[4].startswith("- Calibrated on clean, minmax loses 6.1 points")
    assert [line for line in lines if line.startswith("| ✗")] == [
        "| ✗ | `noise ≥ 0.4` | 1,000 | `top1` | `clean` | `minmax` | 1 of 2 | 0.950 "
        "| 0.889 | **6.1** points (4.8–7.4) |"
    ]
    assert "| `noise ≥ 0.4` | 1,000 | 6.1✗ | 0.4✓ |" in lines


def test_a_passed_audit_has_no_table_of_worst_slices() -> None:
    text = markdown_summary(report([result("clean/minmax", "all", 0.0, "PASS")]))
    assert text.startswith("## ✅ PASS: digits")
    assert "Worst slices" not in text


def test_rows_beyond_the_limit_are_counted() -> None:
    notices = tuple(Notice("a", f"warning {i}") for i in range(5))
    lost = [result("clean/minmax", name, 0.1, "REGRESSED") for name in ("all", "noise ≥ 0.4")]
    text = markdown_summary(report([*lost, *SAMPLE[8:]], warnings=notices), limit=1)
    assert "… and 1 more finding in the report." in text
    assert "… and 2 more slices in the report." in text
    assert "… and 4 more warnings in the report." in text


def test_hostile_names_add_no_markup(tmp_path: Path) -> None:
    write_forms(hostile_report(), tmp_path, ["markdown"])
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    parsed = tokens(text)
    kinds = {token.type for token in parsed}
    assert not kinds & {"link_open", "image", "em_open", "fence", "code_block", "hr"}
    html = {t.content.strip() for t in parsed if t.type.startswith("html")}
    allowed = ("<code>", "</code>", "<sub>", "</sub>", "</details>", "<details>")
    assert {h for h in html if h not in allowed and not h.startswith("<details><summary>")} == set()
    assert "<script" not in text.replace("`<script", "").replace("`</script><script", "")
    cells = [t for t in parsed if t.type == "td_open"]
    assert cells
    assert "@someone" not in shown(_inline("@someone"))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_inline_text_is_read_as_nothing_but_text(text: str) -> None:
    kinds = {t.type for t in tokens(f"- {_inline('x' + text)}")}
    assert kinds <= {
        "bullet_list_open", "list_item_open", "paragraph_open", "inline", "text", "text_special",
        "paragraph_close", "list_item_close", "bullet_list_close",
    }  # fmt: skip


@given(st.text(st.sampled_from("ab|`\\*<& \n\x00é"), min_size=1, max_size=12))
def test_a_name_stays_within_its_cell(name: str) -> None:
    table = f"| a | b |\n|---|---|\n| {_code(name)} | end |"
    parsed = tokens(table)
    assert sum(t.type == "td_open" for t in parsed) == 2
    inline = [t for t in parsed if t.type == "inline"]
    assert inline[-1].content == "end"
    assert not {"em_open", "strong_open", "link_open"} & {t.type for t in parsed}


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_report_has_a_summary_and_three_findings_of_one_line(made: Report) -> None:
    assert len(findings(made)) == 3
    for sentence in findings(made):
        assert sentence.endswith(".")
        assert len(sentence.splitlines()) == 1
    text = markdown_summary(made)
    assert text.startswith("## ")
    text.encode()
