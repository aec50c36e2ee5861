"""Nets with a planted reason: what is said of them is the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.planted import KINDS, Planted, write_world

from calaudit.explain.run import explain_audit
from calaudit.explain.runs import Runs
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.report.files import read_report
from calaudit.results.explanation import FOUND, Cause, Explanation
from calaudit.slices.evaluate import select_rows


def named(name: str) -> Planted:
    return next(kind for kind in KINDS if kind.name == name)


@dataclass(frozen=True)
class Run:
    """An audit explained."""

    folder: Path
    explanations: tuple[Explanation, ...]
    rows: NDArray[np.int64]
    """Pool rows that experiments ran."""


Explained = Callable[..., Run]


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """Explains each kind of net once."""

    @cache
    def run(kind: Planted, seed: int = 0) -> Run:
        folder = tmp_path_factory.mktemp("planted")
        path = write_world(folder, kind, seed=seed)
        seen: list[NDArray[np.int64]] = []
        real = Runs.answers

        def answers(self: Runs, name: str, rows: NDArray[np.int64], *rest: Any) -> Predictions:
            seen.append(rows)
            return real(self, name, rows, *rest)

        with patch.object(Runs, "answers", answers):
            report, written = explain_audit(path, formats="none", every=kind.null)
        assert read_report(written).explanations == report.explanations
        return Run(folder, report.explanations, np.unique(np.concatenate(seen)))

    return run


def of_cell(found: tuple[Explanation, ...], kind: Planted) -> list[Explanation]:
    return [one for one in found if kind.cell in {one.cell, *(other.cell for other in one.alike)}]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in KINDS if k.taps], ids=lambda k: k.name)
def test_guilty_ranges_are_found_and_no_others(explained: Explained, kind: Planted) -> None:
    found = of_cell(explained(kind).explanations, kind)
    assert found
    for one in found:
        assert one.cause is Cause.RANGES
        assert set(one.taps) == set(kind.taps)
        assert all(tap in one.sentence for tap in kind.taps)
        assert one.tuning is not None
        assert one.left is not None
        assert one.others is not None
        assert one.removed is not None
        # theirs take the drop back, all others' don't
        assert one.left.value < 0.2 * one.tuning.value
        assert one.others.value > 0.8 * one.tuning.value
        assert one.removed.low > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in KINDS if k.ops], ids=lambda k: k.name)
def test_the_op_that_needs_float_is_found(explained: Explained, kind: Planted) -> None:
    found = of_cell(explained(kind).explanations, kind)
    assert found
    for one in found:
        assert one.cause is Cause.OPS
        assert one.ops == kind.ops
        assert one.searched
        assert one.tuning is not None
        trial = next(each for each in one.trials if each.op in kind.ops)
        assert trial.left is not None
        assert trial.alone is not None
        assert trial.left.value < 0.2 * one.tuning.value
        assert trial.alone.value > 0.5 * one.tuning.value


def few_rows(folder: Path, kind: Planted) -> Path:
    """Slices of some forty tuning rows: none can be halved into search and judgement."""
    path = write_world(folder, kind, seed=0, n=220)
    path.write_text(path.read_text("utf-8").replace("size = 256", "size = 20"), "utf-8")
    return path


def test_ops_are_tried_where_rows_are_too_few_to_search_on_half(tmp_path: Path) -> None:
    path = few_rows(tmp_path, named("head needs float"))
    report, _ = explain_audit(path, formats="none", cells=["both/*"], slices=["light = *"])
    assert report.explanations
    for one in report.explanations:
        assert one.cause is Cause.OPS
        assert one.ops == ("gemm4",)
        assert not one.searched
        assert one.n_tuning < 60
        assert one.at_once >= 8, "as many as four ops take, in float and alone in INT8"


def test_a_result_is_told_of_once_and_what_is_open_was_tried_with_what_was_found(
    tmp_path: Path,
) -> None:
    report, _ = explain_audit(few_rows(tmp_path, named("outlier channels")), formats="none")
    told = [(one.cell, one.slice) for one in report.explanations]
    told += [(each.cell, each.slice) for one in report.explanations for each in one.alike]
    harmed = [(one.cell, one.slice) for one in report.results if one.verdict == "REGRESSED"]
    assert sorted(told) == sorted(harmed)
    assert all(one.trials for one in report.explanations if one.cause is Cause.NOTHING_FOUND)


@pytest.mark.slow
def test_where_no_ranges_help_none_are_accused(explained: Explained) -> None:
    found = explained(named("no ranges help")).explanations
    assert found
    for one in found:
        assert one.cause in {Cause.OPS_IN_PART, Cause.NOTHING_FOUND}
        assert not one.taps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_where_nothing_is_planted_nothing_is_accused(explained: Explained, seed: int) -> None:
    found = explained(named("nothing"), seed).explanations
    assert found, "drops as measured are looked at though none is significant"
    assert not FOUND & {one.cause for one in found}


@pytest.mark.slow
def test_one_cause_of_many_results_is_told_once(explained: Explained) -> None:
    (one,) = explained(named("stretched by dark")).explanations
    told = {(one.cell, one.slice), *((other.cell, other.slice) for other in one.alike)}
    slices = ("all", "light = bright", "light = dark")
    assert told == {(f"both/{m}", name) for m in ("minmax", "mse") for name in slices}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.name)
def test_evaluated_rows_are_never_run(explained: Explained, kind: Planted) -> None:
    run = explained(kind)
    with open_pool(run.folder / "pool.h5") as pool:
        evaluated = select_rows("split = 'evaluation'", pool, where="test")
    assert len(run.rows) > 500
    assert not np.isin(run.rows, evaluated).any()


@pytest.mark.slow
def test_what_it_cost_is_told(explained: Explained) -> None:
    (one,) = explained(named("stretched by dark")).explanations
    assert one.engines > 3
    assert 0 < one.cost < 20
    assert one.backend == "onnxruntime, emulated"
