"""Slices of a replay are compared alike, whether units are requests or many of one request."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.ab.comparing import Requests, Terms, foresee
from calaudit.ab.live import LiveResult
from calaudit.ab.looking import quality
from calaudit.ab.scoring import MetricScores, UnitTable
from calaudit.results.ab import Mode
from calaudit.results.comparison import ALL
from tests.ab.prepared import Opened, opened_world

TERMS = Terms(share=0.5, level=0.95, seed=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened_world(tmp_path_factory.mktemp("world")) as opened:
        yield opened


def in_units(scores: MetricScores) -> MetricScores:
    """The same scores, as a detector's would come: rows have several units, here one each."""
    units = np.arange(len(scores.evaluated))
    return replace(scores, eval_set=replace(scores.eval_set, row_of_unit=units))


def first_answers(requests: Requests) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    every = np.where(requests.judged, 0, -1).astype(np.int32)
    if requests.arm is None:
        return every, every
    mine = [np.where(requests.arm == arm, every, -1).astype(np.int32) for arm in (0, 1)]
    return mine[0], mine[1]


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_what_a_log_can_find_is_the_same_whatever_units_its_samples_have(
    world: Opened, mode: Mode
) -> None:
    requests, scores = world.requests(mode), world.scores()
    plain, units = (foresee(each, requests, TERMS) for each in (scores, in_units(scores)))
    assert len(plain) > 2
    assert any(0 < effect < math.inf for effect in plain.values())
    assert units == plain


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_live_slices_are_one_family_whatever_units_samples_have(world: Opened, mode: Mode) -> None:
    requests, scores = world.requests(mode), world.scores()
    names, numbers = list(scores.slices.names), first_answers(requests)
    apart = 0
    for n in range(20, 1000, 10):
        so_far = replace(requests, n_sent=n)
        found = quality(scores, so_far, numbers, TERMS, names)
        assert quality(in_units(scores), so_far, numbers, TERMS, names) == found
        alone: list[LiveResult] = []
        for name in names:
            alone += quality(scores, so_far, numbers, TERMS, [name])
        apart += alone != found
    assert apart > 0  # a slice by itself is decided sooner


def test_a_slice_without_a_pair_has_no_drop_while_it_runs(world: Opened) -> None:
    """In shadow mode: each arm has answered some requests, and none has both answers."""
    requests = world.requests("shadow")
    first = first_answers(requests)[0]
    odd = np.arange(len(first)) % 2 == 1
    numbers = (
        np.where(odd, first, -1).astype(np.int32),
        np.where(odd, -1, first).astype(np.int32),
    )
    (one,) = quality(world.scores(), requests, numbers, TERMS, [ALL])
    assert one.control is not None
    assert one.treatment is not None
    assert (one.drop, one.drop_low, one.decided) == (None, None, False)


def test_a_slice_that_fp32_has_no_score_on_has_no_drop_while_it_runs(world: Opened) -> None:
    requests, scores = world.requests("split"), world.scores()
    nothing = np.full(len(scores.evaluated), np.nan)
    scores = replace(scores, fp32=UnitTable([nothing], [np.zeros(len(nothing))]))
    (one,) = quality(scores, requests, first_answers(requests), TERMS, [ALL])
    assert one.control is not None
    assert one.drop is None
