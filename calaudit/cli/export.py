"""``calaudit export``: a judged engine as files, with the lines that run it and their sums."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from calaudit.cli.output import print_notes, text_columns
from calaudit.export.run import TENSORRT
from calaudit.runtime.progress import stage
from calaudit.runtime.words import visible

EPILOG = (
    "Examples:  calaudit export audits/speech-power.toml --out ship  ·  "
    "calaudit export report.json equal/mse --out ship --tensorrt 8.6.1"
)

app = typer.Typer(add_completion=False)


@app.command("export", epilog=EPILOG)
def export_command(
    audit: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIT.toml|REPORT.json", help="An audit that was run, or its report.json."
        ),
    ],
    cell: Annotated[
        str | None,
        typer.Argument(
            metavar="CELL",
            help="The engine, as reports name it; default: the recommended one, or else the only "
            "candidate that keeps every gate.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write: new, or an older export.")
    ],
    tensorrt: Annotated[
        str,
        typer.Option(
            "--tensorrt", metavar="VERSION", help="TensorRT that will read the calibration cache."
        ),
    ] = TENSORRT,
    model: Annotated[
        Path | None, typer.Option("--model", help="The FP32 model, where the audit has moved.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export a judged engine: graph, scales, calibration cache and set, and a README that runs it.

    The folder is written whole or not at all. Exit status: 0 it was written, 2 it wasn't; the
    verdict doesn't count.
    """
    with stage("starting"):
        from calaudit.export.run import export_engine

    made = export_engine(audit, cell, out=out, tensorrt=tensorrt, model=model)
    if as_json:
        content = {**asdict(made), "folder": str(made.folder)}
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    print_notes(made.notices)
    print(f"{visible(made.cell)}, in {visible(made.folder)}:\n")
    rows = [(each.name, f"{each.bytes:,}", each.sha256[:16], each.what) for each in made.files]
    print(text_columns([("file", "bytes", "SHA-256", "what it is"), *rows], left=frozenset({0, 3})))
