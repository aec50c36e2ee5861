"""The numbers of report.json, computed again without calaudit: numpy, scipy, scikit-learn."""

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score

from calaudit.audit.run import run_audit
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.report.files import read_report
from calaudit.results.report import Report
from tests.audit.world import AUDIT, N_CLASSES, N_FEATURES, make_world

Document = dict[str, Any]
GATE, FLOOR = 0.013, 0.7
SETTINGS = (
    AUDIT.replace('methods = ["minmax"', 'replicates = 2\nmethods = ["minmax"')
    .replace('name = "loud only"', 'name = "loud only"\nrole = "control"')
    .replace("max_drop = 0.05", f"max_drop = {GATE}\nmin_reference = {FLOOR}")
    .replace(
        "[[tasks]]",
        """[[calibsets]]
name = "random"
size = 30

[[calibsets]]
name = "faint"
size = 40
candidates = "split = 'calibration' and loudness = 'quiet'"

[[tasks]]""",
    )
)


class Again:
    """What the audit looked at, and every engine's answers, from the files it left."""

    def __init__(self, folder: Path, document: Document) -> None:
        self.document = document
        self.folder = folder / "audit"
        with h5py.File(folder / "pool.h5") as file:
            columns = {
                "loudness": file["meta/loudness"].asstr()[:],
                "margin": file["meta/margin"][:],
                "split": file["meta/split"].asstr()[:],
            }
            x, label = file["inputs/x"][:], file["targets/label"][:]
        with open_pool(folder / "pool.h5") as pool:
            self.pool_ids = pool.ids(np.arange(len(x))).tolist()
        rows = np.flatnonzero(columns["split"] == "evaluation")
        self.columns = columns
        self.ids = [self.pool_ids[row] for row in rows]
        self.label = label[rows]
        self.fp32 = answers(folder / "model.onnx", x[rows])
        self.cells = {
            cell["id"]: answers(self.folder / cell["file"], x[rows]) for cell in document["cells"]
        }
        self.slices = {
            name: np.flatnonzero(mask[rows]) for name, mask in slices_of(columns).items()
        }

    def right(self, outputs: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(outputs.argmax(axis=1) == self.label)

    def lost(self, cell: str) -> NDArray[np.int64]:
        """(n,) 1 where FP32 alone is right, −1 where the engine alone is."""
        return self.right(self.fp32).astype(int) - self.right(self.cells[cell]).astype(int)

    def drop(self, cell: str, name: str = "all") -> float:
        return float(self.lost(cell)[self.slices[name]].mean())


def slices_of(columns: dict[str, Any]) -> dict[str, NDArray[np.bool_]]:
    return {
        "all": np.ones(len(columns["split"]), bool),
        "loudness = loud": columns["loudness"] == "loud",
        "loudness = quiet": columns["loudness"] == "quiet",
        "hard": columns["margin"] < 0.5,
    }


def answers(model: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Q/DQ pairs are computed one by one, in float, where nothing is optimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Again]:
    folder = tmp_path_factory.mktemp("values")
    report, path = run_audit(make_world(folder, n=1600, audit=SETTINGS))
    assert read_report(path) == report
    return report, Again(folder, json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def again(found: tuple[Report, Again]) -> Again:
    return found[1]


def results(again: Again, metric: str) -> list[Document]:
    rows = [each for each in again.document["results"] if each["metric"] == metric]
    assert len(rows) == len(again.cells) * 4
    return rows


def tango(lost: int, gained: int, n: int, tail: float) -> float:
    """Tango's bound: the drop at which the constrained likelihood's score is the quantile."""

    def score(delta: float) -> float:
        a = 2 * n
        b = -lost - gained + (2 * n - lost + gained) * delta
        c = -gained * delta * (1 - delta)
        q = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
        return float((lost - gained - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta))))

    target = float(stats.norm.isf(tail))
    return float(brentq(lambda delta: score(delta) - target, -0.999999, 0.999999, xtol=1e-13))


