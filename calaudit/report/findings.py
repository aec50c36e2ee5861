"""What an audit found, in three sentences: what is lost, where it comes from, what is open."""

from collections.abc import Sequence

from calaudit.report.headline import headline
from calaudit.report.index import Index, cell_parts
from calaudit.report.records import ALL, CellRecord, Report, ResultRecord
from calaudit.report.wording import (
    difference,
    in_sentence,
    quoted,
    unit_name,
)


def findings(report: Report) -> tuple[str, str, str]:
    """Three sentences, each on one line, that claim no more than the results do.

    The first is :func:`calaudit.report.headline`; the second says which calibration sets and
    methods the regressions come from, or how far the sets lie apart; the third what is undecided.
    """
    index = Index(report)
    return headline(report), _origin(index), _open(index)


def _origin(index: Index) -> str:
    regressed = [r for r in index.gated if r.verdict == "REGRESSED"]
    return _regressions(index, regressed) if regressed else _spread(index)


def _regressions(index: Index, regressed: Sequence[ResultRecord]) -> str:
    places = {r.slice for r in index.gated}
    hit = {r.slice for r in regressed}
    per_set = dict.fromkeys((_set(index, r) for r in index.gated), 0)
    for result in regressed:
        per_set[_set(index, result)] += 1
    text = f"Regressions lie on {len(hit)} of {len(places)} gated {_plural('slice', places)}"
    guilty = {name: count for name, count in per_set.items() if count}
    free = [name for name, count in per_set.items() if not count]
    if len(per_set) == 1:
        return f"{text}{_only_methods(index, regressed)}."
    if free:
        come = "comes" if len(regressed) == 1 else "come"
        every = "the only one" if len(regressed) == 1 else f"all {len(regressed)}"
        return (
            f"{text}, and {every} {come} from {_listed(list(guilty), 'and')}"
            f"{_only_methods(index, regressed)}; none from {_listed(free, 'or')}."
        )
    least, most = (choose(guilty, key=lambda n: guilty[n]) for choose in (min, max))
    if guilty[least] == guilty[most]:
        return f"{text}, and every calibration set has {guilty[most]:,} of them."
    return (
        f"{text}, and no calibration set is free of them: {quoted(most)} has {guilty[most]:,}, "
        f"{quoted(least)} {guilty[least]:,}."
    )


def _only_methods(index: Index, regressed: Sequence[ResultRecord]) -> str:
    """``" with minmax only"``, where the other methods of the same sets have none."""
    sets = {_set(index, r) for r in regressed}
    tried = dict.fromkeys(_method(index, r) for r in index.gated if _set(index, r) in sets)
    hit = {_method(index, r) for r in regressed}
    if hit >= set(tried):
        return ""
    return f" with {_listed([name for name in tried if name in hit], 'and')} only"


def _spread(index: Index) -> str:
    """How far the engines' drops over everything lie apart, in the headline metric."""
    if not index.report.metrics:
        return "No metric was asked for."
    metric = index.report.metrics[0]
    found = [
        (result.drop, cell)
        for cell in index.report.cells
        if (result := index.results.get((cell.id, ALL, metric.name))) is not None
        and result.drop is not None
    ]
    if not found:
        return "How the engines compare over everything wasn't measured."
    name = in_sentence(metric)
    (least, best), (most, worst) = min(found, key=_first), max(found, key=_first)
    if len(found) == 1:
        return f"Over everything, {name} drops by {difference(metric, least)} {unit_name(metric)}."
    if difference(metric, least) == difference(metric, most):
        return (
            f"Over everything, all {len(found)} engines drop {name} alike, by "
            f"{difference(metric, least)} {unit_name(metric)}".rstrip()
            + "."
        )
    return (
        f"Over everything, the engines' drops of {name} run from {difference(metric, least)} "
        f"({_engine(index, best)}) to {difference(metric, most)} {unit_name(metric)} "
        f"({_engine(index, worst)})."
    )


def _first(pair: tuple[float, CellRecord]) -> float:
    return pair[0]


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


def _undecided(index: Index, undecided: Sequence[ResultRecord]) -> str:
    are = "is" if len(undecided) == 1 else "are"
    text = (
        f"{len(undecided):,} of {len(index.gated):,} gated comparisons {are} inconclusive, on "
        f"slices of {_range([r.n for r in undecided])} samples"
    )
    easiest = min(
        (r for r in undecided if r.n_needed is not None),
        key=lambda r: (r.n_needed or 0) / max(1, r.n),
        default=None,
    )
    if easiest is None:
        return text
    return (
        f"{text}; the one nearest to a decision, {quoted(easiest.slice)} under "
        f"{_engine(index, index.cells[easiest.cell])}, needs {easiest.n_needed:,}"
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _set(index: Index, result: ResultRecord) -> str:
    return cell_parts(index.cells[result.cell], index.report)[0]


def _method(index: Index, result: ResultRecord) -> str:
    return cell_parts(index.cells[result.cell], index.report)[1]


def _engine(index: Index, cell: CellRecord) -> str:
    calibset, method = map(quoted, cell_parts(cell, index.report))
    return method if cell.calibset is None else f"{calibset} with {method}"


def _listed(names: Sequence[str], word: str) -> str:
    shown = [quoted(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def _plural(noun: str, things: Sequence[object] | set[str]) -> str:
    return noun if len(things) == 1 else f"{noun}s"
