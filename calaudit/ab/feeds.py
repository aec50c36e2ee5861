"""What requests carry: samples of the pool, read ahead of time."""

from collections.abc import Iterator, Mapping
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Final

import numpy as np

from calaudit.ab.arms import Feeds
from calaudit.runtime.pool import Pool, Rows

HELD: Final = 512 << 20
"""Bytes of inputs that are kept in memory; of larger logs they are read while requests leave."""
_BLOCK: Final = 32
"""Requests whose samples are read at once."""
_BLOCKS: Final = 8
"""Blocks that wait to be sent."""


class PoolFeeds:
    """One request's inputs after the other.

    Parameters
    ----------
    pool : Pool
    rows : int64 (n,)
        The pool's row behind each request.
    dtypes : mapping
        Input → the model's element type.
    held : int
        Bytes that may be in memory at a time.
    """

    def __init__(
        self, pool: Pool, rows: Rows, dtypes: Mapping[str, np.dtype[Any]], *, held: int = HELD
    ) -> None:
        self._pool, self._rows, self._dtypes = pool, rows, dtypes
        own = (spec.dtype.itemsize * int(np.prod(spec.shape)) for spec in pool.inputs.values())
        self._known: tuple[Rows, Feeds] | None = None
        needed = np.unique(rows)
        if sum(own) * len(needed) <= held:
            self._known = needed, self._read(needed)

    def __iter__(self) -> Iterator[Feeds]:
        if self._known is None:
            yield from self._read_ahead()
            return
        needed, inputs = self._known
        for place in np.searchsorted(needed, self._rows).tolist():
            yield {name: values[place : place + 1] for name, values in inputs.items()}

    def _read_ahead(self) -> Iterator[Feeds]:
        waiting: Queue[list[Feeds] | BaseException | None] = Queue(_BLOCKS)
        ended = Event()

        def put(item: "list[Feeds] | BaseException | None") -> None:
            while not ended.is_set():
                try:
                    waiting.put(item, timeout=0.1)
                except Full:
                    continue
                return

        def read() -> None:
            try:
                for start in range(0, len(self._rows), _BLOCK):
                    put(self._block(self._rows[start : start + _BLOCK]))
                    if ended.is_set():
                        return
                put(None)
            except BaseException as error:  # noqa: BLE001  # raised where feeds are taken
                put(error)

        Thread(target=read, name="feeds", daemon=True).start()
        try:
            while (block := waiting.get()) is not None:
                if isinstance(block, BaseException):
                    raise block
                yield from block
        finally:
            ended.set()

    def _block(self, rows: Rows) -> list[Feeds]:
        needed, places = np.unique(rows, return_inverse=True)
        inputs = self._read(needed)
        return [
            {name: values[place : place + 1] for name, values in inputs.items()}
            for place in places.tolist()
        ]

    def _read(self, rows: Rows) -> Feeds:
        found = self._pool.read_inputs(rows)
        return {
            name: values.astype(self._dtypes[name], copy=False)
            for name, values in found.items()
            if name in self._dtypes
        }
