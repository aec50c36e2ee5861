"""Arms: what answers requests, an engine of the audit in this process or an endpoint elsewhere."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Lock
from typing import Any, Protocol

from numpy.typing import NDArray

from calaudit.audit.backends import RemoteBackend
from calaudit.audit.engines import make_engine
from calaudit.audit.matching import near_cells
from calaudit.audit.observed import Observed
from calaudit.audit.plan import PlannedCell
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.backends.base import Engine
from calaudit.runtime.errors import BackendError, SettingsError

Feeds = Mapping[str, NDArray[Any]]
"""Model input → (1, …): one sample."""


class Arm(Protocol):
    """Answers requests of one sample each."""

    @property
    def name(self) -> str:
        """A cell's id, or an address."""
        ...

    @property
    def concurrency(self) -> int:
        """How many threads may ask at a time."""
        ...

    @property
    def record(self) -> Mapping[str, str]:
        """What identifies it in a report: library, version, options, protocol. Texts only."""
        ...

    def start(self) -> None:
        """Get ready to answer: load engines, connect, check what is there.

        Raises
        ------
        CalauditError
            It can't be used, or isn't the audit's model.
        """
        ...

    def ask(self, feeds: Feeds) -> Mapping[str, NDArray[Any]]:
        """Answer one request; up to `concurrency` threads call it at a time.

        Parameters
        ----------
        feeds : mapping
            Input → (1, …), of the pool's element types.

        Returns
        -------
        mapping
            Output → (1, …).

        Raises
        ------
        RequestError
            It has no usable answer to this request.
        BackendError
            The same, of an engine.
        """
        ...

    def close(self) -> None:
        """Free what it holds. A second time does nothing."""
        ...


class EngineArm:
    """An engine of a finished audit, in this process, several times where that is wanted.

    Parameters
    ----------
    audit : Audit
        Its results folder is held.
    planned : PlannedCell
    observed : Observed
        The audit's ranges.
    name : str
        What reports call it.
    engines : int
        How often it is loaded: so many requests are answered at a time.
    lock : Lock, optional
        Held while one of them runs, where the backend takes one call at a time.
    """

    def __init__(
        self,
        audit: Audit,
        planned: PlannedCell,
        observed: Observed,
        *,
        name: str,
        engines: int = 1,
        lock: "Lock | None" = None,
    ) -> None:
        self.name = name
        self.concurrency = engines
        self._audit, self._planned, self._observed = audit, planned, observed
        self._lock = lock or Lock()
        self._alone = lock is not None
        self._free: SimpleQueue[Engine] = SimpleQueue()
        self._held = ExitStack()
        self._options: dict[str, str] = {}

    @property
    def record(self) -> Mapping[str, str]:
        """See `Arm`; complete once it has started."""
        told = {"backend": self._planned.backend, "precision": self._planned.precision}
        return {**told, **self._options}

    def start(self) -> None:
        """See `Arm`."""
        for _ in range(self.concurrency):
            built = make_engine(self._audit, self._planned, self._observed, Store())
            if built.engine is None:
                raise BackendError("its backend gave no engine to run", where=self.name)
            self._held.callback(built.engine.close)
            self._free.put(built.engine)
            options = {key: str(value) for key, value in built.options.items() if value is not None}
            self._options = {"kernels": built.kernels, **options, **built.engine.record}

    def warm(self, feeds: Feeds) -> None:
        """Let each engine answer once. Raises `BackendError` where it fails."""
        for _ in range(self.concurrency):  # the queue hands them out in turn
            self.ask(feeds)

    def ask(self, feeds: Feeds) -> Mapping[str, NDArray[Any]]:
        """See `Arm`."""
        engine = self._free.get()
        try:
            if not self._alone:
                return engine.run(feeds)
            with self._lock:
                return engine.run(feeds)
        finally:
            self._free.put(engine)

    def close(self) -> None:
        """See `Arm`."""
        self._held.close()


def planned_arm(audit: Audit, cell: str) -> PlannedCell:
    """The engine that an arm names: a cell's id, or the reference's.

    Raises
    ------
    SettingsError
        The audit has no such engine.
    """
    known = {each.id: each for each in (audit.plan.reference, *audit.plan.cells)}
    if cell not in known:
        raise SettingsError(
            f"the audit has no engine {cell!r}",
            where="--arm",
            next_step=near_cells(cell, known.values()),
        )
    return known[cell]


def engine_arms(
    audit: Audit, cells: Sequence[tuple[str, str]], observed: Observed, *, engines: int = 1
) -> list[EngineArm]:
    """Arms of engines of a finished audit; those of one backend take turns where it asks for that.

    Parameters
    ----------
    audit : Audit
        Its results folder is held.
    cells : sequence of (str, str)
        What reports call an arm, and the cell behind it.
    observed : Observed
        The audit's ranges.
    engines : int
        Of each arm, where the backend runs several at a time; else one.

    Raises
    ------
    SettingsError
        The audit has no such engine.
    BackendError
        An engine runs on a Dask worker, or only its answers are there.
    """
    locks: dict[str, Lock] = {}
    found = []
    for name, cell in cells:
        planned = planned_arm(audit, cell)
        backend = audit.backends.get(planned.backend)
        if backend is None or isinstance(backend, RemoteBackend):
            raise BackendError(
                f"of {planned.id} the answers were given, and no engine",
                where="--arm",
                next_step="Choose an engine that has a file.",
            )
        alone = not backend.capabilities.concurrent
        lock = locks.setdefault(planned.backend, Lock()) if alone else None
        many = 1 if alone else engines
        found.append(EngineArm(audit, planned, observed, name=name, engines=many, lock=lock))
    return found
