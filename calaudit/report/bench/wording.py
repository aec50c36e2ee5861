"""Times, sizes and ratios as people read them."""

from collections.abc import Callable, Iterable

from calaudit.report.bench.gains import AS_FAST
from calaudit.report.wording import MISSING
from calaudit.results.bench import Latency
from calaudit.results.values import Estimate

_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
TIMES = "×"


def three_digits(value: float | None) -> str:
    """Three significant digits: ``"0.0123"``, ``"1.20"``, ``"12,300"``."""
    if value is None:
        return MISSING
    text = f"{value:#.3g}"
    if "e" in text:
        return f"{value:.2e}" if abs(value) < 1 else f"{float(text):,.0f}"
    return text.removesuffix(".")


def bytes_text(size: float | None) -> str:
    """``"120 kB"``, ``"3.00 MB"``: powers of 1,000."""
    if size is None:
        return MISSING
    unit, per = next(((u, p) for u, p in _SIZES if size >= p), ("B", 1.0))
    return f"{size:.0f} B" if unit == "B" else f"{three_digits(size / per)} {unit}"


def factor(value: float | None) -> str:
    """A ratio: two decimals, fewer where it is large."""
    if value is None:
        return MISSING
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def reach(estimate: Estimate, write: Callable[[float | None], str]) -> str:
    """``"1.95–2.05"``; empty where an end is unknown."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{write(estimate.low)}–{write(estimate.high)}"


def times(estimate: Estimate) -> str:
    """``"2.01 × (1.95–2.05)"``."""
    ends = reach(estimate, factor)
    return f"{factor(estimate.value)} {TIMES}{f' ({ends})' if ends else ''}"


def span(values: Iterable[float], write: Callable[[float | None], str]) -> str:
    """Of several engines: ``"1.20"``, or from the least to the most, ``"1.20–1.25"``."""
    found = list(values)
    if not found:
        return MISSING
    ends = write(min(found)), write(max(found))
    return ends[0] if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def percentiles(one: Latency) -> tuple[str, str, str]:
    """P50, P95 and P99 in milliseconds."""
    p50, p95, p99 = (three_digits(each.value) for each in (one.p50, one.p95, one.p99))
    return p50, p95, p99


def speed_told(speed: Estimate, baseline: str, where: str = "", level: str = "") -> str:
    """What a speed-up's interval lets be said: faster, slower, as fast within a margin, or neither.

    Parameters
    ----------
    speed : Estimate
        How many times as fast.
    baseline : str
        As what.
    where : str
        Such as ``" at batch 1"``.
    level : str
        What stands before the interval, such as ``"95 % CI "``.
    """
    than, times_as = f"{baseline}{where}", f"{factor(speed.value)} {TIMES} as fast as"
    if speed.low is None or speed.high is None:
        return f"{times_as} {than}, without an interval"
    held = f"({level}{reach(speed, factor)})"
    if speed.low >= 1 - AS_FAST and speed.high <= 1 + AS_FAST:
        return f"as fast as {than} to within {100 * AS_FAST:.0f} % {held}"
    if speed.low > 1:
        return f"{times_as} {than} {held}"
    if speed.high < 1:
        return f"slower, {times_as} {than} {held}"
    return f"shown neither faster nor slower than {than}, {factor(speed.value)} {TIMES} {held}"
