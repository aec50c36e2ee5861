"""The highest classes or items in place of outputs: which metrics they tell, and that they do."""

import dataclasses

import numpy as np
import pytest

from calaudit.formats.given import Batch
from calaudit.metrics.case import Case
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import scores_of
from calaudit.runtime.errors import FileFormatError
from calaudit.tasks.reduced import Highest, depth_of
from tests.metrics.every_metric import NAMES, K, world

TOLD = [name for name in NAMES if depth_of(parse_metric(name)) is not None]


def test_metrics_that_read_more_than_the_highest_are_known() -> None:
    assert {"top1", "top2", "balanced_accuracy", "macro_f1", "top1_agreement"} <= set(TOLD)
    assert {f"ndcg@{K}", f"map@{K}", f"coverage@{K}", f"rbo@{K}", f"overlap@{K}"} <= set(TOLD)
    untold = {"nll", "ece", "cosine", "max_abs_diff", "kendall", f"ties_at_cut@{K}", "ap", "wer"}
    assert not untold & set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_a_list_of_the_highest_is_scored_as_the_outputs_are(name: str) -> None:
    metric = parse_metric(name)
    fp32, engine, truth = world(name, n=200)
    depth = depth_of(metric)
    assert depth is not None
    ranked = np.argsort(-engine, axis=1, kind="stable")
    if getattr(truth, "exclude", None) is not None:
        engine = np.where(truth.exclude, -99.0, engine)
        ranked = np.argsort(-engine, axis=1, kind="stable")
    form = Highest("y", engine.shape[1], "class", depth)
    batch = form.batch({"top": ranked[:, :depth]}, np.arange(200))
    assert isinstance(batch, Batch)
    values = [
        scores_of(metric, Case(outputs, truth, fp32)) for outputs in (engine, batch.outputs["y"])
    ]
    for field in ("values", "numerator", "denominator"):
        if hasattr(values[0], field):
            np.testing.assert_allclose(*(getattr(each, field) for each in values), rtol=1e-12)
    assert values[0].value() == pytest.approx(values[1].value(), rel=1e-12)


def test_lists_are_held_to_items_that_may_be_shown() -> None:
    hidden = np.zeros((2, 6), np.bool_)
    hidden[1, 3] = True
    form = Highest("y", 6, "item", 3, hidden=lambda rows: hidden[rows])
    rows = np.arange(2)
    top = np.array([[0, 1, 3, 4], [0, 1, 3, 4]])
    assert form.check({"top": top}, rows) == ()
    with pytest.raises(FileFormatError, match="names 2 items that may be shown, in 1 sample of 2"):
        form.check({"top": top[:, :3]}, rows)
    shorter = dataclasses.replace(form, cut=2)
    assert shorter.check({"top": top[:, :3]}, rows) == ()
