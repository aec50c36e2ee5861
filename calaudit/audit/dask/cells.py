"""The cells of an audit on Dask workers that are there already.

The run that was started holds the audit's lock, draws the sets and observes the ranges. Workers get
the audit file's path and a cell's name, never data; what they make lies in the store, and the run
goes on as one does that finds its artefacts made.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.config import read_audit
from calaudit.audit.dask.scheduler import INSTALL, Call, Lost, Scheduler
from calaudit.audit.dask.worker import (
    Made,
    Request,
    WorkerFacts,
    describe_backends,
    describe_worker,
    make_cell,
    stop_work,
    unlike,
)
from calaudit.audit.engines import CellRun
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit, Overrides
from calaudit.audit.records import describe_environment
from calaudit.audit.store import state_of
from calaudit.formats.predictions import Predictions
from calaudit.runtime.errors import BackendError, CalauditError, Notice, OutputError, Problem
from calaudit.runtime.progress import counter
from calaudit.runtime.words import command_line

AGAIN: Final = "Run the audit again: finished artefacts are reused."


@dataclass(slots=True)
class WorkerResults:
    """What workers made of a plan's cells."""

    judged: dict[str, CellRun | CalauditError] = field(default_factory=dict)
    """Cell → what it is, or why it can't be; cells that no worker made aren't in it."""
    notices: list[Notice] = field(default_factory=list)


def remote_backends(
    scheduler: Scheduler, path: Path, overrides: Overrides
) -> dict[str, RemoteBackend]:
    """The audit's backends that need a GPU, tried out by a worker that has one.

    Raises
    ------
    BackendError
        No worker has one, or a backend isn't usable there.
    CalauditError
        The audit can't be opened there.
    """
    if not any(target.kind.needs_gpu for target in read_audit(path).used):
        return {}
    if not scheduler.workers(with_gpu=True):
        raise BackendError(
            "no Dask worker has a GPU, which this audit needs",
            where=scheduler.address,
            next_step=f"Start one: dask worker {command_line(scheduler.address)} --resources GPU=1",
        )
    call = Call("backends", describe_backends, _absolute(path, overrides), needs_gpu=True)
    found: dict[str, RemoteBackend] | Lost = dict(scheduler.outcomes([call]))["backends"]
    if isinstance(found, Lost):
        raise BackendError(found.reason, where=scheduler.address, next_step=AGAIN)
    return found


def run_cells_on_workers(
    scheduler: Scheduler, audit: Audit, path: Path, overrides: Overrides
) -> WorkerResults:
    """Let workers make the reference and all cells.

    Parameters
    ----------
    scheduler : Scheduler
    audit : Audit
        Its sets and ranges are made; the caller holds its folder.
    path : Path
        The audit file.
    overrides : Overrides

    Raises
    ------
    BackendError
        A worker hasn't the same releases or data, or none is left that has a GPU.
    OutputError
        A worker doesn't share the results folder.
    """
    cells = [audit.plan.reference, *audit.plan.cells]
    remote = {
        name: each for name, each in audit.backends.items() if isinstance(each, RemoteBackend)
    }
    with run_token(audit.folder, scheduler) as token:
        notices = check_workers(scheduler, token)
        where = _absolute(path, overrides)
        request = Request(*where, remote, audit.plan.key, token, scheduler.slots())
        calls = [Call(c.id, make_cell, (request, c.id), c.backend in remote) for c in cells]
        found: dict[str, Any] = {}
        with counter(len(calls), what="engines on Dask workers", unit="engine") as done:
            for together in _in_turn(audit, calls):
                for name, outcome in scheduler.outcomes(together):
                    found[name] = outcome
                    done.advance(1)
                if len(found) < len(calls) and not isinstance(found[calls[0].name], Made):
                    lost = Lost("FP32, which it is held against, wasn't made by a worker")
                    found |= {call.name: lost for call in calls[len(together) :]}
                    break
    result = WorkerResults(notices=notices)
    for cell in cells:
        _take(result, cell, found[cell.id], needs_gpu=cell.backend in remote)
    return result


