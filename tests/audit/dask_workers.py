"""Dask clusters of worker processes on this machine, and what their workers run in tests."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from calaudit.audit.dask.worker import Made, Request, at_work, make_cell
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.interrupts import stop_if_asked

DEADLY = "both/mse"


@contextmanager
def local_cluster(
    resources: Sequence[Mapping[str, int]], *, preload: str | None = None
) -> Iterator[str]:
    """Address of the scheduler of as many worker processes as there are `resources`.

    `preload` names a module that those with a resource load first.
    """
    dask = pytest.importorskip("dask", reason="the dask extra isn't installed")
    distributed = pytest.importorskip("distributed", reason="the dask extra isn't installed")
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    worker = {"nthreads": 1, "silence_logs": 50, **options}
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        try:
            cluster = distributed.SpecCluster(
                scheduler={
                    "cls": distributed.Scheduler,
                    "options": {**options, "dashboard_address": "127.0.0.1:0"},
                },
                workers={
                    name: {
                        "cls": distributed.Nanny,
                        "options": {
                            **worker,
                            "resources": has,
                            "preload": [preload] if has and preload else [],
                        },
                    }
                    for name, has in enumerate(resources)
                },
                silence_logs=50,
            )
        except OSError as error:
            pytest.skip(f"no port can be opened here: {error}")
        with cluster:
            yield cluster.scheduler_address


def own_address() -> str:
    from distributed import get_worker

    return str(get_worker().address)


def make_or_die(request: Request, cell: str) -> Made | CalauditError | None:
    """One cell takes its worker down, as a crash in a library would."""
    if cell == DEADLY:
        os._exit(1)
    return make_cell(request, cell)


def linger(request: Request, cell: str) -> None:
    """Work until the run is gone, as a cell's batches do."""
    folder = request.token.parent
    with at_work(request):
        (folder / f"started {cell}").touch()
        half_written = folder / ".lingering.00000000.part"
        half_written.touch()
        try:
            while True:
                time.sleep(0.02)
                stop_if_asked()
        except KeyboardInterrupt:
            half_written.unlink()
