"""What report.json tells of rankings, computed again without calaudit: numpy and scikit-learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import ndcg_score

from calaudit.audit.run import run_audit
from calaudit.formats.pool_writer import write_pool
from tests.audit.test_report_values import answers

Floats = NDArray[np.float64]
K, ITEMS, HEAD, N = 5, 30, 6, 500
AUDIT = """
[audit]
name = "ranking"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax"]

[[slices]]
by = "group"

[[calibsets]]
name = "any"
size = 60

[[tasks]]
kind = "ranking"
metrics = ["ndcg@5", "long_tail_share@5", "coverage@5"]
tail = { head_items = 0.2 }

[[gates]]
metric = "ndcg@5"
max_drop = 0.02
"""


class Ranked:
    """The evaluated queries, FP32's scores of all items, and the engine's."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(4)
        weights = rng.normal(size=(2, ITEMS)).astype(np.float32)
        weights[0] += np.linspace(1.5, 0, ITEMS, dtype=np.float32)
        # few queries need a wide range, so that many are rounded to 0 and tie everything
        x = (rng.normal(size=(N, 2)) * np.exp(1.5 * rng.normal(size=(N, 1)))).astype(np.float32)
        relevance = rng.random((N, ITEMS)) < 0.2
        relevance[::25] = False
        split = np.array(["calibration", "evaluation", "evaluation"])[np.arange(N) % 3]
        self.rows = np.flatnonzero(split == "evaluation")
        self.relevance = relevance[self.rows].astype(np.float64)
        self.popularity = np.arange(ITEMS, 0, -1) * 3.0
        group = np.array(["a", "b"])[rng.integers(0, 2, N)]
        self.slices = {
            "all": np.arange(len(self.rows)),
            **{f"group = {g}": np.flatnonzero(group[self.rows] == g) for g in ("a", "b")},
        }
        write_pool(
            folder / "pool.h5",
            inputs={"x": x},
            targets={"relevance": relevance.astype(np.uint8)},
            meta={"split": split.tolist(), "group": group.tolist()},
            items={
                "popularity": self.popularity.astype(np.int64),
                "title": [f"item {i}" for i in range(ITEMS)],
            },
            ids=[f"user-{i}" for i in range(N)],
        )
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"], name="scores")],
            "ranker",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", ITEMS])],
            [numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(folder / "model.onnx"))
        (folder / "audit.toml").write_text(AUDIT, encoding="utf-8")
        _, path = run_audit(folder / "audit.toml")
        self.document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        (self.cell,) = self.document["cells"]
        inputs = x[self.rows]
        self.fp32 = answers(folder / "model.onnx", inputs).astype(np.float64)
        self.engine = answers(path.parent / self.cell["file"], inputs).astype(np.float64)
        (self.flow,) = self.document["ranking_flow"]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Ranked:
    return Ranked(tmp_path_factory.mktemp("ranking"))


def ndcg(order: NDArray[np.int64], relevance: Floats) -> float:
    """Of one list of items."""
    discount = 1 / np.log2(np.arange(K) + 2)
    ideal = np.sort(relevance)[::-1][:K] @ discount
    return float(relevance[order[:K]] @ discount[: len(order)] / ideal)


def shown(scores: Floats) -> Floats:
    """(queries, items) chance to be among the K highest; ties share the last places."""
    found = np.zeros_like(scores)
    for row, score in zip(found, scores, strict=True):
        places = K
        for value in np.unique(score)[::-1]:
            tied = score == value
            row[tied] = min(1.0, places / tied.sum())
            places -= min(places, tied.sum())
    return found


def test_drops_of_rankings_are_scikit_learns(ranked: Ranked) -> None:
    kept = ranked.relevance.sum(axis=1) > 0
    rows = {(r["metric"], r["slice"]): r for r in ranked.document["results"]}
    for name, queries in ranked.slices.items():
        known = queries[kept[queries]]
        one = rows["ndcg@5", name]
        before, after = (
            ndcg_score(ranked.relevance[known], scores[known], k=K)
            for scores in (ranked.fp32, ranked.engine)
        )
        assert (one["n"], one["n_left_out"]) == (len(known), len(queries) - len(known))
        assert one["n_broken"] == rows["long_tail_share@5", name]["n_broken"] == 0
        assert (one["reference"], one["candidate"]) == (pytest.approx(before), pytest.approx(after))
        assert one["drop"] == pytest.approx(before - after)
        tail = rows["long_tail_share@5", name]
        shares = [shown(each[queries])[:, HEAD:].sum() / K / len(queries)
                  for each in (ranked.fp32, ranked.engine)]  # fmt: skip
        assert [tail["reference"], tail["candidate"]] == pytest.approx(shares)
    assert rows["ndcg@5", "all"]["n_left_out"] > 5


