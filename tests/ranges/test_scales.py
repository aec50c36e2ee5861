import math

import numpy as np
import pytest

from calaudit.errors import RangesError
from calaudit.ranges import METHODS, Accumulator, ScaleTable, TapScale, estimate_scales, scale_of
from calaudit.ranges.scales import DEAD_AMAX


def accumulated() -> Accumulator:
    collected = Accumulator(["alive", "dead", "tiny"], 2)
    atoms = np.array([0, 1])
    collected.add(0, np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), atoms)
    collected.add(1, np.zeros((2, 2), np.float32), atoms)
    collected.add(2, np.full((2, 2), 1e-40, np.float32), atoms)
    return collected


@pytest.mark.parametrize("method", sorted(METHODS))
def test_dead_taps_get_the_stated_fallback_and_a_notice(method: str) -> None:
    table = estimate_scales(accumulated().histograms, 0, method, calibset="quiet")
    assert table.taps["dead"] == table.taps["tiny"] == TapScale(DEAD_AMAX, scale_of(DEAD_AMAX))
    assert [notice.code for notice in table.notices] == ["dead_tap", "dead_tap"]
    assert [notice.where for notice in table.notices] == ["tap 'dead'", "tap 'tiny'"]
    assert "quiet" in table.notices[0].message
    assert table.taps["alive"].amax == (2 * 2048.5 / 2048 if method == "entropy-trt" else 2)


def test_a_tap_that_was_not_observed_says_so() -> None:
    table = estimate_scales(Accumulator(["t"], 1).histograms, 0, "minmax", calibset="q")
    assert "never observed" in table.notices[0].message


def test_minmax_scale_of_one_is_the_float32_of_1_over_127() -> None:
    assert np.float32(scale_of(1.0)).tobytes()[::-1].hex() == "3c010204"
    assert scale_of(2048.5 / 2048) == float(np.float32(2048.5 / 2048) / np.float32(127))
    assert np.float32(scale_of(2048.5 / 2048)).tobytes()[::-1].hex() == "3c010a14"


def test_every_scale_that_is_not_finite_positive_and_normal_is_named() -> None:
    bad = {"inf": math.inf, "nan": math.nan, "zero": 0.0, "minus": -1.0, "denormal": 1e-42}
    taps = {name: TapScale(1.0, scale) for name, scale in bad.items()}
    with pytest.raises(RangesError) as caught:
        ScaleTable({**taps, "fine": TapScale(127.0, 1.0)}, "minmax", "q")
    assert [problem.where for problem in caught.value.problems] == [f"tap {n!r}" for n in bad]


def test_options_are_recorded_and_scales_are_by_name() -> None:
    table = estimate_scales(accumulated().histograms, 1, "percentile", calibset="q", fraction=0.5)
    assert table.options == {"fraction": 0.5}
    assert table.scales["alive"] == scale_of(table.taps["alive"].amax)
    assert table.taps["alive"].amax == pytest.approx(0.5, rel=1 / 256)
