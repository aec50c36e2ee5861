"""``calaudit build``: place Q/DQ in a model, say why, and write the INT8 engine."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calaudit.cli.output import print_notes, text_columns
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.progress import stage
from calaudit.runtime.words import counted, visible

if TYPE_CHECKING:
    from calaudit.graph.macs import MacSum
    from calaudit.graph.qdq import Decision
    from calaudit.steps.build import EngineBuild


app = typer.Typer(add_completion=False)


@app.command("build", epilog="Example:  calaudit build model.onnx --explain")
def build_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="FP32 model (ONNX).")],
    *,
    scales: Annotated[
        Path | None,
        typer.Option("--scales", metavar="FILE", help="Scale table (JSON) to build with."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Engine (ONNX) to write.")
    ] = None,
    float_ops: Annotated[
        list[str] | None,
        typer.Option(
            "--float-ops",
            metavar="NODE",
            help='Product to leave in float, or a pattern ("/head/*"); may be repeated.',
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Explain where Q/DQ goes, and what stays in float."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build an INT8 engine from a scale table, or explain where Q/DQ goes in a model."""
    if (scales is None) != (out is None) or not (explain or scales):
        raise SettingsError(
            "nothing to build" if scales is None else "no file to write the engine to",
            where="build",
            next_step="Give --scales and --out to build an engine, --explain to see the placement.",
        )
    with stage("starting"):
        from calaudit.formats.scales import open_scales
        from calaudit.formats.writing import keep_apart
        from calaudit.steps.build import build_engine

    if scales is not None and out is not None:
        keep_apart(out, scales)
    with stage("building" if out else "reading the model"):
        table = None if scales is None else open_scales(scales)
        built = build_engine(model, table, out, float_ops=float_ops or ())
    if as_json:
        print(json.dumps(_content(built, model), indent=2, ensure_ascii=False))
        return
    print_notes(built.notices)
    if explain:
        print(f"{_explanation(built.decisions)}\n\n{_multiplied(built.multiplied)}")
    if built.path is not None:
        print(f"{visible(built.path)}: {_summary(built.decisions)}")


def _content(built: "EngineBuild", model: Path) -> dict[str, object]:
    return {
        "model": str(model),
        "engine": None if built.path is None else str(built.path),
        "macs": asdict(built.multiplied),
        "decisions": [asdict(decision) for decision in built.decisions],
        "notices": [asdict(notice) for notice in built.notices],
    }


def _summary(decisions: Sequence["Decision"]) -> str:
    kinds = Counter(d.kind for d in decisions if d.kind != "node")
    left = sum(d.weighted and d.action == "float" for d in decisions)
    return (
        f"{kinds['activation']} Q/DQ pairs on activations, {kinds['weight']} weights in INT8, "
        f"{left} weighted ops left in float"
    )


def _explanation(decisions: Sequence["Decision"]) -> str:
    pairs = [d for d in decisions if d.kind == "activation"]
    weights = [d for d in decisions if d.kind == "weight"]
    floats = [d for d in decisions if d.kind == "node" and d.action == "float"]
    weighted = [d for d in floats if d.weighted]
    others = Counter((d.op_type, d.reason) for d in floats if not d.weighted)
    sections = [
        _section("Q/DQ pairs on activations", ("tensor", "made by", "why"), pairs),
        _section("INT8 weights", ("weight", "op", "why"), weights),
        _section("Weighted ops left in float", ("node", "op", "why"), weighted),
    ]
    rows = [(op_type, str(n), reason) for (op_type, reason), n in sorted(others.items())]
    if rows:
        table = text_columns([("op", "n", "why"), *rows], left=frozenset({0, 2}))
        sections.append(f"Other ops, in float: {others.total()}\n{table}")
    return "\n\n".join(sections)


def _multiplied(macs: "MacSum") -> str:
    """How much of a model's cost the graph puts into INT8."""
    from calaudit.report.precision import shown_share

    open_sizes = "the model leaves their sizes open, or the operator's cost isn't known"
    if macs.all is None or macs.int8 is None:
        return f"Multiply-accumulates per sample: unknown; {open_sizes}"
    share = shown_share(macs.int8 / macs.all if macs.all else 0.0)
    told = f"Multiply-accumulates per sample: {macs.all:,}, of which {share} in INT8"
    if macs.uncounted:
        told += f"; without those of {counted(macs.uncounted, 'product')}: {open_sizes}"
    return told


def _section(title: str, heading: tuple[str, str, str], rows: Sequence["Decision"]) -> str:
    if not rows:
        return f"{title}: none"
    cells = [(d.subject, d.op_type, d.reason) for d in rows]
    table = text_columns([heading, *cells], left=frozenset({0, 1, 2}))
    return f"{title}: {len(rows)}\n{table}"
