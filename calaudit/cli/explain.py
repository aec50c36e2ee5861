"""``calaudit explain``: run or resume an audit, and find out what is behind its regressions."""

from functools import partial
from typing import Annotated

import typer

from calaudit.cli.compare import FormatsFlag, show_audit
from calaudit.cli.flags import (
    AuditFile,
    JobsFlag,
    LimitFlag,
    ModelFlag,
    OutFlag,
    PoolFlag,
    ReportJsonFlag,
    SeedFlag,
    WaitFlag,
)
from calaudit.explain.run import MOST, explain_audit
from calaudit.runtime.progress import stage

EPILOG = (
    "Examples:  calaudit explain audits/speech-power.toml  ·  "
    "calaudit explain digits.toml --cell 'clean only/*' --slice 'noise*'"
)

app = typer.Typer(add_completion=False)


@app.command("explain", epilog=EPILOG)
def explain_command(
    audit: AuditFile,
    *,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            "--cell", metavar="NAME", help="Only engines of this name or pattern. May be repeated."
        ),
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice", metavar="NAME", help="Only slices of this name or pattern. May be repeated."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also drops that aren't significant.")
    ] = False,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Explanations at most, the gravest first.")
    ] = MOST,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    out: OutFlag = None,
    seed: SeedFlag = None,
    limit: LimitFlag = 15,
    formats: FormatsFlag = "all",
    as_json: ReportJsonFlag = False,
    jobs: JobsFlag = None,
    wait: WaitFlag = False,
) -> None:
    """Find out, by experiments on the tuning rows, which ranges or ops are behind regressions.

    What an earlier run of the audit finished is kept; the report is written anew. Exit status:
    that of calaudit compare.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides
        from calaudit.report.tables import View

    overrides = Overrides(model, pool, out, seed, wait=wait, jobs=jobs)
    run = partial(explain_audit, cells=cells or (), slices=slices or (), every=every, most=most)
    show_audit(audit, overrides, View(limit=limit), run=run, formats=formats, as_json=as_json)
