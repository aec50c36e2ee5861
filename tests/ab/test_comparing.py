"""Slices of a replay are compared alike, whether units are requests or many of one request."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from calaudit.ab.asked import Asked
from calaudit.ab.comparing import Requests, Terms, foresee
from calaudit.ab.live import LiveResult
from calaudit.ab.looking import quality
from calaudit.ab.opened import open_known, read_log, scheduled
from calaudit.ab.scoring import MetricScores, UnitTable, judged_by_request
from calaudit.ab.traffic import Traffic
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.results.ab import Mode
from calaudit.results.comparison import ALL
from tests.audit.world import make_world
from tests.cli.running import calaudit

HARMED = "loud only/minmax"
TERMS = Terms(share=0.5, level=0.95, seed=0)
Numbers = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class World:
    """One metric of two arms, and the requests of each mode."""

    scores: MetricScores
    requests: Mapping[Mode, Requests]

    @property
    def in_units(self) -> MetricScores:
        """The same scores, as a detector's would come: rows have several units, here one each."""
        units = np.arange(len(self.scores.evaluated))
        return replace(self.scores, eval_set=replace(self.scores.eval_set, row_of_unit=units))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = make_world(tmp_path_factory.mktemp("world"), n=2400)
    assert calaudit("compare", path, "--formats", "none").status == 1
    with prepared_audit(path, Overrides()) as audit:
        requests: dict[Mode, Requests] = {}
        for mode in ("split", "shadow"):
            asked = Asked(
                arms=("fp32", HARMED),
                requests=Traffic(rate=500.0, users=1500, skew=0.0, seed=3),
                n=1500,
                mode=mode,
                metrics=("top1",),
            )
            known = open_known(audit, asked)
            log = read_log(audit, asked, lambda notice: None)
            requests[mode] = scheduled(audit, asked, log)[1]
        cells = {f"{arm}.0": given for arm, given in enumerate(known.arms)}
        judged = judged_by_request(audit, cells, known.reference, arms=2, metrics=("top1",))
        yield World(judged.metrics[0], requests)


def first_answers(requests: Requests) -> Numbers:
    every = np.where(requests.judged, 0, -1).astype(np.int32)
    if requests.arm is None:
        return every, every
    mine = [np.where(requests.arm == arm, every, -1).astype(np.int32) for arm in (0, 1)]
    return mine[0], mine[1]


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_what_a_log_can_find_is_the_same_whatever_units_its_samples_have(
    world: World, mode: Mode
) -> None:
    requests = world.requests[mode]
    plain, units = (foresee(each, requests, TERMS) for each in (world.scores, world.in_units))
    assert len(plain) > 2
    assert any(0 < effect < math.inf for effect in plain.values())
    assert units == plain


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_live_slices_are_one_family_whatever_units_samples_have(world: World, mode: Mode) -> None:
    requests, names = world.requests[mode], list(world.scores.slices.names)
    apart = 0
    for n in range(20, 1000, 10):
        so_far = replace(requests, n_sent=n)
        found = quality(world.scores, so_far, first_answers(requests), TERMS, names)
        units = quality(world.in_units, so_far, first_answers(requests), TERMS, names)
        assert units == found
        alone: list[LiveResult] = []
        for name in names:
            alone += quality(world.scores, so_far, first_answers(requests), TERMS, [name])
        apart += alone != found
    assert apart > 0  # a slice by itself is decided sooner


def test_a_slice_without_a_pair_has_no_drop_while_it_runs(world: World) -> None:
    """In shadow mode: each arm has answered some requests, and none has both answers."""
    requests = world.requests["shadow"]
    first = first_answers(requests)[0]
    odd = np.arange(len(first)) % 2 == 1
    numbers = np.where(odd, first, -1), np.where(odd, -1, first)
    (one,) = quality(world.scores, requests, numbers, TERMS, [ALL])
    assert one.control is not None
    assert one.treatment is not None
    assert (one.drop, one.drop_low, one.decided) == (None, None, False)


def test_a_slice_that_fp32_has_no_score_on_has_no_drop_while_it_runs(world: World) -> None:
    requests = world.requests["split"]
    nothing = np.full(len(world.scores.evaluated), np.nan)
    scores = replace(world.scores, fp32=UnitTable([nothing], [np.zeros(len(nothing))]))
    (one,) = quality(scores, requests, first_answers(requests), TERMS, [ALL])
    assert one.control is not None
    assert one.drop is None
