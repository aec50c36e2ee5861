"""One sentence that says what an audit found, and claims no more than its results do."""

from collections.abc import Iterable, Sequence

from calaudit.report.index import Index, cell_parts, variant
from calaudit.report.records import ALL, Report, ResultRecord
from calaudit.report.wording import (
    amount,
    between,
    broken_units,
    change,
    change_of_metric,
    difference,
    in_sentence,
    percent,
    quoted,
    score,
)
from calaudit.visible import visible


def headline(report: Report) -> str:
    """What was found, in one sentence.

    A regression is told with its interval, the same engine's drop over everything, and the
    calibration set that does best over all gates; where nothing regressed, that FP32 itself is too
    bad, or else what is undecided and how many samples would decide it; where all passed, the
    comparison that came closest.
    """
    index = Index(report)
    if index.all_failed:
        return _nothing_judged(index)
    if not report.results:
        return "No comparison was made, so nothing is known about this engine."
    if not index.gated:
        return _ungated(index)
    regressed = [r for r in index.gated if r.verdict == "REGRESSED"]
    if regressed:
        return _regressed(index, regressed)
    if report.verdict == "INCONCLUSIVE":
        return _inconclusive(index)
    return _passed(index)


def _nothing_judged(index: Index) -> str:
    n = len(index.failed)
    if n == 1:
        return (
            "The only engine couldn't be judged, so nothing is known about it; a warning says why."
        )
    return (
        f"None of the {n} engines could be judged, so nothing is known about them; "
        "the warnings say why."
    )


def _regressed(index: Index, regressed: list[ResultRecord]) -> str:
    worst = _surest(index, regressed)
    metric = index.metrics[worst.metric]
    average = index.results.get((worst.cell, ALL, worst.metric))
    text = f"{_subject(index, worst)} {_lost(index, worst)} {_place(worst)}"
    if (
        worst.slice != ALL
        and not worst.n_broken
        and average is not None
        and average.drop is not None
    ):
        text += f" while the average {change(metric, average.drop)}"
    rest = _alternative(index, worst)
    share = f"{len(regressed)} of {len(index.gated)} gated comparisons regressed"
    return f"{text}{'; ' if rest else ''}{rest} ({share})."


def _alternative(index: Index, worst: ResultRecord) -> str:
    """What the best other calibration set with the same method does there, or else any engine.

    Best over all gates: the one that happens to lose least on this slice may have been lucky.
    """
    cell = index.cells[worst.cell]
    rivals = [r for r in _beside(index, worst) if r.cell != worst.cell and r.drop is not None]
    if not rivals:
        return ""
    keepers = [r for r in rivals if r.verdict != "REGRESSED"]
    if not keepers:
        least = min(rivals, key=_drop)
        name = _engine(index, least)
        return f"no engine keeps it: the best, {name}, {_does(index, least)}"
    same = [r for r in keepers if variant(index.cells[r.cell]) == variant(cell)]
    best = min(same or keepers, key=lambda r: _record(index, r.cell))
    if same:
        calibset, _ = cell_parts(index.cells[best.cell], index.report)
        return f"{quoted(calibset)} {_does(index, best)}"
    return f"{_engine(index, best)} {_does(index, best)}"


def _does(index: Index, result: ResultRecord) -> str:
    doubt = " (inconclusive)" if result.verdict == "INCONCLUSIVE" else ""
    return f"{change(index.metrics[result.metric], result.drop)} there{doubt}"


def _record(index: Index, cell: str) -> tuple[int, float]:
    """How an engine fares over all gates: regressions, then its largest drop over its gate."""
    gated = [r for r in index.gated if r.cell == cell]
    regressed = sum(r.verdict == "REGRESSED" for r in gated)
    return regressed, max((index.per_gate(r, r.drop) for r in gated), default=0.0)


def _drop(result: ResultRecord) -> float:
    return float("-inf") if result.drop is None else result.drop


def _beside(index: Index, result: ResultRecord) -> Iterable[ResultRecord]:
    """All cells' results on the same slice and metric."""
    for cell in index.report.cells:
        found = index.results.get((cell.id, result.slice, result.metric))
        if found is not None:
            yield found


def _inconclusive(index: Index) -> str:
    if index.below_floor:
        return _below_floor(index)
    if index.hopeless is not None:
        return f"{visible(index.hopeless)}; the warnings show the inputs' ranges."
    open_ones = [r for r in index.gated if r.verdict != "PASS"]
    failed = index.failed
    if not open_ones:
        what = "engine" if len(failed) == 1 else "engines"
        return f"No gated slice regressed, but {len(failed)} {what} couldn't be judged."
    gravest, thinnest = _surest(index, open_ones), min(open_ones, key=_thinness)
    text = (
        f"No gated slice regressed beyond doubt; {len(open_ones)} of {len(index.gated)} gated "
        f"comparisons {'is' if len(open_ones) == 1 else 'are'} inconclusive, the gravest: "
        f"{_lower_first(_subject(index, gravest))} {_lost(index, gravest)} {_place(gravest)}; "
        f"the thinnest slice, {visible(thinnest.slice)}, has {thinnest.n:,} samples"
    )
    if thinnest.n_needed is not None:
        text += f" and needs {thinnest.n_needed:,}"
    if failed:
        text += f"; {len(failed)} engine{'s' if len(failed) > 1 else ''} couldn't be judged"
    return f"{text}."


