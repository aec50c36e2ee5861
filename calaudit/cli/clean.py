"""``calaudit clean``: remove what an audit's results folder holds and the audit doesn't use."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from calaudit.cli.flags import AuditFile, ModelFlag, OutFlag, PoolFlag, SeedFlag
from calaudit.runtime.words import counted, visible

app = typer.Typer(add_completion=False)


@app.command(
    "clean",
    epilog="Examples:  calaudit clean audits/speech-power.toml --dry-run  ·  "
    "calaudit clean audits/speech-power.toml --all",
)
def clean_command(
    audit: AuditFile,
    *,
    model: ModelFlag = None,
    pool: PoolFlag = None,
    out: OutFlag = None,
    seed: SeedFlag = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove every artefact, also those still valid.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be removed.")
    ] = False,
) -> None:
    """Remove outdated artefacts of an audit; reports and other files are kept.

    Removed are files under the names that audits give, in the folders that audits make.
    """
    from calaudit.audit.store import check_folder, hold_lock, leftovers

    folder, files = _removable(audit, model, pool, out, seed, everything=everything)
    check_folder(folder)
    if not folder.is_dir():
        print(f"{visible(folder)} doesn't exist: nothing to remove", file=sys.stderr)
        return
    again = "Wait for it to end, then run calaudit clean again."
    with hold_lock(folder, next_step=again):
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
    from calaudit.audit.prepare import Overrides, prepared_audit
    from calaudit.audit.store import earlier_files, keyed_files

    if everything:
        folder = out or read_audit(audit).folder
        return folder, keyed_files(folder)
    with prepared_audit(audit, Overrides(model, pool, out, seed)) as opened:
        return opened.folder, earlier_files(opened.plan, opened.config.bench.variants)