def _in_turn(audit: Audit, calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Calls that are asked together: engines that are held against FP32 as they run wait for it."""
    first = (
        1 if any(audit.kept(cell).against_reference for cell in audit.plan.cells) else len(calls)
    )
    yield calls[:first]
    if first < len(calls):
        yield calls[first:]


def _take(result: WorkerResults, cell: PlannedCell, outcome: Any, *, needs_gpu: bool) -> None:
    if outcome is None:
        outcome = Lost("its worker considered the run finished")
    if isinstance(outcome, Made) and state_of(cell.predictions) != "made":
        outcome = Lost("a worker built it, but the copy here is incomplete")
    if isinstance(outcome, Lost) and needs_gpu:
        raise BackendError(
            f"{outcome.reason}, and it needs a GPU, so it isn't run here",
            where=f"cell {cell.id}",
            next_step=AGAIN,
        )
    if isinstance(outcome, Lost):
        message = f"{outcome.reason}; it was made on this machine instead"
        result.notices.append(Notice("dask_lost", message, f"cell {cell.id}"))
    elif isinstance(outcome, Made):
        predictions = Predictions(cell.predictions)
        made = CellRun(outcome.engine, predictions, outcome.notices, outcome.scales)
        result.judged[cell.id] = made
        result.notices += [each for each in outcome.remade if each not in result.notices]
    else:
        result.judged[cell.id] = outcome


@contextmanager
def run_token(folder: Path, scheduler: Scheduler) -> Iterator[Path]:
    """Let workers see that a run is there; on leaving they stop, and are waited for.

    Raises
    ------
    OutputError
        The folder can't be written to.
    """
    token = folder.absolute() / f".dask.{secrets.token_hex(4)}.part"
    try:
        token.touch()
    except OSError as error:
        raise OutputError(
            f"can't be written: {error.strerror}",
            where=token,
            next_step="Check the folder's free space and permissions.",
        ) from error
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
        scheduler.everywhere(stop_work, token)


def check_workers(scheduler: Scheduler, token: Path) -> list[Notice]:
    """Refuse workers that would make something else, or elsewhere.

    Raises
    ------
    BackendError
        With every worker that has other releases, or none.
    OutputError
        A worker sees another folder than this, or can't write to it.
    """
    mine = describe_environment({})
    problems: list[Problem] = []
    processors = {mine["cpu"]}
    for address, answer in scheduler.everywhere(describe_worker, token).items():
        where = f"worker {address}"
        if not isinstance(answer, WorkerFacts):
            message = f"calaudit isn't usable on this worker: {answer}"
            problems.append(Problem(message, where, f"Install it there: {INSTALL}"))
            continue
        if answer.storage is not None:
            raise OutputError(
                f"{answer.storage} ({where})",
                where=token.parent,
                next_step="Put the audit, its inputs and its results on shared storage, under "
                "the same path on all machines; --out names another folder.",
            )
        different = unlike(mine, answer.environment)
        if different:
            message = f"has {', '.join(different)}"
            problems.append(Problem(message, where, "Install the same releases on all machines."))
        processors.add(answer.environment["cpu"])
    if problems:
        raise BackendError.of(problems)
    if len(processors) == 1:
        return []
    kinds = ", ".join(sorted(map(str, processors)))
    message = f"workers have different CPUs, whose floating-point results may differ: {kinds}"
    return [Notice("dask_mixed", message)]


def _absolute(path: Path, overrides: Overrides) -> tuple[Path, Overrides]:
    """Paths as workers can use them: their working directories are others."""
    model, pool, out = (
        None if each is None else Path(each).absolute()
        for each in (overrides.model, overrides.pool, overrides.out)
    )
    return path.absolute(), replace(overrides, model=model, pool=pool, out=out, dask=None)
