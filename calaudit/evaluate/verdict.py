"""From comparisons to verdicts.

Rules, for a gate `max_drop` and a one-sided error α:

PASS
    The upper bound of the drop is below the gate, in a slice that isn't thin. Every slice passing
    is an intersection–union test, so no correction is due.
REGRESSED
    Not PASS, and the drop is above 0 (for agreement metrics: above the gate) by a one-sided test
    that survives Holm's correction over the gated slices of this cell and metric, and by its
    lower bound. A drop that is real but provably below the gate is a PASS.
    Also: the engine's output wasn't finite for a unit that FP32 scored.
INCONCLUSIVE
    Neither; `n_needed` says how many units would decide it.

Comparisons without a gate are screened: see `screen`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from numpy.typing import ArrayLike

from calaudit.evaluate.comparison import Comparison, MinSupport, Verdict
from calaudit.evaluate.needed import n_needed
from calaudit.evaluate.statistics.corrections import benjamini_yekutieli, holm


def judge(
    comparisons: Sequence[Comparison],
    *,
    min_support: MinSupport | Mapping[str, MinSupport] | None = None,
) -> list[Comparison]:
    """Adjust p-values, and draw the verdicts.

    Give all slices of a cell and metric at once: those with a gate are one family for Holm's
    correction, so that slices that are only shown don't cost the gated ones power. Those without,
    over all cells, are one family of the metric for Benjamini and Yekutieli's.
    `min_support` is that of every slice, or slice by slice.

    Returns
    -------
    list of Comparison
        In the order given, with `p_adjusted`, `verdict` and `n_needed` set. Without a gate the
        verdict stays None.
    """
    gated = [i for i, one in enumerate(comparisons) if one.max_drop is not None]
    shown = [i for i, one in enumerate(comparisons) if one.max_drop is None]
    named = _adjusted(comparisons, gated, lambda one: (one.cell, one.metric.name), holm)
    screened = _adjusted(comparisons, shown, lambda one: one.metric.name, benjamini_yekutieli)
    return [
        _judged(replace(one, p_adjusted=p), _support(min_support, one), family)
        for one, (p, family) in zip(
            comparisons,
            [(named | screened).get(i, (None, 1)) for i in range(len(comparisons))],
            strict=True,
        )
    ]


def screen(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Comparisons without a gate that lose more than chance explains, largest sure loss first.

    Of all that are listed, a share of at most α is expected to be false, however many slices
    were looked at and however they overlap.

    Parameters
    ----------
    comparisons : iterable of Comparison
        From `judge`.
    """
    found = [
        one
        for one in comparisons
        if one.max_drop is None and one.p_adjusted is not None and one.p_adjusted < one.alpha
    ]
    return sorted(found, key=lambda one: -(one.low if one.low is not None else one.drop or 0.0))


def overall_verdict(comparisons: Iterable[Comparison]) -> Verdict:
    """REGRESSED if any is, else INCONCLUSIVE if any is, else PASS (also when nothing is gated)."""
    verdicts = {one.verdict for one in comparisons}
    for verdict in (Verdict.REGRESSED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS


def _adjusted(
    comparisons: Sequence[Comparison],
    members: Sequence[int],
    family_of: Callable[[Comparison], Hashable],
    correct: Callable[[ArrayLike], Iterable[float]],
) -> dict[int, tuple[float, int]]:
    """Position → adjusted p-value, and how many tests its family has."""
    families: dict[Hashable, list[int]] = defaultdict(list)
    for index in members:
        if comparisons[index].p_value is not None:
            families[family_of(comparisons[index])].append(index)
    found: dict[int, tuple[float, int]] = {}
    for family in families.values():
        values = correct([comparisons[index].p_value or 0.0 for index in family])
        for index, value in zip(family, values, strict=True):
            found[index] = float(value), len(family)
    return found


def _support(given: MinSupport | Mapping[str, MinSupport] | None, one: Comparison) -> MinSupport:
    return given[one.slice] if isinstance(given, Mapping) else given or MinSupport()


def _judged(one: Comparison, support: MinSupport, tests: int) -> Comparison:
    if one.max_drop is None:
        return one
    verdict = _verdict(one, support)
    needed = n_needed(one, support, tests) if verdict is Verdict.INCONCLUSIVE else None
    return replace(one, verdict=verdict, n_needed=needed)


def _verdict(one: Comparison, support: MinSupport) -> Verdict:
    assert one.max_drop is not None
    if one.n_broken:
        return Verdict.REGRESSED
    proven = one.one_sided_high is not None and one.one_sided_high < one.max_drop
    enough = one.n >= support.of(one.interval)
    if one.n_clusters is not None:
        enough = enough and one.n_clusters >= support.clusters
    if proven and enough:
        return Verdict.PASS
    # The test alone would call harm what an honest interval doesn't exclude: where few units
    # changed, its p-value rests on symmetry and the interval doesn't.
    bounded = one.one_sided_low is not None and one.one_sided_low > one.margin
    tested = one.p_adjusted is not None and one.p_adjusted < one.alpha
    if bounded and tested and not proven:
        return Verdict.REGRESSED
    return Verdict.INCONCLUSIVE
