"""What a verdict or an interval needs said beside it, so that neither is misread."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from calaudit.report.wording import percent
from calaudit.results.comparison import Result

FEW_CLUSTERS = "few clusters changed"
ONE_SIDED = "one-sided test"
STAR = "*"
"""Marks an interval that was widened since few clusters changed."""


def remark(result: Result) -> str:
    """Why a verdict isn't what its interval seems to say, in a few words; else empty."""
    told = [result.reason] if result.reason else []
    told += [ONE_SIDED] if regressed_around_0(result) else []
    told += [FEW_CLUSTERS] if is_widened(result) else []
    return ", ".join(told)


def star(result: Result) -> str:
    """`STAR` where an interval was widened; else empty."""
    return STAR if is_widened(result) else ""


def is_widened(result: Result) -> bool:
    """Whether changed units count as if their clusters had changed as a whole, since few did.

    The design effect is then that of whole clusters: units over their effective number.
    """
    if result.n_clusters is None or result.n_clusters >= result.n:
        return False
    if result.interval == "clopper-pearson":
        return True
    if result.interval != "tango-clustered" or not result.n_effective:
        return False
    effect, whole = result.design_effect, result.n / result.n_effective
    return effect is not None and whole > 1.0 and math.isclose(effect, whole, rel_tol=1e-9)


def regressed_around_0(result: Result) -> bool:
    """Whether a regression's interval holds what its test excludes.

    The test is one-sided; the interval is two-sided, so that it reaches lower than the test's
    bound.
    """
    if result.verdict != "REGRESSED" or result.n_broken or result.low is None:
        return False
    return result.low <= result.margin


def open_below_the_gate(result: Result) -> bool:
    """Whether a result is inconclusive though its interval is below the gate."""
    if result.verdict != "INCONCLUSIVE" or result.high is None or result.max_drop is None:
        return False
    return result.high < result.max_drop


def remarks(results: Iterable[Result]) -> Iterator[str]:
    """What of all this holds for some of the results, each in a clause for a legend."""
    shown = list(results)
    reasons = Counter(r.reason for r in shown if r.reason and open_below_the_gate(r))
    if reasons:
        counts = ", ".join(f"{reason} ({n:,})" for reason, n in reasons.items())
        yield f"inconclusive though the interval is below the gate: {counts}"
    odd = [r for r in shown if regressed_around_0(r)]
    if odd:
        level = "" if odd[0].level is None else f"{percent(odd[0].level)} "
        alpha = "" if odd[0].alpha is None else f" at {percent(odd[0].alpha)}"
        yield (
            f"regressed though the {level}interval reaches 0 ({len(odd):,}): by a one-sided test "
            f"and lower bound{alpha}"
        )
    if any(map(is_widened, shown)):
        yield (
            f"{STAR} {FEW_CLUSTERS}: each counts as if it had changed as a whole, which widens the "
            "interval"
        )
