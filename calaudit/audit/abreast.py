"""Engines side by side: how many at a time, and backends whose engines share the cores."""

from collections.abc import Sequence
from dataclasses import replace

from calaudit.audit.backends import RemoteBackend, site_of
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.graph.footprint import live_bytes


def runs_abreast(audit: Audit, cell: PlannedCell) -> bool:
    """Whether a cell's engine may be made and run in a thread, beside others."""
    backend = audit.backends.get(cell.backend)
    if backend is None:  # its answers were given
        return True
    return not isinstance(backend, RemoteBackend) and backend.capabilities.concurrent


def abreast(audit: Audit, cells: Sequence[PlannedCell]) -> tuple[Audit, int]:
    """The audit whose backends divide this machine's cores among engines that run at a time.

    Parameters
    ----------
    audit : Audit
        As it was prepared: where `jobs` was given, its backends share the cores already.
    cells : sequence of PlannedCell
        Those that run in threads.

    Returns
    -------
    Audit
    int
        Engines to run at a time: as many as asked for, or else as suit the model.
    """
    if audit.jobs is not None:
        return audit, audit.jobs
    names = {cell.backend for cell in cells} & set(audit.backends)
    if len(cells) < 2 or not names:
        return audit, 1
    targets = [audit.config.targets[name] for name in names]
    held = _held_bytes(audit)
    jobs = min(target.kind.at_a_time(target.settings, held) for target in targets)
    jobs = min(jobs, len(cells))
    if jobs == 1:
        return audit, 1
    sharing = {
        target.name: target.kind.make(
            target.settings, site_of(audit.config, target, audit.pool, audit.folder, jobs)
        )
        for target in targets
    }
    return replace(audit, backends={**audit.backends, **sharing}), jobs


def _held_bytes(audit: Audit) -> int | None:
    """What an engine has alive at a time while it runs a batch, weights included."""
    shapes = {name: spec.shape for name, spec in audit.pool.inputs.items()}
    live = live_bytes(audit.folded, shapes)
    if live is None:
        return None
    return audit.folded.n_bytes + audit.config.audit.batch_size * live
