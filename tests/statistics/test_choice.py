"""Choosing among engines: shrinkage against noise, and the cheapest remedy first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.unit_scores import UnitScores
from calaudit.statistics.choice import ROOM, Standing, ranked, rows_needed, shrink, standing
from calaudit.statistics.compare import compare
from calaudit.statistics.verdict import judge

TOP1 = parse_metric("top1")


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, 6, elements=st.floats(-1, 1)), st.floats(1e-3, 1.0))
def test_shrunk_drops_lie_between_the_mean_and_themselves(drops: np.ndarray, error: float) -> None:
    found = shrink(drops, np.full(6, error))
    low, high = np.minimum(drops, drops.mean()), np.maximum(drops, drops.mean())
    assert (found >= low - 1e-12).all()
    assert (found <= high + 1e-12).all()


def test_noise_alone_is_shrunk_to_little_and_a_harmed_slice_stays() -> None:
    rng = np.random.default_rng(0)
    null = np.array([shrink(rng.normal(0, 0.02, 30), np.full(30, 0.02)).max() for _ in range(300)])
    raw = np.array([rng.normal(0, 0.02, 30).max() for _ in range(300)])
    assert raw.mean() > 0.035
    assert null.mean() < 0.012
    drops = rng.normal(0, 0.02, 30)
    drops[7] = 0.3
    found = shrink(drops, np.full(30, 0.02))
    assert found[7] > 0.2
    assert np.abs(np.delete(found, 7)).max() < np.abs(np.delete(drops, 7)).max() + 1e-9


def test_slices_of_which_nothing_is_known_get_the_mean() -> None:
    found = shrink(np.array([0.1, 0.3, 0.9]), np.array([0.1, 0.1, np.inf]))
    assert found[2] == pytest.approx(0.2)
    assert shrink(np.array([0.5]), np.array([np.inf])) == pytest.approx(0.0)


def engine(seed: int, harmed: float, n: int = 400, gate: float | None = 0.05) -> Standing:
    """FP32 right on 90 % of ten slices; the engine flips 2 %, and loses more on the first."""
    rng = np.random.default_rng(seed)
    right = rng.random(10 * n) < 0.9
    flipped = rng.random(10 * n) < 0.02
    flipped[:n] |= right[:n] & (rng.random(n) < harmed)
    slices = {f"s{k}": np.arange(k * n, (k + 1) * n) for k in range(10)}
    one = compare(
        TOP1,
        UnitScores(TOP1, right.astype(np.float64)),
        {"engine": UnitScores(TOP1, (right ^ flipped).astype(np.float64))},
        slices,
        max_drop=gate,
    )
    return standing(judge(one), price=0)


def test_an_engine_that_harms_a_slice_does_not_hold() -> None:
    found = [engine(seed, 0.2) for seed in range(10)]
    assert not any(each.holds for each in found)
    assert all(each.worst is not None and each.worst.slice == "s0" for each in found)
    assert all(1.5 < each.used < 5.5 for each in found)


def test_engines_that_harm_nobody_hold_though_their_worst_slice_looks_bad() -> None:
    found = [engine(seed, 0.0, n=150) for seed in range(20)]
    assert sum(each.holds for each in found) >= 18


def test_without_gates_the_largest_drop_counts_and_nothing_holds() -> None:
    found = engine(0, 0.2, gate=None)
    assert not found.holds
    assert 0.1 < found.used < 0.25


def test_an_engine_without_scores_is_the_last() -> None:
    none = standing([], price=0)
    assert not none.holds
    assert ranked([none, Standing(3, None, 4.0, 0.1, lost=True)])[0] == 1


def of(price: int, used: float, error: float = 0.05, *, lost: bool = False) -> Standing:
    return Standing(price, None, used, error, lost=lost)


def test_the_cheapest_remedy_that_holds_comes_first() -> None:
    assert ranked([of(0, 0.9), of(4, 0.0), of(1, 0.3), of(2, 0.1)]) == [2, 1, 3, 0]


def test_of_one_price_the_earlier_unless_another_is_better_beyond_the_noise() -> None:
    assert ranked([of(0, 0.3, 0.2), of(0, 0.1, 0.2)])[0] == 0
    assert ranked([of(0, 0.4, 0.05), of(0, 0.1, 0.05)])[0] == 1


def test_a_significant_loss_does_not_hold_however_small() -> None:
    assert ranked([of(0, 0.1, lost=True), of(5, 0.4)])[0] == 1


def test_where_nothing_holds_nobody_pays_for_what_is_no_better() -> None:
    assert ranked([of(0, 3.0, 0.2), of(1, 2.0, 0.3), of(4, 1.9, 0.3)])[0] == 1
    assert ranked([of(0, 3.0, 0.1), of(1, 2.5, 0.1), of(4, 1.0, 0.1)])[0] == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(of, st.integers(0, 5), st.floats(-1, 5), st.floats(0.01, 1), lost=st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_engine_is_ranked_once_and_one_that_holds_is_first_if_any_does(
    standings: list[Standing],
) -> None:
    order = ranked(standings)
    assert sorted(order) == list(range(len(standings)))
    holding = [one for one in standings if one.holds]
    if holding:
        assert standings[order[0]].holds
        assert standings[order[0]].price == min(one.price for one in holding)
        assert standings[order[0]].used <= ROOM


def ungated(price: int, *, first: float, others: float, n_first: int = 80) -> Standing:
    """Loses shares of two slices, of which the first is small."""
    n = {"first": n_first, "others": 4000}
    right = np.ones(sum(n.values()))
    wrong = right.copy()
    wrong[: round(first * n_first)] = 0.0
    wrong[n_first : n_first + round(others * n["others"])] = 0.0
    slices = {"first": np.arange(n_first), "others": np.arange(n_first, len(right))}
    made = compare(TOP1, UnitScores(TOP1, right), {"engine": UnitScores(TOP1, wrong)}, slices)
    return standing(judge(made), price=price)


def test_without_gates_a_worst_slice_is_not_compared_with_anothers() -> None:
    """Losing 5 % everywhere is no remedy for losing 10 % of a few rows and nothing else."""
    plain = ungated(0, first=0.1, others=0.005)
    everywhere = ungated(4, first=0.05, others=0.05)
    assert everywhere.used < plain.used
    assert ranked([plain, everywhere])[0] == 0
    cured = ungated(5, first=0.0, others=0.005)
    assert ranked([plain, everywhere, cured])[0] == 2


def test_without_gates_nobody_pays_for_noise() -> None:
    plain, other = (ungated(price, first=lost, others=0.0) for price, lost in ((0, 0.02), (1, 0.0)))
    assert ranked([plain, other])[0] == 0
    assert ranked([standing([], price=0), other])[0] == 1


def test_few_rows_leave_what_is_not_beaten_beyond_the_noise() -> None:
    standings = [of(0, 1.03, 1.3), of(0, 0.0, 1.3), of(4, 0.0, 1.3)]
    assert ranked(standings)[0] == 1
    assert ranked(standings, few=True)[0] == 0
    assert ranked([of(0, 4.0, 1.3), of(4, 0.0, 1.3)], few=True)[0] == 1
    assert ranked([of(0, 0.4, lost=True), of(4, 0.4)], few=True)[0] == 1


def test_so_many_rows_are_needed_that_one_leaves_room() -> None:
    assert rows_needed([]) == rows_needed([(0.5, 1.0), (0.01, None)]) == 30
    assert rows_needed([(0.05, 1.0), (0.5, 1.0)]) == 40
    assert rows_needed([(0.01, 2.0)]) == 400
