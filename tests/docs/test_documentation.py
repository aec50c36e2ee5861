"""The README's and the docs' code blocks run, in a folder with the demo's pool and model.

```console blocks: each `$ command` runs; lines below it are its expected stdout (`...` matches
anything), in a shell where it needs one, else in a process forked for it. ```python blocks of one
page run one after another in one interpreter. Blocks marked ```text are not run.
"""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from calaudit.demo.digits import DEMO_MODEL, build_digits_pool
from calaudit.metrics.catalogue import definitions, known_metrics
from calaudit.report.forms import FORMS
from calaudit.sampling.kinds import KINDS
from calaudit.tasks.base import TASKS
from tests.forked import Ended, interpreter, run_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ENDINGS = {0, 1, 3}


@pytest.fixture(scope="session")
def digits_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "digits.h5"
    build_digits_pool(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, digits_pool: Path) -> Path:
    shutil.copy(digits_pool, tmp_path / "digits.h5")
    shutil.copy(DEMO_MODEL, tmp_path / "digits.onnx")
    for name in ("calibsets", "audits"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.h5", "*.onnx", "digits")
        )
    return tmp_path


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "120"}


def run(command: str, folder: Path) -> Ended:
    words = _plain_words(command)
    if words[:1] == ["calaudit"]:
        return run_command(words[1:], folder, environment())
    done = subprocess.run(
        command,
        cwd=folder,
        shell=True,
        text=True,
        capture_output=True,
        env=environment(),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _plain_words(command: str) -> list[str]:
    """The words of a command for which a shell does nothing but split and quote; else none."""
    unquoted = re.sub(r"""'[^']*'|"[^"$`\\]*"|\\\n""", "", command)
    if re.search(r"""[|&;<>()$`*?\[\]{}~!'"\\\n]""", unquoted):
        return []
    return shlex.split(command.replace("\\\n", ""), comments=True)


def _command_length(lines: list[str]) -> int:
    """Lines of the command: continued by a backslash, or up to the end of a here-document."""
    length = 1
    while lines[length - 1].endswith("\\"):
        length += 1
    here = re.search(r"<<'(\w+)'", lines[0])
    return length if here is None else lines.index(here.group(1)) + 1


def check_console(block: str, folder: Path) -> None:
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = entry.splitlines()
        length = _command_length(lines)
        command, wanted = "\n".join(lines[:length]), "\n".join(lines[length:])
        if command.startswith(("make ", "git ", "pip ", "python -m pip", "cd ")):
            continue
        result = run(command, folder)
        assert result.status in ENDINGS, f"$ {command}\n{result.out}{result.err}"
        if wanted.strip():
            matches = doctest.OutputChecker().check_output(wanted + "\n", result.out, OPTIONS)
            assert matches, f"$ {command}\nwanted:\n{wanted}\ngot:\n{result.out}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_code_runs(page: Path, folder: Path) -> None:
    with interpreter(folder, environment()) as run_block:
        for kind, block in FENCE.findall(page.read_text(encoding="utf-8")):
            if kind == "console":
                check_console(block, folder)
            else:
                told = run_block(block)
                assert told is None, f"{block}\n{told}"


def test_every_command_has_a_page() -> None:
    from typer.main import get_command

    from calaudit.cli.app import app

    names = set(get_command(app).commands)
    assert names == {page.stem for page in (ROOT / "docs" / "commands").glob("*.md")}


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in known_metrics() if f"`{name}`" not in page] == []


def test_a_metrics_row_has_its_kind_and_direction() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    told = {
        name: (kind, better)
        for names, kind, better in re.findall(r"^\| (`[^|]*`) \| (\w+) \| (\w+) \|", page, re.M)
        for name in re.findall("`([^`]+)`", names)
    }
    for name, definition in zip(known_metrics(), definitions().values(), strict=True):
        direction = definition.direction.partition("_")[0]
        assert told.get(name) == (definition.kind, direction), name


def test_every_kind_of_task_and_its_keys_are_documented() -> None:
    page = (ROOT / "docs" / "audit.md").read_text()
    for kind in TASKS.names():
        task = TASKS.load(kind)
        (row,) = re.findall(rf"^\| `{kind}` .*$", page, re.MULTILINE)
        keys = {each.name for each in fields(task)} - {"kind"}
        assert {key for key in keys if f"`{key}`" not in row} == set(), kind


def test_every_kind_of_recipe_and_its_keys_are_documented() -> None:
    page = (ROOT / "docs" / "formats" / "recipe.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|", page, re.MULTILINE)
    known = {key: kinds for keys, kinds in rows for key in re.findall(r"`(\w+)`", keys)}
    for kind in KINDS.names():
        assert re.search(rf"^## {kind}$", page, re.MULTILINE | re.IGNORECASE), kind
        keys = {each.name for each in fields(KINDS.load(kind))}
        told = {key for key, kinds in known.items() if kinds == "all" or kind in kinds.split(", ")}
        assert told - {"kind"} == keys, kind


def test_every_form_of_the_report_is_documented() -> None:
    page = (ROOT / "docs" / "commands" / "report.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    for name in FORMS.names():
        assert [r for r in rows if f"`{name}`" in r and FORMS.load(name).file_name in r], name
