"""Recommend what to ship: choose on tuning rows, write the audit file that judges it, run it."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from calaudit.runtime.errors import Notice
from calaudit.runtime.interrupts import listening

if TYPE_CHECKING:
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.recommend.choosing import Chosen
    from calaudit.recommend.written import Written
    from calaudit.results.report import Report


@listening()
def recommend_audit(
    path: Path | str,
    overrides: "Overrides | None" = None,
    *,
    out: Path | str | None = None,
    plain: str | None = None,
    formats: str | Sequence[str] = "all",
    tell: Callable[[Notice], None] | None = None,
) -> "tuple[Report, Path]":
    """Choose what to ship, and prove it on the evaluated rows.

    Choosing sees the audit's tuning rows alone. Then ``recommended.toml`` is written: the same
    audit with the chosen engine as its only candidate, plain set and two rivals as controls.
    It is run, and its report says what to ship.

    Parameters
    ----------
    path : Path
        The audit file.
    overrides : Overrides, optional
        As `calaudit.run_audit`; `out` is where the audit's own sets and ranges lie.
    out : Path, optional
        Where to write; by default the folder ``recommend`` in the audit's results folder.
    plain : str, optional
        The recipe that gains are told against; by default the first uniform draw of all that may be
        drawn.
    formats, tell
        As `calaudit.run_audit`.

    Returns
    -------
    Report, Path
        Of ``recommended.toml``, with `recommendation`; and where its report.json was written.

    Raises
    ------
    SettingsError
        There are no tuning rows, or there is no candidate to begin with.
    CalauditError
        As `calaudit.run_audit`.
    """
    from calaudit.audit.prepare import Overrides
    from calaudit.audit.run import run_audit

    given = overrides or Overrides()
    chosen, written, base = _choose(Path(path), given, out, plain)
    return run_audit(
        written.path,
        Overrides(wait=given.wait, jobs=given.jobs, dask=given.dask),
        formats=formats,
        tell=tell,
        then=partial(_with_recommendation, chosen=chosen, written=written, base=base),
    )


def _choose(
    path: Path, overrides: "Overrides", out: Path | str | None, plain: str | None
) -> "tuple[Chosen, Written, frozenset[str]]":
    from calaudit.runtime.progress import stage

    with stage("starting"):
        from calaudit.audit.drawn import draw_sets
        from calaudit.audit.finished import RECOMMENDED
        from calaudit.audit.observed import observe_all
        from calaudit.audit.preflight import check_before_run, check_results
        from calaudit.audit.prepare import prepared_audit
        from calaudit.audit.store import Store, hold_lock, remove_leftovers
        from calaudit.recommend.choosing import choose
        from calaudit.recommend.options import audits_float_ops
        from calaudit.recommend.written import write_recommended

    with ExitStack() as opened:
        audit = opened.enter_context(prepared_audit(path, overrides))
        check_before_run(audit)
        opened.enter_context(hold_lock(audit.folder, wait=overrides.wait))
        check_results(audit)
        remove_leftovers(audit.folder)
        aside = opened.enter_context(tempfile.TemporaryDirectory(prefix="calaudit-recommend-"))
        store = Store()
        with stage("calibration sets"):
            sets, _ = draw_sets(audit, store)
        with stage("ranges"):
            observed = observe_all(audit, sets, store)
        with stage("choosing"):
            chosen = choose(audit, observed, Path(aside), plain=plain)
        base = frozenset(audits_float_ops(audit))
        written = write_recommended(
            audit,
            overrides,
            Path(out) if out is not None else (audit.folder / RECOMMENDED).parent,
            winner=chosen.winner,
            others=(chosen.plain, *chosen.rivals),
            base=base,
        )
        return chosen, written, base


def _with_recommendation(
    audit: "Audit",
    report: "Report",
    *,
    chosen: "Chosen",
    written: "Written",
    base: frozenset[str],
) -> "Report":
    from calaudit.recommend.records import recommendation

    told = recommendation(audit, report, chosen, written, base)
    return replace(report, recommendation=told)
