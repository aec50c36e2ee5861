"""Scored in pieces, units get what they get when all outputs are in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.formats.pool import PoolFile, open_pool
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.metrics.case import Case
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.unit_scores import RatioScores, Scores, UnitScores
from calaudit.results.audited import Agreement
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.steps.agreement import compare_outputs, squared_differences
from calaudit.steps.pieces import Pieces
from calaudit.steps.score import Scored, score_eval_sets
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import parse_task, read_eval_sets, rows_to_predict
from tests.packages import EXAMPLE, installed
from tests.tasks.worlds import WORLDS, N, World

MORE = {
    "classification": ["top2", "balanced_accuracy", "macro_f1", "nll", "ece", "top1_agreement",
                       "cosine", "max_abs_diff"],
    "regression": ["mae", "mse", "rmse", "r2", "cosine", "max_abs_diff"],
    "ranking": ["ndcg_exp@3", "mrr@3", "map@3", "gini@3", "exposure_entropy@3", "arp@3",
                "long_tail_share@3", "popularity_lift@3", "novelty@3", "jaccard@3", "rbo@3",
                "kendall", "weighted_tau", "tau_ap", "max_abs_diff"],
}  # fmt: skip
NUMBERS = ("classification", "regression", "ranking", "pairwise", "retrieval")
"""Kinds whose answers are as large as outputs."""
SIZES = (100_000, 10_000, 1_000, 100)
"""Bytes of a piece; the largest is taken of which there are several."""


def numbers(scores: Scores) -> tuple[Any, ...]:
    if isinstance(scores, UnitScores):
        return scores.values, scores.present
    if isinstance(scores, RatioScores):
        return scores.numerator, scores.denominator
    if isinstance(scores.statistics, Sums):
        return scores.statistics.columns.toarray(), scores.present
    parts = (np.arange(start, len(scores), 3) for start in range(3))
    return np.array([scores.value(part) for part in parts]), scores.present


def assert_alike(one: Scored, other: Scored) -> None:
    for cell in (None, *one.cells):
        own = one.reference if cell is None else one.cells[cell]
        others = other.reference if cell is None else other.cells[cell]
        assert set(own) == set(others)
        for metric, scores in own.items():
            for a, b in zip(numbers(scores), numbers(others[metric]), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=metric.name)
    for name in ("rankings", "notices", "probabilities", "constant", "constant_cells", "identical"):
        assert getattr(one, name) == getattr(other, name), name
    assert [each.name for each in one.rivals] == [each.name for each in other.rivals]
    for rival, same in zip(one.rivals, other.rivals, strict=True):
        for a, b in zip(rival.gains, same.gains, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.answer, other.answer)


class Made:
    """One kind's evaluation set, FP32, and engines of which one is broken and one is FP32 again."""

    def __init__(self, kind: str, folder: Path, pool: PoolFile, world: World) -> None:
        task = parse_task({"kind": kind, **world.keys}, where="a.toml", at="tasks[0]")
        evaluated = np.flatnonzero(np.arange(N) < (N if kind != "retrieval" else N / 2))
        slices = evaluate_slices([Dimension(by="half")], pool).take(evaluated)
        self.eval_sets: Sequence[EvalSet] = read_eval_sets(
            task, pool, evaluated, slices, tuple(world.outputs), where="a.toml: tasks[0]"
        )
        rows = rows_to_predict([task], pool, evaluated)

        def stored(name: str, outputs: dict[str, np.ndarray]) -> Predictions:
            given = {key: values[rows] for key, values in outputs.items()}
            return write_predictions(folder / f"{name}.h5", rows, [given])

        fp32 = dict(world.outputs)
        self.fp32 = stored("fp32", fp32)
        rolled = {name: np.roll(values, 3, axis=0) for name, values in fp32.items()}
        broken = {name: values.copy() for name, values in fp32.items()}
        for values in broken.values():
            if values.dtype.kind == "f":
                values[5], values[77, 0] = np.nan, np.inf
        still = {name: np.broadcast_to(values[:1], values.shape) for name, values in fp32.items()}
        self.cells = {
            name: stored(name, outputs)
            for name, outputs in {
                "same": fp32, "rolled": rolled, "broken": broken, "still": still
            }.items()
        }  # fmt: skip

    def scored(self) -> list[Scored]:
        return score_eval_sets(self.eval_sets, self.fp32, self.cells)

    @cached_property
    def whole(self) -> list[Scored]:
        """Scored with all outputs in memory, where no test has made pieces small."""
        return self.scored()


