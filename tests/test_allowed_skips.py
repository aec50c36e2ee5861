"""The plugin that lets .ci/run fail on skips that nobody meant."""

import tomllib
from pathlib import Path

import pytest

from tests.allowed_skips import Allowed

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
LIST = """
[[allowed]]
tests = 'test_it\\.py::test_gpu'
reason = "no GPU"
because = "CI has none."

[[allowed]]
tests = 'test_it'
reason = "no data"
because = "It isn't public."
only_without = "data"
"""
TESTS = """
import pytest

def test_fine(): pass

@pytest.mark.skipif(True, reason="no GPU here")
def test_gpu(): pass

def test_data(): pytest.skip("no data")

@pytest.mark.xfail(strict=True)
def test_known(): assert False
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # hypothesis among them takes long
    pytester.makefile(".toml", allowed=LIST)
    pytester.mkpydir("inside").joinpath("conftest.py").touch()

    def with_tests(text: str, *more: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=text)
        plugins = ("xdist", "tests.allowed_skips") if more else ("tests.allowed_skips",)
        named = [word for plugin in plugins for word in ("-p", plugin)]
        return pytester.runpytest_subprocess(*named, "--allowed-skips=allowed.toml", *more)

    return with_tests


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_listed_skips_are_told_with_both_reasons_before_the_closing_line(run, more) -> None:
    ended = run(TESTS, *more)
    assert ended.ret == 0
    ended.stdout.fnmatch_lines([
        "*skips that allowed.toml allows*",
        "n *skipped because *allowed because",
        "1 *no GPU here *CI has none.",
        "1 *no data *It isn't public.",
        "*1 passed, 2 skipped, 1 xfailed*",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("test", "id_"),
    [
        ("def test_other(): pytest.skip('no GPU')", "test_it.py::test_other"),
        ("def test_gpu(): pytest.skip('no chromium')", "test_it.py::test_gpu"),
        ("@pytest.mark.skip(reason='later')\ndef test_gpu(): pass", "test_it.py::test_gpu"),
        ("pytest.importorskip('no_such_package')\ndef test_gpu(): pass", "test_it.py"),
    ],
    ids=["another test", "another reason", "a mark", "a whole module"],
)
def test_any_other_skip_fails_by_name(run, test: str, id_: str) -> None:
    ended = run(f"import pytest\n{test}")
    assert ended.ret != 0
    ended.stdout.fnmatch_lines([f"*{id_} was skipped, and allowed.toml doesn't allow it: *"])


def test_skips_in_other_processes_fail_too(run) -> None:
    ended = run("import pytest\ndef test_other(): pytest.skip('no GPU')", "-n", "1")
    assert ended.ret != 0
    ended.stdout.fnmatch_lines(["*test_other was skipped, and allowed.toml doesn't allow it: *"])


def test_an_entry_holds_only_where_its_path_is_absent(run, pytester: pytest.Pytester) -> None:
    pytester.mkdir("data")
    ended = run(TESTS)
    assert ended.ret == 1
    ended.stdout.fnmatch_lines(["*test_data was skipped, and allowed.toml doesn't allow it*"])


def test_entries_that_allowed_nothing_are_told(run) -> None:
    ended = run("def test_fine(): pass")
    assert ended.ret == 0
    ended.stdout.fnmatch_lines(["nothing was skipped", "allowed, but nothing*", "*1 passed*"])


def test_the_projects_own_list_can_be_read() -> None:
    document = tomllib.loads((ROOT / ".ci" / "allowed_skips.toml").read_text(encoding="utf-8"))
    assert all(Allowed(**each).because for each in document["allowed"])
