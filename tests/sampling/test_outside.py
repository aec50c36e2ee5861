"""Kinds of recipe of other packages that break: an error that names package, file and line."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from calaudit.runtime.errors import CalauditError, DrawError, SettingsError
from calaudit.sampling.draw import check_draw, draw, leaves_no_choice
from calaudit.sampling.kinds import KINDS, make_recipe, parse_recipe
from calaudit.sampling.recipe import Candidates
from tests.packages import installed, package_of

HEAD = """import numpy as np
from calaudit.runtime.errors import Problem
from calaudit.runtime.settings import setting
from calaudit.sampling.recipe import Choice, Needs, Recipe, StratumDraw

@setting
class First(Recipe):
    kind = "first"
    step: int = 1

    def choose(self, candidates, keys):
        taken = StratumDraw("all", len(candidates.rows), self.size, self.size)
        return Choice(np.arange(self.size), np.ones(self.size), (taken,))
"""
N, SIZE = 20, 4


@contextmanager
def kind(folder: Path, own: str) -> Iterator[dict[str, str]]:
    """The package ``odd``, whose kind ``first`` has members of its own (indented)."""
    made = package_of(folder / "odd", "odd", {"calaudit.recipes": {"first": "First"}}, HEAD + own)
    with installed(made, folder / "metadata") as environment:
        yield dict(environment)


def line_of(own: str, text: str) -> int:
    return (HEAD + own).splitlines().index(next(x for x in own.splitlines() if text in x)) + 1


def everything() -> None:
    """All that is asked of a recipe, in the order of an audit."""
    values = {"name": "r", "kind": "first", "size": SIZE}
    recipe = parse_recipe(values, where="audit.toml")
    _ = recipe.needs, recipe.describe()
    candidates = Candidates(np.arange(N))
    check_draw(recipe, candidates)
    leaves_no_choice(recipe, candidates)
    draw(recipe, candidates, seed=0)


def test_a_kind_that_keeps_its_contract_stays_as_it_is(tmp_path: Path) -> None:
    with kind(tmp_path, ""):
        everything()
        assert KINDS.load("first") is KINDS.load("first")
        made = draw(
            make_recipe(kind="first", name="r", size=SIZE), Candidates(np.arange(N)), seed=0
        )
    assert made.rows.tolist() == list(range(SIZE))


def test_problems_of_its_own_are_told_at_their_place(tmp_path: Path) -> None:
    own = """
    def problems(self):
        if self.step < 1:
            yield Problem(f"step must be at least 1, got {self.step}", None, "Write step = 1.")
"""
    values = {"name": "r", "kind": "first", "size": SIZE, "step": 0}
    with kind(tmp_path, own), pytest.raises(SettingsError) as caught:
        parse_recipe(values, where="audit.toml", at="calibsets[2]")
    assert str(caught.value) == (
        "audit.toml: calibsets[2]: step must be at least 1, got 0\n  → Write step = 1."
    )


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("choose", "def choose(self, candidates, keys):"),
        ("check", "def check(self, candidates):"),
        ("settled", "def settled(self, candidates):"),
        ("problems", "def problems(self):"),
        ("details", "def details(self):"),
        ("needs", "@property\n    def needs(self):"),
        ("completed", "@classmethod\n    def completed(cls, values, folder):"),
    ],
)
@pytest.mark.parametrize("generator", [False, True])
def test_what_a_member_raises_names_package_file_line_and_exception(
    tmp_path: Path, name: str, head: str, generator: bool
) -> None:
    own = f"\n    {head}\n        float('fast')\n" + "        yield 1\n" * generator
    with kind(tmp_path, own), pytest.raises(CalauditError) as caught:
        everything()
    text = str(caught.value)
    if generator and name not in ("problems", "check"):
        assert f"the kind of recipe 'first' of the package odd gave generator from {name}" in text
        return
    if generator and name == "check":
        assert "gave generator from check, expected nothing" in text
        return
    place = f"odd_members.py, line {line_of(own, 'fast')}"
    assert f"the kind of recipe 'first' of the package odd failed in {name} (" in text
    assert f"{place}): ValueError: could not convert string to float: 'fast'" in text


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("def problems(self): return None", "gave NoneType from problems, expected values of Pro"),
        ("def problems(self): return ['x']", "gave list with str in it from problems, expected"),
        ("def details(self): return 3", "gave int from details, expected text"),
        ("def settled(self, candidates): return None", "gave NoneType from settled, expected true"),
        ("needs = property(lambda self: ('noise',))", "gave tuple from needs, expected Needs"),
        ("needs = property(lambda self: Needs(dimensions=('noise',)))",
         "failed in needs (.*): TypeError: dimensions must be a tuple of Dimension"),
        ("details = 'quick'", "has details = 'quick', expected a method"),
        ("def choose(self, candidates): return 1",
         r"failed in choose: TypeError: .*takes 2 positional arguments but 3 were given"),
        ("def choose(self, candidates, keys): return [1]", "gave list from choose, expected a Cho"),
        ("def choose(self, candidates, keys): raise SystemExit(0)", "choose (.*): SystemExit: 0"),
    ],
)  # fmt: skip
def test_what_a_member_gives_is_checked(tmp_path: Path, own: str, told: str) -> None:
    with kind(tmp_path, f"\n    {own}\n"), pytest.raises(CalauditError, match=told) as caught:
        everything()
    assert "the kind of recipe 'first' of the package odd" in str(caught.value)


@pytest.mark.parametrize(
    ("positions", "weights", "strata", "told"),
    [
        ("[0, 1, 2, 3]", "", "", "positions are list, expected an array of whole numbers"),
        ("np.arange(4.0)", "", "", "positions are float64, expected an array of whole numbers"),
        ("np.arange(5)", "", "", r"positions have shape \(5,\), expected \(4,\)"),
        ("np.arange(4) + 17", "", "", "position 20 is none of the 20 candidates"),
        ("np.arange(4) - 1", "", "", "position -1 is none of the 20 candidates"),
        ("np.array([7, 3, 7, 1])", "", "", "position 7 is chosen 2 times"),
        ("", "[1, 1, 1, 1]", "", "weights are list, expected an array of floats"),
        ("", "np.ones(4, int)", "", "weights are int64, expected an array of floats"),
        ("", "np.ones(3)", "", r"weights have shape \(3,\), expected \(4,\)"),
        ("", "np.array([1, 1, 2, 0.0])", "", "a weight is 0.0, expected a finite number above 0"),
        ("", "np.array([1, 1, 2, np.nan])", "", "a weight is nan, expected a finite number"),
        ("", "np.full(4, 5.0)", "", "weights have mean 5, expected 1"),
        ("", "", "[StratumDraw('all', 20, 4, 4)]", "expected a tuple of StratumDraw"),
        ("", "", "('all',)", "expected a tuple of StratumDraw"),
        ("", "", "(StratumDraw('a', 3, 4, 4),)", "stratum 'a' gives 4 of 3 candidates"),
        ("", "", "(StratumDraw('a', 9, 3, 3),)", "its strata give 3 samples, expected 4"),
        (
            "",
            "",
            "(StratumDraw('a', 21, 4, 4),)",
            "its strata hold 21 candidates, but",
        ),
        ("", "", "", None),
    ],
)
def test_a_choice_is_held_to_its_contract(
    tmp_path: Path, positions: str, weights: str, strata: str, told: str | None
) -> None:
    own = f"""
    def choose(self, candidates, keys):
        positions = {positions or "np.arange(4)"}
        strata = {strata or "(StratumDraw('all', 20, 4, 4),)"}
        return Choice(positions, {weights or "np.ones(4)"}, strata)
