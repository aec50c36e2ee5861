"""``calaudit compare``: run or resume an audit across slices, and write its report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.audit.run import run_audit
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
    renamed_flag,
)
from calaudit.cli.output import print_notes, print_written
from calaudit.cli.report import print_found
from calaudit.cli.status import show_plan
from calaudit.explain.run import explain_audit
from calaudit.report.forms import FORMS, FormsError
from calaudit.runtime.errors import Notice, SliceError
from calaudit.runtime.progress import stage

if TYPE_CHECKING:
    from calaudit.audit.prepare import Overrides
    from calaudit.report.tables import View
    from calaudit.results.report import Report

EPILOG = (
    "Examples:  calaudit compare audits/speech-power.toml  ·  "
    "calaudit compare digits.toml --seed 7 --out other-draw"
)


app = typer.Typer(add_completion=False)
FormatsFlag = Annotated[
    str,
    typer.Option(
        "--formats",
        help=f"Written beside report.json: some of {', '.join(FORMS.names())}, with commas; "
        "or all (the default formats), or none.",
    ),
]


@app.command("compare", epilog=EPILOG)
def compare_command(
    audit: AuditFile,
    *,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    out: OutFlag = None,
    seed: SeedFlag = None,
    limit: LimitFlag = 15,
    slices: Annotated[
        str | None, typer.Option("--slices", help="Show only slices that match this pattern.")
    ] = None,
    formats: FormatsFlag = "all",
    as_json: ReportJsonFlag = False,
    jobs: JobsFlag = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS",
            help="Run the engines on the workers of this Dask scheduler: tcp://host:8786. Model, "
            "pool and results must lie on storage that all its machines share.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only print the plan: which artefacts are finished and missing."
        ),
    ] = False,
    wait: WaitFlag = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Also find out what is behind regressions, as calaudit explain does."
        ),
    ] = False,
    cluster: Annotated[str | None, renamed_flag("--cluster", "--dask")] = None,
) -> None:
    """Draw sets, build engines, compare them with FP32 slice by slice, write the report.

    What an earlier run finished is kept. Exit status: 0 every gate passed, 1 something regressed,
    3 nothing regressed but something is inconclusive, 2 bad input or configuration, or a form that
    couldn't be written.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides
        from calaudit.report.tables import View

    view = View(slices=slices, limit=limit)
    overrides = Overrides(model, pool, out, seed, wait=wait, jobs=jobs, dask=dask)
    if dry_run:
        show_plan(audit, overrides, everything=True, as_json=as_json, checked=True)
        return
    run = explain_audit if explain else run_audit
    show_audit(audit, overrides, view, run=run, formats=formats, as_json=as_json)


def show_audit(
    audit: Path,
    overrides: "Overrides",
    view: "View",
    *,
    run: "Callable[..., tuple[Report, Path]]" = run_audit,
    formats: str = "all",
    as_json: bool = False,
    last: "Callable[[Report, Path], str | None] | None" = None,
) -> None:
    """Run an audit, write its report in all forms, print its tables, exit with its verdict.

    Parameters
    ----------
    audit, overrides, formats
        As `run` takes them.
    view : View
        What is printed.
    run : callable
        `run_audit`, or what does more of the kind.
    as_json : bool
        Print report.json in place of tables.
    last : callable, optional
        Of the report and where its report.json lies: a line below the tables.
    """
    with stage("starting"):
        from calaudit.report.forms import form_path, parse_forms
        from calaudit.results.report import exit_status

    notices: list[Notice] = []
    chosen = parse_forms(formats, where="--formats", tell=notices.append)
    failure: FormsError | None = None
    try:
        report, path = run(audit, overrides, formats=chosen or "none", tell=notices.append)
        forms = [form_path(path.parent, name) for name in chosen]
    except FormsError as error:  # the audit is done: its verdict is shown all the same
        report, forms, failure = error.report, list(error.written), error
        path = Path(str(error.problems[-1].where))
    for written in dict.fromkeys([path, *forms]):
        print_written(written)
    print_notes(notices)
    try:
        print_found(report, view, as_json=as_json)
    except SliceError as error:  # the audit is done: what is shown of it can't fail it
        print_notes(error.problems)
        print_found(report, replace(view, slices=None), as_json=as_json)
    if failure is not None:
        raise failure
    told = None if last is None or as_json else last(report, path)
    if told is not None:
        print(told)
    raise typer.Exit(exit_status(report))
