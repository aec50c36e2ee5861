"""Calibration sets to compare: at random, spread evenly, and, as controls, narrow on purpose."""

from collections.abc import Iterator, Mapping
from typing import Any

from calaudit.audit.proposal.slices import Sliced
from calaudit.audit.proposal.table import Table
from calaudit.runtime.pool import Rows
from calaudit.slices.sliceset import CodedDimension

SIZE = 128
"""Samples of a calibration set, where there are twice as many to draw from."""
SMALLEST_NARROW = 8
"""Fewer samples of one group than this make no calibration set worth comparing."""
PER_STRATUM = 3
"""Samples that each stratum of two crossed dimensions should give on average."""


def propose_sets(sliced: Sliced, candidates: Rows) -> Iterator[Table]:
    """Recipes that can be drawn from the candidates."""
    size = max(1, min(SIZE, len(candidates) // 2))
    yield Table(
        {"name": "random", "kind": "uniform", "size": size},
        "A random sample: the usual choice.",
    )
    plain = [table.values for table in sliced.tables[: sliced.n_plain]]
    drawable = sliced.slices.take(candidates)
    counted = [_counts(each) for each in drawable.dimensions[: sliced.n_plain]]
    yield from _equal(size, plain, counted)
    for number in range(min(2, len(plain))):
        yield from _narrow(size, plain[number], counted[number])


def _counts(dimension: CodedDimension) -> dict[str, int]:
    counts = dimension.counts().tolist()
    return {name: n for name, n in zip(dimension.labels, counts, strict=True) if n}


def _equal(
    size: int, plain: list[Mapping[str, Any]], counted: list[dict[str, int]]
) -> Iterator[Table]:
    if not 1 < len(counted[0]) <= size:
        return
    both = len(plain) > 1 and PER_STRATUM * len(counted[0]) * len(counted[1]) <= size
    yield Table(
        {
            "name": "equal",
            "kind": "stratified",
            "size": size,
            "allocation": "equal",
            "strata": plain[: 1 + both],
        },
        "The same number from every group, so that rare groups are covered.",
    )


def _narrow(size: int, values: Mapping[str, Any], counts: dict[str, int]) -> Iterator[Table]:
    name, n = max(counts.items(), key=lambda each: each[1], default=("", 0))
    if len(counts) > 1 and n >= SMALLEST_NARROW:
        yield Table(
            {
                "name": f"only {name}",
                "role": "control",
                "kind": "skewed",
                "size": min(size, n),
                "only": [name],
                "strata": [values],
            },
            "Deliberately narrow, to show the effect of a biased set. A control: never gated.",
        )
