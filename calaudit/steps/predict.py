"""Predict: run one engine over pool rows, batch by batch, into a predictions file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Engine
from calaudit.errors import BackendError
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.pool import Pool, Rows, batches
from calaudit.progress import counter


def predict(
    engine: Engine, pool: Pool, rows: Rows, out: Path, *, batch_size: int, what: str
) -> Predictions:
    """Run `engine` over `rows` (ascending) and write its outputs to `out`.

    Raises
    ------
    BackendError
        An output isn't batched, or isn't finite: the message names the first samples.
    PoolError
        An input holds NaN or infinity.
    """
    return write_predictions(out, rows, _outputs(engine, pool, rows, batch_size, what))


def _outputs(
    engine: Engine, pool: Pool, rows: Rows, batch_size: int, what: str
) -> Iterator[dict[str, NDArray[Any]]]:
    with counter(len(rows), what=what) as done:
        for piece in batches(rows, batch_size):
            outputs = engine.run(pool.read_inputs(piece))
            for name, values in outputs.items():
                _check(name, values, piece, pool, what)
            yield outputs
            done.advance(len(piece))


def _check(name: str, values: NDArray[Any], rows: Rows, pool: Pool, what: str) -> None:
    if values.ndim == 0 or len(values) != len(rows):
        raise BackendError(
            f"output {name} has shape {values.shape} for {len(rows)} samples",
            where=what,
            next_step="Audit a model whose outputs have the batch as their first axis.",
        )
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            ids = ", ".join(pool.ids(rows[bad][:3]))
            raise BackendError(
                f"output {name} isn't finite for {int(bad.sum())} samples ({ids}, …)",
                where=what,
                next_step="Look at these samples; the model overflows on them.",
            )
