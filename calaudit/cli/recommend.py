"""``calaudit recommend``: choose what to ship on tuning rows, and judge it on evaluated ones."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.compare import FormatsFlag, show_audit
from calaudit.cli.flags import (
    AuditFile,
    JobsFlag,
    LimitFlag,
    ModelFlag,
    PoolFlag,
    ReportJsonFlag,
    SeedFlag,
    WaitFlag,
)
from calaudit.recommend.run import recommend_audit
from calaudit.runtime.progress import stage
from calaudit.runtime.words import command_line

if TYPE_CHECKING:
    from calaudit.results.report import Report

EPILOG = (
    "Examples:  calaudit recommend audits/speech-power.toml  ·  "
    "calaudit recommend digits.toml --plain uniform --out to-ship"
)

app = typer.Typer(add_completion=False)


@app.command("recommend", epilog=EPILOG)
def recommend_command(
    audit: AuditFile,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where recommended.toml and what it names go; default: the folder recommend in "
            "the audit's results folder.",
        ),
    ] = None,
    plain: Annotated[
        str | None,
        typer.Option(
            "--plain",
            metavar="NAME",
            help="The calibration set that gains are told against; default: the first uniform one.",
        ),
    ] = None,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    seed: SeedFlag = None,
    limit: LimitFlag = 15,
    formats: FormatsFlag = "all",
    as_json: ReportJsonFlag = False,
    jobs: JobsFlag = None,
    wait: WaitFlag = False,
) -> None:
    """Choose what to ship, the cheapest remedy first, and judge it on samples nobody chose by.

    Sets, mixtures, methods per tap, ranges of no set, ops in float: chosen on tuning rows, judged
    as calaudit compare judges. Exit status: 0 the winner passes every gate, 1 it regressed, 3 it is
    inconclusive, 2 bad input or configuration.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides
        from calaudit.report.tables import View

    overrides = Overrides(model, pool, None, seed, wait=wait, jobs=jobs)
    run = partial(recommend_audit, out=out, plain=plain)
    show_audit(
        audit,
        overrides,
        View(limit=limit),
        run=run,
        formats=formats,
        as_json=as_json,
        last=partial(_next, name=audit.stem),
    )


def _next(report: "Report", path: Path, name: str) -> str | None:
    """The command that writes what may ship; None where nothing may."""
    from calaudit.report.index import Index
    from calaudit.results.comparison import Verdict
    from calaudit.results.recommendation import Outcome

    told = report.recommendation
    if told is None or told.outcome not in {Outcome.SHIP, Outcome.KEEP}:
        return None
    ships = told.plain if told.outcome is Outcome.KEEP else told.winner
    if Index(report).verdict_of(ships) != Verdict.PASS:
        return None
    written = path.parent.with_suffix(".toml")
    out = Path(f"{name}-to-ship")
    return f"Next: {command_line('calaudit', 'export', written, '--out', out)}"
