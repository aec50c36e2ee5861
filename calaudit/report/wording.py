"""Numbers, names and losses as people read them, and which loss of several is told.

A loss that is told because it is the largest of many gets an interval that holds for that.
"""

from collections.abc import Sequence

from calaudit.report.index import Index, cell_parts
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL, Result
from calaudit.runtime.words import counted_units, plural, visible

MISSING = "–"
MINUS = "−"

ROUNDING = 1e-12
"""What is nearer to 0 than this came of rounding, on the usual scales."""
_UNIT_NAMES = {"fraction": "points", "index": "", "output": "", "cosine": ""}
_USUAL_SCALES = frozenset({"fraction", "index", "cosine", "nats", "bits"})
_NOTABLY = 1.25
"""How many times a loss that is surer is exceeded by one that is told beside it."""
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
    first = title.partition(" ")[0]
    starts_a_word = first[1:].islower() and not title.startswith(_PROPER_NAMES)
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


def broken_units(index: Index, result: Result) -> str:
    """``"non-finite outputs for 4 of 2,000 samples"``."""
    n = result.n + result.n_broken
    scored = plural(index.metrics[result.metric].per)
    return f"non-finite outputs for {result.n_broken:,} of {n:,} {scored}"


def units_named(index: Index, metric: str, n: int) -> str:
    """As many of what a metric scores: ``"2,000 samples"``, ``"1 object"``."""
    return counted_units(n, visible(index.metrics[metric].per))


def quoted(name: str) -> str:
    """A name within a sentence: in quotation marks where it has several words."""
    shown = visible(name)
    return f"“{shown}”" if " " in shown else shown


def engine_name(index: Index, cell: str) -> str:
    """An engine within a sentence: ``"clean with minmax"``, or what it is without a set."""
    record = index.cells[cell]
    calibset, method = map(quoted, cell_parts(record, index.report))
    if record.foreign is not None:
        return calibset
    ranges = record.calibset or record.given_ranges
    return method if ranges is None else f"{calibset} with {method}"


def percent(level: float) -> str:
    """A confidence level: ``"95 %"``."""
    return f"{100 * level:.4g} %"


def _minus(number: str) -> str:
    """ASCII minus replaced; a rounded −0.0 has no sign."""
    if number.startswith("-") and not number.strip("-0."):
        return number[1:]
    return f"{MINUS}{number[1:]}" if number.startswith("-") else number


def clearest_loss(index: Index, results: Sequence[Result]) -> Result:
    """The result with the largest loss that an interval vouches for; broken units come first.

    By the drop itself it would often be noise of a small slice.
    """

    def vouched(result: Result) -> tuple[int, bool, float]:
        low = _low(result)
        return (
            result.n_broken,
            low is not None,
            index.per_gate(result, result.drop if low is None else low),
        )

    return max(results, key=vouched)


def larger_loss(index: Index, told: Result, results: Sequence[Result]) -> str:
    """``; the largest drop measured, 9.4 points on dim under q (−0.5 to 24.3), is less sure``.

    Of several results, beside the one that `clearest_loss` gives; empty where none is larger by
    as much as `_NOTABLY`.
    """
    measured = [r for r in results if r.drop is not None and not r.n_broken]
    if told.n_broken or told.drop is None or not measured:
        return ""
    most = max(measured, key=lambda r: index.per_gate(r, r.drop))
    if index.per_gate(most, most.drop) < _NOTABLY * index.per_gate(told, told.drop):
        return ""
    metric = index.metrics[most.metric]
    size = amount(metric, most.drop or 0.0)
    of = "" if most.metric == told.metric else f" of {in_sentence(metric)}"
    place = "overall" if most.slice == ALL else f"on {visible(most.slice)}"
    under = "" if most.cell == told.cell else f" under {engine_name(index, most.cell)}"
    what = "drop" if metric.higher_is_better else "worsening"
    return (
        f"; the largest {what} measured, {size}{of} {place}{under}{bounds(index, most)}, is less "
        "sure"
    )


def is_significant_loss(result: Result) -> bool:
    """Whether something is lost, though the result was picked as the worst of many."""
    return result.joint_low is not None and result.joint_low > 0


def lost(index: Index, result: Result) -> str:
    """``loses 6.1 points of top-1 accuracy (95 % CI 3.9–7.5, corrected for …)``.

    The interval is one that holds for whichever result is picked, or is said not to.
    """
    metric = index.metrics[result.metric]
    if result.n_broken:
        return f"gives {broken_units(index, result)}"
    text = change_of_metric(metric, result.drop)
    if result.low is None or result.high is None or result.level is None:
        return text
    level, among = percent(result.level), _picked_from(index, result)
    if among == 1:
        return f"{text} ({level} CI {between(metric, result.low, result.high)})"
    interval = between(metric, _low(result), result.high)
    held = "corrected" if result.joint_low is not None else "not corrected"
    tested = "" if result.joint_low is None or is_significant_loss(result) else _tested(result)
    return f"{text} ({level} CI {interval}, {held} for selection from {among:,}{tested})"


def _tested(result: Result) -> str:
    """What called it a regression, where the interval for all at once is too wide to show it."""
    if result.verdict != "REGRESSED" or result.p_adjusted is None:
        return ""
    return f"; its test, corrected by Holm, has p = {result.p_adjusted:.2g}"


def bounds(index: Index, result: Result) -> str:
    """`` (0.4–2.0)``; empty without an interval."""
    if _low(result) is None or result.high is None:
        return ""
    return f" ({between(index.metrics[result.metric], _low(result), result.high)})"


def _low(result: Result) -> float | None:
    return result.low if result.joint_low is None else result.joint_low


def _picked_from(index: Index, result: Result) -> int:
    """Results that this one may have been picked from: its family's, as `joint_low` holds for."""
    control = result.cell in index.controls
    gated = any(r.gate is not None for r in index.report.results)
    headline = index.report.metrics[0].name
    return sum(
        (r.cell in index.controls) == control
        and (r.gate is not None if gated else r.metric == headline)
        for r in index.report.results
    )