def test_right_and_wrong_answers_are_counted_slice_by_slice(again: Again) -> None:
    for row in results(again, "top1"):
        rows = again.slices[row["slice"]]
        change = again.lost(row["cell"])[rows]
        lost, gained, n = int((change > 0).sum()), int((change < 0).sum()), len(rows)
        assert row["n"] == n
        assert row["reference"] == pytest.approx(again.right(again.fp32)[rows].mean())
        assert row["candidate"] == pytest.approx(again.right(again.cells[row["cell"]])[rows].mean())
        assert row["drop"] == pytest.approx((lost - gained) / n)
        assert row["flips"] == {"lost": lost, "gained": gained}
        assert row["n_changed"] == lost + gained
        assert (row["n_left_out"], row["n_broken"], row["n_clusters"]) == (0, 0, None)
        assert (row["design_effect"], row["n_effective"]) == (1.0, n)
        assert row["standard_error"] == pytest.approx(change.std() / math.sqrt(n), abs=1e-12)
    assert any(row["flips"]["lost"] > row["flips"]["gained"] > 1 for row in results(again, "top1"))


def test_their_intervals_are_tangos_and_their_tests_mcnemars(again: Again) -> None:
    for row in results(again, "top1"):
        lost, gained, n = row["flips"]["lost"], row["flips"]["gained"], row["n"]
        assert (row["interval"], row["level"], row["alpha"]) == ("tango", 0.95, 0.05)
        ends = {"low": 0.025, "high": 0.975, "one_sided_low": 0.05, "one_sided_high": 0.95}
        for end, tail in ends.items():
            assert row[end] == pytest.approx(tango(lost, gained, n, tail), abs=1e-9), end
        exact = stats.binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue
        assert row["p_value"] == pytest.approx(exact)
        assert row["margin"] == 0
        assert row["joint_low"] <= row["low"]
        z2 = stats.norm.isf(0.05) ** 2
        assert row["smallest_provable_drop"] == pytest.approx(z2 / (n + z2))
        assert row["n_to_prove"] == math.floor(z2 * (1 - GATE) / GATE) + 1


def test_gates_and_verdicts_follow_from_the_numbers(again: Again) -> None:
    controls = {cell["id"] for cell in again.document["cells"] if cell["role"] == "control"}
    families: dict[str, list[Document]] = {"candidates": [], "controls": []}
    for row in results(again, "top1"):
        families["controls" if row["cell"] in controls else "candidates"].append(row)
    assert min(map(len, families.values())) > 8
    for family, rows in families.items():
        holm = step_down([row["p_value"] for row in rows])
        for row, adjusted in zip(rows, holm, strict=True):
            assert (row["family"], row["family_size"]) == (family, len(rows))
            assert row["p_adjusted"] == pytest.approx(adjusted)
            assert row["gate"] == {
                "max_drop": GATE, "max_relative_drop": None, "min_reference": FLOOR
            }  # fmt: skip
            due = "INCONCLUSIVE"
            if row["one_sided_high"] < GATE and row["reference"] >= FLOOR:
                due = "PASS"
            elif row["one_sided_low"] > 0 and adjusted < 0.05:
                due = "REGRESSED"
            assert row["verdict"] == due
            assert (row["reason"] is None) == (due != "INCONCLUSIVE")
            assert (row["n_needed"] or 10**9) > (0 if due != "INCONCLUSIVE" else row["n"])
            assert due == "INCONCLUSIVE" or row["n_needed"] is None
    told = {row["verdict"] for row in families["candidates"]}
    assert told == {"PASS", "REGRESSED", "INCONCLUSIVE"}
    assert again.document["verdict"] == "REGRESSED"


def test_bounds_of_all_at_once_are_wider_than_each_alone(again: Again) -> None:
    rows = [row for row in results(again, "top1") if row["gate"] is not None]
    assert len(rows) > 2
    assert all(row["joint_low"] <= row["low"] < row["drop"] for row in rows if row["drop"])
    # one of several may be missed as seldom as one alone: by more standard errors
    wider = [row for row in rows if row["joint_low"] < row["low"] - 0.1 * row["standard_error"]]
    assert len(wider) > len(rows) / 2


