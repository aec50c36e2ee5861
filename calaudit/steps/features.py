"""What a recipe needs to know of each candidate: a deviation for Neyman, an embedding."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, PoolError, SettingsError, near
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.sampling.design import check_finite
from calaudit.sampling.embedding import principal_components, standardise
from calaudit.sampling.recipe import FP32_LOSS, Embedding, Loss, Recipe

if TYPE_CHECKING:
    from calaudit.steps.model_outputs import ModelOutputs

_BATCH = 256


def read_deviation(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs | None"
) -> NDArray[np.float64] | None:
    """The variable whose spread Neyman's allocation uses (n,), or None where none is needed.

    Raises
    ------
    DrawError
        The column isn't numeric, or the FP32 loss is asked for without a model.
    SettingsError
        Which output or target makes the loss isn't clear.
    PoolError
        An unknown column, or labels that the model has no logit for.
    """
    if recipe.deviation is None:
        return None
    if recipe.deviation != FP32_LOSS:
        return _numbers(pool, [recipe.deviation], rows)[:, 0]
    return _fp32_loss(pool, recipe, rows, _needed(run_outputs, recipe))


def read_embedding(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs | None"
) -> NDArray[np.floating] | None:
    """Where coverage is measured, (n, d), or None where none is needed.

    Raises
    ------
    DrawError
        A column isn't numeric or has gaps, a tap is asked for without a model, or there are fewer
        principal components than asked for.
    PoolError
        A column or tensor that the pool doesn't have.
    """
    embedding = recipe.embedding
    if embedding is None:
        return None
    if embedding.pca is not None:
        read = _flat_inputs(pool)
        with counter(2 * len(rows), what="principal components") as done:

            def counted(piece: Rows) -> NDArray[np.floating]:
                done.advance(len(piece))
                return read(piece)

            return principal_components(counted, rows, embedding.pca)
    if embedding.tap is not None:
        run, tap = _needed(run_outputs, recipe), embedding.tap
        return _all_flat(lambda piece: run.by_sample(piece, tap), rows, tap)
    return _stored(pool, embedding, rows)


def _stored(pool: Pool, embedding: Embedding, rows: Rows) -> NDArray[np.floating]:
    names = embedding.columns
    if len(names) == 1 and names[0] in pool.inputs:
        return _all_flat(lambda piece: pool.read_inputs(piece)[names[0]], rows, names[0])
    tensors = [name for name, spec in pool.targets.items() if spec.shape]
    if len(names) == 1 and names[0] in tensors:
        return _all_flat(lambda piece: pool.read_target(names[0], piece), rows, names[0])
    known = [*pool.inputs, *tensors, *pool.column_names()]
    for name in names:
        if name not in pool.column_names():
            if name in known:
                message = f"{name} is a tensor, which can't be combined with columns"
                raise SettingsError(message, next_step="Give it alone, or columns alone.")
            raise PoolError(
                f"there is no input, target or column {name!r}",
                where=pool.label,
                next_step=near(name, known),
            )
    values = _numbers(pool, names, rows)
    check_finite(values, f"the embedding {', '.join(names)}")
    return standardise(values)


def _numbers(pool: Pool, names: Sequence[str], rows: Rows) -> NDArray[np.float64]:
    """Numeric columns (n, len(names)); missing values are NaN."""
    frame = pool.columns(names, rows)
    for name, dtype in frame.schema.items():
        if not (dtype.is_numeric() or dtype.is_(bool)):
            raise DrawError(
                f"column {name} holds {dtype}, not numbers",
                where=pool.label,
                next_step="Choose a numeric column.",
            )
    values = [frame[name].cast(float).fill_null(np.nan).to_numpy() for name in names]
    return np.column_stack(values)


def _flat_inputs(pool: Pool) -> Callable[[Rows], NDArray[np.floating]]:
    def read(rows: Rows) -> NDArray[np.floating]:
        values = pool.read_inputs(rows)
        return np.concatenate([_flat(values[name]) for name in sorted(values)], axis=1)

    return read


def _all_flat(read: Callable[[Rows], NDArray[Any]], rows: Rows, what: str) -> NDArray[np.floating]:
    pieces = []
    with counter(len(rows), what=what) as done:
        for piece in batches(rows, _BATCH):
            pieces.append(_flat(read(piece)))
            done.advance(len(piece))
    return np.concatenate(pieces)


def _flat(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.reshape(len(values), -1).astype(np.float32)


def _fp32_loss(
    pool: Pool, recipe: Recipe, rows: Rows, run_outputs: "ModelOutputs"
) -> NDArray[np.float64]:
    from calaudit.evaluate.metrics.case import Case
    from calaudit.evaluate.metrics.classification import holds_probabilities, nll
    from calaudit.steps.labels import read_labels

    loss = recipe.loss or Loss()
    targets = [
        name
        for name, spec in pool.targets.items()
        if spec.shape == () and (spec.dtype.kind in "iu" or pool.class_names(name))
    ]
    output = _choice("output", loss.output, run_outputs.outputs, recipe)
    target = _choice("target", loss.target, targets, recipe)
    losses = []
    with counter(len(rows), what=FP32_LOSS) as done:
        for piece in batches(rows, _BATCH):
            label = read_labels(pool, target, piece, where=recipe.name)
            given = run_outputs(piece, [output])[output]
            case = Case(given, label, None, probabilities=holds_probabilities(given))
            losses.append(nll(case))
            done.advance(len(piece))
    return np.concatenate(losses)


def _choice(key: str, asked: str | None, known: Sequence[str], recipe: Recipe) -> str:
    if asked in known:
        return str(asked)
    if asked is None and len(known) == 1:
        return known[0]
    listed = ", ".join(known) or "none"
    message = (
        f"the FP32 loss needs one {key}, and there are {len(known)} ({listed})"
        if asked is None
        else f"there is no {key} {asked!r} for the FP32 loss"
    )
    step = (
        f'Write loss = {{{key} = "…"}}, or --loss on the command line.'
        if asked is None
        else near(asked, known)
    )
    raise SettingsError(message, where=f"{recipe.name}: loss.{key}", next_step=step)


def _needed(run_outputs: "ModelOutputs | None", recipe: Recipe) -> "ModelOutputs":
    if run_outputs is None:
        raise DrawError(
            "this recipe needs the FP32 model",
            where=recipe.name,
            next_step="Give the model (on the command line: --model model.onnx).",
        )
    return run_outputs
