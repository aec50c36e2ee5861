"""What an audit found, in three sentences: what is lost, where it comes from, what is open."""

from collections.abc import Sequence
from statistics import median_high

from calaudit.report.headline import headline
from calaudit.report.index import Index, cell_parts, set_label
from calaudit.report.wording import (
    between,
    difference,
    in_sentence,
    percent,
    quoted,
    unit_name,
)
from calaudit.results.comparison import ALL, Result
from calaudit.results.report import Report


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
    """Verdicts per calibration set. Whose fault they are is the attribution's to say."""
    places = {r.slice for r in index.gated}
    hit = {r.slice for r in regressed}
    text = f"Regressions lie on {len(hit)} of {len(places)} gated {_plural('slice', places)}"
    by_set: dict[str, list[Result]] = {}
    for result in index.gated:
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
    """How far the engines' drops over everything lie apart, in the headline metric."""
    if not index.report.metrics:
        return "No metric was asked for."
    metric = index.report.metrics[0]
    found = [
        result
        for result in index.shown
        if (result.slice, result.metric) == (ALL, metric.name) and result.drop is not None
    ]
    if not found:
        return "How the engines compare over everything wasn't measured."
    name, unit = in_sentence(metric), unit_name(metric)
    drops = [r.drop for r in found if r.drop is not None]
    least, most = difference(metric, min(drops)), difference(metric, max(drops))
    if len(found) == 1:
        text = f"Over everything, {name} drops by {least} {unit}".rstrip()
        (only,) = found
        if only.low is None or only.level is None:
            return f"{text}."
        interval = between(metric, only.low, only.high)
        return f"{text} ({percent(only.level)} CI {interval})."
    if least == most:
        text = f"Over everything, all {len(found)} engines drop {name} alike, by {least} {unit}"
        return f"{text.rstrip()}."
    text = f"Over everything, the {len(found)} engines' drops of {name} measure {least} to {most}"
    return f"{f'{text} {unit}'.rstrip()}; which of them loses least isn't tested."


def _open(index: Index) -> str:
    undecided = [r for r in index.gated if r.verdict not in ("PASS", "REGRESSED")]
    failed = index.failed
    broken = f"{len(failed)} {_plural('engine', failed)} couldn't be judged" if failed else ""
    if index.all_failed:
        return "Nothing could be decided: every engine failed."
    if not index.gated:
        text = "No gate judged a candidate, so nothing could pass or regress"
    elif undecided:
        text = _undecided(index, undecided)
    else:
        text = f"Nothing gated is left open: all {len(index.gated):,} comparisons are decided"
    return f"{text}{'; ' if broken else ''}{broken}."


def _undecided(index: Index, undecided: Sequence[Result]) -> str:
    are = "is" if len(undecided) == 1 else "are"
    text = (
        f"{len(undecided):,} of {len(index.gated):,} gated comparisons {are} inconclusive, on "
        f"slices of {_range([r.n for r in undecided])} samples"
    )
    needed = [r.n_needed for r in undecided if r.n_needed is not None]
    if not needed:
        return text
    # Of many, the one that looks nearest to a decision looks nearer than it is.
    if len(needed) == 1:
        return f"{text}; {'it' if len(undecided) == 1 else 'one of them'} needs {needed[0]:,}"
    return f"{text}; the median of what they need is {median_high(needed):,}"


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
