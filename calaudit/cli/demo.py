"""``calaudit demo``: the main job on real data that ships with the package."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from calaudit.cli.compare import show_audit
from calaudit.cli.flags import LimitFlag
from calaudit.runtime.progress import stage
from calaudit.runtime.words import command_line, visible

app = typer.Typer(add_completion=False)


@app.command("demo", epilog="Example:  calaudit demo --out somewhere")
def demo_command(
    *,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the pool, model, audit file and results.")
    ] = Path("calaudit-demo"),
    limit: LimitFlag = 15,
) -> None:
    """Audit a digit classifier: find the slices INT8 hurts, and the calibration set that fixes it.

    Writes digits.onnx, digits.h5 and digits.toml, then runs `calaudit compare digits.toml`. An
    edited digits.toml is kept. Exit status 0 even when slices regressed: that is what it shows.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides
        from calaudit.demo.digits import write_demo
        from calaudit.report.tables import View

    with stage("the demo's pool"):
        audit = write_demo(out)
    print(f"calaudit: the demo's files are in {visible(out)}", file=sys.stderr)
    try:
        show_audit(audit, Overrides(), View(limit=limit))
    except typer.Exit as verdict:
        print(
            f"calaudit: `{command_line('calaudit', 'compare', audit)}` ends with exit status "
            f"{verdict.exit_code}",
            file=sys.stderr,
        )
