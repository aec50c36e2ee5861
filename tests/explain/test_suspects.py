"""Suspects: taps in the order of the predicted harm that other ranges avoid."""

import numpy as np
import pytest

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.observation import Observation
from calaudit.explain.suspects import Predictor
from calaudit.results.explanation import Suspect

TAPS = ("image", "hidden", "last")
GOOD = {"image": 4.0, "hidden": 4.0, "last": 4.0}
N = 20_000


@pytest.fixture(scope="module")
def observation() -> Observation:
    """Two slices of Gaussian activations; those of "bright" are three times as large at image."""
    rng = np.random.default_rng(0)
    made = Accumulator(TAPS, 2)
    for place, tap in enumerate(TAPS):
        for part, factor in enumerate((1.0, 3.0 if tap == "image" else 1.0)):
            values = (factor * rng.normal(size=(1, N))).astype(np.float32)
            made.add(place, values, np.array([part]))
    return Observation(
        made.histograms, ("dark", "bright"), np.eye(2, dtype=bool), np.array([1, 1]), "m", "p"
    )


def suspects(observation: Observation, slice_name: str, **changes: float) -> list[Suspect]:
    return Predictor(observation).suspects({**GOOD, **changes}, GOOD, slice_name)


def test_a_range_that_clips_is_the_first_suspect(observation: Observation) -> None:
    (one,) = suspects(observation, "dark", hidden=1.0)
    assert (one.tap, one.amax, one.donor, one.share) == ("hidden", 1.0, 4.0, 1.0)
    assert one.clipping > 0.99
    assert one.clipped == pytest.approx(0.3173, abs=0.02)  # of N(0, 1) beyond 1
    assert one.steps == 127
    assert one.harm > 100 * one.donor_harm


def test_a_range_that_is_too_wide_leaves_few_steps(observation: Observation) -> None:
    (one,) = suspects(observation, "dark", last=127.0)
    assert one.tap == "last"
    assert one.clipping < 0.01
    assert one.clipped == 0.0
    assert one.steps == 1  # 90 % of N(0, 1) lie within 1.645


def test_suspects_are_ordered_by_what_the_donor_avoids(observation: Observation) -> None:
    found = suspects(observation, "dark", image=2.0, hidden=1.0, last=30.0)
    assert [one.tap for one in found] == ["hidden", "image", "last"]
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)


def test_where_the_donor_is_worse_there_is_no_suspect(observation: Observation) -> None:
    assert not Predictor(observation).suspects(GOOD, {**GOOD, "last": 0.5}, "dark")


def test_each_slice_has_its_own_suspects(observation: Observation) -> None:
    donor = {**GOOD, "image": 12.0}
    predictor = Predictor(observation)
    assert [one.tap for one in predictor.suspects(GOOD, donor, "bright")] == ["image"]
    assert not predictor.suspects(GOOD, donor, "dark")


def test_weights_change_the_order(observation: Observation) -> None:
    weighted = Predictor(observation, {"image": 1.0, "hidden": 1e-6, "last": 1.0})
    changed = {**GOOD, "image": 2.0, "hidden": 1.0}
    found = weighted.suspects(changed, GOOD, "dark")
    assert [one.tap for one in found] == ["image", "hidden"]
    assert [one.sensitivity for one in found] == [1.0, 1e-6]
    assert weighted.total(changed, "dark") > weighted.total(GOOD, "dark")


def test_named_taps_are_given_in_the_order_asked_for(observation: Observation) -> None:
    found = Predictor(observation).suspects(GOOD, GOOD, "dark", ["last", "image"])
    assert [(one.tap, one.share) for one in found] == [("last", 0.0), ("image", 0.0)]


def test_minimax_ranges_serve_the_slice_that_suffers_most(observation: Observation) -> None:
    predictor = Predictor(observation)
    found = predictor.minimax(["dark", "bright"])
    for other in (GOOD, {**GOOD, "image": 12.0}):
        worst = max(predictor.total(other, name) for name in ("dark", "bright"))
        assert max(predictor.total(found, name) for name in ("dark", "bright")) <= worst
    # bright values reach three times as far, dark ones need the steps
    assert predictor.minimax(["dark"])["image"] < found["image"]
