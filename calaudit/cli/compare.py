"""``calaudit compare``: run or resume an audit across slices, and write its report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.app import app

if TYPE_CHECKING:
    from calaudit.audit.prepare import Overrides

EPILOG = (
    "Examples:  calaudit compare audits/speech-power.toml  ·  "
    "calaudit compare digits.toml --seed 7 --out other-draw"
)


@app.command("compare", epilog=EPILOG)
def compare_command(
    audit: Annotated[Path, typer.Argument(metavar="AUDIT.toml", help="The audit file.")],
    *,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model in place of the file's.")
    ] = None,
    pool: Annotated[
        Path | None, typer.Option("--pool", help="Pool in place of the file's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Results folder; default: the audit's path without .toml."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed in place of the file's.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows shown per table.")] = 15,
    slices: Annotated[
        str | None, typer.Option("--slices", help="Show only slices that match this pattern.")
    ] = None,
) -> None:
    """Draw sets, build engines, compare them with FP32 slice by slice, write report.json.

    What an earlier run finished is kept. Exit status: 0 every gate passed, 1 something regressed,
    3 nothing regressed but something is inconclusive, 2 bad input or configuration.
    """
    from calaudit.audit.prepare import Overrides

    show_audit(audit, Overrides(model, pool, out, seed), limit=limit, slices=slices)


def show_audit(audit: Path, overrides: "Overrides", *, limit: int, slices: str | None) -> None:
    """Run an audit, print its tables, exit with its verdict."""
    from calaudit.audit.run import run_audit
    from calaudit.report import View, exit_status, print_report

    report, path = run_audit(audit, overrides)
    print_report(report, view=View(slices=slices, limit=limit))
    print(f"wrote {path}", file=sys.stderr)
    raise typer.Exit(exit_status(report))
