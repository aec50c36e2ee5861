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
    engine: Engine,
    pool: Pool,
    rows: Rows,
    out: Path,
    *,
    batch_size: int,
    what: str,
    finite: bool = False,
) -> Predictions:
    """Run `engine` over `rows` (ascending) and write its outputs to `out`.

    With `finite`, an output that isn't finite is an error: a reference must be sound. Candidates
    may fail so; what they broke is judged.

    Raises
    ------
    BackendError
        An output isn't batched, or isn't finite: the message names the first samples.
    PoolError
        An input holds NaN or infinity.
    """
    return write_predictions(out, rows, _outputs(engine, pool, rows, batch_size, (what, finite)))


def _outputs(
    engine: Engine, pool: Pool, rows: Rows, batch_size: int, how: tuple[str, bool]
) -> Iterator[dict[str, NDArray[Any]]]:
    what, finite = how
    with counter(len(rows), what=what) as done:
        for piece in batches(rows, batch_size):
            outputs = engine.run(pool.read_inputs(piece))
            for name, values in outputs.items():
                _check_batched(name, values, len(piece), what)
                if finite:
                    _check_finite(name, values, piece, pool, what)
            yield outputs
            done.advance(len(piece))


def _check_batched(name: str, values: NDArray[Any], n: int, what: str) -> None:
    if values.ndim == 0 or len(values) != n:
        raise BackendError(
            f"output {name} has shape {values.shape} for {n} samples",
            where=what,
            next_step="Export a wrapper that returns outputs with the batch as their first axis.",
        )


def _check_finite(name: str, values: NDArray[Any], rows: Rows, pool: Pool, what: str) -> None:
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        ids = ", ".join(pool.ids(rows[bad][:3]))
        raise BackendError(
            f"output {name} is NaN or infinite for {int(bad.sum())} samples: {ids}",
            where=what,
            next_step="Look at these samples; the model overflows on them.",
        )
