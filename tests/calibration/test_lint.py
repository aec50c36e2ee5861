import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.calibration.lint import Finding, agreement, lint_names, lint_scales
from calaudit.calibration.scales import scale_of

SENSIBLE = {"a": 0.013, "b": 0.4, "c": 0.021}


def codes(findings: list[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.where) for finding in findings]


def swapped(scale: float) -> float:
    return float(struct.unpack("<f", struct.pack(">f", scale))[0])


def test_sensible_scales_have_no_findings() -> None:
    assert lint_scales(SENSIBLE) == []
    assert lint_scales(SENSIBLE, ends_at_one=frozenset()) == []
    assert lint_scales({}) == []


@pytest.mark.parametrize(
    ("scale", "code"),
    [
        (0.0, "zero_scale"),
        (-0.0, "zero_scale"),
        (-0.01, "negative_scale"),
        (1e-42, "denormal_scale"),
        (math.inf, "infinite_scale"),
        (-math.inf, "infinite_scale"),
        (math.nan, "nan_scale"),
        (1e30, "implausible_scale"),
        (1e-20, "implausible_scale"),
    ],
)
def test_scales_that_engines_take_silently_are_found(scale: float, code: str) -> None:
    findings = lint_scales({**SENSIBLE, "bad: [1]": scale})
    assert codes(findings) == [(code, "tap 'bad: [1]'")]
    assert findings[0].next_step == "Calibrate on real samples."


def test_every_bad_scale_is_found() -> None:
    found = lint_scales({"x": 0.0, "y": math.nan, "z": 0.0, **SENSIBLE})
    assert [finding.code for finding in found] == ["zero_scale", "nan_scale", "zero_scale"]


@pytest.mark.parametrize("bits", [0x3C010204, 0x3C010A14, 0x3C000000, 0x3F800000, 0x42FE0000])
def test_default_scales_are_found_where_nothing_ends_at_one(bits: int) -> None:
    scale = float(np.uint32(bits).view(np.float32))
    scales = {**SENSIBLE, "image": scale, "relu": scale, "softmax": scale}
    findings = lint_scales(scales, ends_at_one={"image", "softmax"})
    assert codes(findings) == [("default_scale", "tap 'relu'")]


def test_without_a_model_default_scales_are_found_when_half_have_them() -> None:
    one = scale_of(1.0)
    assert lint_scales({**SENSIBLE, "x": one, "y": one}) == []
    assert [f.code for f in lint_scales({**SENSIBLE, "x": one, "y": one, "z": one})] == [
        "default_scale"
    ] * 3


def test_one_scale_for_everything_is_one_finding() -> None:
    findings = lint_scales(dict.fromkeys("abcd", 0.25))
    assert codes(findings) == [("one_scale", None)]
    assert findings[0].message == "all 4 tensors have one scale, 0.25"
    assert lint_scales({"a": 0.25, "b": 0.25}) == []


scales = st.floats(2.0**-20, 2.0**13, width=32)


@given(st.dictionaries(st.text(), scales, min_size=3, max_size=9))
def test_sensible_scales_never_look_byte_swapped(table: dict[str, float]) -> None:
    assert "byte_order" not in {finding.code for finding in lint_scales(table)}


def test_swapped_bytes_are_one_finding_not_many() -> None:
    random = np.random.default_rng(0)
    sensible = random.lognormal(-4, 1, 40).astype(np.float32)
    findings = lint_scales({f"t{i}": swapped(float(s)) for i, s in enumerate(sensible)})
    assert codes(findings) == [("byte_order", None)]
    assert "struct.pack('>f', scale).hex()" in str(findings[0].next_step)


@given(st.dictionaries(st.text(max_size=4), st.floats(width=32), max_size=8), st.booleans())
def test_any_scales_can_be_linted(table: dict[str, float], known: bool) -> None:
    for finding in lint_scales(table, ends_at_one=set() if known else None):
        assert finding.code
        assert finding.message
        assert finding.next_step


MODEL = {"image", "conv1", "relu1", "logits"}


def names(found: list[str], taps: list[str]) -> list[Finding]:
    return lint_names(found, taps, MODEL.__contains__, MODEL)


def test_names_that_fit_have_no_findings() -> None:
    assert names(["image", "conv1", "relu1", "logits"], ["image", "relu1"]) == []


def test_missing_and_unknown_names_are_found_with_near_ones() -> None:
    findings = names(["image", "relu_1"], ["image", "relu1"])
    assert codes(findings) == [("missing_tap", "tap 'relu1'"), ("unknown_name", "tap 'relu_1'")]
    assert findings[1].next_step == "Did you mean relu1?"


def test_a_cache_of_another_model_is_one_finding() -> None:
    findings = names(["x", "y"], ["image", "relu1"])
    assert codes(findings) == [("other_model", None)]
    assert "none of its 2 names" in findings[0].message


def test_an_empty_cache_lacks_every_tap() -> None:
    assert codes(names([], ["image"])) == [("missing_tap", "tap 'image'")]


def test_agreement_is_the_share_of_scales_within_a_quarter() -> None:
    first = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0, "only": 1.0}
    assert agreement(first, {"a": 1.2, "b": 0.81, "c": 1.3, "d": 0.7}) == 0.5
    assert agreement(first, {}) == 0.0
