"""``calaudit status``: what of an audit is made and what is left to do."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from calaudit.cli.flags import AuditFile, ModelFlag, OutFlag, PoolFlag, SeedFlag
from calaudit.cli.output import text_columns
from calaudit.runtime.progress import stage
from calaudit.runtime.words import counted, counted_units, first_of, visible

if TYPE_CHECKING:
    from calaudit.audit.prepare import Audit, Overrides
    from calaudit.audit.store import Artefact

_SHOWN_GATES = 5
_SHOWN_ENGINES = 3

app = typer.Typer(add_completion=False)


@app.command("status", epilog="Example:  calaudit status audits/speech-power.toml")
def status_command(
    audit: AuditFile,
    *,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    out: OutFlag = None,
    seed: SeedFlag = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show finished artefacts too, not only missing ones.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print which artefacts of an audit are finished, missing or outdated.

    Nothing is changed.
    """
    with stage("starting"):
        from calaudit.audit.prepare import Overrides

    show_plan(audit, Overrides(model, pool, out, seed), everything=everything, as_json=as_json)


def show_plan(
    audit: Path,
    overrides: "Overrides",
    *,
    everything: bool,
    as_json: bool,
    checked: bool = False,
) -> None:
    """Print an audit's artefacts and what is left to do; `checked`: unless it can't be run."""
    with stage("starting"):
        from calaudit.audit.preflight import check_before_run, expected_sizes, free_bytes
        from calaudit.audit.prepare import prepared_audit
        from calaudit.audit.store import earlier_files, is_locked, leftovers, take_inventory
        from calaudit.audit.weak_gates import weak_gates

    with prepared_audit(audit, overrides) as opened:
        if checked:
            check_before_run(opened)
        with stage("checking artefacts"):
            found = take_inventory(opened.plan, expected_sizes(opened))
        content = {
            "audit": opened.config.audit.name,
            "folder": str(opened.folder),
            "running": is_locked(opened.folder),
            "report": opened.plan.report.exists(),
            "samples": len(opened.predicted),
            "bytes_free": free_bytes(opened.folder),
            "ranges_passes": 2 if opened.config.audit.counts_again else 1,
            "artefacts": [
                {
                    "kind": each.kind,
                    "name": each.name,
                    "file": each.path.relative_to(opened.folder).as_posix(),
                    "state": each.state,
                    "bytes": each.size,
                    "bytes_expected": each.expected,
                }
                for each in found
            ],
            "weak_gates": [asdict(each) for each in weak_gates(opened)],
            "bench": _benched(opened),
            "earlier": _listed(
                earlier_files(opened.plan, opened.config.bench.variants), opened.folder
            ),
            "leftovers": _listed(leftovers(opened.folder), opened.folder),
        }
    if as_json:
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print(_told(content, found, everything=everything))


def _told(content: dict[str, Any], found: Sequence["Artefact"], *, everything: bool) -> str:
    made = [each for each in found if each.state == "made"]
    lines = [
        f"Audit {visible(content['audit'])} in {visible(content['folder'])}: {len(made):,} of "
        f"{len(found):,} artefacts are made ({decimal(sum(each.size for each in made))})"
    ]
    shown = found if everything else [each for each in found if each.state != "made"]
    if shown:
        rows = [["what", "of", "state", "size"]]
        rows += [[each.kind, visible(each.name), each.state, _room(each)] for each in shown]
        lines += ["", text_columns(rows, left=frozenset({0, 1, 2}))]
    lines += ["", _left(content, found), *_weak(content["weak_gates"], everything=everything)]
    lines += _bench(content["bench"])
    if content["running"]:
        lines.append("A run holds the lock now.")
    elif content["running"] is None:
        lines.append(
            "Whether a run is at work can't be told: its lock can't be opened (permission denied, "
            "or a file system without locks)."
        )
    for key, what in (("earlier", "of earlier versions"), ("leftovers", "half-written")):
        files = content[key]
        if files:
            size = decimal(sum(each["bytes"] for each in files))
            lines.append(
                f"{counted(len(files), 'file')} {what}, {size}: calaudit clean removes "
                f"{'it' if len(files) == 1 else 'them'}."
            )
    return "\n".join(lines)


