import math
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.methods import METHODS
from calaudit.calibration.scales import DEAD_AMAX, ScaleTable, TapScale, estimate_scales, scale_of
from calaudit.runtime.errors import RangesError


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
    assert table.taps["alive"].amax == 2


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


def _table(values: NDArray[np.floating], method: str, **options: Any) -> ScaleTable:
    collected = Accumulator(["t"], 1)
    collected.add(0, values.astype(np.float32), np.zeros(len(values), np.int64))
    return estimate_scales(collected.histograms, 0, method, calibset="some", **options)


def _lost(values: NDArray[np.floating], amax: float) -> float:
    """Share of the signal power that cutting off at `amax` costs."""
    magnitude = np.abs(values.astype(np.float64))
    return float((np.maximum(magnitude - amax, 0) ** 2).sum() / (magnitude**2).sum())


def _sharp() -> NDArray[np.floating]:
    """Softmax over 20,000 classes: nearly all values next to nothing, one of each row 0.9."""
    random = np.random.default_rng(0)
    values = 1e-9 * random.uniform(0.5, 1.5, (64, 20_000))
    values[np.arange(64), random.integers(0, 20_000, 64)] = 0.9
    return values


def _tails(power: float) -> NDArray[np.floating]:
    random = np.random.default_rng(0)
    return random.standard_t(power, (64, 2_000))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    "values", [_sharp(), _tails(1.5), _tails(3), _tails(30)], ids=["sharp", "1.5", "3", "30"]
)
def test_clipping_that_costs_a_tenth_of_the_power_is_remarked_on(
    method: str, values: NDArray[np.floating]
) -> None:
    table = _table(values, method)
    lost = _lost(values, table.taps["t"].amax)
    said = [notice for notice in table.notices if notice.code == "clipped_tap"]
    assert bool(said) == (lost > 0.1), lost
    for notice in said:
        told = re.search(
            r"by (\S+) cuts off (?:> )?([0-9.e-]+) % of the signal power", notice.message
        )
        assert told is not None
        assert told[1] == method
        assert float(told[2]) == pytest.approx(100 * lost, rel=0.02)
        assert notice.where == "tap 't'"


def _clipped(values: NDArray[np.floating], **options: Any) -> str:
    table = _table(values[:, None], "percentile", **options)
    (message,) = (each.message for each in table.notices if each.code == "clipped_tap")
    return message


def test_shares_are_told_in_percent_and_never_rounded_to_all() -> None:
    # half of all values beyond a percentile of 40
    values = np.r_[np.full(5000, 0.1), np.full(5000, 100.0)]
    assert "50 % of the values saturate" in _clipped(values, fraction=0.4)
    # all but two
    values = np.r_[0.1, np.full(49_998, 100.0), 0.1]
    assert "> 99.9 % of the values saturate" in _clipped(values, fraction=1e-5)


def test_minmax_is_advised_as_what_it_is_beside_the_method() -> None:
    values = np.r_[np.full(5000, 0.1), np.full(5000, 100.0)]
    assert _clipped(values, fraction=0.4).endswith(". Where they carry meaning, take minmax")
    beside = _clipped(values, fraction=0.4, tried=("percentile", "minmax"))
    assert "take minmax" not in beside
    assert beside.endswith("minmax, which is tried here too, keeps them")


def test_sharp_values_are_not_destroyed_without_a_word() -> None:
    for method in ("entropy", "percentile", "mse"):
        assert [n.code for n in _table(_sharp(), method).notices] == ["clipped_tap"]
    assert [n.code for n in _table(_sharp(), "minmax").notices] == ["outlier_tap"]


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("outlier", [1e9, 1e12, 1e30, 3.4e38])
def test_values_that_an_outlier_hides_are_remarked_on(method: str, outlier: float) -> None:
    """Beside 1e9 the stored octaves reach down to 0.25; beside the others not to the bulk."""
    values = np.random.default_rng(0).standard_normal((64, 2_000))
    values[3, 5] = outlier
    table = _table(values, method)
    codes = {notice.code for notice in table.notices}
    if method == "minmax":
        assert codes == {"outlier_tap"}
    elif outlier == 1e9:
        assert 3.5 < table.taps["t"].amax < 7.5
        assert codes == {"clipped_tap"}
    else:
        assert codes == {"clipped_tap", "unresolved_tap"}


def test_a_range_too_small_for_a_scale_is_raised_to_one_that_isnt() -> None:
    values = np.full((4, 20_000), 1e-38)
    values[:, 0] = 1e-30
    table = _table(values, "percentile")
    assert table.taps["t"].scale == pytest.approx(float(np.finfo(np.float32).tiny), rel=1e-5)
    assert "dead_tap" not in {notice.code for notice in table.notices}
