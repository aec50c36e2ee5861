"""What an audit found, in sentences.

Three for the whole (what is lost, where it comes from, what is open), one per harmed slice about
the attribution of its drop, one per slice that stands out.
"""

from collections.abc import Collection, Iterable, Sequence
from statistics import median_high

from calaudit.report.headline import headline
from calaudit.report.index import Index, cell_parts, set_label
from calaudit.report.precision import joint_caveat
from calaudit.report.remarks import STAR, is_widened
from calaudit.report.wording import (
    MISSING,
    amount,
    between,
    change,
    change_of_metric,
    difference,
    engine_name,
    in_sentence,
    percent,
    quoted,
    unit_name,
)
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import ALL, Result
from calaudit.results.drops import Attribution, Gap, Part, Screened
from calaudit.results.report import Report
from calaudit.runtime.words import counted_units, plural, visible

FINDINGS = {
    ("no-set-fixes",): "no set tried here fixes this",
    ("this-set",): "caused by this calibration set",
    ("no-set-fixes", "this-set"): "partly caused by this calibration set; no set tried here "
    "fixes the rest",
    ("redraw",): "undecided, more draws needed",
    ("no-set-fixes", "redraw"): "no set tried here fixes this; more draws needed for this one's "
    "share",
}
"""Findings of a harmed slice → in a few words."""


def attribution_legend(index: Index, told: Sequence[Attribution], *, draws: bool = True) -> str:
    """What the columns of attributed drops are; `draws`: the draw SD is one of them."""
    between_draws = "draw SD: between draws; " if draws else ""
    keys = {(one.metric, one.slice) for one in told}
    widened = any(is_widened(r) and (r.metric, r.slice) in keys for r in index.report.results)
    narrower = f"; where a result's own has {STAR}, these aren't widened" if widened else ""
    return (
        f"best set: its drop; excess: beyond the best set; {between_draws}intervals account for "
        f"the choice of the best set, not for that of the slice, findings for both{narrower}"
    )


def findings(report: Report) -> tuple[str, str, str]:
    """Three sentences, each on one line, that claim no more than the results do.

    The first is :func:`calaudit.report.headline`; the second says under which calibration sets and
    methods regressions lie, or how far the engines lie apart; the third what is undecided.
    """
    index = Index(report)
    return headline(report), _origin(index), _open(index)


def _origin(index: Index) -> str:
    regressed = [r for r in index.gated if r.verdict == "REGRESSED"]
    return _regressions(index, regressed) if regressed else _spread(index)


def _regressions(index: Index, regressed: Sequence[Result]) -> str:
    """Verdicts per calibration set. Causes are left to the attribution."""
    places = {r.slice for r in index.gated}
    hit = {r.slice for r in regressed}
    text = f"Regressions occur on {len(hit)} of {len(places)} gated {_plural('slice', places)}"
    by_set: dict[str, list[Result]] = {}
    for result in index.gated:
        # that FP32 of another target passes says nothing of a set
        if result.verdict != "PASS" or index.cells[result.cell].precision != "fp32":
            by_set.setdefault(_set(index, result), []).append(result)
    if len(by_set) == 1:
        return f"{text}{_only_methods(index, regressed)}."
    counts = {
        name: sum(r.verdict == "REGRESSED" for r in results) for name, results in by_set.items()
    }
    guilty = [f"{n:,} under {quoted(name)}" for name, n in counts.items() if n]
    text += f": {_joined(guilty)}{_only_methods(index, regressed)}"
    free = [name for name, count in counts.items() if not count]
    passed = [name for name in free if all(r.verdict == "PASS" for r in by_set[name])]
    open_ones = [name for name in free if name not in passed]
    if passed:
        text += f"; {_listed(passed, 'and')} passed every gate"
        told = joint_caveat(index, {r.cell: None for name in passed for r in by_set[name]})
        text += f", but with {told}" if told else ""
    if open_ones:
        some = "some of its comparisons are" if len(open_ones) == 1 else "some comparisons are"
        text += f"; none under {_listed(open_ones, 'or')}, where {some} inconclusive"
    return f"{text}."


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _only_methods(index: Index, regressed: Sequence[Result]) -> str:
    """``", with minmax only"``, where all other methods of the same sets passed."""
    sets = {_set(index, r) for r in regressed}
    tried: dict[str, list[Result]] = {}
    for result in index.gated:
        if _set(index, result) in sets:
            tried.setdefault(_method(index, result), []).append(result)
    hit = [name for name in tried if any(r.verdict == "REGRESSED" for r in tried[name])]
    rest = [r for name in tried if name not in hit for r in tried[name]]
    if not rest or any(r.verdict != "PASS" for r in rest):
        return ""
    return f", with {_listed(hit, 'and')} only"


