import numpy as np
import pytest

from calaudit.runtime.errors import SliceError
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.sliceset import match_slices
from tests.slices.memory_pool import MemoryPool

NAMES = [
    "all",
    "snr_db < 0",
    "0 ≤ snr_db < 20",
    "20 ≤ snr_db < ∞",
    "snr_db = ∞",
    "speaker = theo",
    "speaker = [x]",
    "snr_db < 0 & speaker = theo",
    "snr_db = ∞ & speaker = theo",
]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("speaker = theo", ["speaker = theo"]),
        ("speaker=theo", ["speaker = theo"]),
        ("0<=snr_db<20", ["0 ≤ snr_db < 20"]),
        ("20 <= snr_db < inf", ["20 ≤ snr_db < ∞"]),
        ("snr_db = inf", ["snr_db = ∞"]),
        ("snr_db<0&speaker=theo", ["snr_db < 0 & speaker = theo"]),
        ("speaker = *", ["speaker = theo", "speaker = [x]"]),
        ("speaker = [x]", ["speaker = [x]"]),
        ("*snr_db*", ["snr_db < 0", "0 ≤ snr_db < 20", "20 ≤ snr_db < ∞", "snr_db = ∞"]),
        ("* & speaker = theo", NAMES[-2:]),
        ("*", NAMES),
    ],
)
def test_a_pattern_means_these_slices(pattern: str, found: list[str]) -> None:
    assert match_slices(pattern, NAMES) == found


def test_a_pattern_that_matches_nothing_is_an_error_with_near_names() -> None:
    with pytest.raises(SliceError, match=r"audit.toml: gates\[0\]") as caught:
        match_slices("speeker = theo", NAMES, where="audit.toml: gates[0]")
    assert "Did you mean speaker = theo" in str(caught.value)


def test_every_slice_is_found_by_its_own_name() -> None:
    for name in NAMES:
        assert match_slices(name, NAMES) == [name]


def test_finding_leaves_out_slices_without_samples_unless_none_is_left() -> None:
    pool = MemoryPool(speaker=["theo", "lucas", "lucas"])
    slices = evaluate_slices([Dimension(by="speaker")], pool).take(np.array([1, 2]))
    assert slices.find("speaker = *") == ["speaker = lucas"]
    with pytest.raises(SliceError, match="holds no sample"):
        slices.find("speaker = theo")
