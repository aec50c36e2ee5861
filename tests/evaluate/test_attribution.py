from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from calaudit.evaluate import (
    Finding,
    Labels,
    Origin,
    UnitScores,
    attribute,
    compare_cells,
    parse_metric,
    score,
)
from tests.evaluate.cases import TOP1

N = 1000
SLICES = {"all": np.arange(N)}


def audit(rng, *, price=0.0, added=None, luck=0.0, draws=1, recipes=4, given=()):
    """Attributions of an audit of `recipes` whose draws lose price + added ± luck."""
    fp32, shared = rng.random(N) < 0.9, rng.random(N)
    cells, origins = {}, {}
    for recipe in (f"r{i}" for i in range(recipes)):
        for draw in range(1, draws + 1):
            harm = max(0.0, price + (added or {}).get(recipe, 0.0) + rng.normal(0, luck))
            chance = np.where(rng.random(N) < 0.5, shared, rng.random(N))
            lost = fp32 & (chance < (0.03 + harm) / 0.9)
            gained = ~fp32 & (chance < 0.3)
            cell = f"{recipe}#{draw}/minmax"
            cells[cell] = UnitScores(TOP1, (fp32 & ~lost) | gained)
            origins[cell] = Origin(recipe, "minmax", 0 if recipe in given else draw)
    reference = UnitScores(TOP1, fp32)
    found = compare_cells(TOP1, reference, cells, SLICES, max_drop=0.02)
    return attribute(TOP1, reference, cells, SLICES, origins=origins, comparisons=found)


def repeated(times=25, **world):
    rng = np.random.default_rng(0)
    return [one for _ in range(times) for one in audit(rng, **world)]


def counts(found, recipe=None):
    return Counter(one.finding for one in found if recipe in (None, one.recipe))


def test_what_every_set_costs_is_no_sets_fault():
    found = repeated(price=0.06)
    assert counts(found)[Finding.NO_SET_FIXES] >= 0.95 * len(found)
    assert np.mean([one.price.value for one in found]) == pytest.approx(0.055, abs=0.01)


@pytest.mark.parametrize("draws", [1, 3])
def test_one_set_that_adds_harm_is_named_and_the_others_are_not(draws):
    found = repeated(added={"r1": 0.08}, draws=draws)
    assert counts(found, "r1") == {Finding.THIS_SET: 25}
    others = [one for one in found if one.recipe != "r1"]
    assert counts(others)[Finding.THIS_SET] <= binom.isf(1e-4, len(others), 0.025)
    assert all(one.best != "r1" for one in found)


def test_luck_is_not_blamed_on_a_recipe_once_it_is_measured():
    unknown, known = (repeated(price=0.02, luck=0.03, draws=draws) for draws in (1, 3))
    assert counts(unknown)[Finding.THIS_SET] > 0.2 * len(unknown)
    assert all(one.luck is None for one in unknown)
    assert counts(known)[Finding.THIS_SET] <= binom.isf(1e-4, len(known), 0.025)
    assert counts(known)[Finding.REDRAW] > 0.3 * len(known)
    assert all(one.spread > 0 for one in known)


def test_intervals_of_the_parts_cover_what_was_planted():
    found = repeated(40, price=0.03, added={"r0": 0.05}, luck=0.02, draws=3)
    own = [one for one in found if one.recipe == "r0"]
    for part, true in (("price", 0.03), ("addition", 0.05), ("luck", 0.02)):
        missed = sum(not getattr(o, part).low <= true <= getattr(o, part).high for o in own)
        # Harm below 0 is cut, which moves the truth a little.
        assert missed <= binom.isf(1e-4, len(own), 0.08), part


def test_without_harm_there_is_nothing_to_explain():
    found = repeated()
    assert counts(found)[None] >= 0.9 * len(found)
    assert counts(found)[Finding.THIS_SET] <= binom.isf(1e-4, len(found), 0.025)


def test_a_set_that_was_given_owes_nothing_to_luck():
    world = {"added": {"r0": 0.09}, "luck": 0.03, "draws": 2, "price": 0.0}
    drawn, given = (
        next(one for one in audit(np.random.default_rng(2), **world, given=g) if one.recipe == "r0")
        for g in ((), ("r0",))
    )
    assert given.addition.high - given.addition.low < drawn.addition.high - drawn.addition.low


def test_one_recipe_alone_says_nothing_about_sets():
    assert audit(np.random.default_rng(3), recipes=1, price=0.1) == []


def test_methods_are_looked_at_one_by_one():
    rng = np.random.default_rng(4)
    fp32 = UnitScores(TOP1, rng.random(N) < 0.9)
    bad = UnitScores(TOP1, fp32.values & (rng.random(N) < 0.85))
    cells = {"a/x": bad, "b/x": fp32, "a/y": fp32, "b/y": bad}
    origins = {cell: Origin(*cell.split("/")) for cell in cells}
    judged = compare_cells(TOP1, fp32, cells, SLICES, max_drop=0.02)
    found = attribute(TOP1, fp32, cells, SLICES, origins=origins, comparisons=judged)
    assert [(o.method, o.recipe, o.best, o.finding) for o in found] == [
        ("x", "a", "b", Finding.THIS_SET),
        ("x", "b", "b", None),
        ("y", "a", "a", None),
        ("y", "b", "a", Finding.THIS_SET),
    ]


def test_set_metrics_are_split_too():
    rng = np.random.default_rng(5)
    metric = parse_metric("balanced_accuracy")
    label = rng.integers(0, 4, N)

    def answered(right):
        return score(metric, np.eye(4)[np.where(right, label, (label + 1) % 4)], Labels(label))

    fp32 = rng.random(N) < 0.9
    cells = {"a/m": answered(fp32 & (rng.random(N) < 0.85)), "b/m": answered(fp32)}
    origins = {cell: Origin(cell[0], "m") for cell in cells}
    reference = answered(fp32)
    judged = compare_cells(metric, reference, cells, SLICES, max_drop=0.02)
    a, b = attribute(metric, reference, cells, SLICES, origins=origins, comparisons=judged)
    assert (a.finding, b.finding) == (Finding.THIS_SET, None)
    assert a.addition.value == pytest.approx(reference.value() - cells["a/m"].value())
    assert a.addition.low > 0.05
