"""Tasks beyond classification: regressions, sequences, and what rankings know of their items."""

import json
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.predictions import write_predictions
from calaudit.metrics.scoring import score_all
from calaudit.metrics.truth import Relevance, Texts, Values
from calaudit.runtime.errors import CalauditError, PoolError, SettingsError
from calaudit.slices.evaluate import evaluate_slices
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import parse_task, read_eval_sets

ROWS = np.arange(4)
X = {"x": np.zeros((4, 1), np.float32)}
TOKENS = ("", "a", "b", "|")


def make_eval_set(
    path: Path, output: np.ndarray | None = None, **task: object
) -> tuple[EvalSet, dict]:
    with open_pool(path) as pool:
        (eval_set,) = read_eval_sets(
            parse_task(task, where="audit.toml", at="tasks[0]"),
            pool,
            ROWS,
            evaluate_slices([], pool),
            ["y"],
            where="audit.toml: tasks[0]",
            folder=path.parent,
        )
        ids = eval_set.ids(np.array([3, 0]))
        assert ids == ["z", "w"]
    if output is None:
        return eval_set, {}
    answers = write_predictions(path.parent / "predictions.h5", ROWS, [{"y": output}])
    given = eval_set.answers(answers, answers)
    scores = score_all(eval_set.metrics, given, eval_set.truth, given)
    return eval_set, {metric.name: each.value() for metric, each in scores.items()}


def pool_of(folder: Path, **parts: object) -> Path:
    path = folder / "pool.h5"
    write_pool(path, inputs=X, ids=list("wxyz"), **parts)
    return path


def test_a_regression_is_judged_by_its_errors(tmp_path: Path) -> None:
    path = pool_of(tmp_path, targets={"value": np.array([1.0, 2, 3, 4])})
    eval_set, found = make_eval_set(
        path, np.array([[1.0], [2], [3], [6]], np.float32), kind="regression"
    )
    assert isinstance(eval_set.truth, Values)
    assert found == pytest.approx({"mae": 0.5, "rmse": 1.0, "r2": 0.2, "max_abs_diff": 0.0})


def test_a_regression_with_a_missing_target_says_where(tmp_path: Path) -> None:
    path = pool_of(tmp_path, targets={"value": np.array([1.0, np.nan, 3, 4])})
    with pytest.raises(PoolError, match=r"pool\.h5: /targets/value: .*NaN"):
        make_eval_set(path, kind="regression")


def test_ctc_logits_and_token_numbers_are_judged_as_texts(tmp_path: Path) -> None:
    path = pool_of(tmp_path, targets={"text": ["ab a", "b", "a", "A, b"]})
    steps = np.array([[1, 2, 3, 1], [2, 2, 0, 0], [1, 0, 1, 0], [1, 3, 2, 2]])
    logits = np.eye(4, dtype=np.float32)[steps]
    plain = {"kind": "sequence", "vocabulary": TOKENS, "space": "|"}
    eval_set, found = make_eval_set(path, logits, blank=0, **plain)
    assert isinstance(eval_set.truth, Texts)
    # "ab a", "b", "aa", "a b": one word of four texts' six is wrong, and "A," too.
    assert found == pytest.approx({"wer": 2 / 6, "cer": 3 / 10, "exact_match": 0.5})
    _, loose = make_eval_set(
        path, logits, blank=0, ignore_case=True, ignore_punctuation=True, **plain
    )
    assert loose["exact_match"] == 0.75
    _, numbers = make_eval_set(path, np.array([[1, 2, 3, 1], [2, -1, -1, -1]] * 2), **plain)
    assert numbers["exact_match"] == 0.5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokens.txt", "\n".join(TOKENS)),
        ("tokens.json", json.dumps(TOKENS)),
        ("vocab.json", json.dumps({"b": 2, "": 0, "|": 3, "a": 1})),
    ],
)
def test_a_vocabulary_may_be_a_file_beside_the_audit(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    path = pool_of(tmp_path, targets={"text": ["ab a", "b", "a", "b"]})
    numbers = np.array([[1, 2, 3, 1], [2, -1, -1, -1], [1, -1, -1, -1], [2, -1, -1, -1]])
    _, found = make_eval_set(path, numbers, kind="sequence", vocabulary=name, space="|")
    assert found["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ({"vocabulary": "none.txt"}, None, "can't be read"),
        ({"vocabulary": "v.json"}, "[1, 2]", "doesn't give one token"),
        ({"vocabulary": "v.json"}, '{"a": 1}', "doesn't give one token"),
        ({"vocabulary": "v.json"}, "{", "can't be read"),
        ({"vocabulary": ["a", "b"], "blank": 2}, None, "blank is token 2, the vocabulary has 2"),
        ({"vocabulary": ["a", "b"], "end": "</s>"}, None, "no token '</s>'"),
        ({"vocabulary": ["a", "b"], "silent": ["<pad>"]}, None, "no token '<pad>'"),
        ({"vocabulary": []}, None, "vocabulary is empty"),
        ({"vocabulary": ["a"], "blank": -1}, None, "blank is -1"),
        ({}, None, "missing"),
        ({"vocabulary": ["a"], "target": "label"}, None, "expected text"),
        ({"vocabulary": ["a"], "target": "txt"}, None, "no target 'txt'"),
    ],
)
def test_a_sequence_task_that_makes_no_sense_is_refused(
    tmp_path: Path, task: dict[str, object], content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "v.json").write_text(content)
    path = pool_of(tmp_path, targets={"text": list("abab"), "label": np.arange(4)})
    with pytest.raises(CalauditError, match=message):
        make_eval_set(path, kind="sequence", **task)


