"""Explanations of drops in words: one sentence each, what else the cause is behind, the curve."""

from collections import Counter
from collections.abc import Iterator

from calaudit.report.bench.float_cost import float_cost_lines
from calaudit.report.index import Index
from calaudit.report.wording import difference, engine_name
from calaudit.results.comparison import ALL
from calaudit.results.explanation import FOUND, Cause, Explanation
from calaudit.results.report import Report
from calaudit.runtime.words import counted, first_of, visible

_SHOWN = 3
_OPEN = 2
"""Explanations of one cause that are told, where nothing was found."""

TITLE = "Explanations, by experiments on the tuning rows"


def told(report: Report) -> tuple[list[Explanation], list[str]]:
    """Explanations to tell: all that found something, and of each other cause the first few.

    Returns
    -------
    list of Explanation
        In the report's order.
    list of str
        How many more there are, cause by cause.
    """
    counts: Counter[Cause] = Counter()
    kept = []
    for one in report.explanations:
        counts[one.cause] += 1
        if one.cause in FOUND or counts[one.cause] <= _OPEN:
            kept.append(one)
    rest = {cause: n - _OPEN for cause, n in counts.items() if cause not in FOUND and n > _OPEN}
    return kept, [
        f"… and {counted(n, 'more', 'more')} like these in the report: {cause}"
        for cause, n in rest.items()
    ]


def explanation_lines(index: Index, one: Explanation) -> Iterator[str]:
    """An explanation's sentence, then what belongs to it, a line each."""
    yield one.sentence
    yield from float_cost_lines(index, one.cell, one.ops)
    if one.alike:
        yield _alike(index, one)
    if len(one.curve) > 1:
        yield _curve(index, one)


def _alike(index: Index, one: Explanation) -> str:
    """Other results that the same change takes back."""
    named = [
        f"{engine_name(index, each.cell)} "
        f"{'overall' if each.slice == ALL else f'on {visible(each.slice)}'}"
        for each in one.alike
    ]
    results = counted(len(named), "other result")
    return f"The same takes back {results}: {first_of(named[:_SHOWN], len(named))}"


def _curve(index: Index, one: Explanation) -> str:
    """``Ranges exchanged → drop left: 0 → 57.3, 1 → 53.0, 4 → 11.3``."""
    metric = index.metrics[one.metric]
    points = (f"{each.k} → {difference(metric, each.left.value)}" for each in one.curve)
    text = f"Ranges exchanged → drop left: {', '.join(points)}"
    order = [tap for point in one.curve for tap in point.added]
    first = [set(order[: point.k]) for point in one.curve]
    if one.taps and one.left is not None and set(one.taps) not in first:
        text += f"; those named alone → {difference(metric, one.left.value)}"
    return text
