"""Predict: run one engine over pool rows, batch by batch, into a predictions file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Engine
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.runtime.errors import BackendError
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted


def predict(
    engine: Engine,
    pool: Pool,
    rows: Rows,
    out: Path,
    *,
    batch_size: int,
    what: str,
    reference: bool = False,
) -> Predictions:
    """Run `engine` over `rows` (ascending) and write its outputs to `out`.

    Outputs that aren't finite are kept as they are: they are judged. But a `reference` of which
    every output of every sample overflows says nothing, and is refused.

    Raises
    ------
    BackendError
        An output isn't batched, or all outputs of a reference are NaN or infinite.
    PoolError
        An input holds NaN or infinity.
    """
    return write_predictions(out, rows, _outputs(engine, pool, rows, batch_size, (what, reference)))


def _outputs(
    engine: Engine, pool: Pool, rows: Rows, batch_size: int, how: tuple[str, bool]
) -> Iterator[dict[str, NDArray[Any]]]:
    what, reference = how
    sound = False
    with counter(len(rows), what=what) as done:
        for piece in batches(rows, batch_size):
            outputs = engine.run(pool.read_inputs(piece))
            for name, values in outputs.items():
                _check_batched(name, values, len(piece), what)
                sound = sound or not _overflows(values).all()
            yield outputs
            done.advance(len(piece))
    if reference and len(rows) and not sound:
        raise BackendError(
            f"all outputs are NaN or infinite for all {counted(len(rows), 'sample')}, such as "
            f"{', '.join(pool.ids(rows[:3]))}",
            where=what,
            next_step="Look at the model and its inputs: it overflows on every sample.",
        )


def _overflows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Samples with NaN or infinity among their values, (n,); −∞ may be a mask."""
    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=bool)
    wrong = np.isnan(values) | (values == np.inf)
    return np.asarray(wrong.reshape(len(values), -1).any(axis=1))


def _check_batched(name: str, values: NDArray[Any], n: int, what: str) -> None:
    if values.ndim == 0 or len(values) != n:
        raise BackendError(
            f"output {name} has shape {values.shape} for {counted(n, 'sample')}",
            where=what,
            next_step="Export a wrapper that returns outputs with the batch as their first axis.",
        )
