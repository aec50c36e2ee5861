"""The worst group's harm: what is reached, what can't be beaten, against other solvers."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, minimize

from calaudit.calibration import minimax
from calaudit.calibration.accumulate import observe
from calaudit.calibration.harm import harm
from calaudit.calibration.histogram import Histograms, no_histograms
from calaudit.calibration.methods import estimate_amax
from calaudit.calibration.minimax import bound_of, minimax_ranges, minimise_worst

Floats = NDArray[np.float64]


def ladder_costs(seed: int, n_taps: int, n_groups: int, n_amax: int) -> Floats:
    """Clipping that falls and resolution that grows with amax, each group with its own range."""
    rng = np.random.default_rng(seed)
    amax = np.geomspace(0.05, 1.0, n_amax)
    largest = rng.uniform(0.05, 1.0, (n_taps, n_groups, 1))
    coarse = rng.uniform(0.001, 0.1, (n_taps, n_groups, 1)) * amax**2
    clipped = rng.uniform(0.1, 2.0, (n_taps, n_groups, 1)) * np.maximum(0, largest - amax) ** 2
    return coarse + clipped


def every_choice(costs: Floats) -> list[Floats]:
    """The harm of every choice there is."""
    taps = range(len(costs))
    places = itertools.product(range(costs.shape[2]), repeat=len(costs))
    return [sum(costs[t, :, a] for t, a in zip(taps, place, strict=True)) for place in places]


def by_linear_programme(costs: Floats) -> float:
    """The least worst harm of mixtures of choices, all at once: the best bound there is."""
    n_taps, n_groups, n_amax = costs.shape
    each = costs.transpose(1, 0, 2).reshape(n_groups, -1)
    one = np.kron(np.eye(n_taps), np.ones(n_amax))
    found = linprog(
        np.append(np.zeros(n_taps * n_amax), 1.0),
        A_ub=np.hstack([each, -np.ones((n_groups, 1))]),
        b_ub=np.zeros(n_groups),
        A_eq=np.hstack([one, np.zeros((n_taps, 1))]),
        b_eq=np.ones(n_taps),
        bounds=[(0, None)] * (n_taps * n_amax + 1),
        method="highs-ipm",
    )
    return float(found.fun)


def by_branch_and_bound(costs: Floats) -> float:
    """The least worst harm of choices."""
    n_taps, n_groups, n_amax = costs.shape
    each = costs.transpose(1, 0, 2).reshape(n_groups, -1)
    one = np.kron(np.eye(n_taps), np.ones(n_amax))
    found = milp(
        np.append(np.zeros(n_taps * n_amax), 1.0),
        integrality=np.append(np.ones(n_taps * n_amax), 0),
        bounds=Bounds(0, np.append(np.ones(n_taps * n_amax), np.inf)),
        constraints=[
            LinearConstraint(np.hstack([each, -np.ones((n_groups, 1))]), -np.inf, 0),
            LinearConstraint(np.hstack([one, np.zeros((n_taps, 1))]), 1, 1),
        ],
        options={"mip_rel_gap": 1e-9},
    )
    return float(found.fun)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_bound_reached_and_every_other_choice_are_in_order(
    seed: int, n_taps: int, n_groups: int, n_amax: int
) -> None:
    costs = np.random.default_rng(seed).uniform(0, 1, (n_taps, n_groups, n_amax))
    found = minimise_worst(costs)
    best = min(float(harm.max()) for harm in every_choice(costs))
    assert found.bound <= best + 1e-9
    assert best <= found.worst + 1e-12
    assert found.bound <= found.worst
    np.testing.assert_allclose(
        found.harm, sum(costs[t, :, a] for t, a in enumerate(found.choice)), rtol=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 5), st.integers(1, 12))
def test_bound_is_that_of_the_whole_linear_programme(
    seed: int, n_taps: int, n_groups: int, n_amax: int
) -> None:
    costs = np.random.default_rng(seed).uniform(0, 1, (n_taps, n_groups, n_amax))
    assert minimise_worst(costs).bound == pytest.approx(by_linear_programme(costs), rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_reached_is_near_what_branch_and_bound_proves_best(seed: int) -> None:
    costs = ladder_costs(seed, 8, 5, 24)
    found, best = minimise_worst(costs), by_branch_and_bound(costs)
    assert found.bound <= best * (1 + 1e-6)
    assert best * (1 - 1e-6) <= found.worst <= best * 1.02


@pytest.mark.parametrize("seed", range(3))
def test_gap_is_below_one_percent_with_as_many_taps_as_models_have(seed: int) -> None:
    found = minimise_worst(ladder_costs(seed, 28, 20, 96))
    assert 0 <= found.gap < 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_any_weights_give_a_bound_that_none_exceeds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = ladder_costs(seed, 5, 4, 16)
    weights = rng.dirichlet(np.ones(4))
    found = minimise_worst(costs)
    tried = rng.integers(0, 16, 5)
    assert bound_of(costs, weights) <= found.bound * (1 + 1e-9)
    assert found.bound <= costs[np.arange(5), :, tried].sum(axis=0).max()
    assert found.weights.min() >= 0
    assert found.weights.sum() == pytest.approx(1.0)
    assert bound_of(costs, found.weights) == pytest.approx(found.bound)


def test_one_group_gets_the_least_of_each_tap() -> None:
    costs = ladder_costs(3, 6, 1, 30)
    found = minimise_worst(costs)
    np.testing.assert_array_equal(found.choice, costs[:, 0].argmin(axis=1))
    assert found.gap == pytest.approx(0.0, abs=1e-9)


def test_harm_of_the_bright_and_the_dark_is_evened_out() -> None:
    """One tap: what is good for one group harms the other; the best serves both alike."""
    amax = np.linspace(0.1, 1.0, 91)
    costs = np.stack([amax, 1.1 - amax])[None]
    found = minimise_worst(costs)
    assert amax[found.choice[0]] == pytest.approx(0.55)
    assert found.harm[0] == pytest.approx(found.harm[1])
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-6)


def test_amaxes_that_a_tap_cannot_take_are_not_chosen() -> None:
    costs = ladder_costs(4, 5, 3, 12)
    costs[2, :, 3:] = np.inf
    found = minimise_worst(costs)
    assert found.choice[2] < 3
    assert np.isfinite(found.harm).all()
    assert found.bound <= found.worst


def test_groups_without_harm_do_not_limit_the_bound() -> None:
    costs = ladder_costs(5, 4, 3, 12)
    costs[:, 1] = 0.0
    found, without = minimise_worst(costs), minimise_worst(costs[:, [0, 2]])
    assert found.weights[1] == pytest.approx(0.0, abs=1e-9)
    assert found.worst == pytest.approx(without.worst, rel=1e-6)


def test_nothing_harms_anybody() -> None:
    found = minimise_worst(np.zeros((3, 2, 4)))
    assert found.worst == found.bound == found.gap == 0.0


def test_the_same_costs_in_another_unit_give_the_same_choice() -> None:
    costs = ladder_costs(6, 10, 6, 40)
    found, small = minimise_worst(costs), minimise_worst(costs * 2.0**-60)
    np.testing.assert_array_equal(found.choice, small.choice)
    assert small.bound == pytest.approx(found.bound * 2.0**-60)


@pytest.mark.parametrize(
    "costs",
    [
        np.zeros((0, 1, 1)),
        np.zeros((2, 3)),
        np.full((1, 1, 2), -1.0),
        np.full((1, 1, 2), np.nan),
        np.full((1, 2, 2), np.inf),
    ],
)
def test_costs_that_are_none_are_refused(costs: Floats) -> None:
    with pytest.raises(ValueError, match="cost"):
        minimise_worst(costs)


def observed(seed: int, n_taps: int = 5, n_groups: int = 4) -> Histograms:
    """Groups whose values differ 30-fold in size and in how heavy their tails are."""
    rng = np.random.default_rng(seed)
    found = no_histograms([f"t{k}" for k in range(n_taps)], n_groups)
    made = [
        [
            observe(
                (rng.uniform(0.03, 1.0) * rng.standard_t(rng.uniform(2, 20), 4000)).astype(
                    np.float32
                )
            )
            for _ in range(n_groups)
        ]
        for _ in range(n_taps)
    ]
    counts = np.array([[each.counts for each in tap] for tap in made])
    n_zero = np.array([[each.n_zero for each in tap] for tap in made])
    amax = np.array([[each.amax for each in tap] for tap in made], np.float32)
    return Histograms(found.taps, counts, n_zero, amax)


@pytest.mark.parametrize("seed", range(3))
def test_no_ranges_of_any_kind_are_below_the_bound_of_free_ranges(seed: int) -> None:
    """Ranges off the ladder, methods of every group, and a search that knows no bound."""
    histograms = observed(seed)
    names = [f"g{k}" for k in range(4)]
    free = minimax_ranges(histograms, groups=names)
    exact = harm(histograms, free.amax, groups=names)
    np.testing.assert_allclose(exact.sums(), free.found.harm, rtol=1e-6)
    rng = np.random.default_rng(seed)
    tried = [
        free.amax * np.exp(rng.normal(0, spread, 5)) for spread in (0.003, 0.02, 0.3)
        for _ in range(40)
    ]  # fmt: skip
    tried += [
        np.array([estimate_amax(histograms.one(t, g), method) for t in range(5)])
        for g in range(4)
        for method in ("minmax", "percentile", "mse", "entropy")
    ]

    def worst(log_amax: Floats) -> float:
        return float(harm(histograms, np.exp(log_amax)).sums().max())

    searched = minimize(worst, np.log(free.amax), method="Nelder-Mead", options={"maxfev": 600})
    least = min(*(worst(np.log(each)) for each in tried), float(searched.fun))
    # Between two rungs harm may be a little less than at both.
    assert free.found.bound <= least * 1.001
    assert free.found.worst <= least * 1.02
    assert free.found.gap < 0.1


def test_weights_decide_which_taps_free_ranges_serve() -> None:
    histograms = observed(7)
    names = [f"g{k}" for k in range(4)]
    alike = minimax_ranges(histograms, groups=names)
    first = minimax_ranges(histograms, groups=names, weights=np.array([1, 1e-6, 1e-6, 1e-6, 1e-6]))
    own = harm(histograms, first.amax).total[0].max()
    assert own <= harm(histograms, alike.amax).total[0].max() + 1e-12
    assert first.ranges.keys() == set(histograms.taps)


def test_the_first_amaxes_are_those_that_each_group_alone_would_take() -> None:
    costs = ladder_costs(5, 4, 30, 12)
    costs[1, 7, 3] = np.inf  # which no group may then take
    alone = [minimax._weighted(costs, weights).argmin(axis=1) for weights in np.eye(30)]
    assert np.array_equal(minimax._own_best(costs), np.array(alone).T)


def test_groups_that_go_on_being_worse_are_added_until_as_many_are_held_as_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = observed(12, n_taps=2, n_groups=700)
    monkeypatch.setattr(minimax, "TOLERANCE", -1.0)  # every group that isn't looked at yet
    looked_at = []
    search = minimax.minimise_worst

    def seen(costs: np.ndarray, **how: Any) -> Any:
        looked_at.append(costs.shape[1])
        return search(costs, **how)

    monkeypatch.setattr(minimax, "minimise_worst", seen)
    names = [f"g{k}" for k in range(700)]
    free = minimax_ranges(parts, groups=names)
    assert free.groups == tuple(names)
    assert max(looked_at) == minimax.MOST_TOGETHER


@pytest.mark.parametrize("of_parts", [False, True])
def test_ranges_of_many_groups_are_found_by_those_that_limit_them(
    of_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = observed(11, n_taps=4, n_groups=24)
    members = np.random.default_rng(11).random((40, 24)) < 0.15 if of_parts else None
    names = [f"g{k}" for k in range(40 if of_parts else 24)]
    if members is not None:
        members[np.arange(24), np.arange(24)] = True
        members[24:, 0] = True
    all_at_once = minimax_ranges(parts, groups=names, members=members)
    monkeypatch.setattr(minimax, "MOST_TOGETHER", 16)
    monkeypatch.setattr(minimax, "_FIRST", 3)
    monkeypatch.setattr(minimax, "_ADDED", 2)
    free = minimax_ranges(parts, groups=names, members=members)
    assert free.groups == tuple(names)
    exact = harm(parts, free.amax, members=members).sums()
    np.testing.assert_allclose(free.found.harm, exact, rtol=1e-9)
    assert free.found.weights.sum() == pytest.approx(1.0)
    assert free.found.bound <= all_at_once.found.worst
    assert all_at_once.found.bound <= free.found.worst
    assert free.found.worst <= all_at_once.found.worst * 1.02
    assert free.found.bound >= all_at_once.found.bound * 0.98
