"""The examples for CI name only commands and options that exist."""

import re
from pathlib import Path

import pytest

from calaudit.report.forms import FORMS
from tests.cli.running import calaudit

CI = Path(__file__).parents[2] / "examples" / "ci"
WORKFLOW = (CI / "audit.yml").read_text(encoding="utf-8")
DOCKERFILE = (CI / "Dockerfile").read_text(encoding="utf-8")
COMMAND = re.compile(r"\bcalaudit (compare|report render|demo)\b([^\n|]*)")


@pytest.mark.parametrize("text", [WORKFLOW, DOCKERFILE])
def test_commands_and_options_exist(text: str) -> None:
    found = COMMAND.findall(text)
    assert found
    for command, rest in found:
        known = calaudit(*command.split(), "--help").out
        for option in re.findall(r"--[a-z]+", rest):
            assert option in known


def test_the_workflow_asks_for_what_it_uploads() -> None:
    (formats,) = re.findall(r"--formats (\S+)", WORKFLOW)
    for name in formats.split(","):
        assert f"/{FORMS.load(name).file_name}" in WORKFLOW


def test_exit_statuses_are_told_apart() -> None:
    cases = re.findall(r"^ +(\d|\*)\) (.*)", WORKFLOW, re.MULTILINE)
    assert [status for status, _ in cases] == ["0", "3", "*"]
    assert "::warning::" in cases[1][1]
    assert "exit" in cases[2][1]


def test_the_image_runs_calaudit_and_leaves_tensorrt_to_its_base() -> None:
    assert 'ENTRYPOINT ["calaudit"]' in DOCKERFILE
    assert re.search(r"^FROM \$\{TENSORRT_IMAGE\}", DOCKERFILE, re.MULTILINE)
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert installs
    assert not any("tensorrt" in each for each in installs)
