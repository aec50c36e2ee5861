"""``calaudit init``: a file that runs, guessed from what pools hold."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.formats.pool_writer import write_pool
from tests.audit.world import make_world
from tests.cli.running import calaudit
from tests.runtime.test_visible import words_of

N = 1600


def linear(path: Path, n_in: int, n_out: int, *, outputs: tuple[str, ...] = ("y",)) -> None:
    """x (b, n_in) → one MatMul per output."""
    rng = np.random.default_rng(2)
    nodes = [helper.make_node("MatMul", ["x", f"w{name}"], [name]) for name in outputs]
    weights = [
        numpy_helper.from_array(rng.normal(size=(n_in, n_out)).astype(np.float32), f"w{name}")
        for name in outputs
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", n_in])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", n_out]) for name in outputs],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


def pool_of(path: Path, meta: dict[str, Any], **targets: Any) -> None:
    n = len(next(iter(meta.values())))
    rng = np.random.default_rng(1)
    write_pool(
        path,
        inputs={"x": rng.normal(size=(n, 6)).astype(np.float32)},
        targets=targets or {"label": rng.integers(0, 4, n)},
        meta=meta,
    )


def init(folder: Path, *options: object) -> dict[str, Any]:
    """Write audit.toml and read it back."""
    out = folder / "audit.toml"
    ended = calaudit("init", folder / "m.onnx", folder / "p.h5", "--out", out, *options)
    assert (ended.status, ended.out) == (0, ""), ended.err
    return tomllib.loads(out.read_text(encoding="utf-8"))


def runs(path: Path, *, draws: int = 1) -> None:
    """Run an audit, with so many draws of each recipe: more show nothing else about the file."""
    text = path.read_text(encoding="utf-8")
    assert "\nreplicates = 3\n" in text
    path.write_text(text.replace("\nreplicates = 3", f"\nreplicates = {draws}"), encoding="utf-8")
    ended = calaudit("compare", path, "--formats", "none", "--limit", 1)
    assert ended.status in {0, 1, 3}, ended.err
    assert path.with_suffix("").joinpath("report.json").exists()


def halves(n: int = N) -> list[str]:
    return ["evaluation", "evaluation", "calibration"] * (n // 3) + ["evaluation"] * (n % 3)


def test_a_classifier_is_audited_with_no_edit(tmp_path: Path) -> None:
    make_world(tmp_path, n=800)
    out = tmp_path / "first.toml"
    ended = calaudit("init", tmp_path / "model.onnx", tmp_path / "pool.h5", "--out", out)
    assert ended.status == 0
    assert f"calaudit compare {out}" in ended.err
    written = tomllib.loads(out.read_text(encoding="utf-8"))
    assert written["audit"]["model"] == "model.onnx"
    assert [each["by"] for each in written["slices"] if "by" in each][:2] == ["loudness", "margin"]
    assert [each["name"] for each in written["calibsets"]][:2] == ["random", "equal"]
    roles = {each["name"].split()[0]: each.get("role") for each in written["calibsets"]}
    assert roles == {"random": None, "equal": None, "only": "control"}
    runs(out, draws=3)


def test_the_narrow_control_is_the_group_that_reaches_least_far(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    linear(tmp_path / "m.onnx", 6, 4)
    level = rng.choice(3, N, p=[0.5, 0.2, 0.3])
    x = rng.uniform(-1, 1, (N, 6)) * np.array([2.0, 0.5, 8.0])[level][:, None]
    x[np.flatnonzero(level == 1)[0]] = 100
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": x.astype(np.float32)},
        targets={"label": rng.integers(0, 4, N)},
        meta={"split": halves(), "gain": np.array(["loud", "quiet", "shrill"])[level]},
    )
    sets = init(tmp_path)["calibsets"]
    quiet, label = [each["only"] for each in sets if "only" in each]
    assert (quiet, label[0][:7]) == (["gain = quiet"], "label =")
    text = (tmp_path / "audit.toml").read_text().replace("\n# ", " ")
    told = re.findall(r"is (\d+)% of the furthest group's\), so that its ranges clip", text)
    assert [4 < int(share) < 9 for share in told] == [True]
    # of labels, which reach about as far, the largest
    assert text.count("to show the effect of a biased set. A control") == 1


def test_a_ranking_pool_is_audited_with_no_edit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    linear(tmp_path / "m.onnx", 6, 30)
    pool_of(
        tmp_path / "p.h5",
        {"split": halves(1200), "activity": rng.integers(1, 500, 1200), "user": np.arange(1200)},
        relevance=(rng.random((1200, 30)) < 0.2).astype(np.uint8),
    )
    written = init(tmp_path)
    assert written["tasks"][0]["kind"] == "ranking"
    assert written["slices"] == [{"by": "activity", "quantiles": 2}]
    assert [gate["metric"] for gate in written["gates"]] == ["ndcg@10", "long_tail_share@10"]
    runs(tmp_path / "audit.toml")


def test_a_short_catalogue_gets_a_short_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    linear(tmp_path / "m.onnx", 6, 6)
    pool_of(
        tmp_path / "p.h5",
        {"split": halves(), "country": ["no", "se"] * (N // 2)},
        relevance=(rng.random((N, 6)) < 0.3).astype(np.uint8),
    )
    assert init(tmp_path)["gates"][0]["metric"] == "ndcg@3"


def test_pairs_are_sliced_by_what_their_queries_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    queries, items = 1000, 5
    linear(tmp_path / "m.onnx", 6, 1)
    query = np.repeat(np.arange(queries), items)
    pool_of(
        tmp_path / "p.h5",
        {
            "query": query, "item": np.tile(np.arange(items), queries),
            "split": np.where(query % 4 == 0, "train", "test").tolist(),
            "country": np.where(query % 2 == 0, "no", "se").tolist(),
            "place": np.tile(np.arange(items), queries),
        },
        relevance=rng.random(queries * items) < 0.3,
    )  # fmt: skip
    written = init(tmp_path)
    assert written["tasks"][0]["kind"] == "pairwise"
    assert [each.get("by") for each in written["slices"]] == ["country"]
    runs(tmp_path / "audit.toml")


def test_hostile_names_and_values_are_quoted(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", 6, 4, outputs=("other", "the logits"))
    odd = ['O\'Neil & "sons"', "x = y\\n🎧"]
    pool_of(
        tmp_path / "p.h5",
        {
            'sub"set': ["test", "it's a test", "train"] * (N // 3) + ["train"] * (N % 3),
            "who's there": odd * (N // 2),
        },
        kind=np.arange(N) % 4,
    )
    written = init(tmp_path)
    assert written["audit"]["evaluate"] == '"sub""set" = \'test\''
    assert written["tasks"][0]["output"] == "the logits"
    assert written["tasks"][0]["target"] == "kind"
    assert {"by": "who's there"} in written["slices"]
    runs(tmp_path / "audit.toml")


def test_without_a_split_every_fourth_number_may_be_drawn(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    pool_of(tmp_path / "p.h5", {"photo": np.arange(N), "lens": ["wide", "long"] * (N // 2)})
    written = init(tmp_path)
    assert written["audit"]["calibrate"] == "mod(photo, 4) = 0"
    assert written["audit"]["evaluate"] == "mod(photo, 4) <> 0"
    given = init(tmp_path, "--force", "--evaluate", "photo > 400", "--calibrate", "photo <= 400")
    assert given["audit"]["evaluate"] == "photo > 400"


def test_thin_and_empty_columns_are_left_out_with_a_reason(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    label = np.random.default_rng(1).integers(0, 4, N)
    pool_of(
        tmp_path / "p.h5",
        {
            "split": halves(), "site": ["one"] * N, "accent": ["rare"] * 9 + ["usual"] * (N - 9),
            "file": [f"{i}.wav" for i in range(N)], "class": [f"c{i}" for i in label],
            "gain": np.where(np.arange(N) % 2, np.inf, np.arange(N)),
        },
        label=label,
    )  # fmt: skip
    assert [each.get("by") for each in init(tmp_path)["slices"]] == ["label"]
    text = (tmp_path / "audit.toml").read_text(encoding="utf-8")
    for line in (
        "site: it is constant",
        "accent: its smallest group holds 6 evaluated samples",
        "file: it looks like an identifier",
        "class: it is equivalent to label",
        "gain: some of its values are infinite",
    ):
        assert f"#   {line}" in text


@pytest.mark.parametrize(
    ("meta", "targets", "message"),
    [
        ({"lens": ["a", "b"] * 50}, {"label": np.arange(100) % 4}, "which samples to evaluate on"),
        ({"split": halves(100)}, {"text": ["a"] * 100}, "can't be inferred from the targets"),
        ({"split": halves(100)}, {"label": np.zeros(100, int)}, "no column gives usable slices"),
        ({"split": ["test"] * 100}, {"label": np.arange(100) % 4}, "which samples to evaluate on"),
    ],
)
def test_what_cannot_be_guessed_is_said_with_a_next_step(
    tmp_path: Path, meta: dict[str, Any], targets: dict[str, Any], message: str
) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    pool_of(tmp_path / "p.h5", meta, **targets)
    ended = calaudit("init", tmp_path / "m.onnx", tmp_path / "p.h5", "--out", tmp_path / "a.toml")
    assert ended.status == 2
    assert message in ended.err
    assert "→" in ended.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.onnx", "p.h5"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    pool_of(tmp_path / "p.h5", {"split": halves(), "lens": ["wide", "long"] * (N // 2)})
    (tmp_path / "audit.toml").write_text("mine")
    ended = calaudit(
        "init", tmp_path / "m.onnx", tmp_path / "p.h5", "--out", tmp_path / "audit.toml"
    )
    assert ended.status == 2
    assert "already exists" in ended.err
    assert (tmp_path / "audit.toml").read_text() == "mine"
    ended = calaudit(
        "init", tmp_path / "m.onnx", tmp_path / "p.h5", "--out", tmp_path / "p.h5", "--force"
    )
    assert "would be overwritten" in ended.err


@pytest.mark.parametrize("stored", [False, True])
def test_labels_in_words_are_audited_with_no_edit(tmp_path: Path, stored: bool) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    rng = np.random.default_rng(3)
    label = rng.integers(0, 4, N)
    names = ["ant", "bee", "cat", "dog"] if not stored else ["dog", "ant", "cat", "bee"]
    write_pool(
        tmp_path / "p.h5",
        inputs={"x": rng.normal(size=(N, 6)).astype(np.float32)},
        targets={"label": [names[i] for i in label]},
        meta={"split": halves(), "country": ["no", "se"] * (N // 2)},
        classes={"label": names} if stored else None,
    )
    written = init(tmp_path)
    assert written["tasks"][0]["kind"] == "classification"
    assert written["tasks"][0].get("classes") == (None if stored else names)
    text = (tmp_path / "audit.toml").read_text(encoding="utf-8")
    assert ("sorted by name" in text) == (not stored)
    if stored:
        return
    runs(tmp_path / "audit.toml")
    report = json.loads((tmp_path / "audit" / "report.json").read_text(encoding="utf-8"))
    assert {"label = ant", "label = dog"} <= {each["name"] for each in report["slices"]}


def test_names_that_are_sorted_otherwise_than_the_model_are_told_by_init_and_by_the_audit(
    tmp_path: Path,
) -> None:
    linear(tmp_path / "m.onnx", 6, 4)
    (kept,) = onnx.load(str(tmp_path / "m.onnx")).graph.initializer
    x = np.random.default_rng(3).normal(size=(N, 6)).astype(np.float32)
    trained = ["dog", "ant", "cat", "bee"]
    label = [trained[at] for at in (x @ numpy_helper.to_array(kept)).argmax(axis=1)]
    meta = {"split": halves(), "country": ["no", "se"] * (N // 2)}
    write_pool(tmp_path / "p.h5", inputs={"x": x}, targets={"label": label}, meta=meta)
    out = tmp_path / "audit.toml"
    ended = calaudit("init", tmp_path / "m.onnx", tmp_path / "p.h5", "--out", out)
    assert "note: the pool doesn't say" in ended.err
    assert "sorted by name (ant, bee, cat, …)" in ended.err

    def order_told() -> list[str]:
        report = json.loads((tmp_path / "audit" / "report.json").read_text(encoding="utf-8"))
        return [w["message"] for w in report["warnings"] if w["code"] == "class_order"]

    runs(out)
    (told,) = order_told()
    assert "would be for 1.000" in told
    assert "output 0 (ant) for dog" in told
    text = out.read_text(encoding="utf-8")
    out.write_text(text.replace('["ant", "bee", "cat", "dog"]', json.dumps(trained)), "utf-8")
    assert text != out.read_text(encoding="utf-8")
    ended = calaudit("compare", out, "--formats", "none", "--limit", 1)
    assert ended.status in {0, 3}, ended.err
    assert order_told() == []


def test_names_that_do_not_fit_the_outputs_are_told_the_command(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", 6, 5)
    pool_of(
        tmp_path / "p.h5",
        {"split": halves(), "country": ["no", "se"] * (N // 2)},
        label=["ant", "bee"] * (N // 2),
    )
    ended = calaudit("init", tmp_path / "m.onnx", tmp_path / "p.h5", "--out", tmp_path / "a.toml")
    assert ended.status == 2
    assert "label text" in ended.err
    assert "--classes label=names.txt" in ended.err
    assert "all 5 names" in ended.err


@pytest.mark.parametrize("name", ["modèle ü.toml", "it's $HOME.toml", "a\nb.toml", "-rf.toml"])
def test_the_next_command_can_be_copied_into_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    audit = make_world(tmp_path, n=400)
    monkeypatch.chdir(tmp_path)
    audit.rename(name)
    ended = calaudit("init", "model.onnx", "pool.h5", "--out", f"./{name}", "--force")
    assert ended.status == 0, ended.err
    (_, line) = ended.err.rstrip("\n").split("Next: ")
    (commented,) = [
        each for each in Path(name).read_text().splitlines() if each.startswith("#   calaudit")
    ]
    for command in (line, commented.removeprefix("#   ")):
        program, verb, path = words_of(command)
        assert (program, verb, Path(path)) == ("calaudit", "compare", Path(name))
        assert not path.startswith("-")