"""
    with kind(tmp_path, own):
        if told is None:
            everything()
            return
        with pytest.raises(DrawError, match=f"package odd chose wrongly: {told}") as caught:
            everything()
    assert caught.value.problems[0].where == "r"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD.replace("def choose", "def chose"), "of the package odd lacks choose"),
        (HEAD.replace("@setting\n", ""), "which isn't made by calaudit.runtime.settings.setting"),
        (HEAD.replace("step: int", "step: np.random.Generator"),
         "settings that can't be read: Unable to generate .* for <class 'numpy"),
    ],
)  # fmt: skip
def test_a_class_that_cannot_serve_is_refused_when_it_is_asked_for(
    tmp_path: Path, text: str, told: str
) -> None:
    made = package_of(tmp_path / "odd", "odd", {"calaudit.recipes": {"first": "First"}}, text)
    with installed(made, tmp_path / "metadata"), pytest.raises(SettingsError, match=told):
        KINDS.load("first")


def test_a_kind_that_cannot_be_loaded_stops_no_recipe_but_its_own(tmp_path: Path) -> None:
    text = HEAD.replace("def choose", "def chose")
    made = package_of(tmp_path / "odd", "odd", {"calaudit.recipes": {"first": "First"}}, text)
    with installed(made, tmp_path / "metadata"):
        with pytest.raises(SettingsError, match="sise: unknown key") as caught:
            parse_recipe({"name": "r", "size": 3, "sise": 3}, where="FILE")
        assert "odd" not in str(caught.value)
        with pytest.raises(SettingsError, match="of the package odd lacks choose"):
            parse_recipe({"name": "r", "kind": "first", "size": 3}, where="FILE")


def test_the_command_ends_with_2_and_names_what_failed(tmp_path: Path) -> None:
    write = (
        "import sys; from pathlib import Path; from tests.steps.drawing import write_small_pool;"
        "write_small_pool(Path(sys.argv[1]))"
    )
    pool = tmp_path / "pool.h5"
    here = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", write, str(pool)], check=True, cwd=here)
    own = "\n    def choose(self, candidates, keys):\n        return {}[self.step]\n"
    with kind(tmp_path, own) as environment:
        done = subprocess.run(
            [sys.executable, "-c", "from calaudit.cli import main; main()", "sample", str(pool),
             "--kind", "first", "--size", "4"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    line = line_of(own, "{}")
    assert "kind of recipe 'first' of the package odd failed in choose" in done.stderr
    assert f"odd_members.py, line {line}): KeyError: 1" in done.stderr


def test_it_cannot_change_the_candidates(tmp_path: Path) -> None:
    own = """
    def check(self, candidates):
        candidates.rows[0] = 7
"""
    with kind(tmp_path, own), pytest.raises(DrawError, match="read-only") as caught:
        everything()
    assert f"line {line_of(own, 'candidates.rows[0]')}" in str(caught.value)
