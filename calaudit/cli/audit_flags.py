"""An audit on the command line: its file, and what may stand in place of what the file says."""

from pathlib import Path
from typing import Annotated

import typer

AuditFile = Annotated[Path, typer.Argument(metavar="AUDIT.toml", help="The audit file.")]
ModelFlag = Annotated[Path | None, typer.Option("--model", help="Model in place of the file's.")]
PoolFlag = Annotated[Path | None, typer.Option("--pool", help="Pool in place of the file's.")]
OutFlag = Annotated[
    Path | None,
    typer.Option("--out", help="Results folder; default: the audit's path without .toml."),
]
SeedFlag = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed in place of the file's.")
]
