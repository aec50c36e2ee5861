import numpy as np
import pytest
from scipy.stats import binom

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Labels
from calaudit.metrics.unit_scores import UnitScores
from calaudit.results.drops import Finding
from calaudit.statistics.attribution import Origin, attribute
from calaudit.statistics.compare import compare_cells
from tests.statistics.cases import TOP1

N = 1000
SLICES = {"all": np.arange(N)}


def audit(rng, *, price=0.0, added=None, luck=0.0, draws=1, recipes=4, given=(), **how):
    """Attributions of an audit of `recipes` whose draws lose price + added ± luck."""
    fp32, shared = rng.random(N) < 0.9, rng.random(N)
    cells, origins = {}, {}
    lucks = (
        luck if isinstance(luck, dict) else dict.fromkeys((f"r{i}" for i in range(recipes)), luck)
    )
    for recipe in (f"r{i}" for i in range(recipes)):
        for draw in range(1, draws + 1):
            harm = price + (added or {}).get(recipe, 0.0) + rng.normal(0, lucks.get(recipe, 0.01))
            chance = np.where(rng.random(N) < 0.5, shared, rng.random(N))
            lost = fp32 & (chance < (0.03 + max(0.0, harm)) / 0.9)
            gained = ~fp32 & (chance < 0.3)
            cell = f"{recipe}#{draw}/minmax"
            cells[cell] = UnitScores(TOP1, (fp32 & ~lost) | gained)
            origins[cell] = Origin(recipe, "minmax", 0 if recipe in given else draw)
    reference = UnitScores(TOP1, fp32)
    found = compare_cells(TOP1, reference, cells, SLICES, max_drop=0.02)
    return attribute(TOP1, reference, cells, SLICES, origins=origins, comparisons=found, **how)


def repeated(times=25, **world):
    rng = np.random.default_rng(0)
    return [one for _ in range(times) for one in audit(rng, **world)]


def said(found, finding, recipe=None):
    """How many of the attributions say it."""
    return sum(finding in one.findings for one in found if recipe in (None, one.recipe))


def blaming(times, **world):
    """Audits that blame any recipe but the guilty ones."""
    rng, guilty = np.random.default_rng(0), set(world.get("added", ()))
    return sum(
        any(
            Finding.THIS_SET in one.findings and one.recipe not in guilty
            for one in audit(rng, **world)
        )
        for _ in range(times)
    )


def test_what_every_set_costs_is_no_sets_fault():
    found = repeated(price=0.08)
    assert said(found, Finding.NO_SET_FIXES) >= 0.95 * len(found)
    assert np.mean([one.price.value for one in found]) == pytest.approx(0.075, abs=0.01)


def test_that_no_set_fixes_it_takes_more_than_an_estimate_above_the_gate():
    # All sets lose what the gate allows: half of the estimates of the price lie above it.
    found = repeated(40, price=0.02, recipes=2)
    assert sum(one.price.value >= 0.02 for one in found) > 0.2 * len(found)
    assert said(found, Finding.NO_SET_FIXES) <= 2 * binom.isf(1e-4, 40, 0.025)
    sure = [one for one in found if Finding.NO_SET_FIXES in one.findings]
    assert all(one.price.low >= 0.02 for one in sure)


def test_both_are_said_where_a_set_adds_to_what_all_cost():
    found = repeated(5, price=0.06, added={"r1": 0.30}, given=("r0", "r1", "r2", "r3"))
    own = [one for one in found if one.recipe == "r1"]
    assert {one.findings for one in own} == {(Finding.NO_SET_FIXES, Finding.THIS_SET)}
    assert np.mean([one.addition.value for one in own]) == pytest.approx(0.30, abs=0.03)


@pytest.mark.parametrize("draws", [3, 5])
def test_one_set_that_adds_harm_is_named_and_the_others_are_not(draws):
    found = repeated(15, added={"r1": 0.15}, draws=draws)
    assert said(found, Finding.THIS_SET, "r1") == 15
    others = [one for one in found if one.recipe != "r1"]
    assert said(others, Finding.THIS_SET) <= binom.isf(1e-4, 15, 0.025)
    assert all(one.best != "r1" for one in found)


def test_one_draw_blames_no_recipe_and_says_what_its_set_does():
    found = repeated(15, price=0.02, luck=0.03, added={"r1": 0.12})
    assert said(found, Finding.THIS_SET) == 0
    own = [one for one in found if one.recipe == "r1"]
    assert all(Finding.REDRAW in one.findings and one.luck is None for one in own)
    assert sum(one.p_addition < 0.025 and one.addition.low > 0 for one in own) >= 12


@pytest.mark.parametrize(
    ("draws", "luck"),
    [
        (2, 0.03),
        (3, 0.03),
        (3, {"r0": 0.15}),
        pytest.param(3, {"r0": 0.06}, marks=pytest.mark.slow),
        pytest.param(5, 0.03, marks=pytest.mark.slow),
    ],
)
def test_luck_is_not_blamed_on_a_recipe(draws, luck):
    audits = 40
    assert blaming(audits, price=0.3, luck=luck, draws=draws) <= binom.isf(1e-4, audits, 0.05)


