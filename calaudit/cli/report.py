"""``calaudit report``: show a finished audit again."""

from pathlib import Path
from typing import Annotated

import typer

from calaudit.cli.app import app

report_app = typer.Typer(help="Show finished audits again.", no_args_is_help=True)
app.add_typer(report_app, name="report")


@report_app.command("show", epilog="Example:  calaudit report show report.json --limit 30")
def show(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="What an audit wrote.")],
    slices: Annotated[
        str | None,
        typer.Option(help="Only slices whose name matches: 'noise*', or a part of the name."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows per table.")] = 15,
    everything: Annotated[
        bool, typer.Option("--all", help="All rows, and a matrix with intervals per method.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="OUT.svg", help="Also write the picture as SVG.")
    ] = None,
) -> None:
    """Print a report's tables, worst slices first; exit with the audit's verdict.

    Exit status: 0 every gate passed, 1 something regressed, 3 nothing regressed but something is
    inconclusive, 2 the file can't be read.
    """
    from calaudit.formats.aside import keep_apart
    from calaudit.report import View, exit_status, print_report, read_report, write_svg

    found = read_report(report)
    view = View(slices=slices, limit=None if everything else limit, by_method=everything)
    if svg is not None:
        keep_apart(svg, report)
        write_svg(found, svg, view=view)
        typer.echo(f"wrote {svg}", err=True)
    print_report(found, view=view)
    raise typer.Exit(exit_status(found))
