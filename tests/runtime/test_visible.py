"""Commands that are shown can be copied into a shell."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.words import command_line, visible

HOSTILE = [
    "modèle ü.toml", "it's", 'a "b"', "$HOME", "`id`", "a;b", "a\nb", "\x1b[31mred", "\u202eabc",
    "a\\b", "*", "~", "#", "!!", "", "tab\there", "音声", "caf\udce9.toml", "\x7f1",
]  # fmt: skip


def words_of(line: str) -> list[str]:
    """What bash makes of a line."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("word", HOSTILE)
def test_a_shell_reads_the_words_that_were_meant(word: str) -> None:
    line = command_line("calaudit", "compare", word)
    assert words_of(line) == ["calaudit", "compare", word]
    assert visible(line) == line


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_a_shell_reads_any_words(words: list[str]) -> None:
    assert words_of(command_line("x", *words))[1:] == words


def test_plain_words_stay_as_they_are_and_paths_are_not_taken_for_options() -> None:
    assert command_line("calaudit", "compare", Path("a/b-1.toml"), "--jobs", "2") == (
        "calaudit compare a/b-1.toml --jobs 2"
    )
    assert command_line("rm", Path("-rf")) == "rm ./-rf"