@contextmanager
def making(kind: str, folder: Path) -> Iterator[Made]:
    """Of a kind, with more metrics than its world asks for."""
    world = WORLDS[kind]()
    if kind in MORE:
        metrics = [*world.keys.get("metrics", ()), *MORE[kind]]
        world = replace(world, keys={**world.keys, "metrics": metrics})
    with open_pool(world.write(folder / "pool.h5")) as pool:
        yield Made(kind, folder, pool, world)


def in_pieces(made: Made, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let pieces be small; returns their size in bytes."""
    for size in SIZES:
        monkeypatch.setattr("calaudit.metrics.case.PIECE_BYTES", size)
        monkeypatch.setattr("calaudit.steps.pieces._NARROW", size)
        spans = Pieces(made.eval_sets[0], made.fp32).spans
        if len(spans) > 2:
            break
    assert len(spans) > 2
    np.testing.assert_array_equal(np.concatenate(spans), np.arange(len(made.eval_sets[0].truth)))
    return size


@pytest.fixture(scope="module", params=sorted(WORLDS))
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp(request.param)
    with installed(EXAMPLE, folder / "metadata"), making(request.param, folder) as kind:
        yield kind


@dataclass
class Apart:
    """What is scored in pieces."""

    scored: list[Scored]
    size: int
    """Bytes of a piece."""
    most: list[int]
    """Bytes of each case's outputs."""


@pytest.fixture(scope="module")
def apart(made: Made) -> Apart:
    most: list[int] = []
    real = Case.__post_init__

    def counted(case: Case) -> None:
        if case.reference_outputs is not None and isinstance(case.outputs, np.ndarray):
            most.append(case.outputs.nbytes)
        real(case)

    with pytest.MonkeyPatch.context() as patch:
        size = in_pieces(made, patch)
        patch.setattr(Case, "__post_init__", counted)
        return Apart(made.scored(), size, most)


def test_units_of_every_kind_get_the_same_scores_in_pieces(made: Made, apart: Apart) -> None:
    for one, other in zip(made.whole, apart.scored, strict=True):
        assert_alike(one, other)


def test_no_more_units_are_read_at_a_time_than_a_piece_holds(made: Made, apart: Apart) -> None:
    if made.eval_sets[0].task.kind not in NUMBERS:
        return  # what answers are made of is read in pieces, but they are small
    unit = max(made.eval_sets[0].answers(made.fp32, made.fp32, np.arange(1)).nbytes, 1)
    # in float64, where a metric asks for it
    assert 0 < max(apart.most) <= 2 * max(apart.size, unit)


def test_two_engines_agree_as_much_in_pieces(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[Agreement]:
        return [
            compare_outputs(one, cell, made.cells[cell], "t", other)
            for one in made.eval_sets
            for cell in made.cells
            for other in (made.fp32, made.cells["rolled"])
        ]

    def differences() -> list[object]:
        rows = made.fp32.rows[1::2]
        return [
            values.tolist()
            for name in made.fp32.output_names
            for values in squared_differences(name, made.cells["broken"], made.fp32, rows)
        ]

    whole, apart = found(), differences()
    in_pieces(made, monkeypatch)
    for one, other in zip(found(), whole, strict=True):
        # a product of matrices is rounded otherwise for other shapes
        assert (one.max_abs_diff is None) == (other.max_abs_diff is None)
        assert (one.max_abs_diff or 0) == pytest.approx(other.max_abs_diff or 0, rel=1e-14)
        assert replace(one, max_abs_diff=None) == replace(other, max_abs_diff=None)
    np.testing.assert_equal(differences(), apart)