def _spread(index: Index) -> str:
    """How far the engines' drops overall lie apart, in the headline metric."""
    if not index.report.metrics:
        return "No metric was requested."
    metric = index.report.metrics[0]
    found = [
        result
        for result in index.shown
        if (result.slice, result.metric) == (ALL, metric.name) and result.drop is not None
    ]
    if not found:
        return "No overall comparison was measured."
    name, unit = in_sentence(metric), unit_name(metric)
    drops = [r.drop for r in found if r.drop is not None]
    least, most = difference(metric, min(drops)), difference(metric, max(drops))
    if len(found) == 1:
        text = f"Overall, {name} drops by {least} {unit}".rstrip()
        (only,) = found
        if only.low is None or only.level is None:
            return f"{text}."
        interval = between(metric, only.low, only.high)
        return f"{text} ({percent(only.level)} CI {interval})."
    if least == most:
        text = f"Overall, all {len(found)} engines drop {name} alike, by {least} {unit}"
        return f"{text.rstrip()}."
    text = f"Overall, the {len(found)} engines' drops of {name} measure {least} to {most}"
    return f"{f'{text} {unit}'.rstrip()}; which of them loses least isn't tested."


def _open(index: Index) -> str:
    undecided = [r for r in index.gated if r.verdict not in ("PASS", "REGRESSED")]
    failed = index.failed
    broken = f"{len(failed)} {_plural('engine', failed)} couldn't be evaluated" if failed else ""
    if index.all_failed:
        return "Nothing could be decided: every engine failed."
    if not index.gated:
        text = "No gate applied to a candidate, so nothing could pass or regress"
    elif undecided:
        text = _undecided(index, undecided)
    else:
        text = (
            f"No gated comparison is inconclusive: all {len(index.gated):,} comparisons are decided"
        )
    return f"{text}{'; ' if broken else ''}{broken}."


def _undecided(index: Index, undecided: Sequence[Result]) -> str:
    are = "is" if len(undecided) == 1 else "are"
    text = (
        f"{len(undecided):,} of {len(index.gated):,} gated comparisons {are} inconclusive, on "
        f"slices of {_range([r.n for r in undecided])} {_scored(index, undecided)}"
    )
    needed: dict[str, list[int]] = {}
    for r in undecided:
        if r.n_needed is not None:
            needed.setdefault(index.metrics[r.metric].per, []).append(r.n_needed)
    if not needed:
        return text
    # Of many, the one that looks nearest to a decision looks nearer than it is.
    medians = {unit: median_high(counts) for unit, counts in needed.items()}
    if sum(map(len, needed.values())) == 1:
        (only,) = medians.values()
        return f"{text}; {'it' if len(undecided) == 1 else 'one of them'} needs {only:,}"
    named = [counted_units(n, visible(unit)) for unit, n in medians.items()]
    several = " and ".join(named) if len(named) > 1 else f"{next(iter(medians.values())):,}"
    return f"{text}; the median required sample size is {several}"


def _scored(index: Index, results: Sequence[Result]) -> str:
    """What they score, in the plural."""
    return " or ".join(dict.fromkeys(plural(index.metrics[r.metric].per) for r in results))


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _set(index: Index, result: Result) -> str:
    """What the result's calibration set is a draw of."""
    cell = index.cells[result.cell]
    if cell.calibset is None:
        return cell_parts(cell, index.report)[0]
    return set_label(index.recipes.get(cell.calibset, cell.calibset), cell.role)


def _method(index: Index, result: Result) -> str:
    return cell_parts(index.cells[result.cell], index.report)[1]


