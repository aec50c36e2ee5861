"""The parts of another package's metric beside its function, where they break."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calaudit.metrics.base import definition_in, metric
from calaudit.metrics.case import Case
from calaudit.metrics.truth import Labels
from calaudit.runtime.errors import SettingsError

SUMS = np.arange(6.0).reshape(2, 3)
CASE = Case(np.eye(4), Labels(np.arange(4)), None)


def made(**parts: Any) -> Any:
    def own(outputs: Any, target: Any) -> Any:
        return np.ones((len(outputs), 3))

    kind = "set" if "functional" in parts else "mean"
    return definition_in(metric(kind, **parts)(own))


def raises(*_: object) -> object:
    return {}["x"]


def test_parts_that_keep_to_it_give_what_they_gave() -> None:
    found = made(functional=lambda sums: sums.sum(axis=-1), influence=lambda k, sums, n: n)
    assert found.functional(SUMS).tolist() == [3.0, 12.0]
    assert found.functional(SUMS[0]) == 3.0
    assert found.influence(None, SUMS[0], 7) == 7.0
    ties = made(bounds=lambda case: (np.zeros(4), np.ones(4)))
    assert [each.tolist() for each in ties.bounds(CASE)] == [[0.0] * 4, [1.0] * 4]


@pytest.mark.parametrize(
    ("functional", "told"),
    [
        (raises, "failed in its functional .*test_guard.py, line .*KeyError: 'x'"),
        (lambda sums: None, "gave NoneType from its functional, expected numbers"),
        (lambda sums: sums, r"gave float64 of shape \(2, 3\) for sums of shape \(2, 3\)"),
        (lambda sums: sums.sum(), r"gave float64 of shape \(\) for sums"),
        (lambda sums: np.array(["a", "b"]), r"test_guard.py, line \d+\) gave <U1 of shape"),
        (lambda sums: sums.sum(axis=-1) + 1j, "gave complex128 of shape"),
    ],
)
def test_a_functional_is_held_to_a_number_for_each_row(
    functional: Callable[..., Any], told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        made(functional=functional).functional(SUMS)
    assert "tests.metrics.test_guard:made.<locals>.own" in str(caught.value)


@pytest.mark.parametrize(
    ("influence", "told"),
    [
        (raises, "failed in its influence .*KeyError"),
        (lambda k, sums, n: "much", "gave str from its influence, expected a number"),
        (lambda k, sums, n: np.complex128(1j), "gave complex128 from its influence"),
        (
            lambda k, sums, n: -1,
            r"line \d+\) gave -1.0, expected a number of 0 or more",
        ),
        (lambda k, sums, n: np.nan, "gave nan, expected"),
    ],
)
def test_an_influence_is_held_to_a_number(influence: Callable[..., Any], told: str) -> None:
    found = made(functional=lambda sums: sums.sum(axis=-1), influence=influence)
    with pytest.raises(SettingsError, match=told):
        found.influence(None, SUMS[0], 7)


@pytest.mark.parametrize(
    ("reach", "told"),
    [
        (raises, "failed in its reach .*KeyError"),
        (lambda sums, units: 1.0, "gave float from its reach, expected numbers"),
        (lambda sums, units: sums, r"gave float64 of shape \(3,\), expected .* each of 2 units"),
        (lambda sums, units: -units[:, 0] - 1, "expected a number of 0 or more"),
    ],
)
def test_a_reach_is_held_to_a_number_for_each_unit(reach: Callable[..., Any], told: str) -> None:
    found = made(functional=lambda sums: sums.sum(axis=-1), reach=reach)
    with pytest.raises(SettingsError, match=told):
        found.reach(SUMS.sum(axis=0), SUMS)


def test_a_metric_of_another_package_may_say_how_far_each_unit_reaches() -> None:
    found = made(
        functional=lambda sums: sums[..., 0] / sums[..., 1],
        reach=lambda sums, units: units[:, 1] / sums[1],
    )
    assert found.reach(SUMS.sum(axis=0), SUMS).tolist() == [1 / 5, 4 / 5]


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (raises, "failed in its bounds .*KeyError"),
        (lambda case: np.ones(4), "gave ndarray from its bounds, expected two arrays"),
        (
            lambda case: (np.ones(4), np.ones(3)),
            r"gave \[\(4,\), \(3,\)\], expected two arr",
        ),
        (lambda case: (np.ones(4),), r"gave \[\(4,\)\], expected"),
    ],
)
def test_bounds_are_held_to_two_arrays_of_scores(bounds: Callable[..., Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        made(bounds=bounds).bounds(CASE)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"functional": lambda: 1}, r"functional of .*line \d+\) can't be called with \(sums\)"),
        ({"functional": 3}, "functional of .* is 3, expected a function"),
        (
            {"functional": lambda sums: sums[..., 0], "influence": lambda sums: 1},
            r"influence of .*line \d+\) can't be called with \(k, sums, n\)",
        ),
        (
            {"functional": lambda sums: sums[..., 0], "reach": lambda sums: sums},
            r"reach of .*line \d+\) can't be called with \(sums, units\)",
        ),
        ({"bounds": lambda case, k: case}, r"bounds of .* can't be called with \(case\)"),
    ],
)
def test_a_part_of_another_signature_is_refused_at_once(parts: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        made(**parts)


def test_what_it_needs_is_a_class() -> None:
    with pytest.raises(SettingsError, match="needs 'labels', expected the class of a truth"):
        made(needs="labels")
