"""Scores that are made while engines run are those that whole outputs get, to the bit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.steps.agreement import compare_outputs, squared_differences
from calaudit.steps.score import Scored, score_eval_sets
from calaudit.steps.scores_reduction import ScoresReduction, sketch, to_scores
from calaudit.tasks.reduction import Kept
from tests.steps.test_pieces import Made, assert_alike, making

BATCH = 37


class Reduced:
    """One kind's engines, scored batch by batch."""

    def __init__(self, made: Made, folder: Path) -> None:
        (plain,) = made.eval_sets
        rows = made.fp32.rows
        self.eval_set = to_scores(plain, rows, n_predicted=len(rows), row_bytes=10_000)
        reduction = self.eval_set.reduction
        assert isinstance(reduction, ScoresReduction)
        self.reduction = reduction
        kept = Kept((), (reduction,))
        self.cells: dict[str, Predictions] = {}
        for name, given in made.cells.items():
            batches = (
                kept.batch({o: given.read(o, piece) for o in given.output_names}, piece, made.fp32)
                for piece in np.split(rows, range(BATCH, len(rows), BATCH))
            )
            self.cells[name] = write_predictions(folder / f"reduced-{name}.h5", rows, batches)
        self.fp32 = made.fp32

    def scored(self) -> Scored:
        (found,) = score_eval_sets([self.eval_set], self.fp32, self.cells)
        return found


@pytest.fixture(scope="module", params=["classification", "regression", "ranking"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Made, Reduced]]:
    folder = tmp_path_factory.mktemp(request.param)
    with making(request.param, folder) as made:
        yield made, Reduced(made, folder)


@pytest.mark.parametrize("pieces", [False, True])
def test_every_metric_and_all_else_that_is_told_of_outputs_is_the_same(
    both: tuple[Made, Reduced], pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, reduced = both
    (whole,) = made.whole
    assert all(each.output_names == () for each in reduced.cells.values())
    if pieces:
        monkeypatch.setattr("calaudit.metrics.case.PIECE_BYTES", 1000)
    found = reduced.scored()
    assert_alike(whole, replace(found, eval_set=whole.eval_set))
    assert found.constant_cells == ("still",)
    assert found.identical == frozenset({"same"})


def test_likeness_of_outputs_is_the_same_but_for_how_far_twins_are_apart(
    both: tuple[Made, Reduced],
) -> None:
    made, reduced = both
    (plain,) = made.eval_sets
    for name, cell in reduced.cells.items():
        with_fp32 = compare_outputs(reduced.eval_set, name, cell, None, made.fp32)
        assert with_fp32 == compare_outputs(plain, name, made.cells[name], None, made.fp32)
        twin = compare_outputs(reduced.eval_set, name, cell, "t", reduced.cells["rolled"])
        expected = compare_outputs(plain, name, made.cells[name], "t", made.cells["rolled"])
        assert twin == replace(expected, max_abs_diff=None)
        output = made.fp32.output_names[0]
        for own, other in zip(
            reduced.reduction.squared_differences(cell),
            squared_differences(output, made.cells[name], made.fp32, made.fp32.rows),
            strict=True,
        ):
            np.testing.assert_array_equal(own, other)


def test_narrow_outputs_and_metrics_of_others_keep_their_outputs(
    both: tuple[Made, Reduced],
) -> None:
    (plain,) = both[0].eval_sets
    rows = both[0].fp32.rows
    for row_bytes in (None, 40):
        assert to_scores(plain, rows, n_predicted=len(rows), row_bytes=row_bytes) is plain
    assert to_scores(plain, rows, n_predicted=len(rows) + 1, row_bytes=10_000) is plain


def test_a_sketch_varies_where_outputs_do() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        one = rng.normal(size=50).astype(np.float32)
        other = one.copy()
        a, b = rng.choice(50, 2, replace=False)
        other[[a, b]] = one[[b, a]]  # the same values, elsewhere
        assert (sketch(np.stack([one, one]))[0] == sketch(np.stack([one, one]))[1]).all()
        assert not np.allclose(*sketch(np.stack([one, other])), rtol=1e-6, atol=0)
