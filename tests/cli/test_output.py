"""Columns of plain text line up however wide their characters are."""

from calaudit.cli.output import text_columns


def test_columns_line_up_under_wide_and_combining_characters() -> None:
    rows = [["slice", "n"], ["日本", "1"], ["e\u0301te\u0301", "22"], ["plain", "333"]]
    assert text_columns(rows).splitlines() == [
        "slice    n",
        "日本     1",
        "e\u0301te\u0301     22",
        "plain  333",
    ]


def test_names_cannot_break_a_line_or_colour_a_terminal() -> None:
    assert text_columns([["a\nb\x1b[31m", "1"]]) == "a\\nb\\x1b[31m  1"
