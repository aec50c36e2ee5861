"""What Python users give in place of an audit file's values is checked before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calaudit
from calaudit.audit.prepare import Overrides
from calaudit.runtime.errors import CalauditError, SettingsError
from tests.audit.world import make_world


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"seed": -1}, r"seed: must lie between 0 and 2\^63 - 1 \(got -1\)"),
        ({"seed": "x"}, r"seed: should be a whole number \(got 'x'\)"),
        ({"seed": 1.5}, r"seed: should be a whole number \(got 1.5\)"),
        ({"seed": True}, r"seed: should be a whole number \(got True\)"),
        ({"seed": 2**63}, r"seed: must lie between"),
        ({"jobs": 0}, r"jobs: must lie between 1 and"),
        ({"jobs": "2"}, r"jobs: should be a whole number"),
        ({"wait": "yes"}, r"wait: should be True or False \(got 'yes'\)"),
        ({"dask": 8786}, r"dask: should be an address \(got 8786\)"),
        ({"out": 3}, r"out: should be a path \(got 3\)"),
        ({"model": b"m.onnx"}, r"model: should be a path"),
    ],
)
def test_overrides_that_make_no_sense_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=f"Overrides: {told}"):
        Overrides(**given)


def test_paths_may_be_texts_and_numbers_numpys(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=400)
    model, pool, out = (str(tmp_path / each) for each in ("model.onnx", "pool.h5", "out"))
    given = Overrides(model, pool, out, np.int64(3))  # type: ignore[arg-type]  # NumPy's is the case
    report, path = calaudit.run_audit(str(audit), given, formats=["junit"])
    assert path == tmp_path / "out" / "report.json"
    assert (report.audit.seed, type(given.seed)) == (3, int)
    assert calaudit.read_report(str(path)) == report
    (scales,) = (tmp_path / "out" / "scales").glob("both-minmax-*.json")
    calaudit.write_scales(str(tmp_path / "s.json"), calaudit.open_scales(str(scales)))
    (ranges,) = (tmp_path / "out" / "ranges").glob("ranges-*.h5")
    assert calaudit.open_ranges(str(ranges)).groups == calaudit.open_ranges(ranges).groups


def test_a_draw_takes_texts_for_paths_and_refuses_seeds_that_are_none(tmp_path: Path) -> None:
    make_world(tmp_path, n=400)
    recipe = calaudit.make_recipe(name="r", size=5)
    out = str(tmp_path / "r.h5")
    with calaudit.open_pool(str(tmp_path / "pool.h5")) as pool:
        made = calaudit.draw_calibset(pool, recipe, out, seed=3)
        for seed in (-1, "x", 1.5):
            with pytest.raises(SettingsError, match="seed"):
                calaudit.draw_calibset(pool, recipe, out, seed=seed)  # type: ignore[arg-type]  # wrong on purpose
    assert calaudit.open_calibset(out).fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"size": "10"}, "recipe: size: should be a whole number"),
        ({"size": 10.5}, "recipe: size: should be a whole number"),
        ({"size": True}, "recipe: size: should be a whole number"),
        ({"size": 10, "seed": -1}, "recipe: seed"),
        ({"kind": "stratified", "size": 9, "allocation": "e"}, "recipe: allocation: .*equal"),
        ({"kind": "stratified", "size": 9, "strata": ["noise"]}, "recipe: strata.*table"),
        ({"kind": "stratified", "size": 9, "strata": [{"bi": "x"}]}, "strata.*bi: unknown key"),
        ({"kind": 3, "size": 9}, "recipe: kind: should be text"),
    ],
)
def test_recipes_are_held_to_the_rules_of_recipe_files(given: dict[str, Any], told: str) -> None:
    with pytest.raises(CalauditError, match=told):
        calaudit.make_recipe(name="r", **given)


def test_strata_may_be_dimensions_or_mappings() -> None:
    rest = {"kind": "stratified", "name": "r", "size": np.int32(9)}
    one = calaudit.make_recipe(**rest, strata=[calaudit.Dimension(by="x", edges=[0, 1])])
    assert one == calaudit.make_recipe(**rest, strata=({"by": "x", "edges": (0, 1)},))
