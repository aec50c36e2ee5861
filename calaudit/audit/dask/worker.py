"""What a Dask worker does of an audit: it opens the audit anew and makes one cell.

Artefacts go to the audit's own store, on storage that all machines share, sealed as always. A file
in the results folder, the token, says that the run is still there: once it is gone (the run ended,
or the next run removed what a killed one had left) workers stop at the next safe point.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Final

from calaudit.audit.backends import RemoteBackend, described
from calaudit.audit.dask.scheduler import GPU
from calaudit.audit.engines import run_cell
from calaudit.audit.observed import Observed, open_observed
from calaudit.audit.prepare import Audit, Overrides, prepared_audit
from calaudit.audit.records import PACKAGES, describe_environment
from calaudit.audit.store import Store
from calaudit.results.audited import EngineRecord
from calaudit.runtime.errors import BackendError, CalauditError, Notice
from calaudit.runtime.interrupts import working_while

STOP_TIMEOUT: Final = 30.0
"""Seconds that a run which ends gives its workers to stop."""

_lock = Lock()


@dataclass(frozen=True, slots=True)
class Request:
    """An audit, as a run describes it to workers: the open one can't travel."""

    path: Path
    """The audit file; absolute, as all paths here."""
    overrides: Overrides
    remote: Mapping[str, RemoteBackend]
    """What workers with a GPU have, for those without."""
    plan: str
    """`Plan.key`, which a worker's own must equal."""
    token: Path
    slots: Mapping[str, int]
    """Worker → cells that may run at a time on its host, which share its cores."""


@dataclass(frozen=True, slots=True)
class Made:
    """A cell whose artefacts are in the store."""

    engine: EngineRecord
    notices: tuple[Notice, ...]
    scales: Mapping[str, float]
    remade: tuple[Notice, ...]
    """Artefacts that were there, but not whole."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker is, and why it can't take part, if so."""

    environment: Mapping[str, str | None]
    storage: str | None
    """What is wrong with the results folder, seen from there."""


@dataclass(slots=True)
class _OpenAudit:
    """One audit in this process."""

    at_work: int = 0
    leave: ExitStack = field(default_factory=ExitStack)
    opened: tuple[Audit, Observed] | None = None
    opening: Lock = field(default_factory=Lock)


_open_audits: dict[Path, _OpenAudit] = {}


def describe_worker(token: Path) -> WorkerFacts:
    """Tell what this worker is and whether it sees and may write the results folder."""
    storage = None
    try:
        if not token.exists():
            storage = "isn't the same folder on the worker"
        else:
            trial = token.with_name(f".trial.{secrets.token_hex(4)}.part")
            trial.touch(exist_ok=False)
            trial.unlink()
    except OSError as error:
        storage = f"can't be written on the worker: {error.strerror or error}"
    return WorkerFacts(describe_environment({}), storage)


def describe_backends(path: Path, overrides: Overrides) -> dict[str, RemoteBackend]:
    """Try out the audit's backends on the GPU here.

    Raises
    ------
    CalauditError
        The audit can't be opened here, or a backend isn't usable.
    """
    with _named(), prepared_audit(path, overrides) as audit:
        return described(audit.backends)


def make_cell(request: Request, cell: str) -> Made | CalauditError | None:
    """Make one cell's artefacts, or find them made.

    Returns
    -------
    Made, CalauditError or None
        The error is the cell's own; None where the run that asked is gone.

    Raises
    ------
    CalauditError
        The audit can't be opened here, or is another one than the run's.
    """
    with at_work(request) as held:
        try:
            with _named():
                audit, observed = _opened(held, request)
            planned = {each.id: each for each in (audit.plan.reference, *audit.plan.cells)}[cell]
            store = Store()
            judged = run_cell(audit, planned, observed, store)
        except KeyboardInterrupt:
            return None
        except CalauditError as error:
            if held.opened is None:
                raise
            return error
    return Made(judged.engine, judged.notices, judged.scales, tuple(store.notices))


@contextmanager
def at_work(request: Request) -> Iterator[_OpenAudit]:
    """Count this thread among those at work for a run, as long as the run is there."""
    with _lock:
        held = _open_audits.setdefault(request.token, _OpenAudit())
        held.at_work += 1
    try:
        with working_while(request.token.exists):
            yield held
    finally:
        with _lock:
            held.at_work -= 1


async def stop_work(token: Path) -> bool:
    """Wait until nobody here is at work for a run that ended, and close its audit.

    Returns
    -------
    bool
        Whether all stopped in `STOP_TIMEOUT` seconds.
    """
    end = time.monotonic() + STOP_TIMEOUT
    while (held := _open_audits.get(token)) is not None and held.at_work:
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    with _lock:
        held = _open_audits.pop(token, None)
    if held is not None:
        held.leave.close()
    return True


def unlike(mine: Mapping[str, str | None], theirs: Mapping[str, str | None]) -> list[str]:
    """Packages that results depend on and of which two machines have different releases."""
    return [
        f"{name} {theirs.get(name)} instead of {mine.get(name)}"
        for name in ("calaudit", *PACKAGES)
        if mine.get(name) != theirs.get(name)
    ]


def _opened(held: _OpenAudit, request: Request) -> tuple[Audit, Observed]:
    with held.opening:
        if held.opened is None:
            has_gpu, slots = _resources(request)
            overrides = replace(request.overrides, jobs=slots)
            remote = {} if has_gpu else request.remote
            audit = held.leave.enter_context(prepared_audit(request.path, overrides, remote))
            if audit.plan.key != request.plan:
                held.leave.close()
                raise BackendError(
                    "computes another plan for this audit",
                    where=request.path,
                    next_step="Give all workers the same files, release of calaudit, and GPU.",
                )
            held.opened = audit, open_observed(audit.plan)
        return held.opened


def _resources(request: Request) -> tuple[bool, int]:
    """Whether this worker has a GPU, and how many cells run on its host at a time."""
    from distributed import get_worker

    worker = get_worker()
    own = worker.state.nthreads
    return bool(worker.state.total_resources.get(GPU)), request.slots.get(worker.address, own)


@contextmanager
def _named() -> Iterator[None]:
    """Say in an error which worker met it."""
    from distributed import get_worker

    try:
        yield
    except CalauditError as error:
        address = get_worker().address
        raise type(error).of(
            replace(problem, message=f"worker {address}: {problem.message}")
            for problem in error.problems
        ) from None