def _left(content: dict[str, Any], found: Sequence["Artefact"]) -> str:
    left = Counter(each.kind for each in found if each.state != "made")
    if not left:
        report = "" if content["report"] else "; the report isn't written"
        return f"Nothing remains to be built{report}."
    passes = left["predictions"]
    room = sum(each.expected or 0 for each in found if each.state != "made")
    work = ", ".join(f"{n:,} {_plural(kind, n)}" for kind, n in left.items())
    ran = (
        f": {counted(passes, 'time')} {counted(content['samples'], 'sample')} to run"
        if passes
        else ""
    )
    free = decimal(content["bytes_free"])
    twice = (
        "\nRanges take two passes over the calibration samples: entropy-trt counts in a second one."
        if left["ranges"] and content["ranges_passes"] > 1
        else ""
    )
    needed = f"Disk space needed: about {decimal(room)}{_of_predictions(found)}; {free} free."
    return f"Remaining: {work}{ran}.{twice}\n{needed}"


def _weak(gates: Sequence[dict[str, Any]], *, everything: bool) -> Iterator[str]:
    """Which gated comparisons can't pass with as many units as they have."""
    for may_pass, what in (
        (False, "Can't pass even if no score changes"),
        (True, "Can pass only where hardly a score changes"),
    ):
        found = [each for each in gates if each["may_pass"] == may_pass]
        if not found:
            continue
        told = [_weak_gate(each) for each in found]
        shown = len(told) if everything else _SHOWN_GATES
        yield f"{what}: {first_of(told[:shown], len(told))}."


def _weak_gate(gate: dict[str, Any]) -> str:
    needs = "" if gate["n_needed"] is None else f", needs {gate['n_needed']:,}"
    units = counted_units(gate["n"], visible(gate["unit"]))
    return f"{visible(gate['metric'])} on {visible(gate['slice'])} ({units}{needs})"


def _benched(opened: "Audit") -> dict[str, Any] | None:
    """What the report's bench tells of the plan's engines; None where there is none."""
    from calaudit.audit.earlier import earlier_report

    report = earlier_report(opened.plan.report)
    if report is None or report.bench is None:
        return None
    graphs = {cell.id: cell.graph or cell.file for cell in report.cells}
    planned = {opened.plan.reference.id: True}
    for cell in opened.plan.cells:
        own = None if cell.engine is None else cell.engine.relative_to(opened.folder).as_posix()
        planned[cell.id] = own is None or graphs.get(cell.id) == own
    measured = list(dict.fromkeys(each.engine for each in report.bench.engines))
    return {
        "measured": report.bench.measured,
        "engines": [name for name in measured if planned.get(name)],
        "outdated": [name for name in measured if not planned.get(name)],
        "not_measured": [name for name in planned if name not in measured],
    }


def _bench(bench: dict[str, Any] | None) -> Iterator[str]:
    """When engines were benched, which have become others, and which weren't."""
    if bench is None:
        return
    told = f"Bench of {visible(bench['measured'])}: {counted(len(bench['engines']), 'engine')}"
    for key, what in (("outdated", "outdated"), ("not_measured", "not measured")):
        names = [visible(name) for name in bench[key]]
        told += f"; {what}: {first_of(names[:_SHOWN_ENGINES], len(names))}" if names else ""
    yield f"{told}."


def _of_predictions(found: Sequence["Artefact"]) -> str:
    """What is left of it for predictions, and what one engine's take."""
    sizes = [each.expected or 0 for each in found if each.kind == "predictions"]
    left = [e.expected or 0 for e in found if e.kind == "predictions" and e.state != "made"]
    if not left:
        return ""
    most, least = max(sizes), min(sizes)
    one = decimal(most) if most == least else f"{decimal(least)} to {decimal(most)}"
    return f", of which {decimal(sum(left))} for predictions ({one} per engine)"


def _room(artefact: "Artefact") -> str:
    if artefact.state == "made":
        return decimal(artefact.size)
    return "–" if artefact.expected is None else f"about {decimal(artefact.expected)}"


def _plural(kind: str, n: int) -> str:
    return kind if n == 1 or kind.endswith("s") else f"{kind}s"


def _listed(files: Iterable[Path], folder: Path) -> list[dict[str, Any]]:
    return [
        {"file": path.relative_to(folder).as_posix(), "bytes": path.lstat().st_size}
        for path in files
    ]
