"""Every different answer is scored, and one that never answers alike ends nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.ab import judging
from calaudit.ab.answers import MOST_ANSWERS, AnswerKeeper
from calaudit.ab.comparing import Requests
from calaudit.ab.judging import judged_answers, score_arms
from calaudit.ab.replay import OK
from tests.ab.prepared import Opened, opened_world
from tests.audit.world import N_CLASSES

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened_world(tmp_path_factory.mktemp("world")) as opened:
        yield opened


def hot_requests(world: Opened, n: int) -> Requests:
    """All for one sample but for every tenth, which is for another."""
    rows = np.full(n, world.audit.evaluated[3])
    rows[::10] = world.audit.evaluated[5]
    return Requests(rows, np.arange(n), None, np.ones(n, bool), n)


def answered(
    world: Opened, requests: Requests, different: int
) -> tuple[AnswerKeeper, NDArray[np.int64]]:
    """A steady control, a treatment of so many answers; and the class that each of its says."""
    keeper = world.keeper(requests)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(different, N_CLASSES)).astype(np.float32)
    said = np.arange(len(requests.rows)) % different
    for request, number in enumerate(said.tolist()):
        row = requests.rows[request : request + 1]
        steady = world.known.reference.read("y", row)
        assert keeper.keep(0, request, {"y": steady}) == (OK, "")
        assert keeper.keep(1, request, {"y": logits[number : number + 1]}) == (OK, "")
    return keeper, logits[said].argmax(axis=1)


def scored(world: Opened, keeper: AnswerKeeper, folder: Path, **more: Any) -> Any:
    return score_arms(
        world.audit,
        keeper,
        world.known.standing,
        world.known.reference,
        folder,
        metrics=("top1",),
        **more,
    )


def test_each_request_has_the_score_of_its_own_answer(world: Opened, tmp_path: Path) -> None:
    requests = hot_requests(world, 120)
    keeper, said = answered(world, requests, 7)
    judged, same = scored(world, keeper, tmp_path)
    label = world.audit.pool.read_target("label", np.unique(requests.rows))
    right = label[np.searchsorted(np.unique(requests.rows), requests.rows)] == said
    score, size = judged.metrics[0].of_requests(1, requests.rows, keeper.arms[1].number)
    np.testing.assert_array_equal(score, right)
    np.testing.assert_array_equal(size, 1.0)
    assert 0 < right.sum() < 120
    assert (same[0].unsteady_control, same[0].unsteady_treatment) == (0, 2)
    assert not [each for each in judged.notices if each.code == "unsteady_answers"]


def test_an_arm_that_never_answers_alike_has_few_files_and_is_told_of(
    world: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = hot_requests(world, 900)
    keeper, said = answered(world, requests, 900)
    arm, hot = keeper.arms[1], requests.rows == world.audit.evaluated[3]
    assert len(arm.batches) == MOST_ANSWERS
    further = int(hot.sum()) - MOST_ANSWERS + int((~hot).sum()) - MOST_ANSWERS
    assert arm.beyond == further
    # each that is kept stands for as many of the others as any other
    counts = np.bincount(arm.number, minlength=MOST_ANSWERS)
    assert counts.sum() == 900
    assert counts.max() - counts.min() <= 1
    files: list[int] = []
    score = judging.score_eval_sets

    def watched(eval_sets: Any, reference: Any, cells: Mapping[str, Any]) -> Any:
        files.append(len(list(tmp_path.iterdir())))
        return score(eval_sets, reference, cells)

    monkeypatch.setattr(judging, "score_eval_sets", watched)
    judged, _ = scored(world, keeper, tmp_path)
    assert len(files) >= MOST_ANSWERS - 1
    assert max(files) <= 4
    assert len(list(tmp_path.iterdir())) <= 2
    (notice,) = [each for each in judged.notices if each.code == "unsteady_answers"]
    assert notice.where == "treatment"
    assert f"gave more than {MOST_ANSWERS} different answers to one sample" in notice.message
    assert f"{further:,} further requests" in notice.message
    top, _ = judged.metrics[0].of_requests(1, requests.rows, arm.number)
    kept = np.flatnonzero(hot)[:MOST_ANSWERS]
    label = world.audit.pool.read_target("label", requests.rows[kept[:1]])
    np.testing.assert_array_equal(top[kept], said[kept] == label)


def test_looks_go_by_a_few_answers(world: Opened, tmp_path: Path) -> None:
    requests = hot_requests(world, 300)
    keeper, _ = answered(world, requests, 300)
    judged, first = judged_answers(
        world.audit,
        keeper,
        world.known.standing,
        world.known.reference,
        tmp_path,
        metrics=("top1",),
        most=4,
    )
    assert [len(arm.numerators) for arm in judged.metrics[0].arms] == [1, 4]
    assert len(first) == 2