RELEVANCE = np.eye(4, 5, dtype=np.uint8)


@pytest.mark.parametrize(
    "genres",
    [
        ["Film-Noir|Sci-Fi", "Sci-Fi", "", "Children's", "Sci-Fi|Children's"],
        ["Film-Noir Sci-Fi", "Sci-Fi", None, "Children's", "Sci-Fi Children's"],
        ["Film-Noir, Sci-Fi", "Sci-Fi", "", "Children's", "Sci-Fi,Children's"],
    ],
)
def test_genres_are_read_however_they_are_separated(tmp_path: Path, genres: list[str]) -> None:
    exclude = np.roll(RELEVANCE, 1, axis=1)
    path = pool_of(
        tmp_path, targets={"relevance": RELEVANCE, "exclude": exclude}, items={"genres": genres}
    )
    eval_set, _ = make_eval_set(path, kind="ranking")
    truth = eval_set.truth
    assert isinstance(truth, Relevance)
    # Children's, Film-Noir, Sci-Fi
    assert truth.genres is not None
    assert truth.genres.astype(int).tolist() == [
        [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 1]
    ]  # fmt: skip
    assert truth.vectors is not None
    assert (truth.vectors == truth.genres).all()
    assert truth.history is not None
    assert (truth.history == exclude.astype(bool)).all()


def test_a_ranking_knows_its_items_by_vectors_history_and_names(tmp_path: Path) -> None:
    history = RELEVANCE[:, ::-1]
    vectors = np.arange(10.0).reshape(5, 2)
    path = pool_of(
        tmp_path,
        targets={"relevance": RELEVANCE, "seen": history},
        items={"vector": vectors, "id": np.arange(5) * 10, "title": ["A", None, "C", "D", "E"]},
    )
    metrics = ("intra_list_diversity@2", "arp@2")
    eval_set, found = make_eval_set(
        path,
        np.tile(np.arange(5.0, dtype=np.float32), (4, 1)),
        kind="ranking",
        vectors="vector",
        history="seen",
        metrics=metrics,
    )
    truth = eval_set.truth
    assert isinstance(truth, Relevance)
    assert truth.vectors is not None
    assert truth.history is not None
    assert truth.vectors.tolist() == vectors.tolist()
    assert (truth.history == history).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert found == pytest.approx({"intra_list_diversity@2": 1 - unit[4] @ unit[3], "arp@2": 0.5})
    assert eval_set.items is not None
    assert eval_set.items(np.array([4, 1, 0])) == ["E", "1", "A"]
    by_id, _ = make_eval_set(path, kind="ranking", names="id")
    assert by_id.items is not None
    assert by_id.items(np.array([4, 1])) == ["40", "10"]


def test_item_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = pool_of(tmp_path, targets={"relevance": RELEVANCE}, items={"genre": list("aabbc")})
    for key in ("genres", "vectors", "names", "popularity"):
        with pytest.raises(PoolError, match="no item column 'genrs'"):
            make_eval_set(path, kind="ranking", **{key: "genrs"})
    eval_set, _ = make_eval_set(path, kind="ranking")
    assert isinstance(eval_set.truth, Relevance)
    assert eval_set.truth.genres is None
    assert eval_set.items is not None
    assert eval_set.items(np.array([3])) == ["3"]


