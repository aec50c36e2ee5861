import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calaudit.runtime.errors import DrawError, SliceError
from calaudit.sampling.draw import compose, draw, kish_n_eff
from calaudit.sampling.kinds import make_recipe
from calaudit.sampling.recipe import Candidates, Embedding, Recipe
from calaudit.sampling.skewed import REST
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import CodedDimension, SliceSet

EDGES = Dimension(by="noise", edges=[0.5])
LABELS = ("noise < 0.5", "noise ≥ 0.5")


def candidates(codes, *, rows=None, **known) -> Candidates:
    codes = np.asarray(codes, np.int32)
    slices = SliceSet(len(codes), (CodedDimension("noise", LABELS, codes),))
    return Candidates(np.arange(len(codes)) if rows is None else rows, slices, **known)


def stratified(size=10, **options) -> Recipe:
    return make_recipe(name="s", kind="stratified", size=size, strata=[EDGES], **options)


def skewed(size=10, **options) -> Recipe:
    return make_recipe(name="s", kind="skewed", size=size, strata=[EDGES], **options)


HALF = [0] * 80 + [1] * 20


def test_the_rows_of_a_seed_are_the_same_on_every_machine() -> None:
    made = draw(make_recipe(name="random", size=8), Candidates(np.arange(1000)), seed=0)
    assert made.rows.tolist() == [191, 274, 316, 567, 707, 792, 849, 943]
    made = draw(stratified(6, allocation="equal"), candidates(HALF), seed=3)
    assert made.rows.tolist() == [50, 59, 67, 81, 86, 89]


def test_another_seed_or_name_gives_another_draw() -> None:
    pool = Candidates(np.arange(1000))
    drawn = {
        tuple(draw(make_recipe(name=name, size=20), pool, seed=seed).rows)
        for name in ("a", "b")
        for seed in range(10)
    }
    assert len(drawn) == 20


def test_the_recipes_own_seed_stands_before_the_commands() -> None:
    pool = Candidates(np.arange(1000))
    own = make_recipe(name="a", size=20, seed=5)
    assert draw(own, pool, seed=1).rows.tolist() == draw(own, pool, seed=2).rows.tolist()
    assert draw(own, pool, seed=1).seed == 5


def test_a_larger_draw_contains_the_smaller_one() -> None:
    pool = Candidates(np.arange(500))
    small, large = (draw(make_recipe(name="a", size=n), pool, seed=0).rows for n in (30, 60))
    assert set(small) < set(large)


def test_a_candidate_that_leaves_changes_only_its_own_place() -> None:
    everyone = np.arange(300)
    before = draw(make_recipe(name="a", size=40), Candidates(everyone), seed=0).rows
    without = everyone[everyone != before[7]]
    after = draw(make_recipe(name="a", size=40), Candidates(without), seed=0).rows
    assert len(set(before) - set(after)) == 1


def test_every_candidate_is_as_likely_as_any_other() -> None:
    n, size, n_draws = 40, 10, 2000
    pool = Candidates(np.arange(n))
    times = np.zeros(n)
    pairs = 0
    for seed in range(n_draws):
        rows = draw(make_recipe(name="a", size=size), pool, seed=seed).rows
        times[rows] += 1
        pairs += bool(np.isin([3, 4], rows).all())
    # The counts of one draw sum to its size: n - 1 degrees of freedom, variance π(1 - π) each.
    expected = n_draws * size / n
    statistic = ((times - expected) ** 2).sum() / (expected * (1 - size / n))
    assert stats.chi2.sf(statistic * (n - 1) / n, n - 1) > 0.01
    together = size * (size - 1) / (n * (n - 1))
    assert stats.binomtest(pairs, n_draws, together).pvalue > 0.01


def test_every_member_of_a_stratum_is_as_likely_as_any_other() -> None:
    pool, recipe = candidates([0] * 20 + [1] * 8), stratified(8, allocation="equal")
    times = np.zeros(28)
    for seed in range(1500):
        times[draw(recipe, pool, seed=seed).rows] += 1
    assert (times[:20].sum(), times[20:].sum()) == (6000, 6000)
    for part, share in ((times[:20], 4 / 20), (times[20:], 4 / 8)):
        statistic = ((part - 1500 * share) ** 2).sum() / (1500 * share * (1 - share))
        assert stats.chi2.sf(statistic * (len(part) - 1) / len(part), len(part) - 1) > 0.01


