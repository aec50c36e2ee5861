"""``calaudit init``: write an audit file for a model and a pool."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from calaudit.cli.output import print_notes, print_written
from calaudit.runtime.errors import OutputError
from calaudit.runtime.progress import stage
from calaudit.runtime.words import command_line, counted

EPILOG = (
    "Examples:  calaudit init model.onnx pool.h5  ·  "
    'calaudit init model.onnx pool.h5 --out audits/model.toml --evaluate "day > 20" '
    '--calibrate "day <= 20"'
)


app = typer.Typer(add_completion=False)


@app.command("init", epilog=EPILOG)
def init_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX model, FP32.")],
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Pool file (HDF5).")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Audit file to write; default: the model's name .toml."),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option("--evaluate", metavar="SQL", help="SQL predicate: samples to evaluate on."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate", metavar="SQL", help="SQL predicate: samples that may be drawn."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented audit file that runs as it is: slices, calibration sets, task, gates.

    What it holds is guessed from the pool's columns and targets and the model's outputs, and
    checked as `calaudit compare` would. Nothing is run.
    """
    path = out or Path(f"{model.stem}.toml")
    if path.exists() and not force:
        raise OutputError(
            "already exists", where=path, next_step="Name another with --out, or add --force."
        )
    with stage("starting"):
        from calaudit.audit.prepare import Overrides, prepared_audit
        from calaudit.audit.proposal.propose import proposal_text, propose_audit
        from calaudit.formats.pool import open_pool
        from calaudit.formats.writing import atomic_write, keep_apart
        from calaudit.graph.load import load_model

    keep_apart(path, model, pool)
    with stage("reading model and pool"), open_pool(pool) as opened:
        proposal = propose_audit(load_model(model), opened, evaluate=evaluate, calibrate=calibrate)
    text = proposal_text(
        proposal,
        name=path.stem,
        model=_from(path, model),
        pool=_from(path, pool),
        file=path,
    )
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")
        with prepared_audit(aside, Overrides()) as audit:
            n_cells = len(audit.plan.cells)
    print_written(path)
    print_notes([f"guessed: {task.remark}" for task in proposal.tasks if task.remark])
    print_notes(
        [_class_order_note(c) for task in proposal.tasks if (c := task.values.get("classes"))]
    )
    print(
        f"{counted(len(proposal.slices), 'dimension')} of slices, "
        f"{counted(len(proposal.calibsets), 'calibration set')}, "
        f"{counted(n_cells, 'engine')}. Next: {command_line('calaudit', 'compare', path)}",
        file=sys.stderr,
    )


def _class_order_note(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return (
        "the pool doesn't say which class name is which output: they are sorted by name "
        f"({shown}). Check classes in the file's task against the order the model was trained with"
    )


def _from(path: Path, target: Path) -> str:
    """`target` as a file at `path` names it."""
    return Path(os.path.relpath(target.resolve(), path.parent.resolve())).as_posix()
