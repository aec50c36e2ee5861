"""What a recipe needs to know of each candidate: a column's numbers, an embedding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError, PoolError, SettingsError, near
from calaudit.runtime.pool import Pool, Rows, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted
from calaudit.sampling.recipe import Embedding, check_finite

ReadFlat = Callable[[Rows], NDArray[np.floating]]
"""Reads rows (ascending) as flat vectors (len(rows), d)."""
ReadTap = Callable[[Rows, str], NDArray[Any]]
"""Reads a tensor inside the model for rows: (len(rows), …)."""

_PCA_BATCH = 128
_BATCH = 256


def read_numbers(pool: Pool, names: Sequence[str], rows: Rows) -> NDArray[np.float64]:
    """Numeric columns (n, len(names)); missing values are NaN.

    Raises
    ------
    DrawError
        A column isn't numeric.
    PoolError
        There is no such column.
    """
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


def read_embedding(
    pool: Pool, embedding: Embedding, rows: Rows, read_tap: ReadTap
) -> NDArray[np.floating]:
    """Where coverage is measured, (n, d).

    Raises
    ------
    DrawError
        A column isn't numeric or has gaps, or there are fewer principal components than asked for.
    SettingsError
        A tensor together with columns.
    PoolError
        A column or tensor that the pool doesn't have.
    """
    if embedding.pca is not None:
        read = _flat_inputs(pool)
        with counter(2 * len(rows), what="principal components") as done:

            def noted(piece: Rows) -> NDArray[np.floating]:
                done.advance(len(piece))
                return read(piece)

            return principal_components(noted, rows, embedding.pca)
    if embedding.tap is not None:
        tap = embedding.tap
        return _all_flat(lambda piece: read_tap(piece, tap), rows, tap)
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
    values = read_numbers(pool, names, rows)
    check_finite(values, f"the embedding {', '.join(names)}")
    return standardise(values)


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


def principal_components(read: ReadFlat, rows: Rows, n_components: int) -> NDArray[np.float32]:
    """Project samples onto the principal components of them all.

    Reads the samples twice, batch by batch (scikit-learn's `IncrementalPCA`; the sign of every
    component is fixed by its largest loading).

    Parameters
    ----------
    read : callable
        Rows → float (b, d).
    rows : int64 (n,)
        Ascending.
    n_components : int
        At most min(n, d).

    Returns
    -------
    float32 (n, n_components)

    Raises
    ------
    DrawError
        More components are asked for than there are samples or values per sample.
    """
    from sklearn.decomposition import IncrementalPCA

    width = read(rows[:1]).shape[1] if len(rows) else 0
    possible = min(len(rows), width)
    if n_components > possible:
        raise DrawError(
            f"{n_components} principal components are asked for, but "
            f"{counted(len(rows), 'candidate')} of "
            f"{width} values have at most {possible}",
            next_step=f"Ask for at most {possible}.",
        )
    model = IncrementalPCA(n_components=n_components)
    # Even pieces: none is smaller than the number of components, which partial_fit needs; larger
    # ones cost more, as the decomposition is quadratic in their size.
    size = max(2 * n_components, _PCA_BATCH)
    pieces = np.array_split(rows, max(1, len(rows) // size))
    for piece in pieces:
        model.partial_fit(read(piece).astype(np.float64))
    projected = [model.transform(read(piece).astype(np.float64)) for piece in pieces]
    return np.concatenate(projected).astype(np.float32)


def standardise(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite columns (n, d) in units of their standard deviation; a constant one becomes 0."""
    spread = columns.std(axis=0)
    centred = columns - columns.mean(axis=0)
    scaled: NDArray[np.float64] = np.divide(
        centred, spread, out=np.zeros_like(centred), where=spread > 0
    )
    return scaled
