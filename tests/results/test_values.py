from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.results.audited import SliceRecord
from calaudit.results.values import plain
from tests.report.factory import AUDIT, result


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_that_is_not_finite_becomes_none(number: float) -> None:
    drop = replace(result("c", "s", 0.1, "PASS"), drop=number).drop
    assert drop == (number if np.isfinite(number) else None)
    assert SliceRecord("s", 3, True, {"m": number}).smallest_provable_drop == {"m": drop}


def test_numpy_scalars_become_pythons() -> None:
    made = replace(result("c", "s", 0.1, "PASS"), n=np.int64(7), low=np.float32(0.5))
    assert (type(made.n), type(made.low)) == (int, float)
    assert type(SliceRecord("s", np.int32(3), True).n) is int


def test_settings_become_json_values_without_losing_infinities() -> None:
    settings = {
        "edges": (float("-inf"), 0, float("inf")),
        "path": PurePosixPath("a/b.h5"),
        "day": date(2026, 11, 3),
        "names": {"b", "a"},
        "flag": np.bool_(True),
        "missing": float("nan"),
        "array": (np.float64(0.5), np.int8(3)),
    }
    assert replace(AUDIT, config=settings).config == {
        "edges": ["-inf", 0, "inf"],
        "path": "a/b.h5",
        "day": "2026-11-03",
        "names": ["a", "b"],
        "flag": True,
        "missing": None,
        "array": [0.5, 3],
    }


def test_a_value_without_json_form_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="complex has no JSON form"):
        plain({"a": [1j]})
