"""Numbers and names as people read them."""

import unicodedata

from calaudit.report.records import MetricRecord

MISSING = "–"
MINUS = "−"

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def visible(name: str) -> str:
    r"""`name` on one line, with control and direction characters shown as ``\x1b`` or ``\u202e``.

    Names come from data; nothing in them may move the cursor or reorder the line.
    """
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in name)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def score(metric: MetricRecord, value: float | None) -> str:
    """A metric's value: three decimals for a fraction, else three significant digits."""
    if value is None:
        return MISSING
    return _minus(f"{value:.3f}" if metric.unit == "fraction" else f"{value:.3g}")


def difference(metric: MetricRecord, value: float | None) -> str:
    """A drop without its unit: in points (one decimal) for a fraction."""
    if value is None:
        return MISSING
    return _minus(f"{100 * value:.1f}" if metric.unit == "fraction" else f"{value:.3g}")


def difference_unit(metric: MetricRecord) -> str:
    """Unit of what :func:`difference` shows."""
    return "points" if metric.unit == "fraction" else metric.unit


def amount(metric: MetricRecord, value: float) -> str:
    """A drop or gain with its unit, without sign: ``"6.1 points"``."""
    return f"{difference(metric, abs(value))} {difference_unit(metric)}"


def change(metric: MetricRecord, drop: float | None) -> str:
    """What a drop means, as a verb phrase: ``"loses 6.1"``, ``"gains 0.2"``."""
    if drop is None:
        return "couldn't be measured"
    shown = difference(metric, abs(drop))
    if not shown.strip("0."):
        return f"loses {shown}"
    return f"{'loses' if drop > 0 else 'gains'} {shown}"


def between(metric: MetricRecord, low: float | None, high: float | None) -> str:
    """An interval: ``"4.8–7.5"``, or ``"−0.3 to 2.8"`` where a dash would read as a minus."""
    ends = difference(metric, low), difference(metric, high)
    plain = all(end[:1].isdigit() for end in ends)
    return f"{ends[0]}–{ends[1]}" if plain else f"{ends[0]} to {ends[1]}"


def percent(level: float) -> str:
    """A confidence level: ``"95 %"``."""
    return f"{100 * level:.4g} %"


def _minus(number: str) -> str:
    """ASCII minus replaced; a rounded −0.0 has no sign."""
    if number.startswith("-") and not number.strip("-0."):
        return number[1:]
    return f"{MINUS}{number[1:]}" if number.startswith("-") else number
