"""Tasks made concrete: pairwise equals listwise, retrieval equals its own definition."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score_all
from calaudit.runtime.errors import PoolError, SettingsError, SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.tasks.reading import parse_task, read_eval_sets, rows_to_predict

RANKING = ("ndcg@5", "recall@5", "coverage@5", "gini@5", "long_tail_share@5")
N_QUERIES, N_ITEMS = 40, 12


def task(**values: object):
    return parse_task(values, where="audit.toml", at="tasks[0]")


@pytest.fixture
def relevance() -> np.ndarray:
    return (np.random.default_rng(0).random((N_QUERIES, N_ITEMS)) < 0.3).astype(np.uint8)


@pytest.fixture
def scores() -> np.ndarray:
    # one decimal: ties abound
    return np.random.default_rng(1).normal(size=(N_QUERIES, N_ITEMS)).round(1).astype(np.float32)


def predictions(path: Path, rows: np.ndarray, **outputs: np.ndarray) -> Predictions:
    return write_predictions(path, rows, [outputs])


def values(eval_set, answered: Predictions) -> dict[str, float]:
    scored = score_all(
        eval_set.metrics,
        eval_set.answers(answered, answered),
        eval_set.truth,
        eval_set.answers(answered, answered),
    )
    return {metric.name: scored[metric].value() for metric in eval_set.metrics}


def test_pairwise_pool_scores_as_the_same_pool_listwise(
    tmp_path: Path, relevance: np.ndarray, scores: np.ndarray
) -> None:
    listwise = tmp_path / "listwise.h5"
    write_pool(
        listwise,
        inputs={"x": np.zeros((N_QUERIES, 1), np.float32)},
        targets={"relevance": relevance},
        meta={"query": np.arange(N_QUERIES)},
    )
    query, item = np.divmod(np.arange(N_QUERIES * N_ITEMS), N_ITEMS)
    order = np.random.default_rng(2).permutation(len(query))
    pairwise = tmp_path / "pairwise.h5"
    write_pool(
        pairwise,
        inputs={"x": np.zeros((len(query), 1), np.float32)},
        targets={"relevance": relevance.reshape(-1)[order]},
        meta={"query": query[order], "item": item[order]},
    )
    found = []
    for path, kind, answered in (
        (listwise, "ranking", scores),
        (pairwise, "pairwise", scores.reshape(-1)[order]),
    ):
        with open_pool(path) as pool:
            rows = np.arange(len(pool))
            slices = evaluate_slices([], pool)
            (eval_set,) = read_eval_sets(
                task(kind=kind, metrics=RANKING), pool, rows, slices, ["y"], where="tasks[0]"
            )
            found.append(values(eval_set, predictions(tmp_path / f"{kind}.h5", rows, y=answered)))
    assert found[0] == pytest.approx(found[1])


ODD = np.arange(1, 20, 2)
"""Evaluated rows."""


@pytest.mark.parametrize(
    ("settings", "target", "said"),
    [
        (
            {"kind": "regression", "metrics": ("mae",)},
            np.where(np.arange(20) % 10 == 7, np.nan, 1.0),
            "NaN or infinity in 2 samples: clip-7, clip-17",
        ),
        (
            {"kind": "ranking", "relevance": "y", "metrics": ("ndcg@2",)},
            np.where(np.arange(20) == 7, -1, 1)[:, None] * np.ones((20, 3)),
            "-1.0 for query clip-7, item 0",
        ),
    ],
)
def test_samples_with_a_target_that_cannot_be_judged_are_named_by_id(
    tmp_path: Path, settings: dict[str, Any], target: np.ndarray, said: str
) -> None:
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": np.zeros((20, 1), np.float32)},
        targets={"y": target},
        ids=[f"clip-{i}" for i in range(20)],
    )
    known = {"target": "y"} if settings["kind"] == "regression" else {}
    with open_pool(tmp_path / "p.h5") as pool:
        slices = evaluate_slices([], pool).take(ODD)
        with pytest.raises(PoolError, match=said) as caught:
            read_eval_sets(task(**settings, **known), pool, ODD, slices, ["o"], where="tasks[0]")
    assert "/targets/y" in str(caught.value)


def test_a_pair_of_negative_relevance_is_named_by_query_and_item(tmp_path: Path) -> None:
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": np.zeros((4, 1), np.float32)},
        targets={"relevance": [1, 0, -2, 1]},
        meta={"query": ["u1", "u1", "u2", "u2"], "item": ["a", "b", "a", "b"]},
    )
    rows, pairwise = np.arange(4), task(kind="pairwise", metrics=("ndcg@2",))
    with open_pool(tmp_path / "p.h5") as pool:
        slices = evaluate_slices([], pool)
        with pytest.raises(PoolError, match="-2 for query u2, item a"):
            read_eval_sets(pairwise, pool, rows, slices, ["o"], where="tasks[0]")


def test_dimension_that_differs_within_a_query_is_refused(tmp_path: Path) -> None:
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((4, 1), np.float32)},
        targets={"relevance": np.array([1, 0, 1, 0])},
        meta={"query": [0, 0, 1, 1], "item": [0, 1, 0, 1], "shown": ["a", "b", "a", "a"]},
    )
    with open_pool(tmp_path / "pool.h5") as pool:
        slices = evaluate_slices([Dimension(by="shown")], pool)
        with pytest.raises(SliceError, match="shown differs within query 0"):
            read_eval_sets(
                task(kind="pairwise"), pool, np.arange(4), slices, ["y"], where="tasks[0]"
            )


def test_retrieval_ranks_the_gallery_by_cosine_and_never_shows_the_query_itself(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 30)
    embedding = (np.eye(3)[label] + rng.normal(0, 0.4, (30, 3))).astype(np.float32)
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((30, 1), np.float32)},
        targets={"label": label},
        meta={"gallery": (np.arange(30) >= 10).astype(int)},
    )
    with open_pool(tmp_path / "pool.h5") as pool:
        asked = task(kind="retrieval", gallery="gallery = 1", metrics=["recall@5"])
        evaluated = np.arange(15)  # five queries are in the gallery too
        rows = rows_to_predict([asked], pool, evaluated)
        np.testing.assert_array_equal(rows, np.arange(30))
        slices = evaluate_slices([], pool).take(evaluated)
        (eval_set,) = read_eval_sets(asked, pool, evaluated, slices, ["e"], where="tasks[0]")
        answered = predictions(tmp_path / "p.h5", rows, e=embedding)
        found = score_all(eval_set.metrics, eval_set.answers(answered, answered), eval_set.truth)[
            parse_metric("recall@5")
        ]
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    expected = []
    for query in evaluated:
        shown = [row for row in range(10, 30) if row != query]
        top = sorted(shown, key=lambda row: -float(unit[query] @ unit[row]))[:5]
        relevant = [row for row in shown if label[row] == label[query]]
        expected.append(sum(row in relevant for row in top) / len(relevant))
    np.testing.assert_allclose(found.values, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rankin"}, "no kind of task 'rankin': no installed package offers it"),
        ({}, "kind must be one of"),
        ({"kind": "classification", "metrics": ["top1", "topp1"]}, "topp1"),
        ({"kind": "classification", "output": "logit"}, "no output 'logit'"),
        ({"kind": "classification"}, "say which one"),
        ({"kind": "ranking", "tail": {"head_items": 2}}, "between 0 and 1"),
        ({"kind": "ranking", "tail": {}}, "exactly one"),
    ],
)
def test_task_that_makes_no_sense_is_a_settings_error(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((4, 1), np.float32)},
        targets={"label": np.arange(4)},
    )
    with open_pool(tmp_path / "pool.h5") as pool, pytest.raises(SettingsError, match=message):
        read_eval_sets(
            task(**values), pool, np.arange(4), evaluate_slices([], pool), ["logits", "embedding"],
            where="tasks[0]",
        )  # fmt: skip


def test_queries_and_gallery_rows_without_a_label_are_not_alike(tmp_path: Path) -> None:
    for number, label in enumerate([["a", "", "a", "", "b"], [1, None, 1, None, 2]]):
        path = tmp_path / f"{number}.h5"
        write_pool(
            path,
            inputs={"x": np.zeros((5, 1), np.float32)},
            targets={"label": label},
            meta={"gallery": [0, 0, 1, 1, 1]},
        )
        with open_pool(path) as pool:
            asked = task(kind="retrieval", gallery="gallery = 1", metrics=["recall@1"])
            evaluated = np.arange(2)
            slices = evaluate_slices([], pool).take(evaluated)
            (eval_set,) = read_eval_sets(asked, pool, evaluated, slices, ["e"], where="tasks[0]")
        assert eval_set.truth.relevance.tolist() == [[1, 0, 0], [0, 0, 0]]
