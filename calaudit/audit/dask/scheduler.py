"""A Dask scheduler and its workers: reached, watched, and asked for results.

joblib's Dask backend isn't used: a task whose workers die makes it wait for ever, and so does one
whose resource no worker has any more.
"""

import asyncio
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from calaudit.runtime.errors import BackendError
from calaudit.runtime.interrupts import closed_pipes_raise, stop_if_asked
from calaudit.runtime.words import command_line

INSTALL: Final = "python -m pip install 'calaudit[dask]'"
GPU: Final = "GPU"
"""The Dask resource of workers that have one."""
CONNECT_TIMEOUT: float = 10.0
"""Seconds to reach the scheduler."""
WORKER_TIMEOUT: float = 20.0
"""Seconds without a worker that could do what is asked, before it is given up."""
_POLL: Final = 1.0
"""Seconds between two looks at who is there."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of an installed module, to be run on a worker."""

    name: str
    """For people; unique among those asked for together."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs_gpu: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """What no worker will do, and why."""

    reason: str


class Scheduler:
    """A connection.

    Parameters
    ----------
    client : distributed.Client
    address : str
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self.address = address

    @property
    def connected(self) -> bool:
        """Whether it answers."""
        return bool(self._client.status == "running")

    def workers(self, *, with_gpu: bool = False) -> dict[str, Any]:
        """Those that are there, by address."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError:
            return {}
        return {
            address: each
            for address, each in workers.items()
            if not with_gpu or each["resources"].get(GPU)
        }

    def slots(self) -> dict[str, int]:
        """Worker → tasks that run at a time on its host."""
        workers = self.workers()
        hosts: Counter[str] = Counter()
        for each in workers.values():
            hosts[each["host"]] += each["nthreads"]
        return {address: hosts[each["host"]] for address, each in workers.items()}

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Run a function at once on every worker: address → result, or what it raised."""
        if not self.connected:
            return {}
        answers = self._client.run(function, *arguments, on_error="return")
        return dict(sorted(answers.items()))

    def outcomes(self, calls: Sequence[Call]) -> Iterator[tuple[str, Any]]:
        """Name and result of each call as it comes, `Lost` where none will.

        On leaving early the other calls are cancelled; those at work go on.

        Raises
        ------
        Exception
            What a call raised.
        """
        asked = {
            self._client.submit(
                call.function,
                *call.arguments,
                pure=False,
                resources={GPU: 1} if call.needs_gpu else None,
            ): call
            for call in calls
        }
        try:
            for call, future in self._arriving(asked):
                yield call.name, future if isinstance(future, Lost) else self._result(future)
        finally:
            if self.connected:
                self._client.cancel(list(asked))

    def _arriving(self, asked: Mapping[Any, Call]) -> Iterator[tuple[Call, Any]]:
        """Futures as they end, and `Lost` for those that nobody is left for."""
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for future in asked:
            future.add_done_callback(arrived.put)
        waiting = dict(asked)
        seen = time.monotonic()
        while waiting:
            try:
                future = arrived.get(timeout=_POLL)
            except queue.Empty:
                stop_if_asked()
                stuck = self._stuck(waiting)
                if not stuck:
                    seen = time.monotonic()
                elif time.monotonic() - seen > WORKER_TIMEOUT:
                    for future in stuck:
                        yield waiting.pop(future), Lost("the workers disconnected")
                continue
            if future in waiting:
                yield waiting.pop(future), future

    def _stuck(self, waiting: Mapping[Any, Call]) -> list[Any]:
        if not self.connected or not self.workers():
            return list(waiting)
        if self.workers(with_gpu=True):
            return []
        return [future for future, call in waiting.items() if call.needs_gpu]

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker

        try:
            return future.result(timeout=WORKER_TIMEOUT)
        except KilledWorker:
            return Lost("the workers running it died")
        except (OSError, asyncio.CancelledError, futures.CancelledError):
            return Lost("the connection to the Dask scheduler was lost")


@contextmanager
def connect_scheduler(address: str) -> Iterator[Scheduler]:
    """A scheduler, as long as it is needed.

    Raises
    ------
    BackendError
        The library isn't installed, nobody answers at the address, or there is no worker.
    """
    try:
        from distributed import Client
        from distributed.comm import connect
    except ImportError:
        raise BackendError(
            "Dask isn't installed (the package distributed)",
            where="--dask",
            next_step=f"Install it here and on the workers: {INSTALL}",
        ) from None
    # of workers and connections that are lost, which the report tells
    for name in ("client", "core", "comm", "batched"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)

    with closed_pipes_raise():
        client = _connected(Client, connect, address)
        try:
            scheduler = Scheduler(client, address)
            if not scheduler.workers():
                raise BackendError(
                    "the Dask scheduler has no worker",
                    where=address,
                    next_step=f"Start some: {command_line('dask', 'worker', address)}",
                )
            yield scheduler
        finally:
            client.close()


def _connected(client: Callable[..., Any], connect: Callable[..., Any], address: str) -> Any:
    async def knock() -> None:
        comm = await connect(address, timeout=CONNECT_TIMEOUT)
        await comm.close()

    try:
        asyncio.run(knock())  # a client that fails to connect goes on trying in the background
        return client(address, timeout=CONNECT_TIMEOUT, set_as_default=False, name="calaudit")
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
        raise BackendError(
            f"can't connect to a Dask scheduler at {address}: {error}",
            where="--dask",
            next_step="Give the address that dask scheduler prints, such as tcp://host:8786.",
        ) from None
