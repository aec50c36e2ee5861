"""Run an audit: open it, hold its folder, go through its stages, write its report in every form."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.runtime.errors import Notice, Problem
from calaudit.runtime.interrupts import listening

if TYPE_CHECKING:
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.report.forms import Evidence
    from calaudit.results.report import Report


@listening()
def run_audit(
    path: Path | str,
    overrides: "Overrides | None" = None,
    *,
    formats: str | Sequence[str] = "all",
    tell: "Callable[[Notice], None] | None" = None,
    first: "Callable[[Audit], None] | None" = None,
    then: "Callable[[Audit, Report], Report] | None" = None,
) -> "tuple[Report, Path]":
    """Run or resume an audit, and write its report in all forms asked for.

    Artefacts that exist under the plan's names are used: their names hash what they depend on.
    Explanations of an earlier run are kept where what they are of is unchanged. The results folder
    is held from the first artefact to the last form of the report.

    Parameters
    ----------
    path : Path
        The audit file.
    overrides : Overrides, optional
        Model, pool, folder or seed in place of the file's; where and how the work is done.
    formats : str or sequence of str
        What is written beside report.json: names of forms, with commas or in a list, ``"all"`` or
        ``"none"``. Other forms that an earlier run left in the folder are deleted.
    tell : callable, optional
        Is given a notice of what was deleted; default: a Python warning.
    first : callable, optional
        Is given the audit before anything is run or written: may refuse it.
    then : callable, optional
        Makes the report that is written from the audit and what it found, while the folder is held.

    Returns
    -------
    Report, Path
        What was found, and where report.json was written; the other forms lie beside it.

    Raises
    ------
    FormsError
        Forms that couldn't be written; it carries the report, and all else was written.
    CalauditError
        Anything that keeps the audit from being run; nothing half-written is left.
    """
    from calaudit.runtime.progress import stage

    with stage("starting"):  # what an audit needs takes long to import
        from calaudit.audit.dask.cells import remote_backends, run_cells_on_workers
        from calaudit.audit.dask.scheduler import connect_scheduler
        from calaudit.audit.earlier import (
            earlier_report,
            forgotten,
            still_benched,
            still_holding,
        )
        from calaudit.audit.preflight import check_before_run, check_results
        from calaudit.audit.prepare import Overrides, prepared_audit
        from calaudit.audit.stages import go_through
        from calaudit.audit.store import hold_lock, remove_leftovers
        from calaudit.formats.pictures import FOLDER
        from calaudit.report.forms import Evidence, parse_forms

    path, given, say = Path(path), overrides or Overrides(), tell or _warn
    forms = parse_forms(formats, where="formats", tell=say)
    with ExitStack() as opened:
        scheduler = opened.enter_context(connect_scheduler(given.dask)) if given.dask else None
        remote = {} if scheduler is None else remote_backends(scheduler, path, given)
        audit = opened.enter_context(prepared_audit(path, given, remote))
        if first is not None:
            first(audit)
        check_before_run(audit)  # before the folder is made: a refusal leaves nothing
        opened.enter_context(hold_lock(audit.folder, wait=given.wait))
        check_results(audit)  # again: what the lock was waited for may have written one
        remove_leftovers(audit.folder)
        ask_workers = None
        if scheduler is not None:
            ask_workers = partial(run_cells_on_workers, scheduler, audit, path, given)
        report, observation = go_through(audit, ask_workers)
        earlier = earlier_report(audit.plan.report)
        report = replace(
            report,
            explanations=still_holding(report, earlier),
            bench=still_benched(report, earlier),
        )
        if then is not None:
            report = then(audit, report)
        for notice in forgotten(report, earlier):
            say(notice)
        with stage("report"):
            pool = audit.pool if audit.config.audit.pictures else None
            evidence = Evidence(observation, pool, audit.plan.report.parent / FOLDER)
            _write(report, audit.plan.report, forms, evidence, say)
        return report, audit.plan.report


def _warn(notice: Notice) -> None:
    warnings.warn(str(notice), stacklevel=3)


def _write(
    report: "Report",
    path: Path,
    forms: Sequence[str],
    evidence: "Evidence",
    tell: Callable[[Notice], None],
) -> None:
    """Write report.json and the forms asked for, and leave none of an earlier report."""
    from calaudit.audit.pictures import remove_pictures
    from calaudit.report.files import write_report
    from calaudit.report.forms import FormsError, remove_forms, write_forms

    # only beside a report does a file of that name tell of one
    earlier = path.exists()
    removed = remove_forms(path.parent, but=forms) if earlier else ()
    # those to be written again go, too: were this ended before they are, they would tell of it
    stale = partial(remove_forms, path.parent) if earlier else None
    evidence = replace(evidence, text=write_report(report, path, replacing=stale))
    remove_pictures(path.parent, report)
    if removed:
        names = ", ".join(each.name for each in removed)
        notice = Notice(
            "forms_deleted",
            f"deleted, since this run didn't write {'it' if len(removed) == 1 else 'them'} again: "
            f"{names} (calaudit report render {path} does)",
        )
        tell(notice)
    others = [name for name in forms if name != "json"]
    try:
        write_forms(report, path.parent, others, evidence=evidence)
    except FormsError as error:
        if earlier:
            remove_forms(path.parent, but=set(forms) - set(error.failed))
        error.problems = (
            *error.problems,
            Problem(
                "the report itself is whole; not all of its forms could be written",
                str(path),
                f"Then run calaudit report render {path} to write them.",
            ),
        )
        error.args = (str(error),)
        raise
