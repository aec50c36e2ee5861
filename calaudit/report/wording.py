"""Numbers and names as people read them."""

from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import Result
from calaudit.runtime.words import visible

MISSING = "–"
MINUS = "−"

ROUNDING = 1e-12
"""What is nearer to 0 than this came of rounding, on the usual scales."""
_UNIT_NAMES = {"fraction": "points", "index": "", "output": "", "cosine": ""}
_USUAL_SCALES = frozenset({"fraction", "index", "cosine", "nats", "bits"})
_PROPER_NAMES = ("Gini", "Kendall", "Jaccard")


def score(metric: MetricRecord, value: float | None) -> str:
    """A metric's value: three decimals on the usual scales, else three significant digits.

    So also where three decimals would show nothing of a value that isn't a share of samples.
    """
    if value is None:
        return MISSING
    if metric.unit not in _USUAL_SCALES:
        return _minus(f"{value:.3g}")
    text = f"{value:.3f}"
    tiny = metric.unit != "fraction" and abs(value) > ROUNDING and not text.strip("-0.")
    return _minus(f"{value:.3g}" if tiny else text)


def difference(metric: MetricRecord, value: float | None) -> str:
    """A drop without its unit: in points (one decimal) for a fraction."""
    if value is None or metric.unit != "fraction":
        return score(metric, value)
    return _minus(f"{100 * value:.1f}")


def unit_name(metric: MetricRecord) -> str:
    """Unit of what :func:`difference` shows; empty for bare numbers such as an index."""
    return _UNIT_NAMES.get(metric.unit, visible(metric.unit))


def amount(metric: MetricRecord, value: float) -> str:
    """A drop or gain with its unit, without sign: ``"6.1 points"``."""
    return f"{difference(metric, abs(value))} {unit_name(metric)}".rstrip()


def change(metric: MetricRecord, drop: float | None) -> str:
    """What a drop means: ``"loses 6.1"``, ``"gains 0.2"``, ``"worsens by 0.1"``."""
    if drop is None:
        return "couldn't be measured"
    return f"{_verb(metric, drop)} {difference(metric, abs(drop))}"


def change_of_metric(metric: MetricRecord, drop: float | None) -> str:
    """The same with unit and metric: ``"loses 6.1 points of top-1 accuracy"``."""
    name = in_sentence(metric)
    if drop is None:
        return f"couldn't be measured in {name}"
    if metric.higher_is_better:
        unit = unit_name(metric)
        return (
            f"{change(metric, drop)} {unit} of {name}" if unit else f"{change(metric, drop)} {name}"
        )
    verb = _verb(metric, drop).split()[0]
    return f"{verb} {name} by {amount(metric, drop)}"


def in_sentence(metric: MetricRecord) -> str:
    """The metric's title as it stands within a sentence: ``"top-1 accuracy"``, ``"nDCG@10"``."""
    title = visible(metric.title)
    starts_a_word = title[1:2].islower() and not title.startswith(_PROPER_NAMES)
    return f"{title[:1].lower()}{title[1:]}" if starts_a_word else title


def _verb(metric: MetricRecord, drop: float) -> str:
    lost = drop > 0 or not difference(metric, abs(drop)).strip("0.")
    if metric.higher_is_better:
        return "loses" if lost else "gains"
    return "worsens by" if lost else "improves by"


def between(metric: MetricRecord, low: float | None, high: float | None) -> str:
    """An interval: ``"4.8–7.5"``, or ``"−0.3 to 2.8"`` where a dash would read as a minus."""
    ends = difference(metric, low), difference(metric, high)
    plain = all(end[:1].isdigit() for end in ends)
    return f"{ends[0]}–{ends[1]}" if plain else f"{ends[0]} to {ends[1]}"


def units(result: Result) -> str:
    """What a comparison rests on: ``"2,000"``, or ``"1,996 + 4 broken"``."""
    broken = f" + {result.n_broken:,} broken" if result.n_broken else ""
    return f"{result.n:,}{broken}"


def broken_units(result: Result) -> str:
    """``"nothing finite for 4 of 2,000 samples"``."""
    return f"nothing finite for {result.n_broken:,} of {result.n + result.n_broken:,} samples"


def quoted(name: str) -> str:
    """A name within a sentence: in quotation marks where it has several words."""
    shown = visible(name)
    return f"“{shown}”" if " " in shown else shown


def percent(level: float) -> str:
    """A confidence level: ``"95 %"``."""
    return f"{100 * level:.4g} %"


def _minus(number: str) -> str:
    """ASCII minus replaced; a rounded −0.0 has no sign."""
    if number.startswith("-") and not number.strip("-0."):
        return number[1:]
    return f"{MINUS}{number[1:]}" if number.startswith("-") else number
