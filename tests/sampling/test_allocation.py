from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.runtime.errors import DrawError
from calaudit.sampling.allocation import allocate, neyman_weights

counts = st.lists(st.integers(1, 60), min_size=1, max_size=8)


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, list[int], list[Fraction], int, int | None]:
    """Feasible allocations: size, counts, weights, floor, cap."""
    held = draw(counts)
    weights = draw(
        st.lists(st.fractions(0, 9, max_denominator=7), min_size=len(held), max_size=len(held))
    )
    cap = draw(st.none() | st.integers(1, 70))
    floor = draw(st.integers(0, 5 if cap is None else min(5, cap)))
    low = sum(min(floor, n) for n in held)
    high = sum(n if cap is None else min(cap, n) for n in held)
    return draw(st.integers(max(low, 1), max(high, low, 1))), held, weights, floor, cap


@given(problems())
def test_parts_sum_to_the_size_within_every_bound(problem) -> None:
    size, held, weights, floor, cap = problem
    drawn = allocate(size, held, weights, floor=floor, cap=cap).drawn
    assert drawn.sum() == size
    for n, available in zip(drawn, held, strict=True):
        assert min(floor, available) <= n <= (available if cap is None else min(cap, available))


@given(problems())
def test_parts_are_within_one_of_the_water_level(problem) -> None:
    size, held, weights, floor, cap = problem
    drawn = allocate(size, held, weights, floor=floor, cap=cap).drawn
    low = np.array([min(floor, n) for n in held], float)
    high = np.array([n if cap is None else min(cap, n) for n in held], float)
    w = np.array([float(x) for x in weights])
    if not (w > 0).all():
        return
    # Another way to the same answer: bisect for the level at which the clipped parts fill up.
    below, above = 0.0, (size + 1) / w.min()
    for _ in range(200):
        level = (below + above) / 2
        if np.clip(level * w, low, high).sum() < size:
            below = level
        else:
            above = level
    assert (np.abs(drawn - np.clip(above * w, low, high)) < 1 + 1e-6).all()


@given(counts, st.integers(1, 200))
def test_a_larger_stratum_never_gives_less_under_proportional_allocation(held, size) -> None:
    if size > sum(held):
        return
    drawn = allocate(size, held, held).drawn
    order = np.argsort(held, kind="stable")
    parts, sizes = drawn[order], np.array(held)[order]
    assert all(
        a <= b for a, b, n, m in zip(parts, parts[1:], sizes, sizes[1:], strict=False) if n < m
    )


@given(counts, st.data())
def test_a_larger_size_takes_at_most_one_from_any_stratum(held, data) -> None:
    size = data.draw(st.integers(1, sum(held)))
    if size == sum(held):
        return
    smaller, larger = (allocate(n, held, [1] * len(held)).drawn for n in (size, size + 1))
    assert (larger >= smaller - 1).all()


def test_proportional_parts_are_the_textbook_ones() -> None:
    assert allocate(100, [500, 300, 200], [500, 300, 200]).drawn.tolist() == [50, 30, 20]
    # n·N_h/N = 3.33, 3.33, 3.33: the earlier strata are rounded up.
    assert allocate(10, [7, 7, 7], [7, 7, 7]).drawn.tolist() == [4, 3, 3]


def test_what_a_stratum_lacks_goes_to_the_others_in_proportion() -> None:
    found = allocate(120, [1000, 10, 1000], [2, 3, 1])
    assert found.asked.tolist() == [40, 60, 20]
    # 110 are left for weights 2 : 1.
    assert found.drawn.tolist() == [73, 10, 37]


def test_a_capped_stratum_passes_its_excess_on() -> None:
    found = allocate(100, [500, 300, 200], [5, 3, 2], cap=35)
    assert found.drawn.tolist() == [35, 35, 30]
    assert (found.asked == found.drawn).all()


def test_weightless_strata_are_drawn_only_when_the_others_are_exhausted() -> None:
    assert allocate(6, [5, 10], [1, 0], floor=1).drawn.tolist() == [5, 1]
    assert allocate(9, [5, 10], [1, 0], floor=1).drawn.tolist() == [5, 4]


def test_crossed_strata_keep_their_slices_near_the_ideal() -> None:
    # 128 over 5 × 10 equal strata: 2.56 each. Rounding up the first 28 would give the first
    # slices of the outer dimension 30 and the last 20.
    outer, inner = np.divmod(np.arange(50), 10)
    drawn = allocate(128, [99] * 50, [1] * 50, margins=[outer, inner]).drawn
    assert set(drawn) == {2, 3}
    assert set(np.bincount(outer, weights=drawn)) == {25, 26}
    assert set(np.bincount(inner, weights=drawn)) == {12, 13}


@given(st.lists(st.integers(1, 40), min_size=12, max_size=12), st.integers(1, 12))
def test_rounding_with_margins_still_stays_within_one_of_the_ideal(held, size) -> None:
    outer, inner = np.divmod(np.arange(12), 4)
    drawn = allocate(size, held, held, margins=[outer, inner]).drawn
    ideal = size * np.array(held) / sum(held)
    assert drawn.sum() == size
    assert (np.abs(drawn - ideal) < 1).all()


def test_neyman_weights_follow_size_times_deviation() -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(-1, 3, 500).astype(np.int32)
    values = generator.normal(size=500) * np.array([1, 4, 0.5])[codes]
    weights = neyman_weights(values, codes, 3)
    wanted = [(codes == h).sum() * values[codes == h].std(ddof=1) for h in range(3)]
    assert [float(w) for w in weights] == pytest.approx(wanted, rel=1e-8)
    drawn = allocate(50, [200, 200, 200], weights).drawn
    assert (np.abs(drawn - 50 * np.array(wanted) / sum(wanted)) < 1).all()


def test_neyman_minimises_the_variance_of_a_stratified_mean() -> None:
    counts, deviations, size = [300, 500, 200], [5.0, 1.0, 10.0], 60
    weights = [Fraction(n) * Fraction(s) for n, s in zip(counts, deviations, strict=True)]

    def variance(parts) -> float:
        terms = zip(counts, deviations, parts, strict=True)
        return sum((n * s) ** 2 * (1 / k - 1 / n) for n, s, k in terms)

    best = variance(allocate(size, counts, weights, floor=1).drawn)
    others = [(a, b, size - a - b) for a in range(1, 59) for b in range(1, 59 - a)]
    # Largest-remainder rounding is within a hair of the best whole numbers.
    assert best <= min(map(variance, others)) * 1.002


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (31, {}, "31 samples are asked for, but there are only 30 to draw from"),
        (20, {"cap": 5}, "20 samples are asked for, but 3 strata capped at 5 give only 15"),
        (5, {"floor": 2}, "5 samples are asked for, but a floor of 2 in 3 strata takes 6"),
    ],
)
def test_what_cannot_be_split_is_refused(size, options, message) -> None:
    with pytest.raises(DrawError, match=message):
        allocate(size, [10, 10, 10], [1, 1, 1], **options)
