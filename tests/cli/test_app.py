"""What ``calaudit --help`` says of the commands is what the commands say."""

import pkgutil

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


def test_a_mistyped_command_is_refused_with_the_one_that_was_meant() -> None:
    ended = run("slicse")
    assert ended.status == 2
    assert "Did you mean 'slices'?" in ended.err
