"""Scores of every cell, what became of rankings, and the samples that flip."""

from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.judge import Terms, judge_cells
from calaudit.steps.score import Scored, list_exemplars, notices_of, rankings_of, score_eval_sets
from calaudit.tasks.reading import parse_task, read_eval_sets

N, ITEMS = 60, 20


def scored(
    folder: Path, pool: PoolFile, fp32: np.ndarray, engines: dict[str, np.ndarray], **task: object
) -> list[Scored]:
    rows = np.arange(len(pool))
    slices = evaluate_slices([Dimension(by="group")], pool)
    (eval_set,) = read_eval_sets(
        parse_task(task, where="a.toml", at="tasks[0]"), pool, rows, slices, ["y"], where="tasks[0]"
    )

    def stored(name: str, output: np.ndarray) -> Predictions:
        return write_predictions(folder / f"{name}.h5", rows, [{"y": output}])

    cells = {name: stored(name, output) for name, output in engines.items()}
    return score_eval_sets([eval_set], stored("fp32", fp32), cells)


@pytest.fixture
def ranking(tmp_path: Path) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(0)
    path = tmp_path / "pool.h5"
    write_pool(
        path,
        inputs={"x": np.zeros((N, 1), np.float32)},
        targets={"relevance": (rng.random((N, ITEMS)) < 0.2).astype(np.uint8)},
        meta={"group": ["a", "b"] * (N // 2)},
        items={"popularity": np.arange(ITEMS, 0, -1), "title": [f"item {i}" for i in range(ITEMS)]},
        ids=[f"user-{i}" for i in range(N)],
    )
    return path, rng.normal(size=(N, ITEMS)).astype(np.float32)


def test_rankings_are_followed_slice_by_slice_and_agree_with_the_comparisons(
    tmp_path: Path, ranking: tuple[Path, np.ndarray]
) -> None:
    path, fp32 = ranking
    engines = {"same": fp32, "coarse": np.round(fp32), "popular": fp32 + np.arange(20, 0, -1) / 9}
    with open_pool(path) as pool:
        found = scored(
            tmp_path, pool, fp32, engines, kind="ranking", tail={"head_items": 0.2},
            metrics=["ndcg@5", "long_tail_share@5", "popularity_lift@5", "mrr@5", "kendall"],
        )  # fmt: skip
        records = rankings_of(found)
        results = judge_cells(found, Terms({})).comparisons
    drops = {(r.cell, r.slice, r.metric): r.drop for r in results}
    assert [(one.cell, one.k, one.catalogue, one.tail_items) for one in records] == [
        (cell, 5, ITEMS, 16) for cell in engines
    ]
    for record in records:
        assert [part.slice for part in record.slices] == ["all", "group = a", "group = b"]
        for part in record.slices:
            assert [loss.metric for loss in part.losses] == [
                "ndcg@5", "long_tail_share@5", "popularity_lift@5", "mrr@5"
            ]  # fmt: skip
            for loss in part.losses[:3]:
                drop = drops[record.cell, part.slice, loss.metric]
                assert loss.drop == pytest.approx(drop, abs=1e-9)
                assert loss.across_cut + loss.reordering + loss.ties == pytest.approx(loss.drop)
    same, coarse, popular = (record.slices[0] for record in records)
    assert (same.flow.kept, same.candidate_ties) == (5 * N, 0.0)
    assert coarse.candidate_ties > 0.5
    assert coarse.losses[0].worst < coarse.losses[0].best
    assert popular.flow.tail_to_head > 5 * popular.flow.head_to_tail
    assert popular.flow.places == sum(part.flow.places for part in records[2].slices[1:])
    assert records[0].lost == ()
    assert records[2].gained[0].item.startswith("item ")
    assert not records[2].gained[0].tail


def test_exemplars_have_ids_slices_and_the_strictest_gate(
    tmp_path: Path, ranking: tuple[Path, np.ndarray]
) -> None:
    path, fp32 = ranking
    broken = fp32.copy()
    broken[7] = -broken[7]
    with open_pool(path) as pool:
        found = scored(
            tmp_path, pool, fp32, {"one": broken, "two": broken, "three": fp32},
            kind="ranking", metrics=["ndcg@5", "recall@5", "coverage@5", "overlap@5"],
        )  # fmt: skip
        gates = {("ndcg@5", "all"): 0.05, ("ndcg@5", "group = a"): 0.02, ("overlap@5", "all"): 0.1}
        records = list_exemplars(found, gates)
        ungated = list_exemplars(found, {("recall@5", "all"): 0.1, ("coverage@5", "all"): 0.1})
    assert [(one.metric, one.unit, one.engines, one.least) for one in records] == [
        ("ndcg@5", "query", 3, 0.02)
    ]
    (exemplar,) = records[0].shown
    assert (exemplar.id, exemplar.lost + exemplar.gained) == ("user-7", 2)
    assert exemplar.slices == ("group = b",)
    # The first metric without a gate, and gated ones that score single units.
    assert [one.metric for one in ungated] == ["ndcg@5", "recall@5"]


def test_word_errors_are_judged_as_a_ratio_of_sums(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 4, (400, 6))
    words = ["", "a ", "b ", "c "]
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((400, 1), np.float32)},
        targets={"text": ["".join(words[t] for t in row) for row in tokens]},
        meta={"group": ["a", "b"] * 200},
    )
    wrong = tokens.copy()
    hit = (rng.random((400, 6)) < 0.3) & (np.arange(400) % 2 == 0)[:, None]
    wrong[hit] = wrong[hit] % 3 + 1
    with open_pool(tmp_path / "pool.h5") as pool:
        found = scored(
            tmp_path, pool, tokens, {"same": tokens, "wrong": wrong},
            kind="sequence", vocabulary=words,
        )  # fmt: skip
        gates = {("wer", name): 0.05 for name in ("all", "group = a", "group = b")}
        allowed = {key: Tolerance(drop) for key, drop in gates.items()}
        results = judge_cells(found, Terms(allowed)).comparisons
        exemplars = list_exemplars(found, gates)
    wer = {(r.cell, r.slice): r for r in results if r.metric == "wer"}
    rate = wer["wrong", "group = a"].candidate
    assert rate is not None
    assert 0.2 < rate <= hit[::2].mean() + 1e-12  # an alignment may spare errors
    assert wer["wrong", "group = a"].verdict == "REGRESSED"
    assert wer["wrong", "group = b"].drop == 0
    assert wer["same", "all"].reference == 0
    assert exemplars[0].metric == "wer"
    assert rankings_of(found) == []


