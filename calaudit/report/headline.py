"""One sentence that says what an audit found, and what controls would have cost.

Neither claims more than its results do.
"""

from calaudit.report.index import Index, cell_parts, variant, way_of
from calaudit.report.precision import (
    caveat,
    joint_caveat,
    overall_caveat,
    prediction_sentence,
)
from calaudit.report.wording import (
    amount,
    bounds,
    change,
    clearest_loss,
    difference,
    engine_name,
    in_sentence,
    is_significant_loss,
    larger_loss,
    lost,
    percent,
    quoted,
    score,
    units_named,
)
from calaudit.results.comparison import ALL, Result
from calaudit.results.report import Report
from calaudit.runtime.words import visible


def headline(report: Report) -> str:
    """What was found, in one sentence.

    A regression is told with an interval that holds though it was picked as the worst, the same
    engine's drop overall, and which engines pass all their gates; where nothing regressed,
    that FP32 itself is too bad, or else what is undecided and how many samples would decide it;
    where all passed, the comparison that came closest; without gates, whether the screening lists
    anything. Where INT8 engines run less in INT8 than asked, or that is unproven, or engines are
    predictions, it says so.
    """
    index = Index(report)
    text = _sentence(index)
    for told in (overall_caveat(index), prediction_sentence(index)):
        if told not in text:
            text = f"{text.removesuffix('.')}; {told}."
    return text


def _sentence(index: Index) -> str:
    report = index.report
    if index.all_failed:
        return _nothing_judged(index)
    if not report.results:
        return "No comparison was made."
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
        return "The only engine couldn't be evaluated; see the warnings."
    return f"None of the {n} engines could be evaluated; see the warnings."


def _regressed(index: Index, regressed: list[Result]) -> str:
    worst = clearest_loss(index, regressed)
    metric = index.metrics[worst.metric]
    average = index.results.get((worst.cell, ALL, worst.metric))
    text = f"{_subject(index, worst)} {lost(index, worst)} {_place(worst)}"
    if average is not None and not worst.n_broken and _less(average, worst):
        text += f" while the average {change(metric, average.drop)}{bounds(index, average)}"
    text += larger_loss(index, worst, regressed)
    share = f"{len(regressed)} of {len(index.gated)} gated comparisons regressed"
    rest = _others(index, worst)
    return f"{text}{'; ' if rest else ''}{rest} ({share})."


def _less(average: Result, worst: Result) -> bool:
    return average.drop is not None and worst.drop is not None and average.drop < worst.drop


def _others(index: Index, worst: Result) -> str:
    """How the other engines fare over all gates.

    What they lose where this one loses most would flatter them: the samples chose the place.
    """
    by_cell: dict[str, list[Result]] = {}
    for result in index.gated:
        by_cell.setdefault(result.cell, []).append(result)
    # FP32 of another target passes, but isn't what is to ship
    others = [c for c in by_cell if c != worst.cell and index.cells[c].precision != "fp32"]
    passing = [cell for cell in others if all(r.verdict == "PASS" for r in by_cell[cell])]
    if not others:
        return ""
    if not passing:
        return "no engine passes all its gates"
    own = variant(index.cells[worst.cell])
    first = min(
        passing,
        key=lambda cell: (
            bool(caveat(index.cells[cell])),
            variant(index.cells[cell]) != own,
            max(index.per_gate(r, _upper(r)) for r in by_cell[cell]),
        ),
    )
    name = engine_name(index, first)
    told = caveat(index.cells[first])
    with_what = f" (but {told})" if told else ""
    if len(passing) == 1:
        gates = len(by_cell[first])
        return f"{name} passes {'its gate' if gates == 1 else f'all its {gates} gates'}{with_what}"
    return (
        f"{len(passing)} of {len(others)} other engines pass all their gates, such as "
        f"{name}{with_what}"
    )


