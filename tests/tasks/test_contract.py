"""What holds of every kind of task, calaudit's own and other packages': one body for all."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.graph.model import ModelTensor
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import perfect, score_all
from calaudit.runtime.errors import SettingsError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.tasks.base import TASKS, EvalSet, Task
from calaudit.tasks.reading import (
    offered_metrics,
    parse_task,
    propose_tasks,
    read_eval_sets,
    rows_to_predict,
)
from tests.packages import EXAMPLE, installed
from tests.tasks.worlds import WORLDS, N, World


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory):
    with installed(EXAMPLE, tmp_path_factory.mktemp("metadata")):
        yield


@pytest.fixture(params=WORLDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def world(kind) -> World:
    return WORLDS[kind]()


@pytest.fixture
def pool(world, tmp_path):
    with open_pool(world.write(tmp_path / "pool.h5")) as opened:
        yield opened


def task_of(kind: str, world: World, **keys: object) -> Task:
    return parse_task({"kind": kind, **world.keys, **keys}, where="a.toml", at="tasks[0]")


def eval_set_of(task: Task, world: World, pool, names: tuple[str, ...] | None = None) -> EvalSet:
    evaluated = np.flatnonzero(np.arange(N) < (N if task.kind != "retrieval" else N / 2))
    slices = evaluate_slices([Dimension(by="half")], pool).take(evaluated)
    outputs = tuple(world.outputs) if names is None else names
    found = read_eval_sets(task, pool, evaluated, slices, outputs, where="a.toml: tasks[0]")
    return found[0]


def predicted(world: World, task: Task, pool, path: Path, shift: int = 0) -> Predictions:
    rows = rows_to_predict([task], pool, np.arange(N))
    given = {name: np.roll(values, shift, axis=0)[rows] for name, values in world.outputs.items()}
    return write_predictions(path, rows, [given])


def test_no_kind_is_left_out_here():
    assert set(WORLDS) == set(TASKS.names())
    assert TASKS.package("grading") == "calaudit-example"


def test_its_facts_are_complete(kind):
    found = TASKS.load(kind)
    assert found.kind == kind
    assert found.unit in ("sample", "query", "image")
    assert found.truth.what
    assert found.truth.where_from.endswith(".")
    assert {"output", "metrics"} <= {each.name for each in fields(found)}
    assert found.__doc__


def test_its_metrics_are_offered_to_its_truth_and_others_are_refused(kind, world, pool):
    task = task_of(kind, world)
    offered = set(offered_metrics(TASKS.load(kind)))
    assert {parse_metric(name).family for name in task.metrics} <= offered
    other = "wer" if kind != "sequence" else "ndcg@3"
    with pytest.raises(SettingsError, match=f"{other} needs .* a {kind} task doesn't") as error:
        eval_set_of(task_of(kind, world, metrics=[other]), world, pool)
    assert error.value.problems[0].where == "a.toml: tasks[0].metrics"


def test_an_unknown_key_is_refused_with_its_place(kind, world):
    with pytest.raises(SettingsError, match="unknown key") as error:
        task_of(kind, world, metrisc=["top1"])
    assert error.value.problems[0].where == "a.toml: tasks[0].metrisc"
    assert "metrics" in (error.value.problems[0].next_step or "")


def test_an_output_that_is_not_there_is_refused_with_its_place(kind, world, pool):
    with pytest.raises(SettingsError, match="no output 'z'") as error:
        eval_set_of(task_of(kind, world, output="z"), world, pool)
    assert error.value.problems[0].where == "a.toml: tasks[0].output"
    with pytest.raises(SettingsError, match="say which one"):
        eval_set_of(task_of(kind, world), world, pool, (*world.outputs, "another", "one more"))


def test_units_truth_slices_and_answers_belong_together(kind, world, pool, tmp_path):
    task = task_of(kind, world)
    eval_set = eval_set_of(task, world, pool)
    assert isinstance(eval_set.truth, task.truth)
    n, counts = len(eval_set.truth), eval_set.slices.counts()
    assert 0 < n <= N
    assert counts.pop("all") == sum(counts.values()) == n
    assert len(set(eval_set.ids(np.arange(n)))) == n
    fp32 = predicted(world, task, pool, tmp_path / "fp32.h5")
    answers = eval_set.answers(fp32, fp32)
    assert len(answers) == n
    part = eval_set.truth.take(np.arange(1, n, 2))
    assert len(part) == n // 2
    assert eval_set.output == ", ".join(world.outputs)


def test_every_one_of_its_metrics_tells_right_answers_from_shuffled_ones(
    kind, world, pool, tmp_path
):
    task = task_of(kind, world)
    eval_set = eval_set_of(task, world, pool)
    fp32 = predicted(world, task, pool, tmp_path / "fp32.h5")
    worse = predicted(world, task, pool, tmp_path / "worse.h5", shift=7)
    reference = eval_set.answers(fp32, fp32)
    right = score_all(eval_set.metrics, reference, eval_set.truth, reference)
    wrong = score_all(eval_set.metrics, eval_set.answers(worse, fp32), eval_set.truth, reference)
    for metric in eval_set.metrics:
        held = right[metric]
        if metric.is_agreement:
            held = perfect(metric, held)
        drop = held.value() - wrong[metric].value()
        drop = drop if metric.higher_is_better else -drop
        assert np.isfinite(drop), metric
        if metric.quality or metric.is_agreement:
            assert drop > 0.02, metric


def test_fp32_is_better_than_all_who_know_nothing_and_shuffled_answers_are_not(
    kind, world, pool, tmp_path
):
    task = task_of(kind, world)
    eval_set = eval_set_of(task, world, pool)
    fp32 = predicted(world, task, pool, tmp_path / "fp32.h5")
    answers = eval_set.answers(fp32, fp32)
    rivals = task.rivals(Case(answers, eval_set.truth, answers), 3)
    assert any(rival.knows_nothing for rival in rivals)
    assert all(rival.beaten(None) for rival in rivals if rival.knows_nothing)
    if kind != "sequence":  # any text at all beats silence
        worse = predicted(world, task, pool, tmp_path / "worse.h5", shift=7)
        mixed = eval_set.answers(worse, worse)
        rivals = task.rivals(Case(mixed, eval_set.truth, mixed), 3)
        assert not all(rival.beaten(None) for rival in rivals if rival.knows_nothing)


def test_init_proposes_it_where_pool_and_outputs_fit_as_a_table_that_reads_back(kind, world, pool):
    outputs = [
        ModelTensor(name, values.dtype, values.shape[1:]) for name, values in world.outputs.items()
    ]
    found = TASKS.load(kind).propose(pool, outputs, lambda output: None)
    assert (found is not None) == world.proposed
    if found is None:
        return
    assert propose_tasks(pool, outputs, lambda output: None)[0] == found
    assert found.values["kind"] == kind
    assert found.remark.endswith(".")
    proposed = parse_task(found.values, where="a.toml", at="tasks[0]")
    assert set(found.gated) <= set(proposed.metrics)
    assert eval_set_of(proposed, world, pool).task == proposed


def test_what_fits_each_other_passes_the_check_before_the_work(kind, world, pool):
    eval_set = eval_set_of(task_of(kind, world), world, pool)
    shape = next(iter(world.outputs.values())).shape[1:]
    eval_set.task.check(eval_set, shape[0] if len(shape) == 1 else None, pool)


def test_an_unknown_kind_gets_the_near_ones():
    with pytest.raises(SettingsError, match="there is no kind of task 'gradnig'") as error:
        parse_task({"kind": "gradnig"}, where="a.toml", at="tasks[1]")
    assert error.value.problems[0].where == "a.toml: tasks[1].kind"
    step = error.value.problems[0].next_step or ""
    assert step.startswith(
        "Did you mean grading or ranking? Known: classification, detection, grading"
    )
