"""Rankings with many ties, and every way to break them: the plain way to an expected value."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import score
from calaudit.metrics.truth import Relevance


def tied_case(
    seed: int, queries: int = 6, items: int = 9, levels: int = 4
) -> tuple[NDArray[np.float32], Relevance]:
    """Scores (queries, items) of few levels, with relevance 0–2, exclusions and a tail."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (queries, items)).astype(np.float32)
    relevance = rng.integers(0, 3, (queries, items))
    exclude = rng.random((queries, items)) < 0.2
    tail = np.arange(items) >= items // 2
    return scores, Relevance(relevance, exclude, tail=tail)


def values(
    name: str, scores: NDArray[Any], truth: Relevance, reference: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Per-query scores."""
    return score(parse_metric(name), scores, truth, reference).values


def orders(scores: NDArray[Any], exclude: Sequence[bool]) -> Iterator[list[int]]:
    """Every ranking of one query that breaks its ties some way."""
    eligible = [item for item in range(len(scores)) if not exclude[item]]
    levels = sorted({scores[item] for item in eligible}, reverse=True)
    ties = [[item for item in eligible if scores[item] == level] for level in levels]
    for broken in itertools.product(*(itertools.permutations(tie) for tie in ties)):
        yield [item for tie in broken for item in tie]