def test_a_metric_of_the_users_own_lies_beside_the_audit(tmp_path: Path) -> None:
    (tmp_path / "metrics_beside_audit.py").write_text(
        "from calaudit.metrics.base import metric\n"
        '@metric("mean", higher_is_better=False, unit="points")\n'
        "def off_by(outputs, target):\n"
        "    return abs(outputs[:, 0] - target)\n"
    )
    path = pool_of(tmp_path, targets={"value": np.array([1.0, 2, 3, 4])})
    name = "metrics_beside_audit:off_by"
    _, found = make_eval_set(
        path, np.ones((4, 1), np.float32), kind="regression", metrics=["mae", name]
    )
    assert found[name] == found["mae"] == 1.5
    with pytest.raises(SettingsError, match=r"tasks\[0\]\.metrics: .*no function 'of_by'"):
        make_eval_set(path, kind="regression", metrics=["metrics_beside_audit:of_by"])


PAIRS = {"relevance": np.array([1.0, 0, 1, 0])}


@pytest.mark.parametrize("column", ["query", "item"])
@pytest.mark.parametrize("values", [["a", "", "b", "c"], [1, None, 2, 3], [1.0, np.nan, 2, 3]])
def test_a_pair_without_a_query_or_an_item_is_named(
    tmp_path: Path, column: str, values: list[object]
) -> None:
    meta = {"query": list("aabb"), "item": list("xyxy")} | {column: values}
    path = pool_of(tmp_path, targets=PAIRS, meta=meta)
    with pytest.raises(PoolError, match=f"1 of 4 evaluated samples have no {column}: x") as caught:
        make_eval_set(path, kind="pairwise")
    assert f"AND {column} IS NOT NULL" in str(caught.value.problems[0].next_step)


def test_queries_beyond_what_floats_hold_stay_apart(tmp_path: Path) -> None:
    meta = {"query": [2**53, 2**53, 2**53 + 1, 2**53 + 1], "item": list("xyxy")}
    path = pool_of(tmp_path, targets=PAIRS, meta=meta)
    eval_set = open_pool(path)
    slices = evaluate_slices([], eval_set)
    task = parse_task({"kind": "pairwise"}, where="", at="")
    (read,) = read_eval_sets(task, eval_set, ROWS, slices, ["y"], where="")
    truth = read.truth
    assert len(truth) == 2


@pytest.mark.parametrize("kind", ["pairwise", "ranking"])
def test_relevance_in_words_is_refused(tmp_path: Path, kind: str) -> None:
    meta = {"query": list("aabb"), "item": list("xyxy")}
    path = pool_of(tmp_path, targets={"relevance": ["yes", "no", "yes", "no"]}, meta=meta)
    with pytest.raises(PoolError, match="/targets/relevance: holds text, expected numbers"):
        make_eval_set(path, kind=kind)


@pytest.mark.parametrize("popularity", [["many", "few", "1", "2", "3"], [1, None, 2, 3, 4]])
def test_popularity_that_is_not_a_number_of_every_item_is_refused(
    tmp_path: Path, popularity: list[object]
) -> None:
    targets = {"relevance": np.eye(4, 5, dtype=np.uint8)}
    path = pool_of(tmp_path, targets=targets, items={"popularity": popularity})
    with pytest.raises(PoolError, match=r"/items/popularity: holds .*, expected one number"):
        make_eval_set(path, kind="ranking", popularity="popularity")


@pytest.mark.parametrize(
    ("task", "targets", "items", "message"),
    [
        ({"kind": "ranking"}, {"relevance": -np.eye(4)}, {}, "/targets/relevance: .*-1.0 for"),
        (
            {"kind": "ranking"}, {"relevance": np.full((4, 3), np.inf)}, {},
            "/targets/relevance: .*inf for query w, item 0",
        ),
        (
            {"kind": "ranking", "vectors": "v"}, {"relevance": np.eye(4)},
            {"v": np.array([[1.0], [np.nan], [1.0], [1.0]])}, "/items/v: NaN .*item 1",
        ),
        (
            {"kind": "pairwise", "query": "q", "item": "i"},
            {"relevance": np.array([0, 1, -2, 1])}, {}, "/targets/relevance: .*-2",
        ),
        ({"kind": "regression"}, {"value": np.array([0, 1, np.inf, 1])}, {}, "/targets/value: "),
    ],
)  # fmt: skip
def test_a_truth_that_makes_no_sense_is_refused_with_its_place(
    tmp_path: Path, task: dict, targets: dict, items: dict, message: str
) -> None:
    meta = {"q": [0, 0, 1, 1], "i": [0, 1, 0, 1]}
    path = pool_of(tmp_path, targets=targets, items=items, meta=meta)
    with pytest.raises(PoolError, match=rf"pool\.h5: {message}"):
        make_eval_set(path, **task)
