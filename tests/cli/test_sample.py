import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.cli import main
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.sampling.kinds import KINDS, read_recipe
from calaudit.steps.sample import draw_set
from tests.audit.world import make_world
from tests.cli.running import calaudit
from tests.steps.drawing import CALIBRATE, EVALUATE, write_small_pool

EQUAL = """
name = "equal"
kind = "stratified"
size = 30
candidates = "split = 'calibration'"
allocation = "equal"
strata = [{ by = "noise" }]
"""
CLEAN = """
name = "clean only"
kind = "skewed"
size = 10
only = ["noise = 0"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_small_pool(tmp_path / "pool.h5")
    (tmp_path / "calibsets").mkdir()
    (tmp_path / "calibsets" / "equal.toml").write_text(EQUAL)
    (tmp_path / "calibsets" / "clean.toml").write_text(CLEAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["calaudit", "sample", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return command


def test_a_recipe_file_makes_the_set_that_the_api_makes(run, folder) -> None:
    status, out, err = run(
        "pool.h5", "calibsets/equal.toml", "--out", "set.h5", "--seed", 5, "--evaluate", EVALUATE
    )
    assert status == 0
    assert err == "calaudit: wrote set.h5\n"
    found = open_calibset("set.h5")
    with open_pool("pool.h5") as pool:
        wanted = draw_set(pool, read_recipe(folder / "calibsets" / "equal.toml"), seed=5)
    assert found.rows.tolist() == wanted.rows.tolist()
    assert out.splitlines() == [
        "equal: 30 of 200 candidates, stratified, seed 5, Kish n_eff 30.0",
        "",
        "stratum    candidates  asked  drawn",
        "noise = 0          67     10     10",
        "noise = 1          67     10     10",
        "noise = 2          66     10     10",
        "",
        "slice      candidates  drawn   share  mean weight",
        "all               200     30  100.0%            1",
        "noise = 0          67     10   33.3%            1",
        "noise = 1          67     10   33.3%            1",
        "noise = 2          66     10   33.3%         0.99",
    ]


@pytest.mark.parametrize(
    ("flags", "kind", "noise"),
    [
        (["--size", 12], "uniform", None),
        (["--size", 12, "--stratify", "noise", "--allocation", "equal"], "stratified", [4, 4, 4]),
        (
            ["--size", 9, "--stratify", "noise:edges=2", "--floor", 0, "--cap", 6],
            "stratified",
            None,
        ),
        (["--size", 12, "--only", "noise = 0"], "skewed", [12, 0, 0]),
        (["--size", 12, "--without", "noise = 0 OR noise = 1"], "skewed", [0, 0, 12]),
        (
            ["--size", 10, "--share", "noise = 0=0.6", "--share", "noise = 1=0.4"],
            "skewed",
            [6, 4, 0],
        ),
        (["--size", 10, "--by", "noise:edges=2", "--only", "noise >= 2"], "skewed", [0, 0, 10]),
        (["--size", 12, "--kind", "coverage", "--pca", 2], "coverage", None),
        (["--size", 12, "--embedding", "noise,label", "--algorithm", "k-center"], "coverage", None),
        (
            ["--size", 12, "--embedding", "x", "--algorithm", "herding", "--start", "mean"],
            "coverage",
            None,
        ),
        (
            ["--size", 12, "--stratify", "noise", "--allocation", "neyman", "--deviation", "label"],
            "stratified",
            [4, 4, 4],
        ),
    ],
)
def test_flags_make_a_recipe_that_the_set_keeps(run, flags, kind, noise) -> None:
    status, _, err = run("pool.h5", *flags, "--candidates", CALIBRATE, "--out", "set.h5")
    assert (status, err) == (0, "calaudit: wrote set.h5\n")
    found = open_calibset("set.h5")
    assert (found.recipe.kind, found.recipe.name) == (kind, kind)
    assert (found.rows < 200).all()
    if noise is not None:
        assert np.bincount(found.rows % 3, minlength=3).tolist() == noise
    with open_pool("pool.h5") as pool:
        assert draw_set(pool, found.recipe, seed=found.seed).rows.tolist() == found.rows.tolist()


def test_without_out_nothing_is_written(run, folder) -> None:
    before = sorted(folder.rglob("*"))
    status, out, err = run("pool.h5", "--size", 10)
    assert status == 0
    assert out.startswith("uniform: 10 of 300 candidates")
    assert "nothing was written" in err
    assert sorted(folder.rglob("*")) == before


def test_several_recipes_go_into_a_folder_by_their_files_names(run, folder) -> None:
    recipes = ["calibsets/clean.toml", "calibsets/equal.toml"]
    status, out, _ = run("pool.h5", *recipes, "--out", "sets", "--evaluate", EVALUATE)
    assert status == 0
    assert sorted(path.name for path in (folder / "sets").iterdir()) == ["clean.h5", "equal.h5"]
    assert out.index("clean only: 10") < out.index("equal: 30")
    status, _, err = run("pool.h5", *recipes, "--out", "one.h5")
    assert status == 2
    assert "2 sets can't go into the one file one.h5" in err


def test_json_holds_what_the_table_shows(run) -> None:
    status, out, err = run(
        "pool.h5", "--size", 250, "--stratify", "noise", "--allocation", "equal",
        "--evaluate", "noise = 2 AND split = 'evaluation'", "--by", "speaker", "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["calibsets"]
    assert found["size"] == 250
    assert found["file"] is None
    assert found["recipe"]["strata"][0]["by"] == "noise"
    assert [each["drawn"] for each in found["strata"]] == [92, 92, 66]
    assert [each["code"] for each in found["notices"]] == ["stratum_short"]
    names = [each["name"] for each in found["composition"]]
    assert names[:4] == ["all", "noise = 0", "noise = 1", "noise = 2"]
    assert "speaker = theo" in names


def test_shortages_are_said_on_stderr(run) -> None:
    status, _, err = run(
        "pool.h5", "--size", 250, "--stratify", "noise", "--allocation", "equal",
        "--evaluate", "noise = 2 AND split = 'evaluation'",
    )  # fmt: skip
    assert status == 0
    assert 'note: stratified: stratum "noise = 2" holds 66 candidates of 83 asked for' in err


def test_size_may_be_changed_beside_a_recipe_file(run) -> None:
    status, out, _ = run("pool.h5", "calibsets/equal.toml", "--size", 6)
    assert status == 0
    assert out.startswith("equal: 6 of 200")


@pytest.mark.parametrize(
    ("arguments", "message", "step"),
    [
        (["none.h5", "--size", 3], "none.h5: there is no such file", "Check the path"),
        (["pool.h5"], "neither a recipe nor --size is given", "--size 128"),
        (["pool.h5", "none.toml"], "none.toml: there is no such file", "Check the path"),
        (["pool.h5", "calibsets/equal.toml", "--cap", 3], "--cap describes a recipe", "either"),
        (["pool.h5", "calibsets/equal.toml", "calibsets/equal.toml"], "two recipes", "Rename"),
        (["pool.h5", "--size", 301], "301 samples are asked for", "at most 300"),
        (["pool.h5", "--size", 3, "--candidates", "nois = 0"], 'no column "nois"', "noise"),
        (["pool.h5", "--size", 3, "--candidates", "noise = "], "doesn't parse", "SQL condition"),
        (["pool.h5", "--size", 3, "--only", "noise = 7"], "holds no candidate", "Name a slice"),
        (["pool.h5", "--size", 3, "--only", "loud"], "neither a slice nor a predicate", "Known"),
        (["pool.h5", "--size", 3, "--share", "noise = 0"], 'share of "noise " must lie in', ""),
        (["pool.h5", "--size", 3, "--share", "noise=x"], '"x" isn\'t a share', "SLICE=0.6"),
        (["pool.h5", "--size", 3, "--stratify", "noise:egdes=1"], 'unknown key "egdes"', "edges"),
        (
            ["pool.h5", "--size", 3, "--stratify", "noise:edges=0.3,0.6"],
            'stratum "0.3 ≤ noise < 0.6" has no samples',
            "widen the candidates",
        ),
        (["pool.h5", "--size", 2, "--stratify", "noise"], "a floor of 1 in 3 strata", "floor = 0"),
        (["pool.h5", "--size", 3, "--kind", "mixed"], "there is no kind of recipe 'mixed'", ""),
        (["pool.h5", "--size", 3, "--option", "cap"], "isn't a key with its value", "KEY=VALUE"),
        (["pool.h5", "--kind", "ids", "--option", "ids=no.txt"], "list of ids can't be read", "id"),
        (["pool.h5", "--size", 3, "--tap", "inner"], "needs the FP32 model", "--model"),
        (["pool.h5", "--size", 3, "--tap", "t", "--model", "no.onnx"], "no.onnx", ""),
        (["pool.h5", "--size", 3, "--cover"], "no model is given", "Add --model"),
        (["pool.h5", "--size", 3, "--cover", "--model", "no.onnx"], "no.onnx", ""),
        (
            ["pool.h5", "--size", 3, "--candidates", "noise = 0", "--evaluate", EVALUATE],
            "33 of 100 candidates are evaluation samples",
            "Narrow the candidates",
        ),
    ],
)
def test_bad_input_ends_with_2_a_message_and_no_file(run, folder, arguments, message, step) -> None:
    before = sorted(folder.rglob("*"))
    status, out, err = run(*arguments, "--out", "set.h5")
    assert (status, out) == (2, "")
    assert message in err
    assert step in err
    assert sorted(folder.rglob("*")) == before


def test_a_damaged_recipe_lists_every_problem(run, folder) -> None:
    (folder / "bad.toml").write_text('name = "x"\nsise = 3\nkind = "stratified"\n')
    status, _, err = run("pool.h5", "bad.toml")
    assert status == 2
    assert "bad.toml: sise: unknown key" in err
    assert "bad.toml: size: this key is missing" in err


def test_nan_inputs_end_with_2_and_no_file(run, folder) -> None:
    with h5py.File(folder / "pool.h5", "a") as file:
        file["inputs/x"][7, 1] = np.inf
    status, _, err = run("pool.h5", "--size", 300, "--out", "set.h5")
    assert status == 2
    assert "sample-007" in err
    assert not (folder / "set.h5").exists()


def test_a_place_that_cannot_be_written_ends_with_2(run, folder) -> None:
    (folder / "file").write_text("")
    status, _, err = run("pool.h5", "--size", 3, "--out", "file/set.h5")
    assert status == 2
    assert "file/set.h5: can't be written" in err


def test_help_names_every_kind_of_recipe(run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert [kind for kind in KINDS.names() if kind not in out] == []


def test_how_well_sets_cover_slices_is_said_and_kept_in_json(tmp_path: Path) -> None:
    make_world(tmp_path, n=400)
    given = [
        "sample", tmp_path / "pool.h5", "--model", tmp_path / "model.onnx", "--cover",
        "--size", 30, "--name", "quiet", "--by", "loudness", "--evaluate", EVALUATE,
        "--candidates", "split = 'calibration' and loudness = 'quiet'",
    ]  # fmt: skip
    ended = calaudit(*given)
    assert ended.status == 0
    text = ended.out.split("Predicted harm to each slice")[1]
    assert text.splitlines()[2].split() == [
        "slice", "samples", "least", "quiet", "minmax", "quiet", "best",
    ]  # fmt: skip
    assert text.splitlines()[3].startswith("loudness = loud")
    assert "farthest from the least possible is loudness = loud" in text
    coverage = json.loads(calaudit(*given, "--json").out)["coverage"]
    assert [each["slice"] for each in coverage["slices"]] == [
        "all", "loudness = loud", "loudness = quiet",
    ]  # fmt: skip
    assert [each["method"] for each in coverage["tables"]] == [
        "minmax", "entropy", "percentile", "mse",
    ]  # fmt: skip
    assert coverage["tables"][0]["harm"][1] > 0.8
    assert coverage["bound"] < 0.1
