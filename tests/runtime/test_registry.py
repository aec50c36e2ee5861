"""Registries find members by name, import them when asked, and name the package that is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from calaudit.runtime.errors import SettingsError
from calaudit.runtime.registry import Registry
from tests.packages import installed

HALVES = """
[project]
name = "{name}"
version = "2.0"
[project.entry-points."tests.halves"]
{entries}
"""


def halves() -> Registry:
    return Registry("tests.halves", "half", callable, "a function")


def package(folder: Path, name: str, entries: str, module: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(HALVES.format(name=name, entries=entries))
    (folder / f"{name}_module.py").write_text(module)
    return folder


@pytest.fixture
def own(tmp_path):
    """Members of calaudit's own in the group: a second distribution of that name."""
    module = "def left(): return 'left'\nnumber = 3\n"
    entries = 'left = "calaudit_module:left"\nnumber = "calaudit_module:number"\n'
    entries += 'lost = "calaudit_module:gone.away"\nbroken = "calaudit_broken:broken"'
    made = package(tmp_path / "own", "calaudit", entries, module)
    (made / "calaudit_broken.py").write_text("\nimport a_library_that_is_not_there\n")
    with installed(made, tmp_path / "own metadata"):
        yield


def test_members_are_listed_without_an_import_and_loaded_by_name(own):
    assert halves().names() == ("broken", "left", "lost", "number")
    assert "calaudit_broken" not in sys.modules
    assert "left" in halves()
    assert "right" not in halves()
    assert halves().load("left")() == "left"
    assert halves().package("left") == "calaudit"


def test_an_unknown_name_gets_the_near_ones_and_its_place(own):
    with pytest.raises(SettingsError, match=r"audit.toml: there is no half 'lefd'") as error:
        halves().load("lefd", where="audit.toml")
    (problem,) = error.value.problems
    assert problem.message.endswith("no installed package offers it")
    assert problem.next_step == "Did you mean left? Known: broken, left, lost, number."
    assert halves().unknown("zzz").next_step == "Known: broken, left, lost, number."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", r"package calaudit is int \(calaudit_module:number\), expected a function"),
        ("lost", "package calaudit isn't where its entry point says: calaudit_module:gone.away"),
        (
            "broken",
            r"package calaudit can't be imported \(.*calaudit_broken.py, line 2\): "
            "ModuleNotFoundError: No module named 'a_library_that_is_not_there'",
        ),
    ],
)
def test_a_member_that_cannot_serve_names_its_package(own, name, message):
    with pytest.raises(SettingsError, match=message):
        halves().load(name)


def test_a_name_that_calaudit_has_too_stops_only_who_asks_for_it(own, tmp_path):
    other = package(tmp_path / "other", "other", 'left = "other_module:left"')
    with installed(other, tmp_path / "other metadata"):
        assert halves().names() == ("broken", "left", "lost", "number")
        assert halves().package("left") == "calaudit"
        assert halves().load("left", package="calaudit")() == "left"
        with pytest.raises(
            SettingsError, match="calaudit and other both offer the half 'left'"
        ) as e:
            halves().load("left", where="audit.toml")
    (problem,) = e.value.problems
    assert problem.where == "audit.toml"
    assert problem.next_step.startswith("Uninstall other, or rename left in its pyproject.toml")


def test_a_name_of_two_other_packages_leaves_the_choice_which_to_uninstall(own, tmp_path):
    one = package(tmp_path / "one", "one", 'mine = "one_module:mine"')
    two = package(tmp_path / "two", "two", 'mine = "two_module:mine"')
    with (
        installed(one, tmp_path / "one metadata"),
        installed(two, tmp_path / "two metadata"),
        pytest.raises(SettingsError, match=r"(one and two|two and one) both offer") as error,
    ):
        halves().load("mine")
    assert "Uninstall " in error.value.problems[0].next_step


def test_an_entry_point_that_is_none_says_how_one_is_written(own, tmp_path):
    odd = package(tmp_path / "odd", "odd-one", 'mine = "not an entry point"')
    with (
        installed(odd, tmp_path / "odd metadata"),
        pytest.raises(SettingsError, match=r"package odd-one has .*'not an entry point'") as error,
    ):
        halves().load("mine")
    assert 'mine = "odd_one.module:name"' in error.value.problems[0].next_step


def test_an_installation_without_calaudits_own_members_says_to_install_again(tmp_path):
    other = package(tmp_path / "other", "other", 'right = "other_module:right"')
    with (
        installed(other, tmp_path / "metadata"),
        pytest.raises(SettingsError, match=r"own entry points of the group tests\.halves") as error,
    ):
        halves().load("right")
    assert "pip install" in str(error.value)


def test_the_example_package_is_seen_by_a_process_of_its_own(example_package):
    code = "from importlib.metadata import entry_points as e\n"
    code += "print(*[x.dist.name for x in e(group='calaudit.metrics', name='brier')])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(example_package),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["calaudit-example"]
