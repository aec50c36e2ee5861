"""What every kind of recipe keeps to, the built-in ones and those of other packages alike."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.runtime.errors import DrawError, SettingsError
from calaudit.sampling import ids
from calaudit.sampling.draw import check_draw, draw, leaves_no_choice
from calaudit.sampling.kinds import (
    KINDS,
    find_kind,
    make_recipe,
    parse_recipe,
    read_recipe,
    recipe_from_json,
)
from calaudit.sampling.recipe import Candidates, Embedding, Recipe
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import CodedDimension, SliceSet
from tests.packages import installed

N, SIZE = 90, 12
NOISE = Dimension(by="noise")
IDS = np.array([f"sample-{i}" for i in range(N)])

OWN: dict[str, list[dict[str, Any]]] = {
    "uniform": [{}],
    "stratified": [
        {"strata": (NOISE,)},
        {"strata": (NOISE,), "allocation": "equal", "cap": 5},
        {"strata": (NOISE,), "allocation": "neyman", "deviation": "level", "floor": 0},
    ],
    "skewed": [
        {"strata": (NOISE,), "only": ("noise = 1",)},
        {"strata": (NOISE,), "without": ("noise = 1",), "shares": {"noise = 0": 0.25}},
    ],
    "coverage": [
        {"embedding": Embedding(column="x")},
        {"embedding": Embedding(column="x"), "algorithm": "herding", "start": "mean"},
    ],
    "ids": [{"ids": (*IDS[5:60:5][::-1].tolist(), "sample-0")}],
    "systematic": [{}, {"phase": 0.5}],
}
"""Kind → settings of its own that every branch of it is drawn by."""
CASES = [(kind, number) for kind, cases in OWN.items() for number in range(len(cases))]


@pytest.fixture(autouse=True)
def _example(example_package: object) -> None:
    """The example package's kind is a member too."""


def example(kind: str, number: int, **common: Any) -> Recipe:
    return make_recipe(name="r", kind=kind, size=SIZE, **common, **OWN[kind][number])


def candidates_for(recipe: Recipe, *, computed: bool = True) -> Candidates:
    """Only what the recipe says that it needs."""
    generator = np.random.default_rng(0)
    codes = (np.arange(N) % 3).astype(np.int32)
    labels = tuple(f"noise = {i}" for i in range(3))
    needs = recipe.needs
    wants_slices = bool(needs.dimensions or needs.slices)
    return Candidates(
        np.arange(N) * 2 + 1,
        SliceSet(N, (CodedDimension("noise", labels, codes),)) if wants_slices else None,
        generator.normal(size=N) * (1 + codes) if needs.deviation and computed else None,
        generator.normal(size=(N, 3)) if needs.embedding is not None and computed else None,
        IDS if needs.ids else None,
    )


def test_every_kind_is_held_to_what_follows() -> None:
    assert set(OWN) == set(KINDS.names())


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_a_kind_keeps_the_contract(kind: str, number: int) -> None:
    recipe = example(kind, number)
    candidates = candidates_for(recipe)
    assert find_kind(kind, where="here") is type(recipe)
    assert recipe.kind == kind
    assert recipe_from_json(recipe.to_json(), where="here") == recipe
    assert recipe.describe().startswith(kind)
    assert recipe.describe() != example(kind, number, candidates="split = 'a'").describe()

    check_draw(recipe, candidates)
    check_draw(recipe, candidates_for(recipe, computed=False))
    draws = [draw(recipe, candidates, seed=seed) for seed in range(6)]
    for made in draws:
        assert len(made.rows) == SIZE
        assert (np.diff(made.rows) > 0).all()
        assert np.isin(made.rows, candidates.rows).all()
        assert (made.weights > 0).all()
        assert made.weights.mean() == pytest.approx(1.0)
        assert sum(each.drawn for each in made.strata) == SIZE
        assert all(each.drawn <= each.population for each in made.strata)
    again = draw(recipe, candidates, seed=3)
    assert again.rows.tolist() == draws[3].rows.tolist()
    assert again.weights.tolist() == draws[3].weights.tolist()
    alike = len({tuple(made.rows) for made in draws}) == 1
    assert leaves_no_choice(recipe, candidates) == alike
    if leaves_no_choice(recipe, candidates_for(recipe, computed=False)):
        assert alike


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_more_than_there_are_is_refused_by_the_recipes_name(kind: str, number: int) -> None:
    recipe = example(kind, number)
    few = Candidates(np.arange(SIZE - 1))
    for refuse in (lambda: check_draw(recipe, few), lambda: draw(recipe, few, seed=0)):
        with pytest.raises(DrawError, match="there are only 11 candidates") as caught:
            refuse()
        assert [problem.where for problem in caught.value.problems] == ["r"]


