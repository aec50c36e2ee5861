from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

from calaudit.runtime.errors import DrawError
from calaudit.sampling import coverage as module
from calaudit.sampling.coverage import herding, k_center
from calaudit.sampling.draw import draw
from calaudit.sampling.kinds import make_recipe
from calaudit.sampling.recipe import Candidates, Embedding

points = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(size=(12, 2)))


def radius(embedding, chosen) -> float:
    return pairwise_distances(embedding, embedding[list(chosen)]).min(axis=1).max()


def mean_error(embedding, chosen) -> float:
    return float(np.linalg.norm(embedding[chosen].mean(axis=0) - embedding.mean(axis=0)))


@settings(max_examples=25)
@given(points, st.integers(2, 4), st.integers(0, 11))
def test_k_center_is_within_twice_the_best_radius(embedding, k, start) -> None:
    chosen = k_center(embedding, k, start=start)
    distances = pairwise_distances(embedding)
    best = min(distances[:, each].min(axis=1).max() for each in combinations(range(12), k))
    assert len(set(chosen)) == k
    assert chosen[0] == start
    # The grid moves a point by at most half a step of 2⁻¹⁶ of the span.
    assert radius(embedding, chosen) <= 2 * best + 1e-3


def test_k_center_takes_the_farthest_sample_each_time() -> None:
    embedding = np.random.default_rng(3).normal(size=(300, 8))
    chosen = k_center(embedding, 40, start=5)
    distances = pairwise_distances(embedding)
    for step in range(1, 40):
        nearest = distances[:, chosen[:step]].min(axis=1)
        assert nearest[chosen[step]] == pytest.approx(nearest.max(), rel=1e-3)


def test_k_center_spreads_wider_than_chance() -> None:
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(500, 4))
    by_chance = [radius(embedding, generator.choice(500, 25, replace=False)) for _ in range(50)]
    assert radius(embedding, k_center(embedding, 25, start=0)) < min(by_chance)


def test_herding_follows_the_mean_closer_than_chance() -> None:
    generator = np.random.default_rng(0)
    embedding = generator.gamma(1.0, size=(400, 6))
    for k in (5, 20, 60):
        chosen = herding(embedding, k, start=int(generator.integers(400)))
        by_chance = [
            mean_error(embedding, generator.choice(400, k, replace=False)) for _ in range(50)
        ]
        assert len(set(chosen)) == k
        assert mean_error(embedding, chosen) < min(by_chance) / 2


def test_herding_error_falls_like_one_over_k() -> None:
    embedding = np.random.default_rng(1).normal(size=(2000, 3))
    chosen = herding(embedding, 256, start=0)
    errors = [k * mean_error(embedding, chosen[:k]) for k in (16, 64, 256)]
    assert max(errors) < 4


def test_herding_takes_the_sample_that_helps_most() -> None:
    embedding = np.random.default_rng(2).normal(size=(60, 3))
    chosen = herding(embedding, 10, start=4).tolist()
    for step in range(1, 10):
        others = [i for i in range(60) if i not in chosen[:step]]
        errors = {i: mean_error(embedding, [*chosen[:step], i]) for i in others}
        assert errors[chosen[step]] == pytest.approx(min(errors.values()), abs=1e-3)


@pytest.mark.parametrize("choose", [k_center, herding])
def test_equal_samples_are_taken_once_each(choose) -> None:
    chosen = choose(np.repeat([[0.0], [1.0]], 4, axis=0), 8, start=0)
    assert sorted(chosen) == list(range(8))
    assert sorted(choose(np.ones((5, 2)), 5, start=3)) == list(range(5))


@pytest.mark.parametrize("choose", [k_center, herding])
def test_the_choice_does_not_depend_on_chunks_type_or_units(choose, monkeypatch) -> None:
    embedding = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    before = choose(embedding, 30, start=1)
    monkeypatch.setattr(module, "_CHUNK_VALUES", 64)
    assert (choose(embedding.astype(np.float64), 30, start=1) == before).all()
    assert (choose(embedding * 1024 + 4096, 5, start=1) == before[:5]).all()


@pytest.mark.parametrize("algorithm", ["k-center", "herding"])
def test_the_start_is_random_by_seed_or_the_mean(algorithm) -> None:
    embedding = np.random.default_rng(0).normal(size=(100, 3))
    pool = Candidates(np.arange(100), embedding=embedding)
    where = Embedding(column="x")

    def rows(seed, start):
        recipe = make_recipe(
            name="c", kind="coverage", size=5, embedding=where, algorithm=algorithm, start=start
        )
        return tuple(draw(recipe, pool, seed=seed).rows)

    assert len({rows(seed, "random") for seed in range(6)}) > 1
    assert len({rows(seed, "mean") for seed in range(6)}) == 1
    centre = int(np.linalg.norm(embedding - embedding.mean(axis=0), axis=1).argmin())
    assert centre in rows(0, "mean")


def test_an_embedding_with_gaps_or_too_wide_is_refused() -> None:
    recipe = make_recipe(name="c", kind="coverage", size=2, embedding=Embedding(column="x"))
    gap = np.array([[0.0], [np.nan], [1.0]])
    with pytest.raises(DrawError, match="embedding is missing or infinite for 1 of 3"):
        draw(recipe, Candidates(np.arange(3), embedding=gap), seed=0)
    with pytest.raises(DrawError, match="too wide"):
        k_center(np.zeros((2, module.MAX_DIMENSIONS + 1), np.float32), 1, start=0)
