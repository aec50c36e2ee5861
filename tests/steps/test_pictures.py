"""Which samples are worth a picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.metrics.base import Metric
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.judge import Terms, judge_cells
from calaudit.steps.pictures import Choice, choose_units
from calaudit.steps.score import Scored
from calaudit.tasks.depiction import Losses
from tests.steps.test_score import scored

N = 80
METRICS = ["top1", "nll", "balanced_accuracy", "cosine"]
RECIPES = {"bad": "clean", "worse": "clean", "other": "equal", "fine": "fine"}


@pytest.fixture
def world(tmp_path: Path) -> Scored:
    """Logits of four classes: every engine loses other samples of the group b."""
    label = np.arange(N) % 4
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((N, 1), np.float32)},
        targets={"label": label},
        meta={"group": ["a", "b"] * (N // 2)},
        ids=[f"s{i}" for i in range(N)],
    )
    fp32 = np.eye(4, dtype=np.float32)[label] * 4

    def losing(*rows: int, by: float = 9.0) -> np.ndarray:
        made = fp32.copy()
        made[list(rows), (label[list(rows)] + 1) % 4] = by
        return made

    engines = {
        "bad": losing(1, 3, 5),
        "worse": losing(1, 3, 5, 7, 9, 11, 13, 15, 17),
        "other": losing(5, 7, 21, 23, 25, 27, 29, 31),
        "fine": losing(2, by=3.5),
    }
    with open_pool(tmp_path / "pool.h5") as pool:
        (found,) = scored(tmp_path, pool, fp32, engines, kind="classification", metrics=METRICS)
    return found


def chosen(
    world: Scored,
    metric: str = "top1",
    *,
    gates: tuple[str, ...] = ("top1",),
    slices: tuple[str, ...] = ("all", "group = a", "group = b"),
    controls: frozenset[str] = frozenset(),
    most: int = 12,
    losses: Losses | None = None,
) -> Choice | None:
    terms = Terms({(m, s): Tolerance(0.01) for m in gates for s in slices}, controls=controls)
    (by,) = [each for each in world.eval_set.metrics if each.name == metric]
    return choose_units(
        world, by, judge_cells([world], terms).comparisons, recipes=RECIPES,
        controls=controls, losses_of=lambda _: losses, most=most,
    )  # fmt: skip


def told(choice: Choice | None) -> list[tuple[str, str, int]]:
    assert choice is not None
    return [(each.slice, each.cell, each.unit) for each in choice.units]


def test_every_slice_has_its_turn_and_the_worst_engine_of_a_recipe_stands_for_it(
    world: Scored,
) -> None:
    found = chosen(world)
    assert found is not None
    assert found.judged == 3 * 3  # slices × recipes
    # in a, nobody lost a sample
    assert {each.cell for each in found.units} == {"worse", "other"}
    assert [each.slice for each in found.units][:2] == ["group = b", "all"]
    assert {each.slice for each in found.units} == {"group = b", "all"}
    assert all(each.lost == each.reference == 1 for each in found.units)
    assert all(each.unit % 2 for each in found.units)


def test_the_sample_that_most_engines_lose_is_taken_and_none_twice(world: Scored) -> None:
    units = [unit for _, _, unit in told(chosen(world))]
    assert units[0] == 5  # bad, worse and other lose it
    assert len(set(units)) == len(units)


def test_controls_come_after_candidates_and_no_more_are_chosen_than_asked(world: Scored) -> None:
    controlled = frozenset({"bad", "worse"})
    assert told(chosen(world, controls=controlled))[0][:2] == ("group = b", "other")
    assert len(told(chosen(world, most=2))) == 2


def test_by_a_loss_the_sample_that_lost_most_is_taken(world: Scored) -> None:
    found = chosen(world, "nll", gates=("nll",))
    assert found is not None
    (fine,) = [each for each in found.units if each.cell == "fine"][:1]
    assert fine.unit == 2
    assert 0 < fine.lost < 1


def test_units_without_a_finite_answer_have_lost_most(world: Scored) -> None:
    (top1,) = [each for each in world.eval_set.metrics if each.name == "top1"]
    cell = dict(world.cells["other"])
    values = cell[top1].values
    missing = np.zeros(N, dtype=bool)
    missing[33] = True
    cell[top1] = replace(cell[top1], values=values, missing=missing)
    broken = replace(world, cells={**world.cells, "other": cell})
    found = chosen(broken)
    assert found is not None
    first = next(each for each in found.units if each.cell == "other")
    assert (first.unit, first.lost) == (33, np.inf)


def test_metrics_of_whole_sets_go_by_what_the_task_says(world: Scored) -> None:
    assert chosen(world, "balanced_accuracy", gates=("balanced_accuracy",)) is None
    lost = np.zeros(N)
    lost[[9, 40]] = 0.2, 0.7
    losses = Losses("boxes found", np.ones(N), lost)
    found = chosen(world, "balanced_accuracy", gates=("balanced_accuracy",), losses=losses)
    assert found is not None
    by_slice = {each.slice: each for each in found.units[:3]}
    assert (by_slice["group = a"].unit, by_slice["group = b"].unit) == (40, 9)
    assert by_slice["group = a"].by == "boxes found"
    assert by_slice["group = a"].lost == 0.7


def test_without_gates_every_comparison_counts_and_other_metrics_gates_none(
    world: Scored,
) -> None:
    free = chosen(world, gates=())
    assert free is not None
    assert free.judged == 9
    assert chosen(world, gates=("nll",)) is None


def test_a_metric_is_told_by_its_value(world: Scored) -> None:
    found = chosen(world)
    assert found is not None
    assert isinstance(found.metric, Metric)
    assert {each.by for each in found.units} == {""}


def test_of_objects_the_sample_that_lost_most_of_them_is_taken(world: Scored) -> None:
    eval_set = replace(world.eval_set, unit="object", row_of_unit=np.arange(N) // 6)
    found = chosen(replace(world, eval_set=eval_set))
    assert found is not None
    first = found.units[0]
    # of the objects of sample 0 that are in b, 1, 3 and 5, the engine loses all
    assert (first.slice, first.cell, first.unit) == ("group = b", "worse", 0)
    assert (first.by, first.reference, first.lost) == ("objects found", 3.0, 3.0)
    everything = next(each for each in found.units if each.slice == "all")
    assert everything.reference == 6.0
    assert everything.unit != first.unit or everything.cell != first.cell