def test_losses_are_split_by_cause_and_bounded_over_ties(ranked: Ranked) -> None:
    kept = ranked.relevance.sum(axis=1) > 0
    for part in ranked.flow["slices"]:
        queries = ranked.slices[part["slice"]]
        loss = next(each for each in part["losses"] if each["metric"] == "ndcg@5")
        lists: dict[str, list[float]] = {}
        for at in queries[kept[queries]]:
            fp32, engine, good = ranked.fp32[at], ranked.engine[at], ranked.relevance[at]
            untied = np.lexsort((-fp32, -engine))[:K]
            orders = {
                "fp32": np.argsort(-fp32),
                "members": untied[np.argsort(-fp32[untied])],
                "untied": untied,
                "worst": np.lexsort((good, -engine)),
                "best": np.lexsort((-good, -engine)),
            }
            for what, order in orders.items():
                lists.setdefault(what, []).append(ndcg(order, good))
        mean = {what: float(np.mean(values)) for what, values in lists.items()}
        known = queries[kept[queries]]
        tied = ndcg_score(ranked.relevance[known], ranked.engine[known], k=K)
        assert loss["drop"] == pytest.approx(mean["fp32"] - tied)
        assert loss["across_cut"] == pytest.approx(mean["fp32"] - mean["members"])
        assert loss["reordering"] == pytest.approx(mean["members"] - mean["untied"])
        assert loss["ties"] == pytest.approx(mean["untied"] - tied)
        assert (loss["worst"], loss["best"]) == (
            pytest.approx(mean["worst"]), pytest.approx(mean["best"])
        )  # fmt: skip
        assert loss["worst"] < loss["best"]


def test_ties_and_flows_between_head_and_tail_are_those_of_the_lists(ranked: Ranked) -> None:
    before, after = shown(ranked.fp32), shown(ranked.engine)
    tail = np.arange(ITEMS) >= HEAD
    for part in ranked.flow["slices"]:
        queries = ranked.slices[part["slice"]]
        assert part["n"] == len(queries)
        cut = {"reference_ties": before[queries], "candidate_ties": after[queries]}
        for key, chance in cut.items():
            tied = ((chance > 0) & (chance < 1)).any(axis=1)
            assert part[key] == pytest.approx(tied.mean())
        due = dict.fromkeys(
            ("kept", "head_to_head", "head_to_tail", "tail_to_head", "tail_to_tail"), 0.0
        )
        for at in queries:
            change = after[at] - before[at]
            lost, gained = np.maximum(-change, 0), np.maximum(change, 0)
            due["kept"] += K - lost.sum()
            for was, left in (("head", ~tail), ("tail", tail)):
                for now, entered in (("head", ~tail), ("tail", tail)):
                    if lost.sum() > 0:
                        due[f"{was}_to_{now}"] += (
                            lost[left].sum() * gained[entered].sum() / lost.sum()
                        )
        assert part["flow"]["places"] == K * len(queries)
        assert {key: part["flow"][key] for key in due} == pytest.approx(due)
    assert ranked.flow["slices"][0]["candidate_ties"] > 0.02


def test_items_that_moved_are_told_with_what_the_catalogue_says_of_them(ranked: Ranked) -> None:
    flow = ranked.flow
    assert (flow["cell"], flow["output"], flow["k"]) == (ranked.cell["id"], "y", K)
    assert (flow["catalogue"], flow["tail_items"]) == (ITEMS, ITEMS - HEAD)
    before, after = shown(ranked.fp32).sum(axis=0), shown(ranked.engine).sum(axis=0)
    change = np.round(after - before, 9)  # of equal ones the catalogue's first
    for key, sign in (("lost", 1), ("gained", -1)):
        order = np.argsort(sign * change, kind="stable")
        assert [each["item"] for each in flow[key]] == [f"item {i}" for i in order[:5]]
        for each, at in zip(flow[key], order, strict=False):
            assert each["reference"] == pytest.approx(before[at])
            assert each["candidate"] == pytest.approx(after[at])
            assert (each["popularity"], each["tail"]) == (ranked.popularity[at], at >= HEAD)
