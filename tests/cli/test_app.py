"""What ``calaudit --help`` says of the commands is what the commands say."""

import pkgutil
import subprocess
import sys

import pytest

import calaudit.cli
from calaudit.cli.app import COMMANDS, load_command
from tests.cli.running import calaudit as run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_by_the_first_sentence_of_its_help(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]


def test_every_command_is_listed() -> None:
    modules = {module.name for module in pkgutil.iter_modules(calaudit.cli.__path__)}
    defining = {
        name
        for name in modules - {"app"}
        if hasattr(__import__(f"calaudit.cli.{name}", fromlist=["app"]), "app")
    }
    assert defining == set(COMMANDS)


def test_help_lists_every_command() -> None:
    ended = run("--help")
    assert ended.status == 0
    assert [name for name in COMMANDS if f"│ {name} " not in ended.out] == []


def test_python_runs_the_package_as_the_command() -> None:
    for arguments in (["--version"], ["slicse"]):
        ended = subprocess.run(
            [sys.executable, "-m", "calaudit", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        told = run(*arguments)
        assert (ended.returncode, ended.stdout, ended.stderr) == (told.status, told.out, told.err)


def test_a_mistyped_command_is_refused_with_the_one_that_was_meant() -> None:
    ended = run("slicse")
    assert ended.status == 2
    assert ended.err.startswith(
        "calaudit: error: there is no command 'slicse'\n  → Did you mean slices"
    )


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "compare",
            "compare: AUDIT.toml is missing\n  → Write calaudit compare [OPTIONS] AUDIT.toml.",
        ),
        ("compare x.toml --jbs 3", "compare: there is no flag --jbs\n  → Did you mean --jobs or"),
        ("cache shw", "cache: there is no command 'shw'\n  → Did you mean show?"),
        ("sample p.h5 --size three", "sample --size: input should be a valid integer"),
        ("status x.toml --seed -1", "status --seed: input should be greater than or equal to 0"),
        ("compare x.toml --jobs", "option '--jobs' requires an argument\n  → "),
        ("compare x.toml y.toml", "compare: got unexpected extra argument"),
        ("--vers", "there is no flag --vers\n  → Did you mean --version?"),
    ],
)
def test_what_the_parser_refuses_is_told_as_every_other_error(command: str, told: str) -> None:
    ended = run(*command.split())
    assert ended.status == 2
    assert ended.err.startswith(f"calaudit: error: {told}")
    assert "\n  → " in ended.err, "there is a next step"
    assert ended.out == ""


@pytest.mark.parametrize("command", ["", "cache"])
def test_a_group_without_a_command_shows_its_help(command: str) -> None:
    ended = run(*command.split())
    assert ended.status == 2
    assert "error" not in ended.err
    assert "Usage: calaudit" in ended.out + ended.err