def _inconclusive(index: Index) -> str:
    if index.below_floor:
        return _below_floor(index)
    if index.hopeless is not None:
        return f"{visible(index.hopeless)}; the warnings list the inputs' ranges."
    open_ones = [r for r in index.gated if r.verdict != "PASS"]
    failed = index.failed
    if not open_ones:
        what = "engine" if len(failed) == 1 else "engines"
        return f"No gated slice regressed, but {len(failed)} {what} couldn't be evaluated."
    gravest, thinnest = clearest_loss(index, open_ones), min(open_ones, key=_thinness)
    doubt = "" if is_significant_loss(gravest) else ", not significant"
    text = (
        f"No gated slice regressed significantly; {len(open_ones)} of {len(index.gated)} gated "
        f"comparisons {'is' if len(open_ones) == 1 else 'are'} inconclusive, the clearest: "
        f"{_lower_first(_subject(index, gravest))} {lost(index, gravest)} {_place(gravest)}"
        f"{doubt}{larger_loss(index, gravest, open_ones)}; the smallest slice, "
        f"{visible(thinnest.slice)}, has {units_named(index, thinnest.metric, thinnest.n)}"
    )
    if thinnest.n_needed is not None:
        text += f" and needs {thinnest.n_needed:,}"
    if failed:
        text += f"; {len(failed)} engine{'s' if len(failed) > 1 else ''} couldn't be evaluated"
    return f"{text}."


def _below_floor(index: Index) -> str:
    """FP32 itself is too bad: told before anything about engines."""
    first = max(index.below_floor, key=lambda r: (r.slice == ALL, r.n))
    metric = index.metrics[first.metric]
    floor = None if first.gate is None else first.gate.min_reference
    places = len({(r.slice, r.metric) for r in index.below_floor})
    more = f", and it misses {places - 1} more min_reference values" if places > 1 else ""
    least = "at least" if metric.higher_is_better else "at most"
    return (
        f"FP32 itself has {in_sentence(metric)} {score(metric, first.reference)} {_place(first)} "
        f"where min_reference requires {least} {score(metric, floor)}{more}: no engine passes "
        "there; check the inputs and labels first."
    )


def _thinness(result: Result) -> tuple[int, int]:
    return result.n, -(result.n_needed or 0)


def _passed(index: Index) -> str:
    closest = max(index.gated, key=lambda r: index.per_gate(r, _upper(r)))
    text = f"All {len(index.gated)} gated comparisons passed"
    if len(index.gated) == 1:
        text = "The only gated comparison passed"
    told = overall_caveat(index)
    text += f", but with {told}" if told else ""
    gate, upper = closest.gate, _upper(closest)
    if gate is None or upper is None:
        return f"{text}."
    metric, name = index.metrics[closest.metric], in_sentence(index.metrics[closest.metric])
    most, allowed = amount(metric, max(upper, 0.0)), difference(metric, gate.max_drop)
    what = f"loses at most {most} of {name}"
    if not metric.higher_is_better:
        what = f"worsens {name} by at most {most}"
    sure = "" if closest.alpha is None else f", {percent(1 - closest.alpha)} confidence"
    subject = _lower_first(_subject(index, closest))
    return f"{text}; the closest: {subject} {what} {_place(closest)} ({allowed} allowed{sure})."


def _upper(result: Result) -> float | None:
    """What the gate was held against."""
    return result.high if result.one_sided_high is None else result.one_sided_high


def _ungated(index: Index) -> str:
    """Whether anything is lost is the screening's to say: the largest drop always looks large."""
    broken = [r for r in index.report.results if r.n_broken]
    if broken:
        worst = max(broken, key=lambda r: (r.slice == ALL, r.n_broken))
        return f"{_why(index)}; but {_told(index, worst)}."
    name = index.report.metrics[0].name
    measured = [r for r in index.shown if r.metric == name and r.drop is not None]
    if not measured:
        return f"{_why(index)}, and the headline metric couldn't be measured on any slice."
    keys = {(r.cell, r.slice): r for r in measured}
    listed = [
        keys[one.cell, one.slice]
        for one in index.report.screening
        if one.metric == name and (one.cell, one.slice) in keys
    ]
    count = len(measured)
    of = f" of {in_sentence(index.metrics[name])}" if len(index.report.metrics) > 1 else ""
    many = f"the only comparison{of}" if count == 1 else f"{count:,} comparisons{of}"
    if listed:
        told = _told(index, listed[0])
        if count == 1:
            return f"{_why(index)}; the loss is significant: {told}."
        lose = "loses" if len(listed) == 1 else "lose"
        return (
            f"{_why(index)}; {len(listed):,} of {many} {lose} significantly, the clearest: {told}."
        )
    most = clearest_loss(index, measured)
    if all(r.p_value is None for r in measured):
        return f"{_why(index)}; the clearest drop of {many}: {_told(index, most)}."
    none = f"none of {many} loses" if count > 1 else f"{many} doesn't lose"
    others = len(index.report.screening)
    more = f" ({others:,} of other metrics {'does' if others == 1 else 'do'})" if others else ""
    return (
        f"{_why(index)}, and {none} significantly{more}; the largest drop, not "
        f"significant: {_told(index, most)}."
    )


