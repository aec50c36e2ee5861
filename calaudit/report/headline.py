"""One sentence that says what an audit found, and claims no more than its results do."""

from collections.abc import Iterable

from calaudit.report.index import Index, cell_parts, variant
from calaudit.report.records import ALL, Report, ResultRecord
from calaudit.report.wording import amount, between, change, difference_unit, percent, visible


def headline(report: Report) -> str:
    """What was found, in one sentence.

    A regression is told with its interval, the same engine's drop over everything, and the
    calibration set that does best on that slice; where nothing regressed, what is undecided and
    how many samples would decide it; where all passed, the comparison that came closest.
    """
    index = Index(report)
    if not report.results:
        return "No comparison was made, so nothing is known about this engine."
    if not index.gated:
        return _ungated(index)
    regressed = [r for r in index.gated if r.verdict == "REGRESSED"]
    if regressed:
        return _regressed(index, index.worst(regressed)[0], len(regressed))
    if report.verdict == "INCONCLUSIVE":
        return _inconclusive(index)
    return _passed(index)


def _regressed(index: Index, worst: ResultRecord, count: int) -> str:
    metric = index.metrics[worst.metric]
    average = index.results.get((worst.cell, ALL, worst.metric))
    place = "over everything" if worst.slice == ALL else f"on {visible(worst.slice)}"
    text = f"{_subject(index, worst)} {_lost(index, worst)} {place}"
    if worst.slice != ALL and average is not None and average.drop is not None:
        text += f" while the average {change(metric, average.drop)}"
    rest = _alternative(index, worst)
    share = f"{count} of {len(index.gated)} gated comparisons regressed"
    return f"{text}{'; ' if rest else ''}{rest} ({share})."


def _alternative(index: Index, worst: ResultRecord) -> str:
    """What the best other calibration set, or else method, does on the same slice."""
    cell = index.cells[worst.cell]
    there = [r for r in _beside(index, worst) if r.cell != worst.cell and r.drop is not None]
    same_variant = [r for r in there if variant(index.cells[r.cell]) == variant(cell)]
    same_set = [r for r in there if index.cells[r.cell].calibset == cell.calibset]
    for rivals, part in ((same_variant, 0), (same_set, 1), (there, None)):
        if not rivals:
            continue
        best = min(rivals, key=lambda r: r.drop if r.drop is not None else 0.0)
        parts = cell_parts(index.cells[best.cell], index.report)
        name = visible(parts[part] if part is not None else " ".join(parts))
        does = change(index.metrics[best.metric], best.drop)
        if best.verdict == "REGRESSED":
            others = ("calibration set", "method")[part] if part is not None else "engine"
            return f"no other {others} keeps it: the best, {name}, {does} there"
        doubt = " (inconclusive)" if best.verdict == "INCONCLUSIVE" else ""
        return f"{name} {does} there{doubt}"
    return ""


def _beside(index: Index, result: ResultRecord) -> Iterable[ResultRecord]:
    """All cells' results on the same slice and metric."""
    for cell in index.report.cells:
        found = index.results.get((cell.id, result.slice, result.metric))
        if found is not None:
            yield found


def _inconclusive(index: Index) -> str:
    open_ones = [r for r in index.gated if r.verdict != "PASS"]
    failed = [cell for cell in index.report.cells if cell.status == "failed"]
    if not open_ones:
        what = "engine" if len(failed) == 1 else "engines"
        return f"No gated slice regressed, but {len(failed)} {what} couldn't be judged."
    thinnest = min(open_ones, key=lambda r: (r.n, -(r.n_needed or 0)))
    many = len(open_ones) != 1
    text = (
        f"No gated slice regressed; {len(open_ones)} of {len(index.gated)} gated comparisons "
        f"{'are' if many else 'is'} inconclusive: the thinnest slice, {visible(thinnest.slice)}, "
        f"has {thinnest.n:,} samples"
    )
    if thinnest.n_needed is not None:
        text += f" and needs {thinnest.n_needed:,} for {_metric(index, thinnest)}"
    if failed:
        text += f"; {len(failed)} engine{'s' if len(failed) > 1 else ''} couldn't be judged"
    return f"{text}."


def _passed(index: Index) -> str:
    closest = min(index.gated, key=lambda r: _room(r))
    metric, gate = index.metrics[closest.metric], closest.gate
    limit = "" if gate is None else f" of the {amount(metric, gate.max_drop)} allowed"
    subject = _subject(index, closest)
    return (
        f"All {len(index.gated)} gated comparisons passed; the closest: "
        f"{subject[:1].lower()}{subject[1:]} {_lost(index, closest)}{limit} on "
        f"{visible(closest.slice)}."
    )


def _room(result: ResultRecord) -> float:
    """Part of the gate that the interval's upper end leaves free."""
    if result.gate is None or result.high is None or result.gate.max_drop <= 0:
        return float("inf")
    return 1 - result.high / result.gate.max_drop


def _ungated(index: Index) -> str:
    name = index.report.metrics[0].name
    measured = [r for r in index.report.results if r.metric == name and r.drop is not None]
    if not measured:
        return "No gate was set, and the headline metric couldn't be measured on any slice."
    most = max(measured, key=lambda r: r.drop if r.drop is not None else 0.0)
    subject = _subject(index, most)
    clear = most.low is not None and most.low > 0
    doubt = "" if clear else ", which may be chance"
    return (
        f"No gate was set; the largest drop of {len(measured)} comparisons: "
        f"{subject[:1].lower()}{subject[1:]} {_lost(index, most)} on {visible(most.slice)}{doubt}."
    )


def _subject(index: Index, result: ResultRecord) -> str:
    cell = index.cells[result.cell]
    calibset, method = (visible(part) for part in cell_parts(cell, index.report))
    return method if cell.calibset is None else f"Calibrated on {calibset}, {method}"


def _lost(index: Index, result: ResultRecord) -> str:
    """``loses 6.1 points of top-1 accuracy (95 % CI 4.8–7.5)``."""
    metric = index.metrics[result.metric]
    if result.drop is None:
        return f"couldn't be measured in {_metric(index, result)}"
    text = f"{change(metric, result.drop)} {difference_unit(metric)} of {_metric(index, result)}"
    if result.low is None or result.high is None or result.level is None:
        return text
    return f"{text} ({percent(result.level)} CI {between(metric, result.low, result.high)})"


def _metric(index: Index, result: ResultRecord) -> str:
    return visible(index.metrics[result.metric].title)