def step_down(p_values: list[float]) -> list[float]:
    """Holm's: each times the number of those not smaller, never falling."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = np.empty(len(order)), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, (len(order) - rank) * p_values[at])
        adjusted[at] = min(1.0, highest)
    return adjusted.tolist()


def test_means_sets_and_likeness_are_those_of_other_libraries(again: Again) -> None:
    def nll(outputs: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = log_softmax(outputs[rows].astype(np.float64), axis=1)
        return np.asarray(-logits[np.arange(len(rows)), again.label[rows]])

    for row in results(again, "nll"):
        rows = again.slices[row["slice"]]
        before, after = nll(again.fp32, rows), nll(again.cells[row["cell"]], rows)
        assert row["reference"] == pytest.approx(before.mean(), rel=1e-5)
        assert row["candidate"] == pytest.approx(after.mean(), rel=1e-5)
        assert row["drop"] == pytest.approx((after - before).mean(), rel=1e-4, abs=1e-6)
        error = (after - before).std(ddof=1) / math.sqrt(len(rows))
        # of one more unit that changes as much as the one that changed most
        assert 0.999 * error < row["standard_error"] < 1.5 * error
        assert row["interval"] == "bootstrap-t"
        ends = ("low", "one_sided_low", "drop", "one_sided_high", "high")
        assert [row[end] for end in ends] == sorted(row[end] for end in ends)
        for end, tail in {"low": 0.025, "one_sided_low": 0.05}.items():
            reach = -stats.norm.ppf(tail) * error
            assert row["drop"] - row[end] > 0.7 * reach
            assert row[end.replace("low", "high")] - row["drop"] > 0.7 * reach
    for row in results(again, "balanced_accuracy"):
        rows = again.slices[row["slice"]]
        for side, outputs in (("reference", again.fp32), ("candidate", again.cells[row["cell"]])):
            due = balanced_accuracy_score(again.label[rows], outputs[rows].argmax(axis=1))
            assert row[side] == pytest.approx(due)
        assert row["drop"] == pytest.approx(row["reference"] - row["candidate"])
        assert row["interval"] in {"jackknife", "clopper-pearson"}
    for row in results(again, "top1_agreement"):
        rows = again.slices[row["slice"]]
        same = again.fp32[rows].argmax(axis=1) == again.cells[row["cell"]][rows].argmax(axis=1)
        assert (row["reference"], row["candidate"]) == (1.0, pytest.approx(same.mean()))
        assert row["n_changed"] == int((~same).sum())
        assert row["p_value"] is None


def test_what_has_no_gate_is_screened_by_benjamini_and_yekutieli(again: Again) -> None:
    listed = []
    for metric in ("nll", "balanced_accuracy"):
        rows = [row for row in results(again, metric) if row["p_value"] is not None]
        adjusted = stats.false_discovery_control([row["p_value"] for row in rows], method="by")
        for row, p in zip(rows, adjusted, strict=True):
            assert row["p_adjusted"] == pytest.approx(p)
            assert (row["family"], row["family_size"]) == (f"screening of {metric}", len(rows))
            assert row["gate"] is row["verdict"] is row["n_needed"] is row["joint_low"] is None
            if p < 0.05:
                listed.append((-(row["low"] if row["low"] is not None else row["drop"]), row))
    due = [row for _, row in sorted(listed, key=lambda each: each[0])]
    keys = ("cell", "slice", "metric")
    assert again.document["screening"] == [{key: row[key] for key in keys} for row in due]
    assert len(due) > 3


def test_the_worst_slice_is_held_against_everyone_outside_it(again: Again) -> None:
    gaps = {(gap["cell"], gap["metric"]): gap for gap in again.document["gaps"]}
    assert set(gaps) == {(cell, "top1") for cell in again.cells}
    everyone = set(range(len(again.label)))
    for (cell, _), gap in gaps.items():
        change, ahead = again.lost(cell), {}
        for name, rows in again.slices.items():
            rest = np.array(sorted(everyone - set(rows.tolist())), dtype=int)
            if min(len(rows), len(rest)) >= 30:
                ahead[name] = (change[rows].mean() - change[rest].mean(), rest)
        worst = max(ahead, key=lambda name: ahead[name][0])
        assert (gap["slice"], gap["n_slices"], gap["level"]) == (worst, len(ahead), 0.95)
        assert gap["drop"] == pytest.approx(again.drop(cell, worst))
        assert gap["rest"] == pytest.approx(change[ahead[worst][1]].mean())
        assert gap["gap"]["value"] == pytest.approx(ahead[worst][0])
        assert gap["gap"]["low"] < gap["gap"]["value"] < gap["gap"]["high"]


def test_drops_are_attributed_to_the_recipes_they_came_with(again: Again) -> None:
    sets = {each["name"]: each for each in again.document["calibsets"]}
    drawn: dict[tuple[str, str], list[str]] = {}
    for cell in again.document["cells"]:
        recipe = sets[cell["calibset"]]["recipe"]
        drawn.setdefault((cell["method"], recipe), []).append(cell["id"])
    assert len(again.document["attribution"]) == len(drawn) * 4
    spreads, prices = 0, dict[tuple[str, str], set[float]]()
    for one in again.document["attribution"]:
        means = {
            key: np.mean([again.drop(cell, one["slice"]) for cell in cells])
            for key, cells in drawn.items()
        }
        own = drawn[one["method"], one["recipe"]]
        drops = [again.drop(cell, one["slice"]) for cell in own]
        here = {recipe: mean for (method, recipe), mean in means.items() if method == one["method"]}
        there = {key: mean for key, mean in means.items() if key[0] != one["method"]}
        assert (one["metric"], one["draws"], one["level"]) == ("top1", len(own), 0.95)
        assert one["drop"] == pytest.approx(np.mean(drops))
        assert one["spread"] == pytest.approx(np.ptp(drops))
        assert here[one["best"]] == pytest.approx(min(here.values()))
        assert one["price"]["value"] == pytest.approx(min(here.values()))
        others = [mean for recipe, mean in here.items() if recipe != one["recipe"]]
        assert one["addition"]["value"] == pytest.approx(max(0.0, np.mean(drops) - min(others)))
        elsewhere = one["elsewhere"]
        assert elsewhere["price"]["value"] == pytest.approx(min(there.values()))
        assert there[elsewhere["method"], elsewhere["recipe"]] == pytest.approx(min(there.values()))
        for part in ("price", "addition", "luck"):
            assert one[part]["low"] <= one[part]["value"] <= one[part]["high"]
        assert 0 <= one["luck"]["value"] <= np.std(drops, ddof=1) + 1e-12
        assert not one["settled"]
        spreads += one["spread"] > 0
        if one["recipe"] == one["best"]:
            assert one["p_addition"] > 0.4
        if one["price"]["value"] < GATE:
            assert one["p_price"] > 0.4
        prices.setdefault((one["slice"], one["method"]), set()).add(one["p_price"])
        harmed = any(
            row["verdict"] == "REGRESSED"
            for row in results(again, "top1")
            if row["cell"] in own and row["slice"] == one["slice"]
        )
        assert bool(one["findings"]) == harmed
        assert ("no-set-fixes" in one["findings"]) == (
            harmed and one["p_price"] < 0.025 and one["price"]["low"] >= GATE
        )
        assert ("this-set" in one["findings"]) == (harmed and one["p_addition"] < 0.025)
    assert spreads > 5
    assert {len(each) for each in prices.values()} == {1}  # of all recipes together


def test_samples_that_flip_are_listed_with_their_ids(again: Again) -> None:
    (listed,) = [each for each in again.document["exemplars"] if each["metric"] == "top1"]
    changes = np.array([again.lost(cell) for cell in again.cells])
    lost, gained = (changes > 0).sum(axis=0), (changes < 0).sum(axis=0)
    flipping = 2 * (lost + gained) > len(changes)
    assert (listed["unit"], listed["engines"], listed["least"]) == ("sample", len(changes), 0.0)
    assert listed["flipping"] == flipping.sum() > 0
    flips = []
    for one in listed["shown"]:
        at = again.ids.index(one["id"])
        assert (one["lost"], one["gained"]) == (lost[at], gained[at])
        assert one["reference"] == float(again.right(again.fp32)[at])
        assert one["mean_drop"] == pytest.approx(changes[:, at].mean())
        around = [name for name, rows in again.slices.items() if at in rows and name != "all"]
        assert one["slices"] == around
        flips.append(one["lost"] + one["gained"])
    assert flips == sorted(flips, reverse=True)


def test_slices_sets_and_cells_are_told_as_they_are(again: Again) -> None:
    document = again.document
    z2 = stats.norm.isf(0.05) ** 2
    for each in document["slices"]:
        n = len(again.slices[each["name"]])
        assert (each["n"], each["support_ok"]) == (n, True)
        assert each["smallest_provable_drop"] == {"top1": pytest.approx(z2 / (n + z2))}
    assert [each["name"] for each in document["slices"]] == list(again.slices)
    masks = slices_of(again.columns)
    sizes = {"loud only": 40, "both": 40, "random": 30, "faint": 40}
    for each in document["calibsets"]:
        drawn = open_calibset(again.folder / each["file"])
        rows = np.array([again.pool_ids.index(one) for one in drawn.ids])
        assert each["size"] == sizes[each["recipe"]] == len(rows)
        weights = np.asarray(drawn.weights)
        assert each["kish_n_eff"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
        assert each["role"] == ("control" if each["recipe"] == "loud only" else "candidate")
        assert each["draw"] in {1, 2}
        for row in each["composition"]:
            mask = masks[row["slice"]]
            assert row["n"] == mask[rows].sum()
            assert row["share"] == pytest.approx(mask[rows].mean())
            assert row["pool_share"] == pytest.approx(mask.mean())
    for cell in document["cells"]:
        assert cell["id"] == f"{cell['calibset']}/{cell['method']}"
        assert (cell["precision"], cell["backend"]) == ("int8", "onnxruntime")
        assert (cell["ranges_by"], cell["status"], cell["reason"]) == ("calaudit", "judged", None)
        assert cell["engine"]["quantized_ops"] == {"MatMul": 1}
        assert cell["engine"]["float_ops"] == {}
        assert cell["engine"]["kernels"] == "emulated"
        told = [cell["engine"][key] for key in ("macs", "int8_macs", "uncounted", "left_float")]
        assert told == [N_FEATURES * N_CLASSES, N_FEATURES * N_CLASSES, 0, []]
        table = json.loads((again.folder / cell["scales"]).read_text(encoding="utf-8"))
        assert table["method"] == cell["method"]
    fp32 = document["reference"]["engine"]
    assert fp32["float_ops"] == {"MatMul": 1}
    assert (fp32["macs"], fp32["int8_macs"]) == (N_FEATURES * N_CLASSES, 0)


def test_metrics_are_told_with_their_units_and_directions(again: Again) -> None:
    keys = ("name", "unit", "kind", "higher_is_better", "interval")
    assert [tuple(each[key] for key in keys) for each in again.document["metrics"]] == [
        ("top1", "fraction", "binary", True, "tango"),
        ("nll", "nats", "mean", False, "bootstrap-t"),
        ("balanced_accuracy", "fraction", "set", True, "jackknife"),
        ("top1_agreement", "fraction", "binary", True, "tango"),
    ]
    audit = again.document["audit"]
    assert (audit["model"]["name"], audit["pool"]["name"]) == ("model.onnx", "pool.h5")
    assert audit["config_fingerprint"] != audit["model"]["fingerprint"]


def test_clusters_are_counted_slice_by_slice(tmp_path: Path) -> None:
    """Two overall, one where only loud ones are; none in a slice that is a cluster."""
    extra = '[[slices]]\nname = "clear"\nwhere = "margin > 0.5 and loudness = \'loud\'"\n\n'
    text = AUDIT.replace('methods = ["minmax", "mse"]', 'cluster_by = "loudness"')
    text = text.replace('"nll", "balanced_accuracy", ', "")
    run_audit(
        make_world(tmp_path, n=600, audit=text.replace("[[calibsets]]", f"{extra}[[calibsets]]", 1))
    )
    document = json.loads((tmp_path / "audit" / "report.json").read_text(encoding="utf-8"))
    again = Again(tmp_path, document)
    loud = again.slices["loudness = loud"]
    again.slices["clear"] = np.setdiff1d(loud, again.slices["hard"])
    clusters = {"all": 2, "hard": 2, "clear": 1, "loudness = loud": None, "loudness = quiet": None}
    for row in (each for each in document["results"] if each["metric"] == "top1"):
        rows, name = again.slices[row["slice"]], row["slice"]
        assert (row["n"], row["n_clusters"]) == (len(rows), clusters[name])
        held = np.array([np.isin(rows, loud).sum(), (~np.isin(rows, loud)).sum()])
        kish = len(rows) if clusters[name] is None else held.sum() ** 2 / (held**2).sum()
        assert row["n_effective"] == pytest.approx(kish)
        if clusters[name] is None:
            assert (row["design_effect"], row["interval"]) == (1.0, "tango")
    assert {row["slice"] for row in document["results"]} == set(clusters)