@pytest.mark.parametrize("kind", sorted(OWN))
def test_a_key_that_no_kind_has_is_unknown_in_files_and_in_python(kind: str) -> None:
    with pytest.raises(SettingsError, match="unknown key"):
        make_recipe(name="r", kind=kind, sise=3, **{"size": SIZE, **OWN[kind][0]})
    with pytest.raises(SettingsError, match="sise: unknown key"):
        parse_recipe({"name": "r", "kind": kind, "sise": 3, "size": 3}, where="FILE")


def test_a_key_of_another_packages_kind_is_told_whose_it_is() -> None:
    with pytest.raises(SettingsError, match="phase doesn't go with") as caught:
        make_recipe(name="r", size=3, phase=0.5)
    assert caught.value.problems[0].next_step == 'Drop it, or write kind = "systematic".'


def test_a_kind_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "odd"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "odd"\nversion = "1"\n'
        '[project.entry-points."calaudit.recipes"]\n'
        'plain = "calaudit.sampling.uniform:Uniform"\n'
    )
    with (
        installed(package, tmp_path / "metadata"),
        pytest.raises(SettingsError, match="'plain' calls itself 'uniform'") as caught,
    ):
        make_recipe(name="r", kind="plain", size=3)
    assert "Fix odd" in str(caught.value)


def test_ids_come_from_a_file_beside_the_recipe_and_give_the_size(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeffsample-7\nsample-3 \r\n\nsample-80\n")
    path = tmp_path / "recipe.toml"
    path.write_text('name = "theirs"\nkind = "ids"\nids = "list.txt"\n')
    recipe = read_recipe(path)
    assert recipe.size == 3
    assert recipe.describe() == "ids, 3 given"
    made = draw(recipe, candidates_for(recipe), seed=0)
    assert made.rows.tolist() == [7, 15, 161]
    assert made.weights.tolist() == [1.0, 1.0, 1.0]
    # what is stored holds the ids, whatever becomes of the file
    (tmp_path / "list.txt").unlink()
    assert recipe_from_json(recipe.to_json(), where="here") == recipe


def test_ids_are_found_among_more_candidates_than_are_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ids, "_AT_ONCE", 7)
    chosen = IDS[[88, 3, 7, 6, 20]].tolist()
    recipe = make_recipe(name="theirs", kind="ids", ids=tuple(chosen))
    rows = np.arange(100, 100 + N)
    found = draw(recipe, Candidates(rows, SliceSet(N), ids=IDS), seed=0)
    assert found.rows.tolist() == [103, 106, 107, 120, 188]


def test_ids_that_are_no_candidates_are_named() -> None:
    recipe = make_recipe(name="theirs", kind="ids", ids=("sample-3", "nobody", "sample-95"))
    for refuse in (check_draw, lambda *given: draw(*given, seed=0)):
        with pytest.raises(DrawError) as caught:
            refuse(recipe, candidates_for(recipe))
        assert "2 ids of 3 are not among the 90 candidates: 'nobody', 'sample-95'" in str(
            caught.value
        )


def test_the_command_draws_by_another_packages_kind(example_package, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.steps.drawing import write_small_pool;"
        "write_small_pool(Path(sys.argv[1]))"
    )
    pool = tmp_path / "pool.h5"
    here = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(pool)], check=True, cwd=here)
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "calaudit"), "sample", str(pool), "--kind",
            "systematic", "--size", "4", "--option", "phase=0.5", "--json",
        ],
        env=dict(example_package),
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert '"kind": "systematic"' in done.stdout
    assert '"phase": 0.5' in done.stdout
