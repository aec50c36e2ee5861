"""``calaudit report``: show a finished audit again."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.flags import ReportJsonFlag
from calaudit.cli.output import print_notes, print_written
from calaudit.report.forms import FORMS, FormsError
from calaudit.runtime.errors import Notice
from calaudit.runtime.progress import stage

if TYPE_CHECKING:
    from calaudit.report.tables import View
    from calaudit.results.report import Report

RENDER_EXAMPLES = (
    "Examples:  calaudit report render audits/digits/report.json  ·  "
    "calaudit report render report.json --formats html --pool digits.h5 --out site"
)

_GIVEN = "report.json of an audit, or its folder."

app = typer.Typer(
    name="report",
    help="Show or render the report of a finished audit, or compare two.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("show", epilog="Example:  calaudit report show report.json --limit 30")
def show(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help=_GIVEN)],
    *,
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
    as_json: ReportJsonFlag = False,
) -> None:
    """Print a report's tables, worst slices first; exit with the audit's verdict.

    Exit status: 0 every gate passed, 1 something regressed, 3 nothing regressed but something is
    inconclusive, 2 the file can't be read.
    """
    from calaudit.formats.writing import keep_apart

    with stage("starting"):
        from calaudit.report.files import read_report
        from calaudit.report.tables import View
        from calaudit.report.terminal import write_svg
        from calaudit.results.report import exit_status

    report = _in_folder(report)
    with stage("reading the report"):
        found = read_report(report)
    view = View(slices=slices, limit=None if everything else limit, by_method=everything)
    if svg is not None:
        keep_apart(svg, report)
        write_svg(found, svg, view=view)
        print_written(svg)
    print_found(found, view, as_json=as_json)
    raise typer.Exit(exit_status(found))


def _in_folder(path: Path) -> Path:
    return path / "report.json" if path.is_dir() else path


def print_found(found: "Report", view: "View", *, as_json: bool) -> None:
    """A report on stdout: as JSON, or as tables."""
    from calaudit.report.files import dump
    from calaudit.report.terminal import print_report
    from calaudit.results.document import to_document

    if as_json:
        typer.echo(dump(to_document(found)), nl=False)
    else:
        print_report(found, view=view)


@app.command("render", epilog=RENDER_EXAMPLES)
def render(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help=_GIVEN)],
    *,
    formats: Annotated[
        str,
        typer.Option(
            help=f"Some of {', '.join(FORMS.names())}, with commas; or all: the default formats."
        ),
    ] = "all",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: beside the report.")
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(help="Ranges file for report.html; default: the one beside the report."),
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="The audit's pool, for pictures in report.html.")
    ] = None,
) -> None:
    """Write report.html, junit.xml, summary.md, metrics.prom or other forms from a report.json.

    Exit status: 0 all was written, 2 something can't be read or written. The verdict doesn't count.
    """
    with stage("starting"):
        from calaudit.audit.store import LOCK_FILE, hold_lock
        from calaudit.formats.pictures import FOLDER
        from calaudit.formats.writing import keep_apart
        from calaudit.report.files import read_report
        from calaudit.report.forms import (
            form_path,
            open_evidence,
            parse_forms,
            ranges_beside,
            write_forms,
        )

    report = _in_folder(report)
    notices: list[Notice] = []
    chosen = parse_forms(formats, where="--formats", tell=notices.append)
    print_notes(notices)
    folder = out or report.parent
    failure: FormsError | None = None
    for name in chosen:
        keep_apart(form_path(folder, name), report, *filter(None, (ranges, pool)))
    with stage("the report's forms"), ExitStack() as opened:
        found = read_report(report)
        if (folder / LOCK_FILE).exists():  # an audit's results, which a run may be writing
            again = "Wait for it to end, then render again; or name another folder with --out."
            opened.enter_context(hold_lock(folder, next_step=again))
        evidence = None
        if any(FORMS.load(name).uses_evidence for name in chosen):
            kept = ranges or ranges_beside(found, report.parent)
            beside = report.parent / FOLDER
            evidence = opened.enter_context(
                open_evidence(found, ranges=kept, pool=pool, pictures=beside)
            )
        try:
            made = write_forms(found, folder, chosen, evidence=evidence)
        except FormsError as error:
            made, failure = list(error.written), error
    for path in made:
        print_written(path)
    if failure is not None:
        raise failure


@app.command("diff", epilog="Example:  calaudit report diff before/report.json after/report.json")
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="report.json of an audit, or its folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another: what changed from A to B.")],
    *,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="AUDIT.toml",
            help="The audit file of either, to compare unit by unit; default: beside its folder.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows per table.")] = 15,
    everything: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what changed between two reports, per slice and beyond noise.

    Exit status, of candidates' gated comparisons: 0 B loses nowhere more than A beyond noise, 1 it
    does somewhere, 3 none could be compared; 2 a report can't be read.
    """
    with stage("starting"):
        from calaudit.audit.difference import diff_reports
        from calaudit.report.difference import difference_tables
        from calaudit.report.files import dump
        from calaudit.report.terminal import print_parts
        from calaudit.results.values import plain

    with stage("comparing the reports"):
        found = diff_reports(a, b, audit=audit)
    if as_json:
        head = {"calaudit_format": "report difference", "format_version": 1}
        typer.echo(dump({**head, **plain(found)}), nl=False)
    else:
        rows = None if everything else limit
        print_parts(lambda width: difference_tables(found, limit=rows, width=width))
    raise typer.Exit(found.exit_status)
