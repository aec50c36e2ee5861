"""Which engines may ship, in one sentence that claims no more than their gates do."""

from collections.abc import Collection, Mapping, Sequence

from calaudit.report.groups import EngineGroup, Standing, engine_groups
from calaudit.report.index import Index
from calaudit.report.precision import joint_caveat
from calaudit.report.wording import engine_name, quoted
from calaudit.results.comparison import Result
from calaudit.runtime.words import counted

_NAMED = 3
"""Engines that are named one by one."""


def shipping_sentence(index: Index) -> str:
    """What passed every gate; where nothing did, what came closest and what it lacks.

    Groups of engines are named where all of their engines passed, single engines where others of
    their group didn't.
    """
    own = _gated_by_cell(index)
    if not own:
        return "Nothing is shown fit to ship: no gate was held against a candidate."
    groups = [
        group
        for group in engine_groups(index)
        if not group.control and any(cell.id in own for cell in group.cells)
    ]
    passed = [cell for cell, results in own.items() if _passes(results)]
    whole = [group for group in groups if all(cell.id in passed for cell in group.cells)]
    if whole:
        shown = {cell.id for group in whole for cell in group.cells}
        return f"{_ship(index, whole, own)}{_but(index, whole)}{_others(index, own, shown)}."
    if passed:
        return f"{_some(index, passed, own)}."
    return _nothing(index, groups, own)


def _gated_by_cell(index: Index) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in index.gated:
        found.setdefault(result.cell, []).append(result)
    # FP32 itself, of another target or as an engine made elsewhere, is none that one would ship
    itself = {each.where for each in index.report.warnings if each.code == "fp32_itself"}
    return {
        cell: results
        for cell, results in found.items()
        if index.cells[cell].precision != "fp32" and f"cell {cell}" not in itself
    }


def _passes(results: Sequence[Result]) -> bool:
    return all(result.verdict == "PASS" for result in results)


def _ship(index: Index, whole: Sequence[EngineGroup], own: dict[str, list[Result]]) -> str:
    names = " or ".join(quoted(group.label) for group in whole)
    cells = [cell.id for group in whole for cell in group.cells]
    count = sum(len(own[cell]) for cell in cells)
    if len(cells) == 1:
        return f"Ship {engine_name(index, cells[0])}: it passed {_gates(count)}"
    engines = f"all {len(cells)} engines" if len(whole) > 1 else f"each of its {len(cells)} engines"
    return f"Ship {names}: {engines} passed every gate ({count:,} comparisons)"


def _some(index: Index, passed: Sequence[str], own: dict[str, list[Result]]) -> str:
    """Of engines whose draws or methods didn't all pass."""
    names = [engine_name(index, cell) for cell in passed]
    shown = " or ".join(names[:_NAMED])
    more = f", or {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    told = joint_caveat(index, passed)
    but = f", but with {told}" if told else ""
    each = "it" if len(names) == 1 else "each"
    return f"Ship {shown}{more}: {each} passed every gate{but}{_others(index, own, passed)}"


def _others(index: Index, own: Mapping[str, list[Result]], shown: Collection[str]) -> str:
    """What became of the candidates that aren't named."""
    rest = [results for cell, results in own.items() if cell not in shown]
    lost = sum(any(r.verdict == "REGRESSED" for r in results) for results in rest)
    passed = sum(map(_passes, rest))
    undecided = len(rest) - lost - passed
    failed = sum(cell.role != "control" and cell.precision != "fp32" for cell in index.failed)
    told = [
        (count, verb)
        for count, verb in (
            (passed, "also passed every gate"),
            (lost, "regressed"),
            (undecided, "is inconclusive" if undecided == 1 else "are inconclusive"),
            (failed, "couldn't be evaluated"),
        )
        if count
    ]
    count = sum(each for each, _ in told)
    others = "the other candidate" if count == 1 else f"the {count:,} other candidates"
    if len(told) > 1:
        *first, last = (f"{each:,} {verb}" for each, verb in told)
        return f"; of {others}, {', '.join(first)} and {last}"
    return f"; {others} {told[0][1]}" if told else ""


def _gates(count: int) -> str:
    return "its only gate" if count == 1 else f"every gate ({count:,} comparisons)"


def _but(index: Index, whole: Sequence[EngineGroup]) -> str:
    told = joint_caveat(index, [cell.id for group in whole for cell in group.cells])
    return f", but with {told}" if told else ""


def _nothing(index: Index, groups: Sequence[EngineGroup], own: dict[str, list[Result]]) -> str:
    def standing(group: EngineGroup) -> Standing:
        return Standing.of([r for cell in group.cells for r in own.get(cell.id, [])])

    closest = min(groups, key=standing)
    found, engines = standing(closest), sum(cell.id in own for cell in closest.cells)
    text = f"Nothing to ship yet: no engine passed every gate. Closest: {quoted(closest.label)}"
    together = f", of its {engines:,} engines together" if engines > 1 else ""
    return f"{text}, {found.told} of {counted(found.n, 'comparison')}{together}."