def _below_floor(index: Index) -> str:
    """FP32 itself is too bad: told before anything about engines."""
    first = max(index.below_floor, key=lambda r: (r.slice == ALL, r.n))
    metric = index.metrics[first.metric]
    floor = None if first.gate is None else first.gate.min_reference
    places = len({(r.slice, r.metric) for r in index.below_floor})
    more = f", and it misses {places - 1} more such floors" if places > 1 else ""
    least = "at least" if metric.higher_is_better else "at most"
    return (
        f"FP32 itself has {in_sentence(metric)} {score(metric, first.reference)} {_place(first)} "
        f"where min_reference asks for {least} {score(metric, floor)}{more}: no engine passes "
        "there; look at the inputs and labels first."
    )


def _surest(index: Index, results: Sequence[ResultRecord]) -> ResultRecord:
    """The result with the largest loss that its interval vouches for; broken units come first.

    By the drop itself it would often be a thin slice's luck.
    """

    def loss(result: ResultRecord) -> tuple[int, float]:
        sure = result.drop if result.low is None else result.low
        return result.n_broken, index.per_gate(result, sure)

    return max(results, key=loss)


def _thinness(result: ResultRecord) -> tuple[int, int]:
    return result.n, -(result.n_needed or 0)


def _passed(index: Index) -> str:
    closest = max(index.gated, key=lambda r: index.per_gate(r, _upper(r)))
    metric, gate, upper = index.metrics[closest.metric], closest.gate, _upper(closest)
    text = (
        f"All {len(index.gated)} gated comparisons passed; the closest: "
        f"{_lower_first(_subject(index, closest))} {change_of_metric(metric, closest.drop)} "
        f"{_place(closest)}"
    )
    if gate is None or upper is None:
        return f"{text}."
    allowed = amount(metric, gate.max_drop)
    return f"{text} (at most {difference(metric, upper)} of the {allowed} allowed)."


def _upper(result: ResultRecord) -> float | None:
    """What the gate was held against."""
    return result.high if result.one_sided_high is None else result.one_sided_high


def _ungated(index: Index) -> str:
    broken = [r for r in index.report.results if r.n_broken]
    if broken:
        worst = max(broken, key=lambda r: (r.slice == ALL, r.n_broken))
        subject = _lower_first(_subject(index, worst))
        return f"{_why(index)}; but {subject} {_lost(index, worst)} {_place(worst)}."
    name = index.report.metrics[0].name
    measured = [r for r in index.report.results if r.metric == name and r.drop is not None]
    if not measured:
        return f"{_why(index)}, and the headline metric couldn't be measured on any slice."
    most = max(measured, key=_drop)
    clear = most.low is not None and most.low > 0
    doubt = "" if clear else ", which may be chance"
    return (
        f"{_why(index)}; the largest drop of {len(measured)} comparisons: "
        f"{_lower_first(_subject(index, most))} {_lost(index, most)} {_place(most)}{doubt}."
    )


def _why(index: Index) -> str:
    """What keeps gates from deciding."""
    gated = any(result.gate is not None for result in index.report.results)
    return "No gate is held against a candidate" if gated else "No gate was set"


def _place(result: ResultRecord) -> str:
    return "over everything" if result.slice == ALL else f"on {visible(result.slice)}"


def _engine(index: Index, result: ResultRecord) -> str:
    cell = index.cells[result.cell]
    calibset, method = map(quoted, cell_parts(cell, index.report))
    return method if cell.calibset is None else f"{calibset} with {method}"


def _lower_first(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}" if text.startswith("Calibrated") else text


def _subject(index: Index, result: ResultRecord) -> str:
    cell = index.cells[result.cell]
    calibset, method = map(quoted, cell_parts(cell, index.report))
    return method if cell.calibset is None else f"Calibrated on {calibset}, {method}"


def _lost(index: Index, result: ResultRecord) -> str:
    """``loses 6.1 points of top-1 accuracy (95 % CI 4.8–7.5)``."""
    metric = index.metrics[result.metric]
    if result.n_broken:
        return f"gives {broken_units(result)}"
    text = change_of_metric(metric, result.drop)
    if result.low is None or result.high is None or result.level is None:
        return text
    return f"{text} ({percent(result.level)} CI {between(metric, result.low, result.high)})"
