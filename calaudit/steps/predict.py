"""Predict: run one engine over pool rows, batch by batch, into a file or memory."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend, Engine
from calaudit.formats.given import Given
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.graph.load import check_pool_matches, load_model
from calaudit.graph.model import Model
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import BackendError, DrawError
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted
from calaudit.steps.tapped import SampleRunner, load_tapped
from calaudit.tasks.reduction import EVERYTHING, Kept

_READ_BYTES: Final = 1 << 20
"""Of inputs that are read at once: to read a small batch costs as much as to read many."""


def predict(
    engine: Engine,
    pool: Pool,
    rows: Rows,
    out: Path,
    *,
    batch_size: int,
    what: str,
    kept: Kept = EVERYTHING,
    reference: Given | None = None,
    is_reference: bool = False,
) -> Predictions:
    """Run `engine` over `rows` (ascending) and write what is `kept` of its outputs to `out`.

    Outputs that aren't finite are kept as they are: they are judged. But a reference of which
    every output of every sample overflows says nothing, and is refused.

    Parameters
    ----------
    engine : Engine
    pool : Pool
    rows : int64 (n,)
        Ascending.
    out : Path
    batch_size : int
    what : str
        Name of the engine, for messages.
    kept : Kept
        Outputs, and what they are reduced to batch by batch.
    reference : Given, optional
        FP32's, where reductions hold engines against it.
    is_reference : bool
        Whether this is FP32 itself.

    Raises
    ------
    BackendError
        An output isn't batched, or all outputs of a reference are NaN or infinite.
    PoolError
        An input holds NaN or infinity.
    """
    outputs = _outputs(engine, pool, rows, batch_size, (what, is_reference))
    return write_predictions(
        out, rows, (kept.batch(found, piece, reference) for piece, found in outputs)
    )


def _outputs(
    engine: Engine, pool: Pool, rows: Rows, batch_size: int, how: tuple[str, bool]
) -> Iterator[tuple[Rows, dict[str, NDArray[Any]]]]:
    what, is_reference = how
    sound = False
    with counter(len(rows), what=what) as done:
        for piece, inputs in _fed(pool, rows, batch_size):
            outputs = engine.run(inputs)
            for name, values in outputs.items():
                _check_batched(name, values, len(piece), what)
                sound = sound or not _overflows(values).all()
            yield piece, outputs
            done.advance(len(piece))
    if is_reference and len(rows) and not sound:
        raise BackendError(
            f"all outputs are NaN or infinite for all {counted(len(rows), 'sample')}, such as "
            f"{', '.join(pool.ids(rows[:3]))}",
            where=what,
            next_step="Check the model and its inputs: it overflows on every sample.",
        )


def _fed(pool: Pool, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, dict[str, NDArray[Any]]]]:
    """Batches of rows, and their inputs; small batches are read several at a time."""
    one = sum(spec.dtype.itemsize * math.prod(spec.shape) for spec in pool.inputs.values())
    together = max(1, _READ_BYTES // max(1, one * batch_size))
    for block in batches(rows, batch_size * together):
        inputs = pool.read_inputs(block)
        for start in range(0, len(block), batch_size):
            batch = slice(start, start + batch_size)
            yield block[batch], {name: values[batch] for name, values in inputs.items()}


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


class ModelOutputs(Protocol):
    """Runs a model over pool rows."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's own outputs."""
        ...

    def __call__(self, rows: Rows, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The tensors `names` (outputs or taps) for `rows` (ascending), each (len(rows), …).

        Raises
        ------
        ModelError
            The model has no such tensor.
        """
        ...

    def by_sample(self, rows: Rows, tap: str) -> NDArray[Any]:
        """All values of one tensor for each of `rows` (len(rows), m), wherever its batch axis is.

        Raises
        ------
        ModelError
            The model has no such tensor.
        DrawError
            Samples differ in how many values they have.
        """
        ...


class EngineOutputs:
    """`ModelOutputs` of a model on a backend; one engine per set of names."""

    def __init__(self, model: Model, pool: Pool, backend: Backend) -> None:
        self._model = model
        self._pool = pool
        self._backend = backend
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._runners: dict[str, SampleRunner] = {}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's own outputs."""
        return tuple(output.name for output in self._model.outputs)

    def __call__(self, rows: Rows, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Run `rows` in one batch; see `ModelOutputs`."""
        wanted = tuple(names)
        if wanted not in self._engines:
            self._engines[wanted] = self._backend.load(with_taps(self._model, wanted))
        values = self._engines[wanted].run(self._pool.read_inputs(rows))
        return {name: values[name] for name in wanted}

    def by_sample(self, rows: Rows, tap: str) -> NDArray[Any]:
        """See `ModelOutputs`."""
        if tap not in self._runners:
            self._runners[tap] = SampleRunner(load_tapped(self._model, (tap,), self._backend))
        runs = self._runners[tap].run(self._pool.read_inputs(rows))
        pieces = [run.rows(0) for run in runs]
        if len({piece.shape[1] for piece in pieces}) > 1:
            raise DrawError(
                f"{tap} has another number of values for other samples",
                next_step="Choose a tensor of one size.",
            )
        return np.concatenate(pieces)


def read_model_outputs(path: Path, pool: Pool) -> EngineOutputs:
    """Load a model for `pool` on onnxruntime.

    Raises
    ------
    ModelError
        It can't be read, or doesn't take the pool's inputs.
    """
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

    model = load_model(path)
    check_pool_matches(model.inputs, pool.inputs, where=pool.label)
    return EngineOutputs(model, pool, OnnxruntimeBackend())
