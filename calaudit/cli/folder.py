"""``calaudit status`` and ``calaudit clean``: what lies in an audit's results folder."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from calaudit.cli.app import app
from calaudit.cli.columns import text_columns
from calaudit.counted import counted
from calaudit.progress import stage
from calaudit.visible import visible

if TYPE_CHECKING:
    from calaudit.audit.inventory import Artefact
    from calaudit.audit.prepare import Overrides

Audit = Annotated[Path, typer.Argument(metavar="AUDIT.toml", help="The audit file.")]
Model = Annotated[Path | None, typer.Option("--model", help="Model in place of the file's.")]
Pool = Annotated[Path | None, typer.Option("--pool", help="Pool in place of the file's.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Results folder; default: the audit's path without .toml."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed in place of the file's.")
]


@app.command("status", epilog="Example:  calaudit status audits/speech-power.toml")
def status_command(
    audit: Audit,
    *,
    model: Model = None,
    pool: Pool = None,
    out: Out = None,
    seed: Seed = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show what is made as well, not only what is left to do.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what of an audit is made, what is left to do, and what earlier versions left behind.

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
        from calaudit.audit.feasible import check_feasible
        from calaudit.audit.inventory import earlier_files, leftovers, take_inventory
        from calaudit.audit.lock import is_held
        from calaudit.audit.prepare import prepared_audit
        from calaudit.audit.sizes import expected_sizes, free_bytes

    with prepared_audit(audit, overrides) as opened:
        if checked:
            check_feasible(opened)
        with stage("reading what is made"):
            found = take_inventory(opened.plan, expected_sizes(opened))
        content = {
            "audit": opened.config.audit.name,
            "folder": str(opened.folder),
            "running": is_held(opened.folder),
            "report": opened.plan.report.exists(),
            "samples": len(opened.predicted),
            "bytes_free": free_bytes(opened.folder),
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
            "earlier": _listed(earlier_files(opened.plan), opened.folder),
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
    lines += ["", _left(content, found)]
    if content["running"]:
        lines.append("A run is at work on it now.")
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
        return f"Nothing is left to make{report}."
    passes = left["predictions"]
    room = sum(each.expected or 0 for each in found if each.state != "made")
    work = ", ".join(f"{n:,} {_plural(kind, n)}" for kind, n in left.items())
    ran = (
        f": {counted(passes, 'time')} {counted(content['samples'], 'sample')} to run"
        if passes
        else ""
    )
    free = decimal(content["bytes_free"])
    return f"Left to make: {work}{ran}.\nThat takes about {decimal(room)}; {free} are free there."


def _room(artefact: "Artefact") -> str:
    if artefact.state == "made":
        return decimal(artefact.size)
    return "–" if artefact.expected is None else f"about {decimal(artefact.expected)}"


@app.command(
    "clean",
    epilog="Examples:  calaudit clean audits/speech-power.toml --dry-run  ·  "
    "calaudit clean audits/speech-power.toml --all",
)
def clean_command(
    audit: Audit,
    *,
    model: Model = None,
    pool: Pool = None,
    out: Out = None,
    seed: Seed = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove every artefact, also those still valid.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
) -> None:
    """Remove artefacts that the audit doesn't use any more; reports and other files stay.

    Removed are files under the names that audits give, in the folders that audits make.
    """
    from calaudit.audit.inventory import leftovers
    from calaudit.audit.lock import sole_run

    folder, files = _removable(audit, model, pool, out, seed, everything=everything)
    if not folder.is_dir():
        print(f"{visible(folder)} isn't there: nothing to remove", file=sys.stderr)
        return
    with sole_run(folder):
        files = sorted({*files, *leftovers(folder)})
        size = sum(path.stat().st_size for path in files if path.exists())
        for path in files:
            print(visible(path))
            if not dry_run:
                path.unlink(missing_ok=True)
    verb = "would be removed" if dry_run else "removed"
    print(f"calaudit: {counted(len(files), 'file')} {verb}, {decimal(size)}", file=sys.stderr)


def _removable(
    audit: Path,
    model: Path | None,
    pool: Path | None,
    out: Path | None,
    seed: int | None,
    *,
    everything: bool,
) -> tuple[Path, list[Path]]:
    """The results folder, and what may go; for everything the model and pool needn't be there."""
    from calaudit.audit.config import read_audit
    from calaudit.audit.inventory import earlier_files, keyed_files
    from calaudit.audit.prepare import Overrides, prepared_audit

    if everything:
        folder = out or read_audit(audit).folder
        return folder, keyed_files(folder)
    with prepared_audit(audit, Overrides(model, pool, out, seed)) as opened:
        return opened.folder, earlier_files(opened.plan)


def _plural(kind: str, n: int) -> str:
    return kind if n == 1 or kind.endswith("s") else f"{kind}s"


def _listed(files: Iterable[Path], folder: Path) -> list[dict[str, Any]]:
    return [
        {"file": path.relative_to(folder).as_posix(), "bytes": path.lstat().st_size}
        for path in files
    ]