def _listed(names: Sequence[str], word: str) -> str:
    shown = [quoted(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def _plural(noun: str, things: Sequence[object] | set[str]) -> str:
    return noun if len(things) == 1 else f"{noun}s"


def attribution_sentence(index: Index, one: Attribution) -> str:
    """What is certain about a harmed slice; empty where it isn't harmed."""
    metric = index.metrics[one.metric]
    place = "overall" if one.slice == ALL else f"on {visible(one.slice)}"
    here = f"{place}, {attributed_method(index, one.method)} calibrated on {quoted(one.recipe)}"
    more = f"{_loses(metric, one.addition, one.level, ' more')} than under the best other set tried"
    told: list[str] = []
    if "this-set" in one.findings:
        what = (
            "Partly caused by this calibration set"
            if "no-set-fixes" in one.findings
            else "Caused by this calibration set"
        )
        told.append(f"{what}: {here} {more}.")
    if "no-set-fixes" in one.findings:
        told.append(_no_set_fixes(index, one, place))
    if "redraw" in one.findings:
        told.append(f"Undecided, more draws needed: {_redraw(metric, one, here, more)}.")
    return " ".join(told)


def attributed_method(index: Index, method: str) -> str:
    """A method as people call its engines on the audit's own target, which attribution looks at."""
    targets = index.report.audit.targets
    for cell in index.report.cells:
        if cell.way == method and (not targets or cell.backend == targets[0].name):
            return visible(cell_parts(cell, index.report)[1])
    return visible(method)


def _no_set_fixes(index: Index, one: Attribution, place: str) -> str:
    metric = index.metrics[one.metric]
    text = (
        f"No calibration set tried here fixes it: {place}, {attributed_method(index, one.method)} "
        f"{_loses(metric, one.price, one.level)} even under the best of them"
    )
    if one.elsewhere is not None:
        method, price = attributed_method(index, one.elsewhere.method), one.elsewhere.price
        text += f"; with {method} the best {_loses(metric, price, one.level)}"
    return f"{text}."


def _redraw(metric: MetricRecord, one: Attribution, here: str, more: str) -> str:
    alone = one.draws == 1 and not one.settled
    if alone and one.p_addition is not None and one.p_addition < (1 - one.level) / 2:
        which = "with one draw, the recipe can't be separated from between-draw variation"
        return f"{here} {more}, as drawn; {which}"
    open_one = (
        f"{here} {change_of_metric(metric, one.drop)} as measured, but neither INT8 nor this set "
        "is shown to cause it"
    )
    if one.luck is None:
        return (
            open_one
            if one.settled
            else (f"{open_one}; with one draw, the between-draw SD is unknown")
        )
    few = ", a poor estimate from two draws" if one.draws == 2 else ""
    return f"{open_one}; between-draw SD {amount(metric, one.luck.value or 0.0)}{few}"


def finding_text(one: Attribution) -> str:
    """The findings in a few words, for a table."""
    return FINDINGS.get(one.findings, ", ".join(one.findings))


def harmed_slices(index: Index, names: Collection[str]) -> list[Attribution]:
    """Drops of harmed slices among `names`, the largest first."""
    found = [o for o in index.report.attribution if o.findings and o.slice in names]
    return sorted(found, key=lambda one: -(one.drop or 0.0))


def fold_methods(harmed: Iterable[Attribution]) -> list[tuple[Attribution, tuple[str, ...]]]:
    """One row per slice, metric, recipe and finding: the first of its methods, and all of them."""
    found: dict[tuple[object, ...], list[Attribution]] = {}
    for one in harmed:
        found.setdefault((one.slice, one.metric, one.recipe, one.findings), []).append(one)
    return [(each[0], tuple(one.method for one in each)) for each in found.values()]


def attribution_sentences(index: Index, harmed: Iterable[Attribution]) -> list[str]:
    """What is to be done, once per slice, metric and recipe: of its methods the first tells it."""
    return [attribution_sentence(index, one) for one, _ in fold_methods(harmed)]


def part_text(metric: MetricRecord, part: Part | None) -> str:
    """A part with its interval in brackets."""
    if part is None:
        return MISSING
    return f"{difference(metric, part.value)} [{between(metric, part.low, part.high)}]"


def _loses(metric: MetricRecord, part: Part, level: float, more: str = "") -> str:
    """``loses 4.2 points (95 % CI of this slice 3.0–5.4) more of top-1 accuracy``."""
    size = amount(metric, part.value or 0.0)
    interval = between(metric, part.low, part.high)
    told = f"{size} ({percent(level)} CI of this slice {interval}){more}"
    name = in_sentence(metric)
    return f"loses {told} of {name}" if metric.higher_is_better else f"worsens {name} by {told}"


def clear_gaps(index: Index, names: Collection[str]) -> list[Gap]:
    """Per metric the largest gap that is no chance, of slices among `names`."""
    largest: dict[str, Gap] = {}
    for one in index.report.gaps:
        if one.slice not in names or one.gap.low is None or one.gap.low <= 0:
            continue
        known = largest.get(one.metric)
        if known is None or (one.gap.value or 0.0) > (known.gap.value or 0.0):
            largest[one.metric] = one
    return [largest[name] for name in index.metrics if name in largest]


def gap_sentence(index: Index, one: Gap) -> str:
    """How much more the worst slice loses than everyone outside it."""
    metric = index.metrics[one.metric]
    size = amount(metric, one.gap.value or 0.0)
    interval = f"{percent(one.level)} CI {between(metric, one.gap.low, one.gap.high)}"
    name = in_sentence(metric)
    more = f"loses {size} more of {name}"
    if not metric.higher_is_better:
        more = f"worsens {name} by {size} more"
    return (
        f"Worst of {one.n_slices:,} slices: on {visible(one.slice)}, "
        f"{engine_name(index, one.cell)} {more} than outside it ({interval}, corrected for "
        "selecting the worst); as measured, it "
        f"{change(metric, one.drop)} there and {change(metric, one.rest)} outside."
    )


def screening_sentence(index: Index, screened: list[Screened]) -> str:
    """How many results without a gate lose significantly; empty for none."""
    if not screened:
        return ""
    first = screened[0]
    some = "One comparison" if len(screened) == 1 else f"{len(screened):,} comparisons"
    loses = "loses" if len(screened) == 1 else "lose"
    clearest = "it" if len(screened) == 1 else "the clearest"
    return (
        f"{some} without a gate {loses} significantly; {clearest}: "
        f"{in_sentence(index.metrics[first.metric])} on {visible(first.slice)} under "
        f"{engine_name(index, first.cell)}."
    )
