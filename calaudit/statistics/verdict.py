"""From comparisons to verdicts, corrected for testing several slices at once.

Rules, for a gate `max_drop` and a one-sided error α:

PASS
    The upper bound of the drop is below the gate, in a slice that isn't thin, and which could prove
    that gate if not one of its units had changed: seeing changes makes nothing easier. (Tango's
    bound of independent units holds without that.) And FP32 has more to lose there than the gate
    allows, so that some engine could fail it. Every slice passing is an intersection–union test, so
    no correction is due.
REGRESSED
    Not PASS, and the drop is above 0 (for agreement metrics: above the gate) by a one-sided test
    that survives Holm's correction over all gated comparisons, and by its lower bound. A drop that
    is real but provably below the gate is a PASS.
    Also: the engine's output wasn't finite for a unit that FP32 scored.
INCONCLUSIVE
    Neither; `reason` says why, `n_needed` how many units would decide it.

Comparisons without a gate are screened: see `screen`.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calaudit.results.comparison import Reason, Verdict
from calaudit.statistics.criteria import Comparison, MinSupport
from calaudit.statistics.sample_size import least_units, n_needed

_ROUNDING = 1e-6

CANDIDATES = "candidates"
"""Family of the gated comparisons of all cells that weren't given another one."""
Support = MinSupport | Mapping[str, MinSupport] | None
"""What a slice needs before it may PASS: every slice, or slice by slice."""


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values: those below α are rejected with family-wise error α.

    For slices that were named beforehand. S. Holm (1979), Scand. J. Statist. 6, 65–70. SciPy has
    no such function, and statsmodels', which tests compare this with, takes a second to import.

    Parameters
    ----------
    p_values : array_like, shape (tests,)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_yekutieli(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: of those below q, a share of at most q is expected to be false.

    For screening many slices, which overlap, so that their tests depend on one another in any way.
    Y. Benjamini & D. Yekutieli (2001), Ann. Statist. 29, 1165–1188, theorem 1.3: step-up on
    p₍ᵢ₎·(m/i)·Σ 1/j. SciPy has it too, but takes .4 s to import; tests compare both.

    Parameters
    ----------
    p_values : array_like, shape (tests,)

    Raises
    ------
    ValueError
        One isn't in [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    ranks = np.arange(1, len(p) + 1)
    stepped = p[order] * (len(p) / ranks) * (1 / ranks).sum()
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return adjusted


def judge(
    comparisons: Sequence[Comparison],
    *,
    min_support: Support | Sequence[MinSupport] = None,
    families: Mapping[str, str] | None = None,
    tell_needed: bool = True,
) -> list[Comparison]:
    """Adjust p-values, and draw the verdicts.

    Give all comparisons at once that are shipped by, of all cells, metrics and slices: those with a
    gate are one family for Holm's correction, so that a harmless candidate is called REGRESSED
    anywhere in at most α of audits. Those without are, metric by metric, a family for Benjamini
    and Yekutieli's: slices that are only shown don't cost the gated ones power.

    Parameters
    ----------
    comparisons : sequence of Comparison
    min_support : MinSupport, mapping or sequence, optional
        Of every slice, slice by slice, or comparison by comparison.
    families : mapping, optional
        Cell → its family, for cells that aren't to be shipped: ``{"narrow/minmax": "controls"}``.
        They cost the candidates no power, and the candidates don't cost them any.
    tell_needed : bool
        Whether `n_needed` is wanted, which takes several times as long as the rest; else it stays
        None.

    Returns
    -------
    list of Comparison
        In the order given, with `p_adjusted`, its `family`, `verdict`, `reason` and `n_needed` set.
        Without a gate the verdict stays None. What could be proven accounts for the support.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(comparisons):
        if one.p_value is not None:
            members[_family(one, families or {})].append(index)
    adjusted = list(comparisons)
    for family, indices in members.items():
        correct = benjamini_yekutieli if comparisons[indices[0]].max_drop is None else holm
        values = correct([comparisons[index].p_value or 0.0 for index in indices])
        for index, value in zip(indices, values.tolist(), strict=True):
            adjusted[index] = replace(
                adjusted[index], p_adjusted=value, family=family, family_size=len(indices)
            )
    supports = _supports(min_support, comparisons)
    return [
        _supported(_judged(one, support, tell_needed), support)
        for one, support in zip(adjusted, supports, strict=True)
    ]


def screen(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Comparisons without a gate that lose significantly, largest sure loss first.

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


def _family(one: Comparison, families: Mapping[str, str]) -> str:
    if one.max_drop is None:
        return f"screening of {one.metric}"
    return families.get(one.cell, CANDIDATES)


def _supports(
    given: Support | Sequence[MinSupport], comparisons: Sequence[Comparison]
) -> Sequence[MinSupport]:
    if isinstance(given, Mapping):
        return [given[one.slice] for one in comparisons]
    if isinstance(given, Sequence):
        return given
    return [given or MinSupport()] * len(comparisons)


def _judged(one: Comparison, support: MinSupport, tell_needed: bool) -> Comparison:
    if one.max_drop is None:
        return one
    verdict = _verdict(one, support)
    if verdict is not Verdict.INCONCLUSIVE:
        return replace(one, verdict=verdict)
    if _cannot_fail(one):
        return replace(one, verdict=verdict, reason=Reason.NOTHING_TO_LOSE)
    needed = n_needed(one, support, one.family_size or 1) if tell_needed else None
    return replace(one, verdict=verdict, reason=_reason(one, support), n_needed=needed)


def _supported(one: Comparison, support: MinSupport) -> Comparison:
    """With what as many units could prove, where a bound like the one found needs more of them."""
    if one.interval is None:
        return one
    least, smallest, enough = least_units(one, support), one.smallest_provable_drop, None
    if one.n_clusters:
        least = max(least, support.clusters * one.n / one.n_clusters)
    if one.n_to_prove is not None:
        enough = max(one.n_to_prove, math.ceil(least - _ROUNDING))
    if one.n < least - _ROUNDING:
        smallest = None
    if (smallest, enough) == (one.smallest_provable_drop, one.n_to_prove):
        return one
    return replace(one, smallest_provable_drop=smallest, n_to_prove=enough)


def _verdict(one: Comparison, support: MinSupport) -> Verdict:
    if one.n_broken:
        return Verdict.REGRESSED
    if _proven(one):
        weak = _cannot_fail(one) or _thin(one, support)
        return Verdict.INCONCLUSIVE if weak else Verdict.PASS
    # The test alone would call harm what an honest interval doesn't exclude: where few units
    # changed, its p-value rests on symmetry and the interval doesn't.
    bounded = one.one_sided_low is not None and one.one_sided_low > one.margin
    tested = one.p_adjusted is not None and one.p_adjusted < one.alpha
    return Verdict.REGRESSED if bounded and tested else Verdict.INCONCLUSIVE


def _proven(one: Comparison) -> bool:
    assert one.max_drop is not None
    return one.one_sided_high is not None and one.one_sided_high < one.max_drop


def _cannot_fail(one: Comparison) -> bool:
    """Whether the gate allows all that FP32 has: an engine that knows nothing would pass it."""
    if one.max_drop is None or one.reference is None or one.by.is_agreement:
        return False
    return one.by.to_lose(one.reference) <= one.max_drop


def _thin(one: Comparison, support: MinSupport) -> Reason | None:
    """What keeps a bound below the gate from being a PASS."""
    assert one.max_drop is not None
    if one.n < least_units(one, support) - _ROUNDING:
        # Clusters are too few where as many independent units would be enough.
        few = one.n_clusters is not None and one.n >= support.of(one.interval)
        return Reason.TOO_FEW_CLUSTERS if few else Reason.TOO_FEW_UNITS
    if one.n_clusters is not None and one.n_clusters < support.clusters:
        return Reason.TOO_FEW_CLUSTERS
    smallest = one.smallest_provable_drop
    if one.interval == "tango" or smallest is None or smallest < one.max_drop:
        return None
    if one.n_clusters is None:
        return Reason.TOO_FEW_UNITS
    alone = (one.n_to_prove or 0) * (one.n_effective or 0.0) / one.n
    return Reason.TOO_FEW_UNITS if alone > one.n else Reason.TOO_FEW_CLUSTERS


def _reason(one: Comparison, support: MinSupport) -> Reason:
    assert one.max_drop is not None
    if one.n == 0 or one.drop is None:
        return Reason.NO_UNITS
    thin = _thin(one, support)
    if _proven(one) and thin is not None:
        return thin
    bounded = one.one_sided_low is not None and one.one_sided_low > one.margin
    if bounded and one.p_value is not None and one.p_value < one.alpha:
        return Reason.MANY_COMPARISONS
    if one.interval is None or one.one_sided_high is None:
        return Reason.UNBOUNDED
    if one.plain_high is not None and one.plain_high < one.max_drop:
        return Reason.HEAVY_TAIL
    return thin or Reason.WIDE_INTERVAL
