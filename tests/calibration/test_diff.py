import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.diff import Clipping, clipping, diff_scales
from calaudit.calibration.histogram import Histogram


def histogram_of(values: NDArray[np.float32]) -> Histogram:
    collected = Accumulator(["t"], 1)
    collected.add(0, values.reshape(1, -1), np.zeros(1, np.int64))
    return collected.histograms.one(0, 0)


def measured(values: NDArray[np.float32], scale: float) -> Clipping:
    magnitudes = np.abs(values.astype(np.float64))
    over = magnitudes > 127.5 * scale
    lost = ((magnitudes[over] - 127 * scale) ** 2).sum()
    return Clipping(over.mean(), lost / (magnitudes**2).sum())


@pytest.mark.parametrize("clip", [0.5, 1.0, 2.0, 3.0, 3.7])
@pytest.mark.parametrize("relu", [False, True])
def test_clipping_is_what_cutting_the_values_off_costs(clip: float, relu: bool) -> None:
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    if relu:
        values = np.maximum(values, 0)
    found, wanted = clipping(histogram_of(values), clip / 127), measured(values, clip / 127)
    assert found.values == pytest.approx(wanted.values, rel=0.05, abs=2e-6)
    assert found.energy == pytest.approx(wanted.energy, rel=0.05, abs=1e-9)


@given(st.floats(2.0**-100, 2.0**100, width=32), st.integers(1, 50))
def test_the_scale_of_the_maximum_clips_nothing(amax: float, n: int) -> None:
    values = np.linspace(0, amax, n, dtype=np.float32)
    values[-1] = amax
    scale = float(np.float32(amax) / np.float32(127))
    assert clipping(histogram_of(values), scale) == Clipping(0.0, 0.0)


def test_a_constant_tensor_clips_whole_or_not_at_all() -> None:
    ones = histogram_of(np.ones(100, np.float32))
    assert clipping(ones, 1 / 127) == Clipping(0.0, 0.0)
    assert clipping(ones, 0.5 / 127) == Clipping(1.0, pytest.approx(0.25))


def test_zeros_and_no_data_clip_nothing() -> None:
    assert clipping(histogram_of(np.zeros(9, np.float32)), 1e-30) == Clipping(0.0, 0.0)
    assert clipping(Accumulator(["t"], 1).histograms.one(0, 0), 1.0) == Clipping(0.0, 0.0)


def test_taps_that_differ_most_come_first_in_either_direction() -> None:
    first = {"same": 1.0, "half": 1.0, "thrice": 1.0, "gone": 1.0}
    second = {"new": 1.0, "thrice": 3.0, "same": 1.0, "half": 0.5}
    found = diff_scales(first, second)
    assert [(each.tap, each.ratio) for each in found.shared] == [
        ("thrice", 3.0),
        ("half", 0.5),
        ("same", 1.0),
    ]
    assert (found.only_first, found.only_second) == (("gone",), ("new",))
    assert len(found.different) == 2


def test_scales_that_arent_usable_come_first_and_have_no_ratio() -> None:
    bad = {"zero": 0.0, "nan": math.nan, "inf": math.inf, "good": 1.0}
    found = diff_scales(bad, {"zero": 1.0, "nan": math.nan, "inf": 1.0, "good": 1e30})
    assert [(each.tap, each.ratio) for each in found.shared] == [
        ("zero", None),
        ("inf", None),
        ("good", 1e30),
        ("nan", None),
    ]
    assert [each.tap for each in found.different] == ["zero", "inf", "good"]


def test_clipping_is_told_where_a_distribution_is_known() -> None:
    values = np.linspace(-1, 1, 1001, dtype=np.float32)
    found = diff_scales(
        {"a": 1 / 127, "b": 1.0, "c": 0.0},
        {"a": 0.5 / 127, "b": 1.0, "c": 1.0},
        {"a": histogram_of(values), "c": histogram_of(values)},
    )
    known = {each.tap: each for each in found.shared}
    assert known["a"].first_clips == Clipping(0.0, 0.0)
    assert known["a"].second_clips is not None
    assert known["a"].second_clips.values == pytest.approx(0.5, abs=0.01)
    assert known["b"].first_clips is None
    assert known["c"].first_clips is None
    assert known["c"].second_clips == Clipping(0.0, 0.0)


scales = st.floats(width=32, allow_nan=True, allow_infinity=True)
tables = st.dictionaries(st.text(max_size=3), scales, max_size=6)


@given(tables, tables)
def test_swapping_the_two_inverts_the_ratios(
    first: dict[str, float], second: dict[str, float]
) -> None:
    there, back = diff_scales(first, second), diff_scales(second, first)
    ratios = {each.tap: each.ratio for each in back.shared}
    for each in there.shared:
        if each.ratio is None:
            assert ratios[each.tap] is None
        else:
            assert each.ratio * (ratios[each.tap] or 0) == pytest.approx(1.0)
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    assert len(there.different) == len(back.different)
