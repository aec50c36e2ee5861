"""Answers of experiments' engines on tuning rows: each row run once per engine, kept in files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Engine
from calaudit.formats.given import Batch, join
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.runtime.interrupts import stop_if_asked
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.tasks.reduction import EVERYTHING, Kept

Feeds = Mapping[str, NDArray[Any]]
_HELD = 512 << 20
"""Bytes of inputs that are kept in memory."""


@dataclass(slots=True)
class Cost:
    """What experiments took."""

    engines: int = 0
    samples: int = 0


class Runs:
    """Predictions by name of an engine, over whichever rows were asked for so far.

    Parameters
    ----------
    pool : Pool
    folder : Path
        For the files; its owner deletes it.
    batch_size : int
    kept : Kept
        Outputs, and what they are reduced to.
    """

    def __init__(self, pool: Pool, folder: Path, batch_size: int, kept: Kept = EVERYTHING) -> None:
        self._kept = kept
        self._pool = pool
        self._folder = folder
        self._batch_size = batch_size
        self._known: dict[str, Predictions] = {}
        self._inputs: tuple[Rows, Feeds] | None = None
        self._files = 0
        self.cost = Cost()

    def answers(
        self, name: str, rows: Rows, load: Callable[[], Engine], more: Feeds | None = None
    ) -> Predictions:
        """What the engine called `name` answers for `rows`, and maybe more; ascending.

        Parameters
        ----------
        name : str
            Says all that its answers depend on.
        rows : int64 (n,)
            Pool rows, ascending.
        load : callable
            Makes the engine where rows are missing; it isn't closed.
        more : mapping, optional
            Further inputs, the same for each sample: without a batch axis.

        Raises
        ------
        BackendError
            The engine can't be made, or failed.
        """
        known = self._known.get(name)
        missing = rows if known is None else np.setdiff1d(rows, known.rows)
        if known is not None and not len(missing):
            return known
        batch = self._run(load(), missing, more or {})
        self.cost.engines += known is None
        self.cost.samples += len(missing)
        every = missing
        if known is not None:
            order = np.argsort(np.concatenate([known.rows, missing]))
            every = np.union1d(known.rows, missing)
            batch = join([known.whole(), batch]).take(order)
        self._files += 1
        path = self._folder / f"{self._files}.h5"
        self._known[name] = write_predictions(path, every, [batch])
        if known is not None:
            known.path.unlink()
        return self._known[name]

    def forget(self, but: frozenset[str]) -> None:
        """Delete all answers but those of the engines named."""
        for name in [name for name in self._known if name not in but]:
            self._known.pop(name).path.unlink()

    def hold_inputs(self, rows: Rows) -> None:
        """Keep the inputs of `rows`, which are about to be run often, in memory where they fit."""
        size = sum(
            spec.dtype.itemsize * int(np.prod(spec.shape)) for spec in self._pool.inputs.values()
        )
        self._inputs = None
        if size * len(rows) <= _HELD:
            self._inputs = rows, self._pool.read_inputs(rows)

    def _run(self, engine: Engine, rows: Rows, more: Feeds) -> Batch:
        pieces = []
        for piece in batches(rows, self._batch_size):
            fed = {
                name: np.broadcast_to(values, (len(piece), *np.shape(values)))
                for name, values in more.items()
            }
            outputs = engine.run({**self._read(piece), **fed})
            pieces.append(self._kept.batch(outputs, piece, None))
            stop_if_asked()
        return join(pieces)

    def _read(self, rows: Rows) -> Feeds:
        if self._inputs is not None:
            held, inputs = self._inputs
            at = np.searchsorted(held, rows)
            if at.max(initial=-1) < len(held) and (held[at] == rows).all():
                return {name: values[at] for name, values in inputs.items()}
        return self._pool.read_inputs(rows)
