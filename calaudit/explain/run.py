"""Run an audit and explain what it found: one report, with what experiments add to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.runtime.errors import Notice, SettingsError

if TYPE_CHECKING:
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.explain.explanations import Asked
    from calaudit.results.report import Report

MOST = 12
"""Explanations with experiments, by default; each may stand for many results."""


def explain_audit(
    path: Path | str,
    overrides: "Overrides | None" = None,
    *,
    cells: Sequence[str] = (),
    slices: Sequence[str] = (),
    every: bool = False,
    most: int = MOST,
    formats: str | Sequence[str] = "all",
    tell: Callable[[Notice], None] | None = None,
) -> "tuple[Report, Path]":
    """Run or resume an audit, find out what is behind its regressions, and write its report.

    Experiments run on the tuning rows, never on evaluated ones.

    Parameters
    ----------
    path : Path
        The audit file.
    overrides : Overrides, optional
        As `calaudit.run_audit`.
    cells, slices : sequence of str
        Names or patterns of those to be explained; by default all in which something regressed.
    every : bool
        Also drops that aren't significant.
    most : int
        Explanations at most, the gravest results first.
    formats, tell
        As `calaudit.run_audit`.

    Returns
    -------
    Report, Path
        With `explanations`; and where report.json was written.

    Raises
    ------
    SettingsError, SliceError
        `cells` or `slices` match nothing.
    CalauditError
        As `calaudit.run_audit`.
    """
    from calaudit.audit.run import run_audit

    for name, value in (("cells", cells), ("slices", slices)):
        if isinstance(value, str):
            raise SettingsError(
                f"should be a list of names (got {value!r})",
                where=f"explain_audit: {name}",
                next_step=f"Write [{value!r}].",
            )
    if most < 1:
        raise SettingsError(f"most must be at least 1 (got {most})", where="explain_audit")

    def explained(audit: "Audit", report: "Report") -> "Report":
        from calaudit.explain.explanations import Asked

        asked = Asked(tuple(cells), tuple(slices), every=every, most=most)
        return with_explanations(audit, report, asked, tell or (lambda notice: None))

    def known(audit: "Audit") -> None:
        from calaudit.audit.matching import check_cells
        from calaudit.audit.slice_records import slice_names
        from calaudit.explain.harmed import matched_slices

        check_cells(cells, audit.plan.cells)
        matched_slices(slices, slice_names(audit))

    return run_audit(path, overrides, formats=formats, tell=tell, first=known, then=explained)


def with_explanations(
    audit: "Audit", report: "Report", asked: "Asked", tell: Callable[[Notice], None]
) -> "Report":
    """The report of an audit that is held, with explanations before those that it has already."""
    from calaudit.audit.earlier import merged
    from calaudit.explain.explanations import explanations_of
    from calaudit.runtime.progress import stage

    start = time.perf_counter()
    with stage("explanations"):
        found, notices = explanations_of(audit, report, asked)
    if not found and not notices:
        tell(_nothing_to_explain(asked))
    timings = {**report.timings, "explanations": round(time.perf_counter() - start, 3)}
    explanations = merged(found, report.explanations)
    return replace(
        report, explanations=explanations, warnings=(*report.warnings, *notices), timings=timings
    )


def _nothing_to_explain(asked: "Asked") -> Notice:
    """Why there is no explanation, and how drops that aren't significant get one."""
    of = "of the engines and slices asked for " if asked.cells or asked.slices else ""
    if asked.every:
        message = f"nothing {of}drops, so there is nothing to explain"
    else:
        message = (
            f"nothing {of}regressed, so nothing is explained; calaudit explain --all explains "
            "drops that aren't significant, too"
        )
    return Notice("nothing_to_explain", message, "audit")