def test_lucks_are_each_recipes_own():
    found = repeated(6, price=0.3, luck={"r0": 0.15}, draws=5)
    lucks = {
        recipe: np.mean([one.luck.value for one in found if one.recipe == recipe])
        for recipe in ("r0", "r1")
    }
    assert lucks["r0"] > 0.08
    assert lucks["r1"] < 0.04
    assert all(one.spread > 0 for one in found)


def test_recipes_that_leave_nothing_to_luck_do_not_count_as_lucky_ones():
    rng = np.random.default_rng(7)
    fp32 = rng.random(N) < 0.9
    scores = {
        "all": UnitScores(TOP1, fp32 & (rng.random(N) < 0.9)),
        **{f"b#{i}": UnitScores(TOP1, fp32 & (rng.random(N) < 0.6 + 0.1 * i)) for i in (1, 2, 3)},
    }
    origins = {"all": Origin("all", "m", 1, settled=True)} | {
        f"b#{i}": Origin("b", "m", i) for i in (1, 2, 3)
    }
    reference = UnitScores(TOP1, fp32)
    judged = compare_cells(TOP1, reference, scores, SLICES, max_drop=0.02)
    how = {"origins": origins, "comparisons": judged}
    whole, drawn = attribute(TOP1, reference, scores, SLICES, **how)
    assert (whole.settled, whole.luck, whole.draws) == (True, None, 1)
    assert drawn.luck.value > 0.03
    assert not drawn.settled


def test_no_set_fixes_it_is_said_beside_what_other_methods_reach():
    rng = np.random.default_rng(8)
    fp32 = rng.random(N) < 0.9
    keep = {"a/x": 0.7, "b/x": 0.72, "a/y": 0.9, "b/y": 0.89}
    cells = {cell: UnitScores(TOP1, fp32 & (rng.random(N) < share)) for cell, share in keep.items()}
    origins = {cell: Origin(*cell.split("/"), 0) for cell in cells}
    reference = UnitScores(TOP1, fp32)
    judged = compare_cells(TOP1, reference, cells, SLICES, max_drop=0.05)
    found = attribute(TOP1, reference, cells, SLICES, origins=origins, comparisons=judged)
    under_x = [one for one in found if one.method == "x"]
    assert all(Finding.NO_SET_FIXES in one.findings for one in under_x)
    for one in under_x:
        assert (one.elsewhere.method, one.elsewhere.recipe) == ("y", "a")
        assert one.elsewhere.price.low < 0.09 < one.elsewhere.price.high
        assert one.elsewhere.price.value < one.price.low


def test_intervals_of_the_parts_cover_what_was_planted():
    found = repeated(30, price=0.08, added={"r0": 0.05}, luck=0.02, draws=3)
    own = [one for one in found if one.recipe == "r0"]
    for part, true in (("price", 0.08), ("addition", 0.05), ("luck", 0.02)):
        missed = sum(not getattr(o, part).low <= true <= getattr(o, part).high for o in own)
        assert missed <= binom.isf(1e-4, len(own), 0.08), part


def test_without_harm_there_is_nothing_to_explain():
    found = repeated()
    assert sum(one.findings == () for one in found) >= 0.9 * len(found)
    assert said(found, Finding.THIS_SET) == 0


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
    origins = {cell: Origin(*cell.split("/"), 0) for cell in cells}
    judged = compare_cells(TOP1, fp32, cells, SLICES, max_drop=0.02)
    found = attribute(TOP1, fp32, cells, SLICES, origins=origins, comparisons=judged)
    assert [(o.method, o.recipe, o.best, o.findings) for o in found] == [
        ("x", "a", "b", (Finding.THIS_SET,)),
        ("x", "b", "b", ()),
        ("y", "a", "a", ()),
        ("y", "b", "a", (Finding.THIS_SET,)),
    ]


def test_set_metrics_are_split_too():
    rng = np.random.default_rng(5)
    metric = parse_metric("balanced_accuracy")
    label = rng.integers(0, 4, N)

    def answered(right):
        return score(metric, np.eye(4)[np.where(right, label, (label + 1) % 4)], Labels(label))

    fp32 = rng.random(N) < 0.9
    cells = {"a/m": answered(fp32 & (rng.random(N) < 0.85)), "b/m": answered(fp32)}
    origins = {cell: Origin(cell[0], "m", 0) for cell in cells}
    reference = answered(fp32)
    judged = compare_cells(metric, reference, cells, SLICES, max_drop=0.02)
    a, b = attribute(metric, reference, cells, SLICES, origins=origins, comparisons=judged)
    assert (a.findings, b.findings) == ((Finding.THIS_SET,), ())
    assert a.addition.value == pytest.approx(reference.value() - cells["a/m"].value())
    assert a.addition.low > 0.05