def test_what_fp32_leaves_unanswered_is_left_out_and_named_and_so_is_what_an_engine_breaks(
    tmp_path: Path, ranking: tuple[Path, np.ndarray]
) -> None:
    path, fp32 = ranking
    reference, broken = fp32.copy(), fp32.copy()
    reference[3, 5] = np.nan
    broken[[7, 8, 9, 10], 0] = np.nan
    broken[3] = np.nan
    with open_pool(path) as pool:
        found = scored(
            tmp_path, pool, reference, {"same": reference, "broken": broken},
            kind="ranking", metrics=["ndcg@5", "coverage@5", "kendall"],
        )  # fmt: skip
        results = judge_cells(found, Terms({})).comparisons
    assert {(r.cell, r.n_broken) for r in results if r.slice == "all"} == {
        ("same", 0), ("broken", 4),
    }  # fmt: skip
    assert {r.n + r.n_broken + r.n_left_out for r in results if r.slice == "all"} == {N}
    assert [str(notice) for notice in notices_of(found)] == [
        "FP32's output y isn't finite for 1 of 60 queries: user-3; left out",
        "cell broken: its output y isn't finite where FP32's is, for 4 of 60 queries: "
        "user-7, user-8, user-9, …",
    ]


def test_logits_that_fp32_masks_are_read_and_those_that_only_the_engine_does_are_not(
    tmp_path: Path,
) -> None:
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((40, 1), np.float32)},
        targets={"text": ["ab"] * 40},
        meta={"group": ["a", "b"] * 20},
    )
    fp32 = np.tile(np.eye(4, dtype=np.float32)[[1, 0, 2]], (40, 1, 1))
    fp32[:, :, 3] = -np.inf
    engine = fp32.copy()
    engine[4, 0, 0] = -np.inf
    with open_pool(tmp_path / "pool.h5") as pool:
        found = scored(
            tmp_path, pool, fp32, {"int8": engine},
            kind="sequence", vocabulary=["", "a", "b", "c"], blank=0,
        )  # fmt: skip
        results = judge_cells(found, Terms({})).comparisons
    for one in results:
        assert one.n_left_out == 0
        assert one.n_broken == (1 if one.slice in ("all", "group = a") else 0)
        assert one.drop == 0


def test_scoring_says_where_a_truth_is_that_does_not_fit(tmp_path: Path) -> None:
    write_pool(
        tmp_path / "pool.h5",
        inputs={"x": np.zeros((4, 1), np.float32)},
        targets={"label": np.array([0, 1, -1, 7]), "value": np.zeros((4, 3))},
        ids=list("abcd"),
        meta={"group": ["a", "b"] * 2},
    )
    outputs = np.zeros((4, 2), np.float32)
    with open_pool(tmp_path / "pool.h5") as pool:
        with pytest.raises(
            PoolError, match=r"pool\.h5: /targets/label: 2 of 4 labels.*-1, 7 .*at sample c"
        ):
            scored(tmp_path, pool, outputs, {"c": outputs}, kind="classification")
        with pytest.raises(PoolError, match=r"pool\.h5: /targets/value: .*\(4, 2\).*\(4, 3\)"):
            scored(tmp_path, pool, outputs, {"c": outputs}, kind="regression")
        with pytest.raises(SettingsError, match=r"tasks\[0\]: top2 is always right"):
            scored(tmp_path, pool, outputs, {"c": outputs}, kind="classification", metrics=["top2"])