@given(
    st.lists(st.integers(0, 1), min_size=12, max_size=60).filter(lambda c: len(set(c)) == 2),
    st.sampled_from(["proportional", "equal"]),
    st.integers(2, 12),
    st.integers(0, 5),
)
def test_a_stratified_draw_is_exact_unique_and_weighted_back(codes, how, size, seed) -> None:
    pool = candidates(codes, rows=np.arange(len(codes)) * 3 + 1)
    made = draw(stratified(size, allocation=how), pool, seed=seed)
    assert len(made.rows) == size == sum(each.drawn for each in made.strata)
    assert (np.diff(made.rows) > 0).all()
    assert np.isin(made.rows, pool.rows).all()
    drawn_codes = np.array(codes)[(made.rows - 1) // 3]
    for h, each in enumerate(made.strata):
        assert each.drawn == (drawn_codes == h).sum() <= each.population
        # Σw over a stratum is its share of the candidates: the weights undo the design.
        total = made.weights[drawn_codes == h].sum()
        assert total == pytest.approx(size * each.population / len(codes))
    assert made.weights.mean() == pytest.approx(1)


def test_a_short_stratum_gives_all_it_has_and_a_notice() -> None:
    made = draw(stratified(60, allocation="equal"), candidates(HALF), seed=0)
    assert [(each.asked, each.drawn) for each in made.strata] == [(30, 40), (30, 20)]
    assert [notice.code for notice in made.notices] == ["stratum_short"]
    assert str(made.notices[0]) == (
        's: stratum "noise ≥ 0.5" holds 20 candidates of 30 asked for; '
        "the other 10 were drawn from other strata"
    )


def test_neyman_draws_more_where_the_deviation_is_larger() -> None:
    values = np.concatenate([np.tile([0.0, 1.0], 40), np.tile([0.0, 8.0], 10)])
    recipe = stratified(30, allocation="neyman", deviation="loss")
    made = draw(recipe, candidates(HALF, deviation=values), seed=0)
    # N·σ = 80·0.503 and 20·4.10.
    assert [each.drawn for each in made.strata] == [10, 20]


def test_neyman_without_any_deviation_is_proportional_and_says_so() -> None:
    recipe = stratified(10, allocation="neyman", deviation="loss")
    made = draw(recipe, candidates(HALF, deviation=np.ones(100)), seed=0)
    assert [each.drawn for each in made.strata] == [8, 2]
    assert [notice.code for notice in made.notices] == ["neyman_flat"]


def test_a_deviation_with_gaps_is_refused() -> None:
    values = np.ones(100)
    values[[3, 4]] = [np.nan, np.inf]
    recipe = stratified(10, allocation="neyman", deviation="loss")
    with pytest.raises(DrawError, match="loss is missing or infinite for 2 of 100 candidates"):
        draw(recipe, candidates(HALF, deviation=values), seed=0)


def test_only_and_without_draw_from_what_they_leave() -> None:
    pool = candidates(HALF)
    clean = draw(skewed(only=[LABELS[0]]), pool, seed=0)
    noisy = draw(skewed(without=["noise < 0.5"]), pool, seed=0)
    assert (clean.rows < 80).all()
    assert (noisy.rows >= 80).all()
    assert set(clean.weights) == set(noisy.weights) == {1.0}
    typed = draw(skewed(only=["noise >= 0.5"]), pool, seed=0)
    assert typed.rows.tolist() == noisy.rows.tolist()


def test_shares_are_exact_and_the_rest_comes_from_the_rest() -> None:
    made = draw(skewed(shares={LABELS[1]: 0.7}), candidates(HALF), seed=0)
    assert [(each.label, each.drawn) for each in made.strata] == [(LABELS[1], 7), (REST, 3)]
    assert (made.rows >= 80).sum() == 7


def test_shares_that_add_up_to_1_leave_the_rest_out() -> None:
    codes = [0] * 50 + [1] * 50 + [-1] * 50
    made = draw(skewed(shares={LABELS[0]: 0.9, LABELS[1]: 0.1}), candidates(codes), seed=0)
    assert [each.drawn for each in made.strata] == [9, 1]
    assert (made.rows < 100).all()


def test_a_share_that_runs_short_is_topped_up_by_the_other_shares_alone() -> None:
    codes = [0] * 50 + [1] * 3 + [-1] * 50
    recipe = skewed(20, shares={LABELS[0]: 0.5, LABELS[1]: 0.5})
    made = draw(recipe, candidates(codes), seed=0)
    assert [each.drawn for each in made.strata] == [17, 3]
    assert [notice.code for notice in made.notices] == ["stratum_short"]
    with pytest.raises(DrawError, match="60 samples are asked for, but there are only 53"):
        draw(skewed(60, shares={LABELS[0]: 0.5, LABELS[1]: 0.5}), candidates(codes), seed=0)


def test_names_that_hold_no_candidate_are_all_reported() -> None:
    codes = SliceSet(30, (CodedDimension("noise", LABELS, np.full(30, -1, np.int32)),))
    with pytest.raises(DrawError) as caught:
        draw(skewed(only=LABELS), Candidates(np.arange(30), codes), seed=0)
    assert [str(problem.message) for problem in caught.value.problems] == [
        f'slice "{label}" holds no candidate' for label in LABELS
    ]


def test_overlapping_shares_are_refused() -> None:
    both = (CodedDimension("loud", ("loud",), np.zeros(100, np.int32)),)
    slices = SliceSet(100, (*candidates(HALF).strata.dimensions, *both))
    with pytest.raises(DrawError, match=r"20 candidates are in both .loud. and .noise"):
        draw(
            skewed(shares={"loud": 0.5, LABELS[1]: 0.5}), Candidates(np.arange(100), slices), seed=0
        )


def test_a_share_that_the_other_rules_empty_is_refused() -> None:
    recipe = skewed(only=[LABELS[0]], shares={LABELS[1]: 0.5})
    with pytest.raises(DrawError, match="holds no candidate after only and without"):
        draw(recipe, candidates(HALF), seed=0)


def test_an_unknown_slice_is_refused_with_the_near_ones() -> None:
    with pytest.raises(SliceError, match="Did you mean noise"):
        draw(skewed(only=["nose < 0.5"]), candidates(HALF), seed=0)


@pytest.mark.parametrize(("n", "step"), [(9, "at most 9"), (0, "Change the predicate")])
def test_more_samples_than_candidates_are_refused(n, step) -> None:
    with pytest.raises(DrawError, match=f"a: 10 samples .* only {n} candidates\n.*{step}"):
        draw(make_recipe(name="a", size=10), Candidates(np.arange(n)), seed=0)


def test_coverage_repeats_are_noted() -> None:
    points = np.repeat(np.arange(4.0), 5)[:, None]
    recipe = make_recipe(name="c", kind="coverage", size=6, embedding=Embedding(column="x"))
    made = draw(recipe, Candidates(np.arange(20), embedding=points), seed=0)
    assert len(set(made.rows)) == 6
    assert [notice.code for notice in made.notices] == ["coverage_repeats"]
    assert set(made.weights) == {1.0}


def test_kish_n_eff_is_n_for_equal_weights_and_less_for_unequal() -> None:
    assert kish_n_eff(np.full(10, 3.0)) == pytest.approx(10)
    assert kish_n_eff(np.array([1.0, 1.0, 4.0])) == pytest.approx(36 / 18)


def test_composition_counts_every_slice_of_the_candidates_and_the_draw() -> None:
    pool = candidates(HALF)
    made = draw(skewed(only=[LABELS[0]]), pool, seed=0)
    everyone, clean, noisy = compose(pool.strata, made.rows, made.weights)
    assert (everyone.name, everyone.candidates, everyone.drawn) == ("all", 100, 10)
    assert (clean.candidates, clean.drawn, clean.share, clean.mean_weight) == (80, 10, 1.0, 1.0)
    assert (noisy.candidates, noisy.drawn, noisy.share, noisy.mean_weight) == (20, 0, 0.0, None)