def _told(index: Index, result: Result) -> str:
    return f"{_lower_first(_subject(index, result))} {lost(index, result)} {_place(result)}"


def _why(index: Index) -> str:
    """What keeps gates from deciding."""
    gated = any(result.gate is not None for result in index.report.results)
    return "No gate is held against a candidate" if gated else "No gate was set"


def _place(result: Result) -> str:
    return "overall" if result.slice == ALL else f"on {visible(result.slice)}"


def _lower_first(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}" if text.startswith(("Calibrated", "With")) else text


def _subject(index: Index, result: Result) -> str:
    cell = index.cells[result.cell]
    calibset, method = map(quoted, cell_parts(cell, index.report))
    if cell.foreign is not None:
        return f"{calibset}, {visible(way_of(cell))},"
    if cell.given_ranges is not None:
        return f"With the ranges of {calibset}, {method}"
    if cell.calibset is None:
        return method
    return f"Calibrated on {calibset}{_draw(index, cell.calibset)}, {method}"


def _draw(index: Index, calibset: str) -> str:
    """`` (draw 1 of 3)``: tables fold draws, and a recipe's first has no number in its name."""
    recipe = index.recipes.get(calibset)
    draws = [name for name, each in index.recipes.items() if each == recipe]
    if len(draws) < 2 or calibset not in draws:
        return ""
    return f" (draw {draws.index(calibset) + 1} of {len(draws)})"


def control_sentences(index: Index) -> list[str]:
    """One sentence per control, in the report's order: how many gates it would have broken."""
    cells: dict[str, set[str]] = {}
    for cell in index.report.cells:
        name = cell.given_ranges or (cell.foreign.name if cell.foreign else None)
        if cell.calibset is not None:
            name = index.recipes.get(cell.calibset, cell.calibset)
        if name is not None and cell.role == "control":
            cells.setdefault(name, set()).add(cell.id)
    places = list(dict.fromkeys(index.recipes[each.name] for each in index.report.calibsets))
    ordered = sorted(cells, key=lambda name: places.index(name) if name in places else len(places))
    found = [_control_sentence(index, name, cells[name]) for name in ordered]
    return [told for told in found if told is not None]


def _control_sentence(index: Index, recipe: str, cells: set[str]) -> str | None:
    gated = [r for r in index.report.results if r.cell in cells and r.gate is not None]
    if not gated:
        return None
    regressed = [r for r in gated if r.verdict == "REGRESSED"]
    text = f"As a candidate, the control {quoted(recipe)} would have "
    if not regressed:
        told = joint_caveat(index, dict.fromkeys(r.cell for r in gated))
        but = f", but with {told}" if told else ""
        return f"{text}regressed in none of {len(gated):,} gated comparisons{but}."
    clearest = clearest_loss(index, regressed)
    return (
        f"{text}regressed in {len(regressed):,} of {len(gated):,} gated comparisons, the clearest: "
        f"{_control_loss(index, clearest)}{larger_loss(index, clearest, regressed)}."
    )


def _control_loss(index: Index, result: Result) -> str:
    method = quoted(cell_parts(index.cells[result.cell], index.report)[1])
    place = "overall" if result.slice == ALL else f"on {visible(result.slice)}"
    return f"{method} {lost(index, result)} {place}"
