"""The simulation behind the claims that docs/statistics.md makes: it reads what reports say."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

FILE = Path(__file__).parents[2] / "benchmarks" / "claims.py"


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims", FILE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["claims"] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("gate", [0.02, None])
@pytest.mark.parametrize("drop", [0.0, 0.03])
def test_what_a_report_says_of_the_worst_holds_and_nothing_is_made_of_chance(
    claims: ModuleType, drop: float, gate: float | None
) -> None:
    world = claims.World("", claims.everywhere(drop), cells=3, slices=8, n=300, gate=gate)
    found = claims.count(np.random.default_rng(0), world, audits=10)
    assert found.told == 10
    assert found.missed <= binom.isf(1e-4, 10, 0.05)
    assert found.excess > 0
    assert (found.passed, found.none_from) == (0, 0)
    if drop == 0:
        assert found.claims <= binom.isf(1e-4, 10, 0.05)
