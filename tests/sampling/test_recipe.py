import tomllib
from pathlib import Path

import pytest

from calaudit.runtime.errors import SettingsError
from calaudit.sampling.kinds import make_recipe, parse_recipe, read_recipe, recipe_from_json
from calaudit.sampling.recipe import Embedding, Loss, Recipe
from calaudit.slices.dimension import Dimension

CALIBSETS = Path(__file__).parents[2] / "calibsets"
RECIPES = [
    make_recipe(name="random", size=64),
    make_recipe(
        name="neyman",
        kind="stratified",
        size=9,
        seed=3,
        strata=[Dimension(by="snr_db", edges=[0, float("inf")]), Dimension(by="speaker")],
        allocation="neyman",
        deviation="fp32-loss",
        loss=Loss(output="logits"),
        floor=0,
        cap=4,
    ),
    make_recipe(
        name="biased", kind="skewed", size=5, only=["a"], without=["b"], shares={"c": 0.25}
    ),
    make_recipe(
        name="spread",
        kind="coverage",
        size=5,
        candidates="split = 'calibration'",
        embedding=Embedding(column=("a", "b")),
        algorithm="herding",
        start="mean",
    ),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.kind)
def test_a_recipe_comes_back_from_its_json(recipe: Recipe) -> None:
    assert recipe_from_json(recipe.to_json(), where="here") == recipe


@pytest.mark.parametrize("path", sorted(CALIBSETS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_can_be_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.candidates == "split = 'calibration'"
    assert recipe_from_json(recipe.to_json(), where="here") == recipe


def test_recipes_ship_for_every_case() -> None:
    assert len(list(CALIBSETS.glob("*.toml"))) >= 12


def complaints(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_recipe(path)
    return [str(problem).replace(f"{path}", "FILE") for problem in caught.value.problems]


BASE = 'name = "x"\nsize = 8\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "sise = 8", "FILE: sise: unknown key\n  → Did you mean size"),
        ('name = "x"', "FILE: size: this key is missing\n  → Add it."),
        ("size = 8", "FILE: name: this key is missing\n  → Add it."),
        ('name = "x"\nsize = 0', "size must be at least 1, got 0"),
        (BASE + "seed = -1", "seed must lie between 0 and 2^63 - 1, got -1"),
        ('name = " "\nsize = 1', "needs a name of one line"),
        (BASE + 'kind = "stratified"', "a stratified draw needs strata"),
        (BASE + 'kind = "skewed"', "a skewed draw needs only, without or shares"),
        (BASE + 'kind = "coverage"', "coverage needs an embedding"),
        (BASE + "cap = 3", 'cap doesn\'t go with kind = "uniform"'),
        (BASE + 'only = ["a"]', 'Drop it, or write kind = "skewed".'),
        (BASE + "strata = []", 'Drop it, or write kind = "skewed" or kind = "stratified".'),
        (BASE + "kind = 3", "FILE: kind: should be text (got 3)"),
        (BASE + 'kind = "ids"', "a draw by ids needs ids"),
        (BASE + 'kind = "ids"\nids = ["a", "b"]', "size is 8, but 2 ids are listed"),
        (BASE + 'kind = "ids"\nids = ["a", "a"]', "ids occur more than once: 'a'"),
        (BASE + 'kind = "ids"\nids = "nowhere.txt"', "the list of ids can't be read"),
        (BASE + 'kind = "mixed"', "FILE: kind: there is no kind of recipe 'mixed'"),
        (BASE + 'kind = "skewed"\nshares = {a = 0.7, b = 0.4}', "shares add up to 1.1"),
        (BASE + 'kind = "skewed"\nshares = {a = 1.5}', 'share of "a" must lie in (0, 1], got 1.5'),
        (
            BASE + 'kind = "coverage"\nembedding = {}',
            "exactly one of column, tap and pca, got none",
        ),
        (BASE + 'kind = "coverage"\nembedding = {pca = 2, tap = "y"}', "got tap, pca"),
        (BASE + 'kind = "coverage"\nembedding = {pca = 0}', "at least 1 component, got 0"),
        (
            BASE + 'kind = "stratified"\nstrata = [{by = "a"}]\nallocation = "neyman"',
            'allocation = "neyman" and deviation go together',
        ),
        (
            BASE + 'kind = "stratified"\nstrata = [{by = "a"}]\nfloor = 5\ncap = 4',
            "cap must be at least 1 and at least the floor, got 4",
        ),
        (
            BASE + 'kind = "stratified"\nstrata = [{by = "a", egdes = [1]}]',
            "FILE: strata[0].egdes: unknown key\n  → Did you mean edges?",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_says_why(text: str, message: str, tmp_path: Path) -> None:
    assert message in "\n".join(complaints(text, tmp_path))


def test_all_problems_of_a_recipe_are_said_at_once(tmp_path: Path) -> None:
    text = 'name = "x"\nsize = -1\nkind = "stratified"\nonly = ["a"]\nfloor = -2'
    assert len(complaints(text, tmp_path)) == 4


def test_shares_are_added_as_the_decimals_they_are_written_as() -> None:
    shares = {"a": 0.1, "b": 0.2, "c": 0.7}
    assert make_recipe(name="x", kind="skewed", size=10, shares=shares).shares == shares


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}'])
def test_a_stored_recipe_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        recipe_from_json(text, where="file: /recipe")


@pytest.mark.parametrize(
    ("listed", "size", "told"),
    [
        ("a\nb\na\n", "", "ids occur more than once: 'a'"),
        ("a\nb\n", "size = 3", "size is 3, but 2 ids are listed"),
        ("\n", "", "the list of ids is empty"),
        (None, "", "the list of ids can't be read: No such file"),
    ],
)
def test_what_is_wrong_in_a_list_of_ids_names_recipe_and_list(
    tmp_path: Path, listed: str | None, size: str, told: str
) -> None:
    path = tmp_path / "ids.txt"
    if listed is not None:
        path.write_text(listed)
    values = tomllib.loads(f'name = "r"\nkind = "ids"\nids = "ids.txt"\n{size}')
    with pytest.raises(SettingsError) as caught:
        parse_recipe(values, where="audit.toml", at="calibsets[2]", folder=tmp_path)
    assert f"audit.toml: calibsets[2]: {path}: {told}" in str(caught.value)
