"""Which results are explained: those that lose significantly, candidates' gravest first."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from calaudit.results.comparison import Result, Verdict
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError, SliceError, near
from calaudit.slices.sliceset import match_slices


def harmed_results(
    report: Report, *, cells: Sequence[str] = (), slices: Sequence[str] = (), every: bool = False
) -> list[Result]:
    """Harmed results: candidates' before controls', the largest certain loss (over the gate) first.

    Those of candidates and of controls whose gate regressed; where nothing has a gate, what
    screening lists of the headline metric.

    Parameters
    ----------
    report : Report
    cells, slices : sequence of str
        Names or patterns that narrow the choice; all by default.
    every : bool
        Also those that aren't significant, where the drop as measured is above 0.

    Raises
    ------
    SettingsError
        A pattern matches no cell.
    SliceError
        A pattern matches no slice.
    """
    known = [cell.id for cell in report.cells]
    wanted_cells = _matched_cells(cells, known)
    wanted = matched_slices(slices, [each.name for each in report.slices])
    gated = any(result.gate is not None for result in report.results)
    screened = {(one.cell, one.slice, one.metric) for one in report.screening}

    def counts(result: Result) -> bool:
        if result.drop is None or result.drop <= 0:
            return False
        if gated:
            lost = result.verdict == Verdict.REGRESSED
            return result.gate is not None and (lost or every)
        if result.metric != report.metrics[0].name:
            return False
        return every or (result.cell, result.slice, result.metric) in screened

    found = [
        result
        for result in report.results
        if result.cell in wanted_cells and result.slice in wanted and counts(result)
    ]
    controls = {cell.id for cell in report.cells if cell.role == "control"}
    return sorted(found, key=lambda each: (each.cell in controls, -_gravity(each)))


def _gravity(result: Result) -> float:
    low = result.low if result.joint_low is None else result.joint_low
    lost = (result.drop or 0.0) if low is None else low
    return lost / (result.max_drop or 1.0)


def _matched_cells(patterns: Sequence[str], known: Sequence[str]) -> Collection[str]:
    if not patterns:
        return frozenset(known)
    found: set[str] = set()
    for pattern in patterns:
        own = [name for name in known if name == pattern or fnmatchcase(name, pattern)]
        if not own:
            raise SettingsError(
                f"no engine is called {pattern!r}", where="--cell", next_step=near(pattern, known)
            )
        found.update(own)
    return found


def matched_slices(patterns: Sequence[str], known: Sequence[str]) -> Collection[str]:
    """Those that patterns mean; all without any. Raises `SliceError`."""
    if not patterns:
        return frozenset(known)
    try:
        return {name for pattern in patterns for name in match_slices(pattern, known)}
    except SliceError as error:
        step = error.problems[0].next_step
        raise SliceError(error.problems[0].message, where="--slice", next_step=step) from None
